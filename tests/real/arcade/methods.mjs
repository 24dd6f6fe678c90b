// Arcade's JavaScript client, `@arcadeai/arcadejs` 2.4.1, one method at a time. The lines in and out are those of methods.py;
// beside them {"zod": "Notes.Write", "user_id": "ana", "input": {}} runs a tool through the client's zod helpers, as `executeOrAuthorizeZodTool`
// or with "only_execute": true.

import { createInterface } from 'node:readline';
import Arcade from '@arcadeai/arcadejs';
import { executeOrAuthorizeZodTool, toZodToolSet } from '@arcadeai/arcadejs/lib/index.mjs';
import { VERSION } from '@arcadeai/arcadejs/version';

// No part of the contract that Countersign serves.
const LEFT_OUT = ['chat', 'workers'];

const tried = new Set();

/** Every method below a client, with the names that lead to it. */
function methods(resource, path = []) {
  const own = path.length === 0 ? [] : Object.getOwnPropertyNames(Object.getPrototypeOf(resource))
    .filter((name) => name !== 'constructor' && typeof resource[name] === 'function')
    .map((name) => [...path, name].join('.'));
  const below = Object.entries(resource)
    .filter(([name, value]) => !name.startsWith('_') && !LEFT_OUT.includes(name) && value?._client)
    .flatMap(([name, value]) => methods(value, [...path, name]));
  return [...own, ...below];
}

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

function called(client, path, given) {
  const names = path.map(camel);
  tried.add(names.join('.'));
  const last = names.pop();
  const owner = names.reduce((resource, name) => resource[name], client);
  return owner[last](...given);
}

const given = (wish) => [...(wish.with ?? []), ...(wish.named ? [wish.named] : [])];

async function each(client, wish) {
  const items = [];
  for await (const item of called(client, wish.each, given(wish))) items.push(item);
  let page = await called(client, wish.each, given(wish));
  let pages = 1;
  while (page.hasNextPage()) {
    page = await page.getNextPage();
    pages += 1;
  }
  return { items, pages };
}

async function zod(client, wish) {
  const definition = await client.tools.get(wish.zod);
  const executeFactory = wish.only_execute ? undefined : executeOrAuthorizeZodTool;
  const set = toZodToolSet({ tools: [definition], client, userId: wish.user_id, executeFactory });
  const [[name, tool]] = Object.entries(set);
  return { name, keys: Object.keys(tool.parameters.shape), answer: await tool.execute(wish.input) };
}

async function carriedOut(client, wish) {
  if (wish.untried) return methods(client).filter((name) => !tried.has(name)).sort();
  if (wish.each) return each(client, wish);
  if (wish.post) return client.post(wish.post, { body: wish.body });
  if (wish.zod) return zod(client, wish);
  return called(client, wish.call, given(wish));
}

function told(error) {
  const bases = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) bases.push(kind.name);
  return { type: bases[0], bases, status: error.status ?? null, body: error.error ?? null, message: error.message };
}

const options = JSON.parse(process.argv[2]);
const client = new Arcade({ baseURL: options.base_url, apiKey: options.api_key });
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ client: '@arcadeai/arcadejs', version: VERSION, kind: 'Arcade' });
for await (const line of createInterface({ input: process.stdin })) {
  const begun = performance.now();
  let answer;
  try {
    answer = { result: (await carriedOut(client, JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { error: told(error) };
  }
  say({ ...answer, seconds: (performance.now() - begun) / 1000 });
}
