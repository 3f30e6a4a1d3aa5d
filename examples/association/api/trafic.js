'use strict';
// SPDX-License-Identifier: Apache-2.0
// Un peu de trafic : quelques requêtes par seconde, en boucle locale uniquement.

const http = require('node:http');

const port = Number(process.env.API_PORT || 4870);
const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
const mix = [
  ['GET', '/missions'], ['GET', '/missions'], ['GET', '/missions'], ['GET', '/health'],
  ['POST', '/inscriptions'], ['POST', '/missions'], ['GET', '/inconnu'],
];
let failed = 0;

function once() {
  const [method, path] = mix[Math.floor(Math.random() * mix.length)];
  const req = http.request({ agent, host: '127.0.0.1', port, method, path, timeout: 8000 }, (res) => res.resume());
  req.on('timeout', () => req.destroy());
  req.on('error', () => { failed += 1; });
  req.end();
}

setInterval(once, 120);
setInterval(() => {
  if (failed) console.log(`${failed} requêtes sans réponse depuis une minute`);
  failed = 0;
}, 60000);
process.on('SIGINT', () => process.exit(0));
