// SPDX-License-Identifier: Apache-2.0
// Words in both languages, side by side so that neither is forgotten. French spacing is put in by typography(), once.
import { prefs } from './prefs.svelte';
import { words } from './words';

export type Key = keyof typeof words;

/** Narrow no-break space before ; ! ?, no-break space before : and inside guillemets, typographic apostrophe. */
export function typography(fr: string): string {
  return fr
    .replace(/'/g, '’')
    .replace(/ ([;!?])/g, '\u202f$1')
    .replace(/ :/g, '\u00a0:')
    .replace(/« /g, '«\u00a0')
    .replace(/ »/g, '\u00a0»');
}

const french = new Map<string, string>();

export function has(key: string): key is Key {
  return key in words;
}

/** `{name}` is replaced; `{n|one|many}` chooses by the language's plural rule and writes the number before the word. */
export function t(key: Key, params: Record<string, string | number> = {}): string {
  const pair = words[key];
  let text: string = pair[0];
  if (prefs.lang === 'fr') {
    text = french.get(key) ?? '';
    if (!text) french.set(key, (text = typography(pair[1])));
  }
  if (!text.includes('{')) return text;
  return text
    .replace(/\{(\w+)\|((?:[^|{}]|\{\w+\})*)\|((?:[^|{}]|\{\w+\})*)\}/g, (_, name: string, one: string, many: string) => {
      const n = Number(params[name] ?? 0);
      const single = new Intl.PluralRules(prefs.lang).select(n) === 'one';
      return single ? one : many;
    })
    .replace(/\{(\w+)\}/g, (_, name: string) => {
      const v = params[name];
      return typeof v === 'number' ? new Intl.NumberFormat(prefs.lang === 'fr' ? 'fr-FR' : 'en-GB').format(v) : String(v ?? '');
    });
}
