// SPDX-License-Identifier: Apache-2.0
// Data of a view: what was known is shown at once with its age, then replaced. Never blank while loading again.
import { connection } from './api.svelte';
import { time } from './time.svelte';

const kept = new Map<string, { data: unknown; at: number }>();
const MAX_KEPT = 200;

function keep(key: string, data: unknown) {
  kept.delete(key);
  kept.set(key, { data, at: Date.now() });
  if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value!);
}

export class Resource<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state<string>('');
  at = $state(0);
  loading = $state(true);
  /** True while data is shown that a newer request failed to replace. */
  stale = $derived(this.error !== '' && this.data !== undefined);

  constructor(
    private key: () => string | null,
    private load: (signal: AbortSignal) => Promise<T>,
    options: { live?: boolean } = {},
  ) {
    const live = options.live ?? true;
    let shown: string | null = null;
    $effect(() => {
      const k = this.key();
      if (live) void time.tick;
      void connection.returns;
      void this.again;
      if (k !== shown) {
        shown = k;
        const old = k === null ? undefined : kept.get(k);
        this.data = old?.data as T | undefined;
        this.at = old?.at ?? 0;
        this.error = '';
      }
      if (k === null) {
        this.loading = false;
        return;
      }
      const abort = new AbortController();
      this.loading = true;
      this.load(abort.signal)
        .then((data) => {
          if (abort.signal.aborted) return;
          this.data = data;
          this.at = Date.now();
          this.error = '';
          keep(k, data);
        })
        .catch((e: Error) => {
          if (!abort.signal.aborted) this.error = e.message;
        })
        .finally(() => {
          if (!abort.signal.aborted) this.loading = false;
        });
      return () => abort.abort();
    });
  }
  private again = $state(0);
  reload() {
    this.again++;
  }
}
