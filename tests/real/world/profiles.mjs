// Several people, each at a Chromium with a profile of their own, doing what they are told line by line:
//
//   node profiles.mjs '{"scripts":true}'                               pages may run scripts; without: not
//   {"ready":true}
//   {"who":"ana","goto":"http://127.0.0.1:8971/connect/…"}
//   {"url":"…","status":200,"title":"…","text":"…","fields":["login"],"buttons":["allow","deny"],"visited":[…]}
//   {"who":"ana","fill":{"login":"ana"},"press":"allow"}                 a button by its value; "": the only one
//   {"who":"ana","goto":"…","until":"http://127.0.0.1"}                  a page that goes on by itself, and where to
//   {"who":"ana","look":"sign-in","folder":"/…"}                         see look.mjs
//   {"screenshots":["sign-in-light.png",…],"problems":[]}
//
// A profile is made when somebody first does something, and keeps its cookies until stdin closes. The whole address is
// told, query and all: tests hand it on to somebody else.

import { createInterface } from 'node:readline';
import { launch } from './chromium.mjs';
import { Lens } from './look.mjs';
import { options } from './serve.mjs';

const PATIENCE_MS = 30_000;
const given = options({ scripts: false });
const people = new Map();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
// stdout carries the answers and nothing else.
console.log = console.error;

async function person(who) {
  if (!people.has(who)) {
    const { context, close } = await launch({ javaScriptEnabled: given.scripts });
    context.setDefaultTimeout(PATIENCE_MS);
    const [page] = context.pages();
    const last = { status: null, visited: [] };
    page.on('response', (response) => {
      if (!response.request().isNavigationRequest()) return;
      last.status = response.status();
      last.visited.push(response.url());
    });
    people.set(who, { page, last, close });
  }
  return people.get(who);
}

let lens;

async function act({ who, goto, until, fill = {}, press, look, folder }) {
  const { page, last } = await person(who);
  if (look) {
    lens ??= await Lens.open(folder);
    return lens.look(page, look);
  }
  last.visited = [];
  if (goto) await page.goto(goto);
  if (until) await page.waitForURL((url) => url.href.startsWith(until));
  for (const [name, value] of Object.entries(fill)) await page.locator(`input[name="${name}"]`).fill(value);
  if (press !== undefined) {
    await Promise.all([page.waitForEvent('load'), page.locator(press ? `button[value="${press}"]` : 'button').click()]);
  }
  const all = (selector, attribute) => page.locator(selector).evaluateAll((found, name) => found.map((one) => one.getAttribute(name)), attribute);
  return {
    url: page.url(),
    status: last.status,
    title: await page.title(),
    text: (await page.locator('body').innerText()).replace(/\s+/g, ' ').trim(),
    fields: await all('input:not([type="hidden"])', 'name'),
    buttons: await all('button', 'value'),
    visited: last.visited,
  };
}

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say(await act(JSON.parse(line)));
  } catch (error) {
    say({ error: error.message });
  }
}
for (const { close } of people.values()) await close();
await lens?.close();
