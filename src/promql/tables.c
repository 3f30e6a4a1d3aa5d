// SPDX-License-Identifier: Apache-2.0
/* The tables of the language as others read them. */
#include "promql/funcs_int.h"
#include "base/mem.h"

const char *const promql_type_names[] = {"none", "scalar", "vector", "matrix", "string"};
const char *const promql_type_documents[] = {"none", "scalar", "instant vector", "range vector", "string"};

#define S PROMQL_SCALAR
#define V PROMQL_VECTOR
#define M PROMQL_MATRIX
#define T PROMQL_STRING
static const struct promql_function functions[FN_COUNT] = {
#define X(id, nm, ret, var, exp, sig, text, ...)                                                                       \
    [FN_##id] = {.name = nm,                                                                                           \
                 .returns = ret,                                                                                       \
                 .variadic = var,                                                                                      \
                 .experimental = exp,                                                                                  \
                 .signature = sig,                                                                                     \
                 .doc = text,                                                                                          \
                 .args = {__VA_ARGS__}},
    FN_TABLE(X)
#undef X
};
#undef S
#undef V
#undef M
#undef T

const struct promql_function *promql_functions(size_t *ret_n)
{
    *ret_n = FN_COUNT;
    return functions;
}

static const struct promql_word words[] = {
    {"avg", "aggregation", "avg [by|without (labels)] (v)", "The average of the elements of a group.", false},
    {"bottomk", "aggregation", "bottomk [by|without (labels)] (k, v)", "The k smallest elements of every group.",
     false},
    {"count", "aggregation", "count [by|without (labels)] (v)", "The number of elements of a group.", false},
    {"count_values", "aggregation", "count_values [by|without (labels)] (\"label\", v)",
     "How many elements of a group have each value; the value goes into the label.", false},
    {"group", "aggregation", "group [by|without (labels)] (v)", "1 for every group.", false},
    {"limitk", "aggregation", "limitk [by|without (labels)] (k, v)", "Any k elements of every group.", true},
    {"limit_ratio", "aggregation", "limit_ratio [by|without (labels)] (r, v)",
     "About the share r of the elements, chosen by the hash of their labels; a negative r gives the others.", true},
    {"max", "aggregation", "max [by|without (labels)] (v)", "The largest value of a group.", false},
    {"min", "aggregation", "min [by|without (labels)] (v)", "The smallest value of a group.", false},
    {"quantile", "aggregation", "quantile [by|without (labels)] (q, v)", "The q-quantile (0 to 1) of a group.", false},
    {"stddev", "aggregation", "stddev [by|without (labels)] (v)", "The population standard deviation of a group.",
     false},
    {"stdvar", "aggregation", "stdvar [by|without (labels)] (v)", "The population variance of a group.", false},
    {"sum", "aggregation", "sum [by|without (labels)] (v)", "The sum of a group.", false},
    {"topk", "aggregation", "topk [by|without (labels)] (k, v)", "The k largest elements of every group.", false},
    {"and", "operator", "a and [on|ignoring (labels)] b", "The elements of a that have a match in b.", false},
    {"or", "operator", "a or [on|ignoring (labels)] b", "All elements of a, and those of b without a match in a.",
     false},
    {"unless", "operator", "a unless [on|ignoring (labels)] b", "The elements of a without a match in b.", false},
    {"atan2", "operator", "a atan2 b", "The angle of the point (b, a) in radians.", false},
    {"</", "operator", "h </ bound", "A native histogram without its observations above the bound.", true},
    {">/", "operator", "h >/ bound", "A native histogram without its observations below the bound.", true},
    {"bool", "modifier", "a > bool b", "Comparisons give 0 or 1 instead of filtering.", false},
    {"by", "modifier", "sum by (labels) (v)", "Groups by these labels alone.", false},
    {"without", "modifier", "sum without (labels) (v)", "Groups by all labels but these.", false},
    {"on", "modifier", "a + on (labels) b", "Matches elements by these labels alone.", false},
    {"ignoring", "modifier", "a + ignoring (labels) b", "Matches elements by all labels but these.", false},
    {"group_left", "modifier", "a * on (labels) group_left (more) b",
     "Several elements of a may match one of b, whose labels named here are copied over.", false},
    {"group_right", "modifier", "a * on (labels) group_right (more) b",
     "Several elements of b may match one of a, whose labels named here are copied over.", false},
    {"fill", "modifier", "a + fill (0) b", "The value to take where either side has no match.", true},
    {"fill_left", "modifier", "a + fill_left (0) b", "The value to take where the left side has no match.", true},
    {"fill_right", "modifier", "a + fill_right (0) b", "The value to take where the right side has no match.", true},
    {"offset", "modifier", "m offset 5m", "Looks at the past (or, with a minus sign, at the future).", false},
    {"@", "modifier", "m @ 1609746000", "Looks at a fixed time, at start() or at end() of the query.", false},
    {"anchored", "modifier", "m[5m] anchored",
     "The range starts with the last sample at or before its left edge; no extrapolation.", true},
    {"smoothed", "modifier", "m[5m] smoothed", "Values at the edges of the range are interpolated.", true},
};

const struct promql_word *promql_words(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(words);
    return words;
}
