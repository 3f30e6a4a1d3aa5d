'use strict';
// SPDX-License-Identifier: Apache-2.0
// La boîte de réception de la démonstration : un webhook qui écrit chaque notification reçue.
// `hune logs boite` les montre.

const http = require('node:http');

const port = Number(process.env.PORT || 4871);
http.createServer((req, res) => {
  const parts = [];
  let size = 0;
  req.on('data', (d) => {
    size += d.length;
    if (size > 1 << 20) req.destroy();
    else parts.push(d);
  });
  req.on('end', () => {
    let message;
    try {
      message = JSON.parse(Buffer.concat(parts).toString('utf8'));
    } catch {
      res.writeHead(400).end();
      return;
    }
    for (const a of message.alerts || []) {
      const mark = a.status === 'resolved' ? '✅ résolue ' : '🚨 alerte  ';
      console.log(`${mark} ${a.labels.alertname} [${a.labels.severity}] ${a.annotations.summary || ''}`);
    }
    res.writeHead(200).end();
  });
}).listen(port, '127.0.0.1', () => console.log(`boîte de réception sur 127.0.0.1:${port}`));
process.on('SIGINT', () => process.exit(0));
