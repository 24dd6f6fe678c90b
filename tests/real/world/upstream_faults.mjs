// An API at its worst: `/fault/{name}`, no token needed, each route one way in which an answer can be bad.

import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { crc32, constants, deflateRawSync } from 'node:zlib';
import { sendHtml, sendJson } from './serve.mjs';

const MIB = 1024 * 1024;
const flaky = new Map();

const faults = {
  400: (answer) => sendJson(answer, 400, { error: { message: 'the request makes no sense' } }),
  401: (answer) => sendJson(answer, 401, { message: 'who are you' }, { 'www-authenticate': 'Bearer error="invalid_token"' }),
  403: (answer) => sendJson(answer, 403, { message: 'not for you' }),
  'needs-scope': (answer, query) => sendJson(answer, 403, { message: 'more scope, please' }, {
    'www-authenticate': `Bearer error="insufficient_scope", scope="${query.get('scope') ?? 'notes:write'}"`,
  }),
  404: (answer) => sendJson(answer, 404, { message: 'no such note' }),
  409: (answer) => sendJson(answer, 409, { message: 'the note was changed by somebody else' }),
  422: (answer) => sendJson(answer, 422, {
    message: 'validation failed', errors: [{ field: 'title', message: 'is too long' }, { field: 'text', message: 'is empty' }],
  }),
  429: (answer, query) => {
    const after = query.get('after');
    sendJson(answer, 429, { message: 'slow down' }, after === null ? {} : { 'retry-after': after });
  },
  500: (answer) => sendJson(answer, 500, { message: 'out of order', trace: 'at line 1' }),
  502: (answer) => sendHtml(answer, 502, '<html><body><h1>502 Bad Gateway</h1></body></html>'),
  503: (answer) => sendJson(answer, 503, { message: 'back soon' }),
  html: (answer, query) => sendHtml(answer, Number(query.get('status') ?? 200),
    '<!DOCTYPE html><html><head><title>Welcome</title></head><body><p>This is a page, not data.</p></body></html>'),
  binary: (answer) => send(answer, 'application/octet-stream', Buffer.from(Array.from({ length: 512 }, (_, i) => (i * 7) % 256))),
  'invalid-utf8': (answer) => send(answer, 'application/json', Buffer.from([...Buffer.from('{"name":"caf'), 0xe9, 0xff, ...Buffer.from('"}')])),
  bom: (answer) => send(answer, 'application/json', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from('{"bom":true}')])),
  empty200: (answer) => send(answer, 'application/json', Buffer.alloc(0)),
  204: (answer) => answer.writeHead(204).end(),
  'not-json': (answer) => send(answer, 'application/json', Buffer.from('{"half": ')),
  redirect: (answer, query) => answer.writeHead(Number(query.get('status') ?? 302), { location: query.get('to') ?? '/public' }).end(),
  slow: async (answer, query) => {
    const ms = Number(query.get('ms') ?? 1000);
    await wait(ms, undefined, { signal: gone(answer) });
    sendJson(answer, 200, { waited_ms: ms });
  },
  // Headers at once, then one byte at a time for ever: only a limit of the client's own ends this.
  drip: async (answer, query) => {
    answer.writeHead(200, { 'content-type': 'application/json' });
    const signal = gone(answer);
    while (!signal.aborted) {
      answer.write(' ');
      await wait(Number(query.get('ms') ?? 100), undefined, { signal });
    }
  },
  huge: async (answer, query) => {
    const items = Number(query.get('items') ?? 1000);
    const signal = gone(answer);
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.write('[');
    for (let id = 0; id < items; id += 1) {
      const item = `${id ? ',' : ''}${JSON.stringify({ id, title: `item ${id}`, text: 'x'.repeat(80) })}`;
      if (!answer.write(item)) await once(answer, 'drain', { signal });
    }
    answer.end(']');
  },
  deep: (answer, query) => {
    const depth = Number(query.get('depth') ?? 1000);
    send(answer, 'application/json', Buffer.from(`${'['.repeat(depth)}${']'.repeat(depth)}`));
  },
  'gzip-bomb': (answer, query) => {
    answer.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    for (const part of bomb(Number(query.get('mib') ?? 512))) answer.write(part);
    answer.end();
  },
  truncated: (answer) => {
    answer.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
    answer.write('{"cut":', () => answer.destroy());
  },
  reset: (answer) => answer.destroy(),
  // Fails `times` times under this key, then works: what a retry is for.
  flaky: (answer, query) => {
    const key = query.get('key') ?? '';
    const seen = (flaky.get(key) ?? 0) + 1;
    flaky.set(key, seen);
    if (seen <= Number(query.get('times') ?? 1)) sendJson(answer, 503, { message: 'back soon' });
    else sendJson(answer, 200, { attempts: seen });
  },
};

export async function fault(name, query, answer) {
  const play = faults[name];
  if (!play) return sendJson(answer, 404, { message: `no fault called ${name}` });
  try {
    await play(answer, query);
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
  }
}

function send(answer, type, bytes) {
  answer.writeHead(200, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
}

/** Aborts when the client has gone, so that no wait outlives it. */
function gone(answer) {
  const left = new AbortController();
  answer.on('close', () => left.abort());
  return left.signal;
}

/** One gzip member of `mib` MiB of blanks and then `[]`: valid JSON, a thousandth of its size on the wire, cheap to make. */
function* bomb(mib) {
  const blanks = Buffer.alloc(MIB, ' ');
  // Flushed in full, one compressed MiB is independent of what stands before it and can be sent again and again.
  const block = deflateRawSync(blanks, { finishFlush: constants.Z_FULL_FLUSH });
  const tail = Buffer.from('[]');
  let checksum = 0;
  yield Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
  for (let i = 0; i < mib; i += 1) {
    checksum = crc32(blanks, checksum);
    yield block;
  }
  yield deflateRawSync(tail);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(tail, checksum), 0);
  trailer.writeUInt32LE((mib * MIB + tail.length) % 2 ** 32, 4);
  yield trailer;
}
