// The same journey as consent.mjs in a real Chromium, by keyboard alone and with scripts switched off, looking at our
// pages as look.mjs does.
//
//   node browser.mjs URL DIR [--deny] [--untick SCOPE]… [--login NAME] [--paste FILE]… [--press ANSWER]…
//   {"connect_title":"…","final_title":"…","final_url_path":"…","final_text":"…","screenshots":["connect-light.png",…],"problems":[],
//    "buttons":{"connect":{"1280x720":[…],…},…}}
//
// `--paste` fills in our own form with a line of a file, as often as it is given: a secret has no place among a program's
// arguments. `--press` presses a button of the page at the end, by what it answers.
//
// `problems` names what a person would stumble over; an empty list is a pass.

import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { launch } from './chromium.mjs';
import { Lens, WIDE } from './look.mjs';
import { shown } from './visitor.mjs';

const MOST_TABS = 30;

const { values: wish, positionals: [link, folder] } = parseArgs({
  allowPositionals: true,
  options: {
    deny: { type: 'boolean', default: false },
    untick: { type: 'string', multiple: true, default: [] },
    login: { type: 'string', default: 'ana' },
    paste: { type: 'string' },
    press: { type: 'string', multiple: true, default: [] },
  },
});

const problems = [];
const screenshots = [];
const buttons = {};

function watch(page) {
  page.on('console', (message) => {
    // Browsers ask for an icon of their own accord; not to have one is no fault.
    if (message.type() === 'error' && !message.location().url.endsWith('/favicon.ico')) problems.push(`console: ${message.text().replace(/\?\S*/g, '?…')}`);
  });
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol !== 'data:' && !['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) problems.push(`a request to ${hostname}`);
  });
}

/** See look.mjs. */
async function look(page, name) {
  const seen = await lens.look(page, name);
  screenshots.push(...seen.screenshots);
  problems.push(...seen.problems);
  buttons[name] = seen.buttons;
}

/** Tabs to the first element that `matches` (a CSS selector), as somebody without a mouse does. */
async function tabTo(page, matches) {
  for (let pressed = 0; pressed < MOST_TABS; pressed += 1) {
    const there = await page.evaluate((selector) => document.activeElement?.matches(selector) ?? false, matches);
    if (there) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`the keyboard does not reach ${matches}`);
}

async function press(page, matches) {
  await tabTo(page, matches);
  await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
}

/** Types each line into our page's password field and goes on; all but the last are refused. */
async function paste(page, secrets) {
  for (const [index, secret] of secrets.entries()) {
    await tabTo(page, 'input[type="password"]');
    await page.keyboard.type(secret);
    await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
    if (index + 1 === secrets.length) return;
    await look(page, 'refused');
    if ((await page.content()).includes(secret)) problems.push('refused page: it repeats the secret');
    if (await page.locator('input[type="password"]').inputValue()) problems.push('refused page: the field is not empty');
    if ((await page.locator('[role="alert"]').count()) !== 1) problems.push('refused page: no alert');
  }
}

async function connect(page) {
  await page.goto(link);
  const title = await page.title();
  // A link that has done its work leads to the page that says so.
  if (!(await page.locator('button[value="continue"]').count())) return title;
  await look(page, 'connect');
  if (wish.paste) {
    await paste(page, (await readFile(wish.paste, 'utf8')).split('\n').filter(Boolean));
    return title;
  }
  const button = 'form[method="post" i] button, form[method="post" i] input[type="submit"]';
  await tabTo(page, button);
  const ring = await page.evaluate(() => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(document.activeElement);
    return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
  });
  if (!ring) problems.push('connect page: one cannot see where the keyboard is');
  await press(page, button);
  return title;
}

async function authorize(page, ours) {
  while (new URL(page.url()).origin !== ours) {
    if (await page.locator('input[name="login"]').count()) {
      await tabTo(page, 'input[name="login"]');
      await page.keyboard.type(wish.login);
      await press(page, 'button[value="allow"]');
      continue;
    }
    for (const scope of wish.untick) {
      await tabTo(page, `input[type="checkbox"][value="${scope}"]`);
      await page.keyboard.press('Space');
    }
    await press(page, `button[value="${wish.deny ? 'deny' : 'allow'}"]`);
  }
}

const { context, close } = await launch({ viewport: WIDE });
const lens = await Lens.open(folder);
try {
  const [page] = context.pages();
  watch(page);
  const connectTitle = await connect(page);
  await authorize(page, new URL(link).origin);
  for (const [index, answer] of wish.press.entries()) {
    await look(page, `before-${index}-${answer}`);
    await press(page, `button[value="${answer}"]`);
  }
  await look(page, 'result');
  console.log(JSON.stringify({
    connect_title: connectTitle,
    final_title: await page.title(),
    final_url_path: shown(new URL(page.url())),
    final_text: (await page.locator('body').innerText()).replace(/\s+/g, ' ').trim(),
    screenshots,
    problems,
    buttons,
  }));
} catch (error) {
  console.error(`browser: ${error.message.replace(/\?\S*/g, '?…')}`);
  process.exitCode = 1;
} finally {
  await Promise.all([close(), lens.close()]);
}
