// SPDX-License-Identifier: Apache-2.0
// Serves the built page with the server's headers and a made-up /api/hune/v1, for screenshots of states that are slow to
// bring about for real (empty, busy, very long names). /api/v1 is passed to a real Prometheus-compatible server when one is
// named. Usage: node mock-server.mjs DIST PORT [http://127.0.0.1:PROM] [empty|calm|busy|long]
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const [dist, port, prom, scene = 'busy'] = process.argv.slice(2);
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const now = Date.now();
const min = 60_000;
const empty = scene === 'empty';
const calm = scene === 'calm' || empty;
const longName = 'benevoclic-plateforme-de-benevolat-api-de-production-avec-un-nom-vraiment-tres-long-' + 'x'.repeat(80);
const name = (s) => (scene === 'long' ? longName + '-' + s : s);

const ev = (seq, ago, kind, severity, summary, extra = {}) => ({ seq, t_ms: now - ago * min, kind, severity, service: '', subject: '', actor: 'hune', summary, links: {}, payload: {}, ...extra });
const events = empty
  ? [ev(1, 0.5, 'server.started', '', 'hune 0.1.0 started')]
  : [
      ...(calm ? [] : [ev(9, 4, 'notify.sent', '', `webhook team was told: ${name('InstanceDown')} is firing`), ev(8, 4, 'anomaly.opened', 'critical', `ANO-20261122-001 opened: ${name('api')} does not answer`, { subject: 'ANO-20261122-001', links: { anomaly: 'ANO-20261122-001' } }), ev(7, 4, 'alert.firing', 'critical', `${name('InstanceDown')} is firing`, { service: name('api') }), ev(6, 5, 'process.exited', 'warning', `${name('api')} ended with code 1`, { service: name('api'), subject: 'api#0' })]),
      ev(5, 21, 'alert.resolved', 'warning', 'HighLoad is over', { service: 'host' }),
      ev(4, 28, 'alert.firing', 'warning', 'HighLoad is firing', { service: 'host' }),
      ev(3, 40, 'config.reloaded', '', 'the configuration was read again'),
      ev(2, 55, 'process.started', '', 'web is online', { service: 'web', subject: 'web#0' }),
      ev(1, 57, 'server.started', '', 'hune 0.1.0 started'),
    ];
const rowOf = (i, over) => ({ id: `ANO-20261122-00${i}`, title: name('InstanceDown: api'), severity: 'critical', status: 'open', category: 'system', environment: 'production', service: name('api'), components: ['api'], detection: 'automatic', detected_by: 'hune', detected_ms: now - 4 * min, started_ms: now - 5 * min, resolved_ms: null, closed_ms: null, updated_ms: now, assignee: '', alert: 'a1', ...over });
const anomalies = empty
  ? []
  : [
      ...(calm ? [] : [rowOf(1, {}), rowOf(2, { title: name('The API answers slowly'), severity: 'warning', status: 'in_progress', detected_ms: now - 55 * min, started_ms: now - 60 * min, assignee: 'Anna' })]),
      rowOf(3, { title: 'HighLoad on vps-1', severity: 'warning', status: 'resolved', detected_ms: now - 28 * min, started_ms: now - 30 * min, resolved_ms: now - 21 * min }),
    ];
if (scene === 'many') for (let i = 0; i < 1200; i++) anomalies.push(rowOf(i, { id: `ANO-20261121-${String(i).padStart(4, '0')}`, title: `Anomaly number ${i}`, severity: ['critical', 'warning', 'info'][i % 3], status: 'resolved', detected_ms: now - i * 9e5, started_ms: now - i * 9e5, resolved_ms: now - i * 9e5 + 6e5 }));
const sheet = (id) => {
  const row = anomalies.find((a) => a.id === id);
  if (!row) return null;
  const points = Array.from({ length: 60 }, (_, i) => [row.detected_ms - (60 - i) * min + 5 * min, String(i < 54 ? 1 : 0)]);
  return { ...row, description: '', symptoms: 'Requests to /missions time out.', priority: '', impact: '', root_cause: '', contributing: '', fix: '', checks: '', lessons: '', version: '1.4.2', labels: { alertname: 'InstanceDown', job: 'api', instance: '127.0.0.1:3000', severity: 'critical' }, annotations: { summary: 'api does not answer' }, expr: 'up{job="api"} == 0', measures: [{ name: 'up{job="api"}', unit: '', points }], timeline: [{ n: 1, t_ms: row.detected_ms, kind: 'anomaly.opened', actor: 'hune', summary: 'opened by the alert InstanceDown', text: '' }, { n: 2, t_ms: row.detected_ms + min, kind: 'evidence', actor: 'hune', summary: 'team was told by webhook', text: '' }, { n: 3, t_ms: row.detected_ms + 2 * min, kind: 'note', actor: 'anna', summary: 'note', text: 'The database is out of connections.\nRestarting the pool.' }], phases: { detection_ms: 60000, decision_ms: 120000, stabilisation_ms: null, resolution_ms: null } };
};
const processes = empty
  ? []
  : [
      { id: 0, name: name('api'), instance: 0, namespace: 'default', state: calm ? 'online' : 'waiting restart', pid: calm ? 4242 : 0, restarts: 3, unstable_restarts: 2, started_ms: now - 40 * min, uptime_ms: calm ? 40 * min : 0, exit_code: calm ? null : 1, exit_signal: null, text: calm ? '' : 'ended with code 1, next try in 8 s', script: 'app.js', interpreter: 'node', cwd: '/srv/api', cpu_ratio: 0.034, memory_bytes: 78e6 },
      { id: 1, name: 'web', instance: 0, namespace: 'default', state: 'online', pid: 4250, restarts: 0, unstable_restarts: 0, started_ms: now - 55 * min, uptime_ms: 55 * min, exit_code: null, exit_signal: null, text: '', script: '.output/server/index.mjs', interpreter: 'node', cwd: '/srv/web', cpu_ratio: 0.012, memory_bytes: 112e6 },
      { id: 2, name: 'worker', instance: 0, namespace: 'jobs', state: 'stopped', pid: 0, restarts: 0, unstable_restarts: 0, started_ms: null, uptime_ms: null, exit_code: 0, exit_signal: null, text: '', script: 'worker.js', interpreter: 'node', cwd: '/srv/api', cpu_ratio: null, memory_bytes: null },
    ];
const overview = () => ({
  now_ms: Date.now(),
  verdict: calm ? { level: 'ok', since_ms: now - 57 * min, en: empty ? 'All well, started 30 s ago' : 'All well for 21 minutes', fr: empty ? 'Tout va bien, démarré il y a 30 s' : 'Tout va bien depuis 21 minutes' } : { level: 'critical', since_ms: now - 4 * min, en: `${name('api')} is down since ${new Date(now - 4 * min).toTimeString().slice(0, 5)}, 1 alert firing`, fr: `${name('api')} est en panne depuis ${new Date(now - 4 * min).toTimeString().slice(0, 5)}, 1 alerte active` },
  alerts: calm ? { critical: 0, warning: 0, info: 0, pending: 0 } : { critical: 1, warning: 1, info: 0, pending: 2 },
  firing: calm ? [] : [{ name: name('InstanceDown'), severity: 'critical', labels: { alertname: 'InstanceDown', job: name('api'), instance: '127.0.0.1:3000' }, annotations: { summary: `${name('api')} does not answer` }, since_ms: now - 4 * min, value: '0e+00', anomaly: 'ANO-20261122-001' }, { name: 'DiskAlmostFull', severity: 'warning', labels: { instance: 'vps-1' }, annotations: { summary: 'The disk / is 91 % full' }, since_ms: now - 55 * min, value: '0.91', anomaly: 'ANO-20261122-002' }],
  anomalies: { open: calm ? 0 : 1, in_progress: calm ? 0 : 1, latest: anomalies.slice(0, 5) },
  targets: { up: empty ? 2 : 4, down: calm ? 0 : 1, unknown: 0, down_list: calm ? [] : [{ job: name('api'), instance: '127.0.0.1:3000', error: 'connection refused' }] },
  processes: empty ? { online: 0, stopped: 0, errored: 0, other: 0, connected: true } : { online: 2, stopped: 1, errored: calm ? 0 : 1, other: 0, connected: true },
  indicators: empty ? { uptime_ratio: null, mttd_ms: null, mttr_ms: null, mtbf_ms: null, period_ms: 30 * 864e5 } : { uptime_ratio: 0.99914, mttd_ms: 32000, mttr_ms: 118000, mtbf_ms: 412 * 36e5, period_ms: 30 * 864e5 },
  events: events.slice(0, 20),
  storage: { series: 1234, read_only: false, reason: '' },
});
const me = { user: 'anonymous', anonymous: true, role: 'administrator', login_possible: false, may: { change: true, processes: scene !== 'empty', administer: true }, processes_hint: scene === 'empty' ? 'hune user add NAME --role operator' : undefined, version: '0.1.0' };
const routes = {
  '/me': () => me,
  '/overview': overview,
  '/status': () => ({ version: '0.1.0', revision: '0123456789abcdef', started_ms: now - 57 * min, uptime_ms: Date.now() - now + 57 * min, ready: true, not_ready_reason: '', mode: 'run', data_dir: '/home/anna/.hune', listen: ['127.0.0.1:4863'], external_url: 'http://127.0.0.1:4863', read_only: false, read_only_reason: '', keeper: true, config_file: '', config_ok: true, config_error: '', config_loaded_ms: now - 57 * min, memory_bytes: 12.4e6, series: 1234 }),
  '/anomalies': (q) => ({ anomalies: q.get('closed') === 'false' ? anomalies.filter((a) => a.status !== 'resolved' || scene === 'many') : anomalies, total: anomalies.length }),
  '/processes': () => ({ connected: true, processes }),
  '/events': () => ({ events, next_before: null }),
  '/notifications': () => ({ notifications: calm ? [] : [{ seq: 9, t_ms: now - 4 * min, ok: true, receiver: 'team', kind: 'webhook', summary: 'InstanceDown is firing', error: '', severity: 'critical', links: {} }, { seq: 10, t_ms: now - 4 * min, ok: false, receiver: 'mail', kind: 'email', summary: 'InstanceDown is firing', error: 'smtp.example.org: connection refused', severity: 'critical', links: {} }], receivers: empty ? [] : ['team'] }),
};

http
  .createServer((req, res) => {
    const u = new URL(req.url, 'http://x');
    const send = (status, body) => {
      res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
      res.end(JSON.stringify(body));
    };
    const p = u.pathname;
    if (p.startsWith('/api/hune/v1')) {
      const r = p.slice('/api/hune/v1'.length);
      if (r.endsWith('/stream')) {
        res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
        res.write(': hello\n\n');
        if (r.includes('/logs/')) {
          let n = 0;
          const line = () => res.write(`event: line\ndata: ${JSON.stringify({ stream: n % 9 === 8 ? 'err' : 'out', text: n % 9 === 8 ? 'Error: pool exhausted <b>not markup</b>' : `GET /missions/${n} 200 ${12 + (n % 7)} ms`, ...(r.includes('/all/') ? { id: 0, name: name('api') } : {}) })}\n\n`);
          for (; n < 60; n++) line();
          const timer = setInterval(() => (line(), n++), 500);
          res.on('close', () => clearInterval(timer));
        }
        return undefined;
      }
      const a = /^\/anomalies\/([^/]+)/.exec(r);
      if (a) {
        const s = sheet(decodeURIComponent(a[1]));
        return s ? send(200, s) : send(404, { error: 'no such anomaly' });
      }
      if (/^\/processes\/\d+\/logs$/.test(r)) return send(200, { lines: Array.from({ length: 300 }, (_, i) => ({ stream: i % 31 === 30 ? 'err' : 'out', text: `line ${i}: listening on 3000` })), truncated: false });
      if (/^\/processes\/\d+\/\w+$/.test(r)) return send(200, { ok: true });
      return routes[r] ? send(200, routes[r](u.searchParams)) : send(404, { error: 'no such route' });
    }
    if (p.startsWith('/api/')) {
      if (!prom || prom === '-') return send(503, { status: 'error', errorType: 'unavailable', error: 'no store in this mock' });
      const up = http.request(prom + req.url, { method: req.method, headers: { ...req.headers, host: new URL(prom).host } }, (r) => {
        res.writeHead(r.statusCode, r.headers);
        r.pipe(res);
      });
      up.on('error', (e) => send(502, { status: 'error', errorType: 'internal', error: e.message }));
      return req.pipe(up);
    }
    let file = path.join(dist, path.normalize(p));
    if (!file.startsWith(dist) || !fs.existsSync(file) || fs.statSync(file).isDirectory()) file = path.join(dist, 'index.html');
    res.writeHead(200, { 'Content-Type': types[path.extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': CSP, 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-cache' });
    return fs.createReadStream(file).pipe(res);
  })
  .listen(Number(port), '127.0.0.1');
