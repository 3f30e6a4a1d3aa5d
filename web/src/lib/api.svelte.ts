// SPDX-License-Identifier: Apache-2.0
// All requests to the server pass here: one place knows whether it answers, since when not, and how old the figures are.
import { t } from './i18n';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

class Connection {
  /** Last time any answer came. */
  lastOk = $state(Date.now());
  /** Since when no answer comes; 0 = it answers. */
  downSince = $state(0);
  /** Changed when it answers again after an absence. */
  returns = $state(0);

  ok() {
    this.lastOk = Date.now();
    if (this.downSince) {
      this.downSince = 0;
      this.returns++;
    }
  }
  lost() {
    if (!this.downSince) this.downSince = this.lastOk;
  }
}
export const connection = new Connection();

export const session = $state<{ me: Me | null }>({ me: null });

export interface Me {
  user: string;
  anonymous: boolean;
  role: 'none' | 'viewer' | 'operator' | 'administrator';
  login_possible: boolean;
  may: { change: boolean; processes: boolean; administer: boolean };
  processes_hint?: string;
  version: string;
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let r: Response;
  try {
    r = await fetch(path, { credentials: 'same-origin', ...init });
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e;
    connection.lost();
    throw new ApiError(t('error.away'), 0);
  }
  connection.ok();
  if (r.status === 401 && !path.endsWith('/login')) {
    if (session.me) session.me = { ...session.me, role: 'none' };
  }
  return r;
}

async function failure(r: Response): Promise<ApiError> {
  let text = '';
  try {
    const body = await r.json();
    text = typeof body.error === 'string' ? body.error : '';
  } catch {
    /* not JSON: the status speaks */
  }
  return new ApiError(text || t('error.status', { status: r.status }), r.status);
}

/** GET under /api/hune/v1. */
export async function hune<T>(path: string, signal?: AbortSignal): Promise<T> {
  const r = await request('/api/hune/v1' + path, { signal });
  if (!r.ok) throw await failure(r);
  return (await r.json()) as T;
}

/** A change under /api/hune/v1; null for an empty answer. */
export async function change<T>(method: 'POST' | 'PATCH' | 'DELETE', path: string, body: unknown): Promise<T> {
  const r = await request('/api/hune/v1' + path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!r.ok) throw await failure(r);
  return (r.status === 204 ? null : await r.json()) as T;
}

export interface PromAnswer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  ms: number;
}

/** Prometheus' API; long queries go by POST. */
export async function prom<T>(path: string, params: Record<string, string | string[]> = {}, signal?: AbortSignal): Promise<PromAnswer<T>> {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) for (const one of Array.isArray(v) ? v : [v]) q.append(k, one);
  const text = q.toString();
  const started = performance.now();
  const r =
    text.length > 1500
      ? await request('/api/v1' + path, { method: 'POST', body: q, signal })
      : await request('/api/v1' + path + (text ? '?' + text : ''), { signal });
  let body;
  try {
    body = await r.json();
  } catch {
    throw new ApiError(t('error.status', { status: r.status }), r.status);
  }
  if (body.status !== 'success') throw new ApiError(String(body.error ?? t('error.status', { status: r.status })), r.status);
  return { data: body.data as T, warnings: body.warnings ?? [], infos: body.infos ?? [], ms: performance.now() - started };
}

export async function loadMe(): Promise<void> {
  session.me = await hune<Me>('/me');
}

export function may(what: 'change' | 'processes' | 'administer'): boolean {
  return session.me?.may?.[what] ?? false;
}
