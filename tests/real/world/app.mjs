// Somebody's application: it calls on behalf of its users with its key, has sessions of its own, and a verifier page that
// tells who sits at the browser which comes there (`POST /v1/auth/confirm_user`).
//
//   node app.mjs '{"key":"…"}'
//   {"listening":"http://127.0.0.1:40004"}
//
// `GET /login/ana` signs a browser in. `POST /test/server {"url"}` says where the server is that it confirms to; without
// one it keeps what comes to itself, for the test to use. `GET /test/flows` tells what came.

import { options, readBody, sendHtml, sendJson, serve } from './serve.mjs';

const given = options({ key: null });
const flows = [];
let server = null;

const page = (title) => `<!DOCTYPE html><html lang="en"><title>${title}</title><body><main><h1>${title}</h1></main></body></html>`;

function user(request) {
  return /(?:^|; )app_user=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
}

async function verify(request, response, flow_id) {
  const flow = { flow_id, user_id: user(request) };
  flows.push(flow);
  if (!flow.user_id) return sendHtml(response, 403, page('Sign in first'));
  if (!server) return sendHtml(response, 200, page('One moment'));
  const answer = await fetch(`${server}/v1/auth/confirm_user`, {
    method: 'POST',
    // On a connection of its own: a server that has restarted has closed those of before, and no POST is repeated.
    headers: { authorization: `Bearer ${given.key}`, 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify(flow),
  });
  const { name, next_uri } = await answer.json();
  flow.status = answer.status;
  if (!answer.ok) return sendHtml(response, 403, page(`Not connected: ${name}`));
  return response.writeHead(303, { location: next_uri, 'referrer-policy': 'no-referrer' }).end();
}

await serve(async (listening) => ({
  handle: async (request, response) => {
    const url = new URL(request.url, listening);
    const [, first, second] = url.pathname.split('/');
    switch (`${request.method} /${first}`) {
      case 'GET /login':
        return sendHtml(response, 200, page(`Hello ${second}`), { 'set-cookie': `app_user=${second}; HttpOnly; SameSite=Lax; Path=/` });
      case 'GET /verify':
        return verify(request, response, url.searchParams.get('flow_id'));
      case 'GET /test':
        return sendJson(response, 200, flows);
      case 'POST /test':
        server = JSON.parse((await readBody(request)).toString()).url;
        return sendJson(response, 200, {});
      default:
        return sendHtml(response, 404, page('Not here'));
    }
  },
}));
