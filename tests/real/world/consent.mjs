// The person who is asked: opens Countersign's link, presses "Continue", signs in at the authorization server, ticks
// and unticks, allows or denies, and reads the page at the end.
//
//   node consent.mjs URL [--deny] [--untick SCOPE]… [--login NAME] [--hold FILE] [--pages FILE] [--after URL]
//   {"steps":[{"method":"GET","url":"http://127.0.0.1:8971/connect/…","status":200},…],"final_status":200,…}
//
// Nothing secret is printed: no query, no ticket, no cookie. `--hold` stops before the callback and keeps its URL and
// this browser's cookie in FILE (mode 0600), for tests that send it late, twice, or from another browser. `--pages`
// adds the source of every page of Countersign's to FILE, for tests that search it. `--after` opens another page first,
// such as one that signs the person in at an application.

import { appendFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { entries, forms, text, title } from './html.mjs';
import { shown, Visitor } from './visitor.mjs';

const MOST_FORMS = 8;

/** Walks the journey to its end and reports it. Throws only where a person would be stuck. */
export async function approve(url, { pages = null, ...wishes } = {}) {
  const visitor = new Visitor();
  try {
    return await walk(visitor, url, wishes);
  } finally {
    const ours = visitor.sources.filter(({ origin }) => origin === new URL(url).origin);
    if (pages) appendFileSync(pages, ours.map(({ body }) => `${body}\n`).join(''));
  }
}

async function walk(visitor, url, { deny = false, untick = [], login = 'ana', hold = null, after = null }) {
  if (after) await visitor.visit(after);
  await visitor.visit(url);
  const ours = new URL(url).origin;
  let asked = false;
  for (let step = 0; step < MOST_FORMS; step += 1) {
    const onPage = forms(visitor.page.body);
    const isOurs = visitor.page.url.origin === ours;
    // Our own page has one thing to do; a form on the result page is not a reason to begin again.
    const form = isOurs && asked ? undefined : onPage.find((candidate) => candidate.method === 'post');
    if (!form) return report(visitor);
    if (isOurs) asked = true;
    const button = isOurs ? form.buttons[0] : answer(form, { deny, untick, login });
    const held = await visitor.submit(form, entries(form, button), hold ? isCallback : undefined);
    if (held) return keep(visitor, held, hold);
  }
  throw new Error(`still forms after ${MOST_FORMS} of them`);
}

/** Fills a form of the authorization server and says which button to press. */
export function answer(form, { deny, untick, login }) {
  const isConsent = !form.fields.some((field) => field.name === 'login');
  for (const field of form.fields) {
    if (field.name === 'login') field.value = login;
    if (field.type === 'checkbox' && untick.includes(field.value)) field.sent = false;
  }
  const wanted = deny && isConsent ? 'deny' : 'allow';
  const button = form.buttons.find((candidate) => candidate.value === wanted);
  if (!button) throw new Error(`a form of the authorization server has no button "${wanted}"`);
  return button;
}

function isCallback(url) {
  return url.searchParams.has('state') && (url.searchParams.has('code') || url.searchParams.has('error'));
}

/** The cookie of this trip, without the one that the browser's forms are known by, which has the port for its name. */
function tripCookie(visitor, callback) {
  return visitor.cookieHeader(callback).split('; ').filter((cookie) => !/^countersign_\d{1,5}=/.test(cookie)).join('; ');
}

function keep(visitor, callback, file) {
  writeFileSync(file, JSON.stringify({ callback_url: callback.href, cookie: tripCookie(visitor, callback) }), { mode: 0o600 });
  return { steps: visitor.steps, final_status: null, final_url_path: shown(callback), final_text: '', final_title: '' };
}

export function report({ steps, page }) {
  return {
    steps,
    final_status: page.status,
    final_url_path: shown(page.url),
    final_text: text(page.body),
    final_title: title(page.body),
  };
}

async function main() {
  const { values, positionals: [url] } = parseArgs({
    allowPositionals: true,
    options: {
      deny: { type: 'boolean', default: false },
      untick: { type: 'string', multiple: true, default: [] },
      login: { type: 'string', default: 'ana' },
      hold: { type: 'string' },
      pages: { type: 'string' },
      after: { type: 'string' },
      json: { type: 'boolean', default: true },
    },
  });
  console.log(JSON.stringify(await approve(url, values)));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  // The message only: a stack or a cause could carry an address with its query.
  main().catch((error) => {
    console.error(`consent: ${error.message.replace(/\?\S*/g, '?…')}`);
    process.exitCode = 1;
  });
}
