// SPDX-License-Identifier: Apache-2.0
// What every browser test needs: a hune of this build on a free loopback port with a folder of its own (or the mock, for
// states that are slow to bring about), a fresh Chromium profile, and everything stopped at the end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
export const source = path.resolve(here, '../..');
export const build = process.env.HUNE_BUILD ?? path.join(source, 'build');
const require = createRequire(path.join(source, 'web/package.json'));
const { chromium } = require('playwright-core');
export const axeSource = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
export const dist = path.join(build, 'src/ui/dist');
export const server = path.join(build, 'hune-server');
export const themes = ['light', 'dark', 'contrast'];
export const langs = ['en', 'fr'];
export const views = ['/', '/alerts', '/anomalies', '/services', '/processes', '/explore', '/events', '/settings', '/settings/config', '/settings/flags', '/settings/storage'];

export function freePort() {
  return new Promise((resolve, reject) => {
    const s = net.createServer();
    s.on('error', reject);
    s.listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export async function until(check, what, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await Promise.resolve(check()).catch(() => null);
    if (got) return got;
    if (Date.now() > end) assert.fail(`waited ${ms} ms for ${what}`);
    await sleep(50);
  }
}

function stop(child) {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    const hard = setTimeout(() => child.kill('SIGKILL'), 5000);
    child.once('exit', () => {
      clearTimeout(hard);
      resolve();
    });
    child.kill('SIGTERM');
    return undefined;
  });
}

/** A real server that watches itself and this machine; stopped when the test file ends. */
export async function startHune(t, config = null) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hune-browser-'));
  const port = await freePort();
  const args = ['server', `--web.listen-address=127.0.0.1:${port}`, `--data.dir=${dir}/data`];
  if (config) {
    fs.writeFileSync(path.join(dir, 'prometheus.yml'), config(port));
    args.push(`--config.file=${dir}/prometheus.yml`);
  }
  const log = fs.openSync(path.join(dir, 'log'), 'w');
  const child = spawn(server, args, { stdio: ['ignore', log, log], env: { ...process.env, HOME: dir } });
  const url = `http://127.0.0.1:${port}`;
  t.after(async () => {
    await stop(child);
    fs.closeSync(log);
    fs.rmSync(dir, { recursive: true, force: true });
  });
  await until(async () => {
    if (child.exitCode !== null) assert.fail(`hune-server ended with ${child.exitCode}: ${fs.readFileSync(path.join(dir, 'log'), 'utf8').slice(-2000)}`);
    return (await fetch(url + '/-/ready')).ok;
  }, 'the server to be ready');
  return { url, child, dir, stop: () => stop(child) };
}

export async function startMock(t, scene, prom = '-') {
  const port = await freePort();
  const child = spawn(process.execPath, [path.join(here, 'mock-server.mjs'), dist, String(port), prom, scene], { stdio: 'ignore' });
  t.after(() => stop(child));
  const url = `http://127.0.0.1:${port}`;
  await until(async () => (await fetch(url + '/')).ok, 'the mock');
  return { url, child };
}

export async function startBrowser(t) {
  const browser = await chromium.launch({
    executablePath: process.env.HUNE_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
  t.after(() => browser.close());
  return browser;
}

/** A page that keeps what went wrong: console errors, exceptions, refused by the content policy, requests to elsewhere. */
export async function openPage(browser, url, { theme = 'light', lang = 'en', width = 1280, height = 900, reduced = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale: lang === 'fr' ? 'fr-FR' : 'en-GB', reducedMotion: reduced ? 'reduce' : 'no-preference' });
  await context.addInitScript(([l, th]) => {
    localStorage.setItem('hune.lang', l);
    localStorage.setItem('hune.theme', th);
    window.refused = [];
    document.addEventListener('securitypolicyviolation', (e) => window.refused.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
  }, [lang, theme]);
  const page = await context.newPage();
  const faults = [];
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') faults.push(`console ${m.type()}: ${m.text()} ${m.location()?.url ?? ''}`);
  });
  page.on('pageerror', (e) => faults.push(`exception: ${e.message}`));
  page.on('request', (r) => {
    const u = new URL(r.url());
    if (u.origin !== url && !['blob:', 'data:'].includes(u.protocol)) faults.push(`request elsewhere: ${r.url()}`);
  });
  return { page, context, faults, close: () => context.close() };
}

export async function settled(page) {
  await page.locator('main').waitFor();
  await page.waitForFunction(() => !document.querySelector('main .wait'), null, { timeout: 10_000 });
  await page.waitForFunction(() => !document.querySelector('.skeleton'), null, { timeout: 5_000 }).catch(() => undefined);
}
