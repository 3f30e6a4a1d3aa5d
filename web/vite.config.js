// SPDX-License-Identifier: Apache-2.0
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The server answers with `default-src 'self'`: nothing may be inlined, neither as data: nor as a script in the page.
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
  },
  server: {
    host: '127.0.0.1',
    proxy: Object.fromEntries(
      ['/api', '/-', '/metrics'].map((p) => [p, { target: process.env.HUNE_URL ?? 'http://127.0.0.1:4863' }]),
    ),
  },
});
