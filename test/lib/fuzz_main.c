// SPDX-License-Identifier: Apache-2.0
/* Replays a corpus through a fuzz target without libFuzzer: fuzz_main FILE|FOLDER... */
#include "base/buf.h"
#include "base/mem.h"
#include <dirent.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned long replayed;

static void replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    _cleanup_buf_ struct buf b = BUF_INIT(64 << 20);
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_put(&b, chunk, n);
    fclose(f);
    /* An exact-size copy, so that the sanitizer sees a read past the end. */
    uint8_t *copy = xmalloc(b.n ? b.n : 1);
    if (b.n)
        memcpy(copy, b.p, b.n);
    LLVMFuzzerTestOneInput(copy, b.n);
    free(copy);
    replayed++;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            return 1;
        }
        if (!S_ISDIR(st.st_mode)) {
            replay(argv[i]);
            continue;
        }
        struct dirent **names;
        int n = scandir(argv[i], &names, NULL, alphasort);
        for (int k = 0; k < n; k++) {
            if (names[k]->d_name[0] != '.') {
                char *path = xasprintf("%s/%s", argv[i], names[k]->d_name);
                replay(path);
                free(path);
            }
            free(names[k]);
        }
        if (n >= 0)
            free(names);
    }
    printf("%lu inputs replayed\n", replayed);
    return replayed == 0; /* an empty corpus is a test that cannot fail */
}
