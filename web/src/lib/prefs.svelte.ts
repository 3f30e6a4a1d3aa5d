// SPDX-License-Identifier: Apache-2.0
// What one browser remembers: language, theme, the rail. Nothing else is kept outside the address.

export type Lang = 'en' | 'fr';
export type Theme = 'auto' | 'light' | 'dark' | 'contrast';
export const themes: Theme[] = ['auto', 'light', 'dark', 'contrast'];

function read(key: string): string | null {
  try {
    return localStorage.getItem('hune.' + key);
  } catch {
    return null; // storage refused: the choice lasts as long as the page
  }
}

function write(key: string, value: string) {
  try {
    localStorage.setItem('hune.' + key, value);
  } catch {
    /* as above */
  }
}

function firstLang(): Lang {
  const asked = new URLSearchParams(location.search).get('lang') ?? read('lang');
  if (asked === 'en' || asked === 'fr') return asked;
  return navigator.languages.some((l) => l.startsWith('fr')) && !navigator.language.startsWith('en') ? 'fr' : 'en';
}

class Prefs {
  lang = $state<Lang>(firstLang());
  theme = $state<Theme>((read('theme') as Theme) ?? 'auto');
  rail = $state<'open' | 'narrow'>((read('rail') as 'open' | 'narrow') ?? 'open');
  /** Changes when colours change, so that canvases redraw. */
  paint = $state(0);

  constructor() {
    if (!themes.includes(this.theme)) this.theme = 'auto';
    this.apply();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.paint++);
  }
  setLang(lang: Lang) {
    this.lang = lang;
    write('lang', lang);
    this.apply();
  }
  setTheme(theme: Theme) {
    this.theme = theme;
    write('theme', theme);
    this.apply();
    this.paint++;
  }
  toggleRail() {
    this.rail = this.rail === 'open' ? 'narrow' : 'open';
    write('rail', this.rail);
  }
  private apply() {
    const root = document.documentElement;
    root.lang = this.lang;
    const contrast = this.theme === 'auto' && matchMedia('(prefers-contrast: more)').matches;
    const theme = contrast ? 'contrast' : this.theme;
    if (theme === 'auto') delete root.dataset.theme;
    else root.dataset.theme = theme;
  }
}

export const prefs = new Prefs();
