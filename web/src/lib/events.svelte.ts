// SPDX-License-Identifier: Apache-2.0
// The live journal: one stream for the whole page. New events refresh what is shown and mark the graphs.
import type { HuneEvent } from './types';
import { hune } from './api.svelte';
import { time } from './time.svelte';

const KEEP = 500;

class Live {
  /** Newest first, since the page was opened. */
  recent = $state.raw<HuneEvent[]>([]);
  open = $state(false);
  private source: EventSource | undefined;

  start() {
    if (this.source || typeof EventSource === 'undefined') return;
    const source = new EventSource('/api/hune/v1/events/stream');
    this.source = source;
    source.onopen = () => (this.open = true);
    source.onerror = () => {
      this.open = false;
      if (source.readyState === EventSource.CLOSED) {
        this.source = undefined;
        setTimeout(() => this.start(), 10_000);
      }
    };
    source.addEventListener('event', (m) => {
      try {
        const e = JSON.parse((m as MessageEvent).data) as HuneEvent;
        this.recent = [e, ...this.recent.filter((o) => o.seq !== e.seq)].slice(0, KEEP);
        time.soon();
      } catch {
        /* a line cut short: the next refresh brings it */
      }
    });
  }
  stop() {
    this.source?.close();
    this.source = undefined;
    this.open = false;
  }
}

export const live = new Live();

/** What is worth a mark on a graph: facts about the service, not the bookkeeping of notifications and logins. */
export function marks(e: HuneEvent): boolean {
  return /^(alert\.|process\.(started|exited|restarted|reloaded|errored|stopped)|deploy\.|anomaly\.opened|config\.|server\.)/.test(e.kind);
}

/** Events between two moments, for graphs; never fails (a graph without marks is still a graph). */
export async function eventsBetween(from: number, to: number, signal?: AbortSignal): Promise<HuneEvent[]> {
  try {
    const r = await hune<{ events: HuneEvent[] }>(`/events?from_ms=${Math.floor(from)}&to_ms=${Math.ceil(to)}&limit=300`, signal);
    return r.events.filter(marks);
  } catch {
    return [];
  }
}
