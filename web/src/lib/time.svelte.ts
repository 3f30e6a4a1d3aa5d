// SPDX-License-Identifier: Apache-2.0
// The time range and the refresh, shared by everything on a view and kept in the address; and the ticking clock.
import { router } from './router.svelte';

const RELATIVE = /^now(?:-(\d+)([smhdwy]))?$/;
const SPAN: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };
export const ranges = ['15m', '1h', '3h', '6h', '12h', '1d', '2d', '7d', '30d', '90d'];
export const refreshes = ['5s', '10s', '30s', '1m', '5m', 'off'];
export const DEFAULT_RANGE = '1h';
export const DEFAULT_REFRESH = '10s';

export function parseMoment(text: string, now: number): number | null {
  const m = RELATIVE.exec(text);
  if (m) return now - (m[1] ? Number(m[1]) * SPAN[m[2]] * 1000 : 0);
  if (/^\d{9,14}$/.test(text)) return Number(text) < 1e11 ? Number(text) * 1000 : Number(text);
  const iso = Date.parse(text);
  return Number.isNaN(iso) ? null : iso;
}

export function spanSeconds(text: string): number {
  const m = /^(\d+)([smhdwy])$/.exec(text);
  return m ? Number(m[1]) * SPAN[m[2]] : 0;
}

class Time {
  /** Seconds' clock for "4 min ago"; slow when hidden. */
  now = $state(Date.now());
  /** Rises at each refresh: what loads data depends on it. */
  tick = $state(0);
  from = $derived(router.get('from') || `now-${DEFAULT_RANGE}`);
  to = $derived(router.get('to') || 'now');
  refresh = $derived(router.get('refresh') || DEFAULT_REFRESH);
  live = $derived(this.to === 'now');
  private base = Date.now();
  private past: { from: string; to: string }[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private queued = false;

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 1000);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) {
        this.now = Date.now();
        this.bump();
      }
    });
  }
  /** Call in an effect: restarts the refresh timer when its interval changes. */
  run() {
    const every = spanSeconds(this.refresh);
    clearTimeout(this.timer);
    const next = () => {
      this.timer = setTimeout(() => {
        if (!document.hidden) this.bump();
        next();
      }, every * 1000);
    };
    if (every) next();
    return () => clearTimeout(this.timer);
  }
  bump() {
    this.base = Date.now();
    this.now = this.base;
    this.tick++;
  }
  /** Something happened (an event came): refresh soon, once for many. */
  soon() {
    if (this.queued || spanSeconds(this.refresh) === 0) return;
    this.queued = true;
    setTimeout(() => {
      this.queued = false;
      this.bump();
    }, 400);
  }
  /** Milliseconds of the range at this tick. */
  bounds(): { from: number; to: number } {
    void this.tick;
    const to = parseMoment(this.to, this.base) ?? this.base;
    const from = parseMoment(this.from, this.base) ?? to - 3600_000;
    return from < to ? { from, to } : { from: to - 3600_000, to };
  }
  /** A sensible step in seconds for so many points. */
  step(points = 300): number {
    const { from, to } = this.bounds();
    const raw = (to - from) / 1000 / points;
    const nice = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
    return nice.find((n) => n >= raw) ?? Math.ceil(raw / 86400) * 86400;
  }
  setRange(from: string, to = 'now') {
    this.past.push({ from: this.from, to: this.to });
    this.base = Date.now();
    router.set({ from: from === `now-${DEFAULT_RANGE}` && to === 'now' ? '' : from, to: to === 'now' ? '' : to }, false);
    this.tick++;
  }
  back() {
    const last = this.past.pop();
    const to = last ?? { from: `now-${DEFAULT_RANGE}`, to: 'now' };
    this.setRange(to.from, to.to);
    this.past.pop();
  }
  setRefresh(every: string) {
    router.set({ refresh: every === DEFAULT_REFRESH ? '' : every });
  }
}

export const time = new Time();
