// SPDX-License-Identifier: Apache-2.0
// The tokens' contrast, computed by the browser in each theme: text >= 4.5:1, marks and controls >= 3:1 (WCAG 2.2, 1.4.3
// and 1.4.11); and the ten series colours stay apart for the common colour-vision deficiencies.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { dist, openPage, startBrowser, startMock, themes } from './lib.mjs';

const text = ['text-1', 'text-2', 'text-3', 'accent', 'critical', 'warning', 'info', 'ok'];
const surfaces = ['surface-0', 'surface-1', 'surface-2'];
const series = Array.from({ length: 10 }, (_, i) => `series-${i + 1}`);

const lin = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const rgb = (s) => s.match(/[\d.]+/g).slice(0, 3).map((n) => Number(n) / 255);
const luminance = (s) => {
  const [r, g, b] = rgb(s).map(lin);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (a, b) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
};
// Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
const vision = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protan: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deutan: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
};
const oklab = ([r, g, b]) => {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s, 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s];
};
const seenAs = (s, m) => {
  const [r, g, b] = rgb(s).map(lin);
  const at = (i) => Math.min(1, Math.max(0, m[i] * r + m[i + 1] * g + m[i + 2] * b));
  return oklab([at(0), at(3), at(6)]);
};

test('contrast', { skip: !fs.existsSync(path.join(dist, 'assets')) && 'the page is not built' }, async (t) => {
  const mock = await startMock(t, 'empty');
  const browser = await startBrowser(t);
  for (const theme of themes) {
    const { page, close } = await openPage(browser, mock.url, { theme });
    await page.goto(mock.url + '/');
    const c = await page.evaluate((names) => {
      const probe = document.createElement('i');
      document.body.append(probe);
      return Object.fromEntries(names.map((n) => {
        probe.style.color = `var(--${n})`;
        return [n, getComputedStyle(probe).color];
      }));
    }, [...text, ...surfaces, ...series, 'on-accent', 'line-strong', 'critical-soft', 'warning-soft']);
    const low = [];
    const need = (a, b, min) => {
      const r = ratio(c[a], c[b]);
      if (r < min) low.push(`${theme}: ${a} on ${b} is ${r.toFixed(2)}, needs ${min}`);
    };
    for (const s of surfaces) {
      for (const n of text) need(n, s, 4.5);
      need('line-strong', s, 3);
    }
    for (const n of series) for (const s of ['surface-0', 'surface-1']) need(n, s, 3);
    need('on-accent', 'accent', 4.5);
    for (const soft of ['critical-soft', 'warning-soft']) for (const n of ['text-1', 'text-2', 'text-3']) need(n, soft, 4.5);
    need('critical', 'critical-soft', 4.5);
    need('warning', 'warning-soft', 4.5);
    assert.deepEqual(low, []);
    for (const [kind, m] of Object.entries(vision))
      for (let i = 0; i < 10; i++)
        for (let k = i + 1; k < 10; k++) {
          const [a, b] = [seenAs(c[series[i]], m), seenAs(c[series[k]], m)];
          const d = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
          if (d < 0.045) low.push(`${theme}, ${kind}: ${series[i]} and ${series[k]} differ by ${d.toFixed(3)} only`);
        }
    assert.deepEqual(low, []);
    await close();
  }
});
