// How every program of the outside world starts and ends: it listens on a free loopback port, says where in one
// JSON line on stdout, and ends when its stdin closes, so that a test that dies leaves nothing running.

import { createServer } from 'node:http';

// stdout carries the ready line and nothing else; libraries that chat on it are sent to stderr.
console.log = console.info = console.debug = console.error;

/** Binds first and asks for the handler afterwards, because an issuer must know its own port. */
export async function serve(makeHandler) {
  let handler = null;
  const server = createServer((request, response) => handler(request, response));
  // A client that vanishes in the middle of a request is part of the tests, not the end of the server.
  server.on('clientError', (_error, socket) => socket.destroy());
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const listening = `http://127.0.0.1:${server.address().port}`;
  const { handle, ready } = await makeHandler(listening);
  handler = handle;
  process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0)).resume();
  process.stdout.write(`${JSON.stringify({ listening, ...ready })}\n`);
}

/** The options: JSON in the first argument, or nothing. */
export function options(defaults) {
  const given = process.argv[2] ? JSON.parse(process.argv[2]) : {};
  for (const key of Object.keys(given)) {
    if (!(key in defaults)) throw new Error(`unknown option ${key}; known: ${Object.keys(defaults).join(', ')}`);
  }
  return { ...defaults, ...given };
}

export async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function sendJson(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

export function sendHtml(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', ...headers });
  response.end(body);
}
