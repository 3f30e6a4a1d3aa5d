// SPDX-License-Identifier: Apache-2.0
// Numbers, units, times, as the language writes them. Pure functions of their arguments and the language.
import { prefs } from './prefs.svelte';

export type Unit = 'none' | 'ratio' | 'bytes' | 'bytesps' | 'ps' | 'seconds' | 'ms' | 'count';

const NB = '\u202f'; // narrow no-break space, between a number and its unit
const cache = new Map<string, Intl.NumberFormat>();

function locale(): string {
  return prefs.lang === 'fr' ? 'fr-FR' : 'en-GB';
}

export function number(v: number, digits = 3): string {
  if (Number.isNaN(v)) return '–';
  if (!Number.isFinite(v)) return v > 0 ? '+∞' : '−∞';
  const key = locale() + digits;
  let f = cache.get(key);
  if (!f) cache.set(key, (f = new Intl.NumberFormat(locale(), { maximumSignificantDigits: digits })));
  return f.format(v);
}

export function integer(v: number): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: 0 }).format(v);
}

function scaled(v: number, base: number, names: string[], per = ''): string {
  let i = 0;
  let x = Math.abs(v);
  while (x >= base * 0.9995 && i < names.length - 1) {
    x /= base;
    i++;
  }
  const text = number(Math.sign(v) * x, 3);
  return names[i] || per ? text + NB + names[i] + per : text;
}

export function value(v: number | null | undefined, unit: Unit = 'none'): string {
  if (v === null || v === undefined || Number.isNaN(v)) return '–';
  if (!Number.isFinite(v)) return v > 0 ? '+∞' : '−∞';
  const fr = prefs.lang === 'fr';
  switch (unit) {
    case 'ratio':
      return number(v * 100, Math.abs(v) >= 0.9 ? 4 : Math.abs(v) < 0.1 ? 2 : 3) + (fr ? NB : '') + '%';
    case 'bytes':
      return scaled(v, 1024, fr ? ['o', 'Kio', 'Mio', 'Gio', 'Tio', 'Pio'] : ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
    case 'bytesps':
      return scaled(v, 1000, fr ? ['o', 'ko', 'Mo', 'Go', 'To'] : ['B', 'kB', 'MB', 'GB', 'TB'], '/s');
    case 'ps':
      return scaled(v, 1000, ['', 'k', 'M', 'G'], '/s');
    case 'seconds':
      return seconds(v);
    case 'ms':
      return seconds(v / 1000);
    case 'count':
      return scaled(v, 1000, ['', 'k', 'M', 'G']);
    default:
      return Math.abs(v) >= 1e6 ? scaled(v, 1000, ['', 'k', 'M', 'G', 'T', 'P']) : number(v, 4);
  }
}

function seconds(v: number): string {
  const a = Math.abs(v);
  if (a === 0) return '0' + NB + 's';
  if (a < 1e-3) return number(v * 1e6) + NB + 'µs';
  if (a < 1) return number(v * 1e3) + NB + 'ms';
  if (a < 90) return number(v) + NB + 's';
  return duration(v * 1000);
}

/** Two largest units: "3 d 4 h", "1 h 20 min", "45 s". */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  const day = prefs.lang === 'fr' ? 'j' : 'd';
  const s = Math.max(0, Math.round(ms / 1000));
  if (ms > 0 && ms < 1000) return number(ms, 3) + NB + 'ms';
  if (s < 60) return s + NB + 's';
  const parts: [number, string][] = [
    [Math.floor(s / 86400), day],
    [Math.floor((s % 86400) / 3600), 'h'],
    [Math.floor((s % 3600) / 60), 'min'],
    [s % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  const shown = parts.slice(first, first + (s < 600 || parts[first][1] !== 'min' ? 2 : 1)).filter(([n]) => n > 0);
  return shown.map(([n, u]) => integer(n) + NB + u).join(' ');
}

export function clock(ms: number, withSeconds = false): string {
  return new Intl.DateTimeFormat(locale(), { hour: '2-digit', minute: '2-digit', second: withSeconds ? '2-digit' : undefined }).format(ms);
}

/** The shortest absolute form that is not ambiguous today: "14:30", "22 Nov, 14:30", "22 Nov 2025, 14:30". */
export function moment(ms: number, withSeconds = false): string {
  const now = new Date();
  const d = new Date(ms);
  const sameDay = d.toDateString() === now.toDateString();
  if (sameDay) return clock(ms, withSeconds);
  return new Intl.DateTimeFormat(locale(), {
    day: 'numeric',
    month: 'short',
    year: d.getFullYear() === now.getFullYear() ? undefined : 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: withSeconds ? '2-digit' : undefined,
  }).format(ms);
}

export function full(ms: number): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'full', timeStyle: 'medium' }).format(ms);
}

export function day(ms: number): string {
  return new Intl.DateTimeFormat(locale(), { weekday: 'long', day: 'numeric', month: 'long' }).format(ms);
}

export function ago(ms: number, now: number): string {
  const s = Math.round((now - ms) / 1000);
  if (Math.abs(s) < 5) return prefs.lang === 'fr' ? 'à l’instant' : 'just now';
  const span = duration(Math.abs(s) < 60 ? Math.abs(s) * 1000 : floorTo(Math.abs(s)) * 1000);
  if (s < 0) return (prefs.lang === 'fr' ? 'dans ' : 'in ') + span;
  return prefs.lang === 'fr' ? `il y a ${span}` : `${span} ago`;
}

function floorTo(s: number): number {
  if (s < 3600) return Math.floor(s / 60) * 60;
  if (s < 86400) return Math.floor(s / 300) * 300;
  return Math.floor(s / 3600) * 3600;
}

/** Prometheus' duration text ("90s", "1h30m") from seconds, for query parameters and labels. */
export function promDuration(s: number): string {
  for (const [unit, n] of [['d', 86400], ['h', 3600], ['m', 60]] as const) if (s >= n && s % n === 0) return s / n + unit;
  return s + 's';
}
