// A page as different people see it: pictures for people to look at, what only shows in a layout, and what axe finds
// against WCAG 2.0 to 2.2, levels A and AA, in both colour schemes, 1000 and 320 px wide, and enlarged twice.
//
//   const lens = await Lens.open(folder);
//   const { screenshots, problems, buttons } = await lens.look(page, 'connect');
//   await lens.close();
//
// `buttons` says of each button of the page, for each of `WINDOWS`, how it lies there, in CSS pixels.
//
// `problems` names what a person would stumble over. axe needs scripts, which people may have switched off and our
// policy forbids: it looks at a copy of the page, in a browser of its own.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { launch } from './chromium.mjs';

export const WIDE = { width: 1000, height: 800 };
const VIEWS = [
  ['light', { colorScheme: 'light' }, WIDE],
  ['dark', { colorScheme: 'dark' }, WIDE],
  ['320', { colorScheme: 'light' }, { width: 320, height: 640 }],
  ['dark-320', { colorScheme: 'dark' }, { width: 320, height: 640 }],
  // A window of 1000 px at 200 %.
  ['zoomed', { colorScheme: 'light' }, { width: 500, height: 400 }],
];
// A small laptop, a phone, and the narrowest window of WCAG 2.2 (1.4.10).
const WINDOWS = [[1280, 720], [390, 844], [320, 640]];
const LEVELS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'];
// Off unless asked for by name.
const RULES = { 'target-size': { enabled: true } };

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds in a page, each with where. */
async function findings(page) {
  const { violations, passes } = await page.evaluate(
    ([levels, rules]) => globalThis.axe.run(document, { runOnly: { type: 'tag', values: levels }, rules, resultTypes: ['violations', 'passes'] }),
    [LEVELS, RULES],
  );
  if (!passes.length) return ['axe looked at nothing'];
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ target }) => `${id}: ${help} (${target.join(' ')})`));
}

/** `{"1280x720":[{"answer":"continue","bottom":612,"width":300,"room":428}]}`; `room` is its form's width. */
async function buttons(page) {
  const seen = {};
  for (const [width, height] of WINDOWS) {
    await page.setViewportSize({ width, height });
    seen[`${width}x${height}`] = await page.evaluate(() => [...document.querySelectorAll('main form button')].map((button) => {
      const { bottom, width: own } = button.getBoundingClientRect();
      const { color, backgroundColor, borderColor } = getComputedStyle(button);
      return { answer: button.value, bottom: Math.ceil(bottom + scrollY), width: Math.round(own), room: Math.round(button.form.getBoundingClientRect().width), paint: [color, backgroundColor, borderColor].join(' ') };
    }));
  }
  return seen;
}

export class Lens {
  #folder;
  #copy;

  constructor(folder, copy) {
    this.#folder = folder;
    this.#copy = copy;
  }

  /** Leaves pictures in `folder`. */
  static async open(folder) {
    return new Lens(folder, await launch({ javaScriptEnabled: true }));
  }

  close() {
    return this.#copy.close();
  }

  async look(page, name) {
    const screenshots = [];
    const problems = [];
    const [copy] = this.#copy.context.pages();
    await copy.setContent(await page.content());
    await copy.evaluate(`${axe}; undefined`);
    for (const [suffix, media, size] of VIEWS) {
      for (const one of [page, copy]) {
        await one.emulateMedia(media);
        await one.setViewportSize(size);
      }
      const picture = `${name}-${suffix}.png`;
      await page.screenshot({ path: join(this.#folder, picture), fullPage: true });
      screenshots.push(picture);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > size.width) problems.push(`${name} page, ${suffix}: ${width} px wide in a window of ${size.width}`);
      for (const finding of await findings(copy)) problems.push(`${name} page, ${suffix}: ${finding}`);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    const lie = await buttons(page);
    await page.setViewportSize(WIDE);
    for (const part of ['h1', 'main', 'html[lang]']) {
      if ((await page.locator(part).count()) !== 1) problems.push(`${name} page: not one ${part}`);
    }
    return { screenshots, problems, buttons: lie };
  }
}
