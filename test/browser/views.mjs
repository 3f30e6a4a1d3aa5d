// SPDX-License-Identifier: Apache-2.0
// Every view of the real server loads in both languages and all themes: no console error, nothing refused by the content
// policy, no request to elsewhere, no sideways scrolling, and axe finds no fault.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { axeSource, openPage, server, settled, sleep, startBrowser, startHune, views } from './lib.mjs';

// Set to a folder to keep a picture of each view and width.
const shots = process.env.HUNE_SHOTS;
const kinds = [
  { theme: 'light', lang: 'en', width: 1280 },
  { theme: 'dark', lang: 'fr', width: 1920 },
  { theme: 'contrast', lang: 'en', width: 1024 },
  { theme: 'light', lang: 'fr', width: 360 },
];

test('every view is clean', { skip: !fs.existsSync(server) && 'hune-server is not built' }, async (t) => {
  const hune = await startHune(t, (port) => `global: {scrape_interval: 1s, evaluation_interval: 1s}\nscrape_configs:\n- job_name: hune\n  static_configs: [{targets: ["127.0.0.1:${port}"]}]\n`);
  const browser = await startBrowser(t);
  await sleep(3000); // a few scrapes, so that graphs have points
  for (const kind of kinds) {
    await t.test(`${kind.theme} ${kind.lang} ${kind.width}`, async () => {
      const { page, faults, close } = await openPage(browser, hune.url, kind);
      for (const view of views) {
        await page.goto(hune.url + view);
        await settled(page);
        const found = await page.evaluate(() => ({ refused: window.refused, wide: document.documentElement.scrollWidth - innerWidth, lang: document.documentElement.lang, h1: document.querySelectorAll('h1').length, inline: document.querySelectorAll('script:not([src]), style').length }));
        assert.deepEqual(found.refused, [], `${view}: content policy`);
        assert.ok(found.wide <= 0, `${view}: scrolls sideways by ${found.wide} px at ${kind.width}`);
        assert.equal(found.lang, kind.lang);
        assert.ok(found.h1 <= 1, `${view}: ${found.h1} main headings`);
        assert.equal(found.inline, 0, `${view}: inline script or style`);
        // Run by the debugger, outside of the page's policy.
        await page.evaluate(axeSource);
        const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'], resultTypes: ['violations'] }));
        assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`), [], `${view} ${kind.theme}`);
        if (shots) await page.screenshot({ path: path.join(shots, `${view.replace(/\//g, '_')}-${kind.width}-${kind.theme}-${kind.lang}.png`), fullPage: kind.width > 500 });
      }
      assert.deepEqual(faults, []);
      await close();
    });
  }
});
