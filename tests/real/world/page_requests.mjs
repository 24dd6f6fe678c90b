// Every request that a page of a browser can send to a server, by a real Chromium, and what the page learns from it.
//
//   node page_requests.mjs '{"server":"http://127.0.0.1:40001","operations":[{"method":"POST","path":"/v1/tools/execute"},…],"body":{…}}'
//   {"foreign":[{"how":"form, text/plain","method":"POST","path":"/v1/…","statuses":[403],"readable":null},…],"own":[…],"rebinding":[…]}
//
// `foreign` is a page at another port of `localhost`, `own` one at the server itself, such as one that an attacker has put a script
// into, `rebinding` one at a name that leads to the server's own address. `statuses` are those that the browser got, also of
// answers that it keeps from the page, and of preflights; `readable` is what the page can read of the answer.

import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { launch } from './chromium.mjs';
import { options } from './serve.mjs';

const given = options({ server: null, operations: [], body: {} });
const REBINDING_HOST = 'rebinding.example';
// As many at once as one page may have connections.
const AT_ONCE = 6;
const PATIENCE_MS = 20_000;
const PAUSE_MS = 20;

const lure = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end('<!DOCTYPE html><title>Cats</title><h1>Cats</h1>');
});
await new Promise((resolve) => { lure.listen(0, '127.0.0.1', resolve); });
// The pages `own` and `rebinding` are answers of the server, whose policy forbids them to ask for anything. An attacker's
// page has no such policy.
const { context, close } = await launch({ javaScriptEnabled: true, bypassCSP: true }, { [REBINDING_HOST]: '127.0.0.1' });
const [page] = context.pages();

const KINDS = {
  form: ['GET', 'POST'], fetch: ['GET', 'POST'], 'no-cors': ['GET', 'POST'], image: ['GET'], events: ['GET'], 'with a key': ['GET', 'POST', 'PUT', 'DELETE'],
};
const ENCTYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];

function attempts(server) {
  return given.operations.flatMap(({ method, path }) => Object.entries(KINDS).flatMap(([kind, methods]) => {
    if (!methods.includes(method)) return [];
    const enctypes = kind === 'form' && method === 'POST' ? ENCTYPES : [null];
    return enctypes.map((enctype) => ({ how: enctype ? `${kind}, ${enctype}` : kind, kind, enctype, method, path, url: `${server}${path}` }));
  })).map((attempt, at) => {
    // Each has a query of its own, by which its answer is found.
    const url = new URL(attempt.url);
    url.searchParams.set('attempt', at);
    return { ...attempt, url: url.href };
  });
}

/** Runs in the page. */
async function send({ kind, enctype, method, url, body }) {
  const text = JSON.stringify(body);
  const end = (element, ...names) => new Promise((resolve) => {
    for (const name of names) element.addEventListener(name, () => resolve(name), { once: true });
  });
  if (kind === 'form') {
    const frame = document.createElement('iframe');
    frame.name = `frame-${url}`;
    document.body.append(frame);
    const form = document.createElement('form');
    Object.assign(form, { method, action: url, target: frame.name });
    if (enctype) form.enctype = enctype;
    // As text it becomes one object: `{…,"=":"="}`.
    const input = document.createElement('input');
    Object.assign(input, { type: 'hidden', name: `${text.slice(0, -1)},"`, value: '":""}' });
    // The fields of such a form replace the query.
    if (method === 'GET') Object.assign(input, { name: 'attempt', value: new URL(url).searchParams.get('attempt') });
    form.append(input);
    document.body.append(form);
    const loaded = end(frame, 'load');
    form.submit();
    await loaded;
    let read = null;
    try { read = frame.contentDocument?.body?.innerText ?? null; } catch { /* of another origin */ }
    frame.remove();
    form.remove();
    return read;
  }
  if (kind === 'image') {
    const image = new Image();
    const ended = end(image, 'load', 'error');
    image.src = url;
    return await ended === 'load' ? 'an image' : null;
  }
  if (kind === 'events') {
    const source = new EventSource(url, { withCredentials: true });
    const ended = await end(source, 'open', 'message', 'error');
    source.close();
    return ended === 'error' ? null : ended;
  }
  const how = { method, credentials: 'include' };
  if (method !== 'GET' && method !== 'DELETE') how.body = text;
  if (kind === 'no-cors') how.mode = 'no-cors';
  if (kind === 'with a key') how.headers = { authorization: 'any-key', 'content-type': 'application/json' };
  try {
    const answer = await fetch(url, how);
    return (await answer.text()) || (answer.type === 'opaque' ? null : `status ${answer.status}`);
  } catch {
    return null;
  }
}

async function sendAll(server) {
  const all = attempts(server);
  const of = (url) => new URL(url).searchParams.get('attempt');
  const statuses = new Map(all.map(({ url }) => [of(url), new Set()]));
  const note = (response) => statuses.get(of(response.url()))?.add(response.status());
  context.on('response', note);
  // Playwright is silent about answers that the page must not see. Request and answer are told in any order.
  const requests = new Map();
  const answers = new Map();
  const join = (id) => { if (answers.has(id)) statuses.get(requests.get(id))?.add(answers.get(id)); };
  const watched = await context.newCDPSession(page);
  watched.on('Network.requestWillBeSent', ({ requestId, request }) => { requests.set(requestId, of(request.url)); join(requestId); });
  watched.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => { answers.set(requestId, statusCode); join(requestId); });
  await watched.send('Network.enable');
  const results = [];
  for (let from = 0; from < all.length; from += AT_ONCE) {
    const some = all.slice(from, from + AT_ONCE);
    const read = await Promise.all(some.map((attempt) => page.evaluate(send, { ...attempt, body: given.body })));
    some.forEach(({ how, method, path, url }, at) => {
      results.push({ how, method, path, statuses: statuses.get(of(url)), readable: read[at] });
    });
  }
  // The page may learn of an answer before this program does.
  const patience = Date.now() + PATIENCE_MS;
  while ([...statuses.values()].some((seen) => seen.size === 0) && Date.now() < patience) await setTimeout(PAUSE_MS);
  context.off('response', note);
  await watched.detach();
  return results.map((result) => ({ ...result, statuses: [...result.statuses] }));
}

await page.goto(`http://localhost:${lure.address().port}/`);
const foreign = await sendAll(given.server);
await page.goto(`${given.server}/v1/tools`);
const own = await sendAll(given.server);
const rebound = given.server.replace('127.0.0.1', REBINDING_HOST);
await page.goto(`${rebound}/v1/tools`);
const rebinding = await sendAll(rebound);
process.stdout.write(`${JSON.stringify({ foreign, own, rebinding })}\n`);
await close();
lure.close();
