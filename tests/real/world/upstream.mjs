// The API that tools call: notes of the person the token belongs to. It believes nothing: every bearer token is
// introspected at the authorization server, at every request.
//
//   node upstream.mjs '{"authorization_server":"http://127.0.0.1:40001"}'
//   {"listening":"http://127.0.0.1:40002"}

import { options, readBody, sendJson, serve } from './serve.mjs';
import { fault } from './upstream_faults.mjs';

const given = options({
  authorization_server: null,
  introspector: { client_id: 'upstream', client_secret: 'upstream-secret' },
  // What `GET /echo` adds to the request's headers, to plant a secret in an answer.
  echo_extra: {},
  // What opens `GET /vault`: each of these, in its own place.
  keys: { bearer: 'shared-token-0123456789', header: 'shared-header-0123456789', query: 'shared-query-0123456789', user: 'robot', password: 'shared:pässword-0123456789' },
});

const GMAIL_SCOPE = 'https://www.googleapis.com/auth/gmail.readonly';

let log = [];
let notes = new Map();
let nextId = 0;
const introspectionEndpoint = given.authorization_server ? await discover(given.authorization_server) : null;
startAgain();

function startAgain() {
  log = [];
  notes = new Map();
  nextId = 0;
  for (const title of ['Shopping', 'Reading', 'Ideas']) addNote({ title, text: `${title} for this week` });
}

function addNote({ title, text = '' }) {
  nextId += 1;
  const note = { id: String(nextId), title, text };
  notes.set(note.id, note);
  return note;
}

async function discover(issuer) {
  const answer = await fetch(`${issuer}/.well-known/openid-configuration`);
  return (await answer.json()).introspection_endpoint;
}

async function introspect(token) {
  const { client_id, client_secret } = given.introspector;
  const basic = Buffer.from(`${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`).toString('base64');
  const answer = await fetch(introspectionEndpoint, {
    method: 'POST',
    // Each on a connection of its own: the issuer closes one that was idle for some seconds, and then no POST is repeated.
    headers: { authorization: `Basic ${basic}`, connection: 'close' },
    body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
  });
  const standing = answer.ok ? await answer.json() : { active: false };
  // A refresh token is active too; an API must not take one.
  return standing.active && standing.token_type === 'Bearer' ? standing : null;
}

/** The caller's standing, or null when the answer has been given already. */
async function authorize(request, response, scope) {
  const [, token] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? [];
  const standing = token && introspectionEndpoint ? await introspect(token) : null;
  if (!standing) {
    sendJson(response, 401, { message: 'the token is missing or not valid' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
    return null;
  }
  if (scope && !(standing.scope ?? '').split(' ').includes(scope)) {
    sendJson(response, 403, { message: `this needs ${scope}` }, {
      'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}"`,
    });
    return null;
  }
  return standing;
}

async function handle(request, response) {
  const url = new URL(request.url, 'http://upstream.invalid');
  const body = await readBody(request);
  if (url.pathname.startsWith('/test/')) return control(request, response, url.pathname);
  log.push({
    method: request.method,
    // As it came on the wire: a test of path injection must see what was really asked.
    path: request.url.split('?')[0],
    query: Object.fromEntries(url.searchParams),
    token: 'authorization' in request.headers,
    body: body.toString(),
  });
  if (url.pathname.startsWith('/fault/')) return fault(url.pathname.slice('/fault/'.length), url.searchParams, response);
  return route(request, response, url, body);
}

async function route(request, response, url, body) {
  const [, first, id] = url.pathname.split('/');
  switch (`${request.method} /${first}${id === undefined ? '' : '/:id'}`) {
    case 'GET /public':
      return sendJson(response, 200, { hello: 'world' });
    case 'GET /echo':
    case 'POST /echo':
      return sendJson(response, 200, { headers: request.headers, query: Object.fromEntries(url.searchParams), body: body.toString(), ...given.echo_extra });
    case 'GET /vault': {
      const by = opened(request, url);
      return by ? sendJson(response, 200, { by }) : sendJson(response, 401, { message: 'no key that fits' });
    }
    case 'GET /me': {
      const standing = await authorize(request, response);
      return standing && sendJson(response, 200, { sub: standing.sub, scope: standing.scope ?? '' });
    }
    case 'GET /notes':
      return (await authorize(request, response, 'notes:read')) && sendJson(response, 200, found(url.searchParams));
    case 'GET /notes/:id': {
      if (!(await authorize(request, response, 'notes:read'))) return undefined;
      const note = notes.get(decodeURIComponent(id));
      return note ? sendJson(response, 200, note) : sendJson(response, 404, { message: 'no such note' });
    }
    case 'POST /notes':
      return (await authorize(request, response, 'notes:write')) && create(response, body);
    case 'DELETE /notes/:id':
      if (!(await authorize(request, response, 'notes:write'))) return undefined;
      if (!notes.delete(decodeURIComponent(id))) return sendJson(response, 404, { message: 'no such note' });
      return response.writeHead(204).end();
    case 'GET /gmail/:id':
      return (await authorize(request, response, GMAIL_SCOPE)) && sendJson(response, 200, threads(url));
    default:
      return sendJson(response, 404, { message: `no route ${request.method} ${url.pathname}` });
  }
}

/** The mailbox of everyone, as Gmail lists it: `GET /gmail/v1/users/me/threads`. */
function threads(url) {
  if (url.pathname !== '/gmail/v1/users/me/threads') return { threads: [], resultSizeEstimate: 0 };
  const all = ['Lunch on Friday?', 'Your invoice', 'Notes of the meeting'].map((snippet, at) => ({ id: `thread-${at}`, snippet, historyId: '7' }));
  return { threads: all.slice(0, Number(url.searchParams.get('maxResults') ?? 100)), resultSizeEstimate: all.length };
}

/** Which key a request brought, or null. */
function opened({ headers }, url) {
  const { bearer, header, query, user, password } = given.keys;
  if (headers.authorization === `Bearer ${bearer}`) return 'bearer';
  if (headers.authorization === `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`) return 'basic';
  if (headers['x-key'] === `Key ${header}`) return 'header';
  return url.searchParams.get('key') === query ? 'query' : null;
}

function found(query) {
  const wanted = (query.get('q') ?? '').toLowerCase();
  const all = [...notes.values()].filter((note) => note.title.toLowerCase().includes(wanted));
  return { notes: all.slice(0, Number(query.get('limit') ?? 20)), total: all.length };
}

function create(response, body) {
  let note;
  try {
    note = JSON.parse(body.toString());
  } catch {
    return sendJson(response, 400, { message: 'the body is not JSON' });
  }
  if (typeof note.title !== 'string' || !note.title) {
    return sendJson(response, 422, { message: 'validation failed', errors: [{ field: 'title', message: 'is required' }] });
  }
  return sendJson(response, 201, addNote(note));
}

function control(request, response, path) {
  if (path === '/test/log') return sendJson(response, 200, log);
  if (path === '/test/reset' && request.method === 'POST') {
    startAgain();
    return sendJson(response, 200, {});
  }
  return sendJson(response, 404, { error: `no lever ${request.method} ${path}` });
}

await serve(async () => ({
  handle: async (request, response) => {
    try {
      await handle(request, response);
    } catch (error) {
      console.error(error);
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { message: 'the upstream itself broke' });
    }
  },
}));
