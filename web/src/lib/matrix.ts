// SPDX-License-Identifier: Apache-2.0
// Prometheus matrices as the columns that uPlot draws; statistics; names; CSV.
import type { Labels, Series } from './types';

export interface Column {
  name: string;
  labels: Labels;
  ys: (number | null)[];
  last: number;
  min: number;
  max: number;
  mean: number;
}
export interface Columns {
  xs: number[]; // seconds
  series: Column[];
}

export function parseValue(v: string): number {
  if (v === '+Inf' || v === 'Inf') return Infinity;
  if (v === '-Inf') return -Infinity;
  return Number(v); // "NaN" is NaN
}

export function seriesName(m: Labels, hide: string[] = []): string {
  const rest = Object.keys(m)
    .filter((k) => k !== '__name__' && !hide.includes(k))
    .sort()
    .map((k) => `${k}="${m[k].replace(/\\/g, '\\\\').replace(/"/g, '\\"')}"`);
  const name = m.__name__ ?? '';
  return rest.length || !name ? `${name}{${rest.join(', ')}}` : name;
}

/** On an even grid of steps: a point that is missing stays a gap. */
export function columns(series: Series[], from: number, to: number, step: number, name: (m: Labels, i: number) => string): Columns {
  const start = series.length && series[0].values.length ? series.reduce((a, s) => Math.min(a, s.values[0]?.[0] ?? a), Infinity) : from;
  const first = start - Math.floor((start - from) / step + 1e-6) * step;
  const n = Math.max(0, Math.floor((to - first) / step + 1e-6) + 1);
  const xs = Array.from({ length: n }, (_, i) => first + i * step);
  return {
    xs,
    series: series.map((s, index) => {
      const ys: (number | null)[] = new Array(n).fill(null);
      let last = NaN;
      let min = Infinity;
      let max = -Infinity;
      let sum = 0;
      let count = 0;
      for (const [t, v] of s.values) {
        const i = Math.round((t - first) / step);
        const y = parseValue(v);
        if (i < 0 || i >= n) continue;
        last = y;
        if (!Number.isFinite(y)) continue; // NaN and infinities have no place on a line
        ys[i] = y;
        min = Math.min(min, y);
        max = Math.max(max, y);
        sum += y;
        count++;
      }
      return { name: name(s.metric, index), labels: s.metric, ys, last, min: count ? min : NaN, max: count ? max : NaN, mean: count ? sum / count : NaN };
    }),
  };
}

function cell(text: string): string {
  return /[",\n\r;]/.test(text) || /^[=+\-@]/.test(text) && !/^-?[\d.]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

export function toCsv(c: Columns): string {
  const lines = [['time', ...c.series.map((s) => s.name)].map(cell).join(',')];
  c.xs.forEach((x, i) => lines.push([new Date(x * 1000).toISOString(), ...c.series.map((s) => s.ys[i] ?? '')].join(',')));
  return lines.join('\r\n') + '\r\n';
}

export function download(name: string, type: string, data: string | Blob) {
  const url = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
