'use strict';
// SPDX-License-Identifier: Apache-2.0
// L'API de la plateforme de bénévolat, en miniature : missions, inscriptions, santé, métriques.
// Écoute sur 127.0.0.1 seulement. POST /demo/panne et /demo/reparer servent à `hune demo`.

const http = require('node:http');
const client = require('prom-client');

const port = Number(process.env.PORT || 4870);
client.collectDefaultMetrics();

const requests = new client.Counter({
  name: 'http_requests_total',
  help: 'Requêtes HTTP traitées',
  labelNames: ['method', 'path', 'status'],
});
const duration = new client.Histogram({
  name: 'http_request_duration_seconds',
  help: 'Durée des requêtes HTTP',
  labelNames: ['method', 'path', 'status'],
  buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
});
const registrations = new client.Counter({
  name: 'benevoles_inscriptions_total',
  help: 'Bénévoles inscrits à une mission',
  labelNames: ['ville'],
});
const missionsCreated = new client.Counter({ name: 'missions_creees_total', help: 'Missions créées' });
const missionsOpen = new client.Gauge({ name: 'missions_ouvertes', help: 'Missions auxquelles on peut s’inscrire' });

const missions = [
  { id: 1, titre: 'Collecte alimentaire', ville: 'Lyon', places: 12 },
  { id: 2, titre: 'Accompagnement scolaire', ville: 'Nantes', places: 5 },
  { id: 3, titre: 'Maraude du jeudi', ville: 'Lille', places: 8 },
];
missionsOpen.set(missions.length);

// Ce que `hune demo break api` change.
let breakdown = 'aucune';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function answer(res, status, body) {
  const text = JSON.stringify(body);
  res.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(text) });
  res.end(text);
  return status;
}

async function handle(req, path, res) {
  if (breakdown === 'lenteur') await pause(900 + Math.random() * 1200);
  else await pause(2 + Math.random() * 18);
  if (breakdown === 'erreurs' && path !== '/health' && Math.random() < 0.6) {
    console.error(`[Nest] ERROR [MissionsService] connexion MongoDB perdue : ${req.method} ${path}`);
    return answer(res, 500, { statusCode: 500, message: 'Internal server error' });
  }
  if (req.method === 'GET' && path === '/health') return answer(res, breakdown === 'erreurs' ? 503 : 200, { status: breakdown === 'erreurs' ? 'ko' : 'ok' });
  if (req.method === 'GET' && path === '/missions') return answer(res, 200, missions);
  if (req.method === 'POST' && path === '/missions') {
    missionsCreated.inc();
    return answer(res, 201, { id: missions.length + 1 });
  }
  if (req.method === 'POST' && path === '/inscriptions') {
    registrations.inc({ ville: missions[Math.floor(Math.random() * missions.length)].ville });
    return answer(res, 201, { inscrit: true });
  }
  return answer(res, 404, { statusCode: 404, message: 'Not Found' });
}

const known = new Set(['/health', '/missions', '/inscriptions']);

const server = http.createServer(async (req, res) => {
  const path = new URL(req.url, 'http://127.0.0.1').pathname;
  req.resume();
  if (path === '/metrics') {
    res.writeHead(200, { 'Content-Type': client.register.contentType });
    res.end(await client.register.metrics());
    return;
  }
  if (req.method === 'POST' && path.startsWith('/demo/')) {
    const wanted = path.slice('/demo/'.length);
    if (wanted === 'plantage') {
      answer(res, 200, { panne: wanted });
      console.error('[Nest] ERROR Uncaught exception: out of memory (simulation)');
      setTimeout(() => process.exit(1), 50);
      return;
    }
    if (!['erreurs', 'lenteur', 'aucune'].includes(wanted)) {
      answer(res, 404, { message: 'pannes connues : erreurs, lenteur, plantage, aucune' });
      return;
    }
    breakdown = wanted;
    console.log(`[Nest] WARN [Demo] panne simulée : ${breakdown}`);
    answer(res, 200, { panne: breakdown });
    return;
  }
  const started = process.hrtime.bigint();
  const status = await handle(req, path, res);
  const labels = { method: req.method, path: known.has(path) ? path : 'autre', status: String(status) };
  requests.inc(labels);
  duration.observe(labels, Number(process.hrtime.bigint() - started) / 1e9);
});

server.listen(port, '127.0.0.1', () => {
  console.log(`[Nest] LOG [NestApplication] API bénévoles à l'écoute sur 127.0.0.1:${port}`);
  if (process.send) process.send('ready');
});

process.on('SIGINT', () => server.close(() => process.exit(0)));
setInterval(() => server.closeIdleConnections?.(), 1000).unref();
