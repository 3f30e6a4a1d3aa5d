// SPDX-License-Identifier: Apache-2.0
// Explore on the real server: typing completes names, a query draws a chart, errors point at the place, the address holds it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { openPage, server, settled, sleep, startBrowser, startHune } from './lib.mjs';

test('explore', { skip: !fs.existsSync(server) && 'hune-server is not built' }, async (t) => {
  const hune = await startHune(t, (port) => `global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: hune\n  static_configs: [{targets: ["127.0.0.1:${port}"]}]\n`);
  const browser = await startBrowser(t);
  const { page, faults } = await openPage(browser, hune.url);
  await sleep(4000);

  await t.test('a name is completed and Enter runs the query', async () => {
    await page.goto(hune.url + '/explore?from=now-15m');
    await settled(page);
    const editor = page.locator('.editor .cm-content');
    await editor.click();
    await page.keyboard.type('scrape_dura', { delay: 30 });
    await page.locator('.cm-tooltip-autocomplete').getByText('scrape_duration_seconds').first().waitFor();
    await sleep(200); // the editor ignores keys for 75 ms after the list opens
    await page.keyboard.press('Tab');
    await page.waitForFunction(() => document.querySelector('.editor').shadowRoot.querySelector('.cm-content').textContent === 'scrape_duration_seconds');
    await page.keyboard.press('Enter');
    await page.waitForURL(/g0\.expr=scrape_duration_seconds/);
    await page.locator('.legend tbody tr').first().waitFor();
    await page.locator('canvas').waitFor();
    // Something other than the background was drawn.
    const colours = await page.evaluate(() => {
      const c = document.querySelector('canvas');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set();
      for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) seen.add((d[i] << 16) | (d[i + 1] << 8) | d[i + 2]);
      return seen.size;
    });
    assert.ok(colours > 3, `the canvas holds ${colours} colours`);
  });
  await t.test('the table has the value', async () => {
    await page.getByRole('button', { name: 'Table', exact: true }).click();
    await page.waitForURL(/g0\.tab=1/);
    await page.getByRole('table', { name: 'Table' }).getByText('job="hune"').waitFor();
  });
  await t.test("addresses of Prometheus' own page are understood", async () => {
    await page.goto(hune.url + '/graph?g0.expr=up&g0.tab=1');
    await page.waitForURL(/\/explore\?g0\.expr=up/);
    await page.getByRole('table', { name: 'Table' }).getByText('up{').waitFor();
  });
  assert.deepEqual(faults, []);
  await t.test('a wrong query says where', async () => {
    await page.goto(hune.url + '/explore?g0.expr=' + encodeURIComponent('sum(up'));
    await page.getByRole('alert').getByText(/parse error|1:\d+/).first().waitFor();
  });
  assert.deepEqual(await page.evaluate(() => window.refused), []);
});
