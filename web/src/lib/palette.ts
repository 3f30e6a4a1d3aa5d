// SPDX-License-Identifier: Apache-2.0
// Ten colours, given by a stable hash of the series' name so that a service keeps its colour from view to view; within one
// graph two names with the same hash are moved apart. Past ten series: a ramp by rank.
import { prefs } from './prefs.svelte';

let probe: HTMLElement | undefined;
const seen = new Map<string, string>();
let seenPaint = -1;

/** A token's colour as the canvas wants it. */
export function color(token: string): string {
  if (seenPaint !== prefs.paint) {
    seen.clear();
    seenPaint = prefs.paint;
  }
  let v = seen.get(token);
  if (v) return v;
  if (!probe) {
    probe = document.createElement('span');
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(--${token})`;
  v = getComputedStyle(probe).color;
  seen.set(token, v);
  return v;
}

export function hash(text: string): number {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
}

/** CSS colours (var() or color-mix()) for the series of one graph, in their order; `weights` rank them past ten. */
export function assign(names: string[], weights: number[]): string[] {
  const n = names.length;
  if (n > 10) {
    const order = weights.map((w, i) => [Number.isNaN(w) ? -Infinity : w, i] as const).sort((a, b) => b[0] - a[0]);
    const rank = new Array<number>(n);
    order.forEach(([, i], r) => (rank[i] = r));
    return rank.map((r) => `color-mix(in oklab, var(--series-1) ${100 - Math.round((r * 100) / (n - 1))}%, var(--series-2))`);
  }
  const taken = new Set<number>();
  return names.map((name) => {
    let slot = hash(name) % 10;
    while (taken.has(slot)) slot = (slot + 1) % 10;
    taken.add(slot);
    return `var(--series-${slot + 1})`;
  });
}

/** Resolve any CSS colour expression, such as those of assign(). */
export function resolve(css: string): string {
  const m = /^var\(--([a-z0-9-]+)\)$/.exec(css);
  if (m) return color(m[1]);
  color('text-1'); // makes the probe
  probe!.style.color = css;
  return getComputedStyle(probe!).color;
}

export function fade(rgb: string, alpha: number): string {
  const m = /rgba?\((\d+)[, ]+(\d+)[, ]+(\d+)/.exec(rgb);
  return m ? `rgba(${m[1]}, ${m[2]}, ${m[3]}, ${alpha})` : rgb;
}
