// SPDX-License-Identifier: Apache-2.0
// The words: both languages complete, the same placeholders, French typography, no exclamation marks.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { source } from './lib.mjs';

const text = fs.readFileSync(path.join(source, 'web/src/lib/words.ts'), 'utf8');
const rows = [...text.matchAll(/^ {2}'?([\w.]+)'?: \['((?:[^'\\]|\\.)*)', '((?:[^'\\]|\\.)*)'\],$/gm)];

test('words', () => {
  assert.ok(rows.length > 250, `${rows.length} rows were read`);
  assert.equal(rows.length, text.split('\n').filter((l) => /^ {2}['a-z]/.test(l)).length, 'every row has the same form');
  for (const [, key, en, fr] of rows) {
    assert.ok(en && fr, `${key}: empty`);
    assert.doesNotMatch(en + fr, /!/, `${key}: exclamation mark`);
    const holes = (s) => [...new Set([...s.matchAll(/\{(\w+)/g)].map((m) => m[1]))].sort().join();
    assert.equal(holes(en), holes(fr), `${key}: placeholders differ`);
    assert.doesNotMatch(fr, /[^ ][;?:»]|«[^ ]/, `${key}: a French sign lacks its space`);
    assert.doesNotMatch(fr, /'/, `${key}: straight apostrophe`);
  }
});
