// SPDX-License-Identifier: Apache-2.0
// The address is the state: path segments choose the view, the query string its filters, range and queries.
import { fromPrometheus } from './routes';

class Router {
  path = $state(location.pathname);
  search = $state(location.search);
  segments = $derived(this.path.split('/').filter(Boolean).map(safeDecode));
  params = $derived(new URLSearchParams(this.search));

  constructor() {
    addEventListener('popstate', () => this.read());
    const legacy = fromPrometheus(location.pathname, location.search);
    if (legacy) this.go(legacy, true);
  }
  private read() {
    this.path = location.pathname;
    this.search = location.search;
  }
  go(href: string, replace = false) {
    if (replace) history.replaceState(null, '', href);
    else history.pushState(null, '', href);
    this.read();
    if (!replace) document.querySelector('main')?.scrollTo?.(0, 0);
  }
  get(key: string): string {
    return this.params.get(key) ?? '';
  }
  /** Change query parameters of this view; an empty value removes one. */
  set(changes: Record<string, string | string[]>, replace = true) {
    const next = new URLSearchParams(location.search);
    for (const [k, v] of Object.entries(changes)) {
      next.delete(k);
      for (const one of Array.isArray(v) ? v : [v]) if (one !== '') next.append(k, one);
    }
    const text = next.toString();
    this.go(location.pathname + (text ? '?' + text : ''), replace);
  }
  /** The address of another view, keeping the shared time range. */
  href(path: string, params: Record<string, string> = {}): string {
    const next = new URLSearchParams();
    for (const k of ['from', 'to', 'refresh']) {
      const v = this.params.get(k);
      if (v) next.set(k, v);
    }
    for (const [k, v] of Object.entries(params)) if (v !== '') next.set(k, v);
    const text = next.toString();
    return path + (text ? '?' + text : '');
  }
}

function safeDecode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

export const router = new Router();

/** One listener for every link of the page: plain left clicks on our own addresses do not reload. */
export function captureLinks(e: MouseEvent) {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = (e.target as Element).closest?.('a');
  if (!a || a.target || a.hasAttribute('download') || a.origin !== location.origin || a.pathname.startsWith('/api/')) return;
  if (a.getAttribute('href')?.startsWith('#')) return;
  if (a.dataset.native !== undefined) return;
  e.preventDefault();
  if (a.href !== location.href) router.go(a.pathname + a.search);
}
