// A person at some MCP client: signs in at an issuer, and has the client get an access token for a resource
// (authorization code with PKCE, RFC 8707).
//
//   node sign_in.mjs ISSUER CLIENT_ID REDIRECT_URI RESOURCE LOGIN
//   {"access_token":"…","expires_in":3600,…}

import { createHash, randomBytes } from 'node:crypto';
import { answer } from './consent.mjs';
import { entries, forms } from './html.mjs';
import { Visitor } from './visitor.mjs';

const MOST_FORMS = 4;

const [issuer, client_id, redirect_uri, resource, login] = process.argv.slice(2);
const code_verifier = randomBytes(32).toString('base64url');

const authorize = new URL(`${issuer}/auth`);
authorize.search = new URLSearchParams({
  client_id, redirect_uri, resource, response_type: 'code', scope: 'openid', state: 'here',
  code_challenge: createHash('sha256').update(code_verifier).digest('base64url'), code_challenge_method: 'S256',
});

async function code() {
  const visitor = new Visitor();
  await visitor.visit(authorize);
  for (let step = 0; step < MOST_FORMS; step += 1) {
    const [form] = forms(visitor.page.body);
    if (!form) throw new Error(`no form on a page of status ${visitor.page.status}`);
    const button = answer(form, { untick: [], login });
    const callback = await visitor.submit(form, entries(form, button), (url) => url.searchParams.has('code'));
    if (callback) return callback.searchParams.get('code');
  }
  throw new Error(`still forms after ${MOST_FORMS} of them`);
}

const tokens = await fetch(`${issuer}/token`, {
  method: 'POST',
  body: new URLSearchParams({ grant_type: 'authorization_code', code: await code(), redirect_uri, client_id, code_verifier, resource }),
});
if (!tokens.ok) throw new Error(`the token request was answered ${tokens.status}`);
console.log(JSON.stringify(await tokens.json()));
