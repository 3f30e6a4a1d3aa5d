// SPDX-License-Identifier: Apache-2.0
// By keyboard alone: views, command palette, help, skip link, menus; the focus is seen and comes back.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { dist, openPage, settled, startBrowser, startMock } from './lib.mjs';

test('keyboard', { skip: !fs.existsSync(path.join(dist, 'assets')) && 'the page is not built' }, async (t) => {
  const mock = await startMock(t, 'busy');
  const browser = await startBrowser(t);
  const { page } = await openPage(browser, mock.url);
  await page.goto(mock.url + '/');
  await settled(page);

  await t.test('g and a letter opens each view', async () => {
    for (const [key, at] of [['a', '/alerts'], ['n', '/anomalies'], ['s', '/services'], ['p', '/processes'], ['e', '/explore'], ['v', '/events'], ['t', '/settings'], ['o', '/']]) {
      await page.keyboard.press('g');
      await page.keyboard.press(key);
      await page.waitForFunction((p) => location.pathname === p, at);
    }
  });
  await t.test('Ctrl-K finds and opens, Escape gives the focus back', async () => {
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').fill('api answers');
    await page.getByRole('option', { name: /ANO-20261122-002/ }).waitFor();
    await page.keyboard.press('Enter');
    await page.waitForURL(/ANO-20261122-002/);
    await page.getByRole('button', { name: /Time range/ }).focus();
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').waitFor();
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label')?.startsWith('Time range'));
  });
  await t.test('menus move by arrows', async () => {
    await page.keyboard.press('Enter');
    await page.getByRole('menuitemradio', { name: '1 hour' }).waitFor();
    await page.waitForFunction(() => document.activeElement?.getAttribute('role') === 'menuitemradio');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => new URLSearchParams(location.search).get('from') === 'now-3h');
  });
  await t.test('help opens by ? and closes by Escape', async () => {
    await page.keyboard.press('Shift+?');
    await page.getByRole('heading', { name: 'Keyboard' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { name: 'Keyboard' }).waitFor({ state: 'detached' });
  });
  await t.test('the first Tab offers to skip to the content', async () => {
    await page.goto(mock.url + '/');
    await settled(page);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement?.className.includes('skip')), true);
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
  });
  await t.test('a field of the sheet is edited in place', async () => {
    await page.goto(mock.url + '/anomalies/ANO-20261122-001');
    await page.getByRole('button', { name: /^Root cause/ }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('textbox', { name: 'Root cause' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /^Root cause/ }).waitFor();
  });
  await t.test('stopping a process asks first', async () => {
    await page.goto(mock.url + '/processes');
    await page.getByRole('button', { name: 'Stop web' }).click();
    await page.getByRole('heading', { name: 'Stop web?' }).waitFor();
    await page.getByRole('button', { name: 'Stop', exact: true }).click();
    await page.getByText('web is stopping').waitFor();
  });
});
