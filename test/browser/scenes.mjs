// SPDX-License-Identifier: Apache-2.0
// The same checks on made-up states that a fresh server does not show: trouble everywhere, nothing at all, very long names,
// a thousand records.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { axeSource, dist, openPage, settled, startBrowser, startMock } from './lib.mjs';

const shots = process.env.HUNE_SHOTS;
const paths = ['/', '/anomalies', '/anomalies/ANO-20261122-001', '/processes', '/processes/1', '/events', '/alerts?tab=sent'];
const skip = !fs.existsSync(path.join(dist, 'assets')) && 'the page is not built';

for (const scene of ['busy', 'empty', 'long']) {
  test(`scene ${scene}`, { skip }, async (t) => {
    const mock = await startMock(t, scene);
    const browser = await startBrowser(t);
    for (const kind of [
      { theme: 'light', lang: 'fr', width: 360 },
      { theme: 'dark', lang: 'en', width: 1280 },
    ]) {
      const { page, faults, close } = await openPage(browser, mock.url, kind);
      for (const view of paths) {
        await page.goto(mock.url + view);
        await settled(page);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${view}: scrolls sideways by ${wide} px at ${kind.width}`);
        assert.deepEqual(await page.evaluate(() => window.refused), []);
        await page.evaluate(axeSource);
        const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'], resultTypes: ['violations'] }));
        assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`), [], `${scene} ${view}`);
        if (shots) await page.screenshot({ path: path.join(shots, `${scene}${view.replace(/[/?=]/g, '_')}-${kind.width}.png`), fullPage: kind.width > 500 });
      }
      // The mock has no store: graphs say so, and the browser logs the refused requests. Nothing else may go wrong.
      assert.deepEqual(faults.filter((f) => !/status of (503|404)/.test(f)), []);
      await close();
    }
  });
}

test('data is text, never markup', { skip }, async (t) => {
  const mock = await startMock(t, 'busy');
  const browser = await startBrowser(t);
  const { page } = await openPage(browser, mock.url);
  await page.goto(mock.url + '/processes/1');
  await page.getByText('<b>not markup</b>').first().waitFor();
});

test('a thousand rows: only the visible ones exist, j and k move', { skip }, async (t) => {
  const mock = await startMock(t, 'many');
  const browser = await startBrowser(t);
  const { page } = await openPage(browser, mock.url);
  await page.goto(mock.url + '/anomalies?closed=1');
  await settled(page);
  await page.locator('tbody tr').first().waitFor();
  assert.ok((await page.locator('tbody tr').count()) < 120, 'virtualised');
  for (let i = 0; i < 60; i++) await page.keyboard.press('j');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex')), '61');
  await page.keyboard.press('k');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-rowindex')), '60');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/anomalies\/ANO-/);
  await page.goBack();
  assert.match(page.url(), /\/anomalies\?closed=1$/);
  await page.locator('[data-filter]').fill('number 777');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  assert.match(page.url(), /q=number/);
});

test('the server goes away and returns', { skip }, async (t) => {
  const mock = await startMock(t, 'calm');
  const browser = await startBrowser(t);
  const { page } = await openPage(browser, mock.url);
  await page.goto(mock.url + '/');
  await page.getByRole('heading', { name: 'All well for 21 minutes' }).waitFor();
  await page.route('**/api/**', (r) => r.abort());
  await page.keyboard.press('r');
  await page.getByText('hune has not answered since').waitFor();
  assert.ok(await page.getByRole('heading', { name: 'All well for 21 minutes' }).isVisible(), 'the last data stays');
  await page.unroute('**/api/**');
  await page.keyboard.press('r');
  await page.getByText('hune has not answered since').waitFor({ state: 'detached' });
});
