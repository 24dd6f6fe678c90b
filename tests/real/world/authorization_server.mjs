// A certified authorization server (npm `oidc-provider`) on loopback, configured as strict providers are: PKCE S256
// required, `iss` in every answer (RFC 9207), refresh tokens rotate, and a refresh token that is sent twice destroys
// the whole grant, so that a lost refresh race cannot go unseen.
//
//   node authorization_server.mjs '{"access_token_seconds": 60}'
//   {"listening":"http://127.0.0.1:40001","issuer":"http://127.0.0.1:40001","clients":[…]}

import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';
import {
  ISSUER, JWT_BEARER, NOBODY, assertedClaims, assertionKeys, registerAssertions,
} from './authorization_assertion.mjs';
import { Control } from './authorization_control.mjs';
import { devicePages, errorPage, interaction } from './authorization_pages.mjs';
import { AuthorizationStore } from './authorization_store.mjs';
import { options, sendJson, serve } from './serve.mjs';

const given = options({
  access_token_seconds: 3600,
  // How long a token request is on its way before anything is decided about it.
  token_delay_ms: 0,
  scopes: ['openid', 'offline_access', 'profile', 'notes:read', 'notes:write'],
  // Paths are exact; a client with `any_port` may use them on any loopback port (RFC 8252 §7.3).
  redirect_uris: ['http://127.0.0.1/oauth/callback/notes', 'http://localhost/oauth/callback/notes'],
  // The secret of `web-basic` has characters that RFC 6749 §2.3.1 wants form-encoded before base64.
  clients: [
    { client_id: 'web-basic', client_secret: 'basic+secret/with:signs%25', auth: 'client_secret_basic', any_port: true },
    { client_id: 'web-post', client_secret: 'post-secret-0123456789', auth: 'client_secret_post', any_port: true },
    { client_id: 'native', auth: 'none', any_port: true },
    { client_id: 'one-port', client_secret: 'one-port-secret', auth: 'client_secret_basic', any_port: false,
      redirect_uris: ['http://127.0.0.1:8971/oauth/callback/notes'] },
    // Acts for itself, by its secret or by assertions; nobody consents to it.
    { client_id: 'robot', client_secret: 'robot-secret-0123456789', auth: 'client_secret_basic', redirect_uris: [],
      grant_types: ['client_credentials', JWT_BEARER] },
    { client_id: NOBODY, auth: 'none', redirect_uris: [], grant_types: [JWT_BEARER] },
  ],
  introspector: { client_id: 'upstream', client_secret: 'upstream-secret' },
  // Of a token for a resource that the client names (RFC 8707): jwt (RFC 9068) or opaque; null: resources are not known here.
  resource_tokens: null,
  // What the access tokens of a login say it belongs to.
  groups: {},
  // A refresh token comes with every grant, as at most providers; `offline_access` asks oidc-provider's own, stricter rule.
  refresh_tokens: 'always',
  rotate_refresh_tokens: true,
  // Put before every token value, so that a search through logs and files can name what it finds.
  canary: { access_token: '', refresh_token: '', code: '' },
  // Seconds between the questions of a device (null: left out), and until its code runs out.
  device: { interval: 1, seconds: 600 },
});

const store = new AuthorizationStore();
const control = new Control(store, given.access_token_seconds);
const assertions = assertionKeys();

const CONSENTS = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];

function registration({ client_id, client_secret, auth, any_port, redirect_uris, grant_types = CONSENTS }) {
  return {
    client_id,
    ...(client_secret === undefined ? {} : { client_secret }),
    token_endpoint_auth_method: auth,
    // oidc-provider lets only native clients choose their loopback port; a secret is no contradiction to it.
    application_type: any_port ? 'native' : 'web',
    redirect_uris: redirect_uris ?? given.redirect_uris,
    grant_types,
    response_types: grant_types.includes('authorization_code') ? ['code'] : [],
  };
}

function signingKeys() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { keys: [{ ...createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })).export({ format: 'jwk' }), use: 'sig', kid: 'test' }] };
}

function cookieNames(port) {
  return { interaction: `_interaction_${port}`, resume: `_interaction_resume_${port}`, session: `_session_${port}` };
}

function configure(issuer) {
  const provider = new Provider(issuer, {
    adapter: store.adapter,
    jwks: signingKeys(),
    // Browsers tell cookies of two servers on one host apart by their names alone.
    cookies: { keys: [randomBytes(16).toString('hex')], names: cookieNames(new URL(issuer).port) },
    clients: [
      ...given.clients.map(registration),
      { ...given.introspector, redirect_uris: [], grant_types: [], response_types: [], token_endpoint_auth_method: 'client_secret_basic' },
    ],
    scopes: given.scopes,
    claims: { openid: ['sub'], profile: ['name'] },
    clockTolerance: 0,
    pkce: { required: () => true },
    rotateRefreshToken: given.rotate_refresh_tokens,
    ...(given.refresh_tokens === 'always' ? { issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token') } : {}),
    expiresWithSession: async () => false,
    // Every authorization asks for consent anew, so that a scope refused yesterday can be allowed today.
    loadExistingGrant: async (ctx) => {
      const grantId = ctx.oidc.result?.consent?.grantId;
      return grantId ? ctx.oidc.provider.Grant.find(grantId) : undefined;
    },
    findAccount: async (_ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, name: `Test login ${sub}` }) }),
    extraTokenClaims: async (ctx, token) => ({ ...await assertedClaims(ctx, token), groups: given.groups[token.accountId] }),
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    renderError: async (ctx, out) => {
      ctx.type = 'html';
      ctx.body = errorPage(out);
    },
    ttl: {
      AccessToken: () => control.accessTokenSeconds,
      ClientCredentials: () => control.accessTokenSeconds,
      DeviceCode: given.device.seconds,
      AuthorizationCode: 60, IdToken: 3600, RefreshToken: 86400, Interaction: 3600, Session: 86400, Grant: 86400,
    },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: async () => true },
      revocation: { enabled: true },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true, ...devicePages },
      resourceIndicators: {
        enabled: given.resource_tokens !== null,
        useGrantedResource: async () => true,
        getResourceServerInfo: async (_ctx, audience) => ({
          audience, scope: '', accessTokenFormat: given.resource_tokens, jwt: { sign: { alg: 'RS256' } },
        }),
      },
      dPoP: { enabled: false },
    },
  });
  for (const [model, prefix] of [['AccessToken', 'access_token'], ['ClientCredentials', 'access_token'], ['RefreshToken', 'refresh_token'], ['AuthorizationCode', 'code']]) {
    const random = provider[model].prototype.generateTokenId;
    provider[model].prototype.generateTokenId = function generateTokenId() {
      return `${given.canary[prefix] ?? ''}${random.call(this)}`;
    };
  }
  registerAssertions(provider, assertions.publicKeys, store.issued);
  provider.use(observe());
  provider.on('grant.error', (_ctx, error) => control.sawTokenError(error));
  provider.on('grant.revoked', () => { control.counts.grants_destroyed += 1; });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider;
}

/** Counts what arrives, and lets token requests in one after the other: a reuse is then seen in any order of arrival. */
function observe() {
  let turn = Promise.resolve();
  return async (ctx, next) => {
    if (ctx.path === '/auth') {
      control.counts.authorization_requests += 1;
      if (typeof ctx.query.state === 'string') store.issued.states.push(ctx.query.state);
    }
    if (ctx.path === '/token/introspection') control.counts.introspections += 1;
    if (ctx.path === '/token/revocation') control.counts.revocations += 1;
    if (ctx.path === '/device/auth') return deviceRequest(ctx, next);
    if (ctx.path === '/me') control.counts.userinfo += 1;
    if (ctx.path !== '/token' || ctx.method !== 'POST') return next();
    const mine = turn.then(() => tokenRequest(ctx, next));
    turn = mine.catch(() => {});
    return mine;
  };
}

/** oidc-provider leaves the interval out; tests want a short one. */
async function deviceRequest(ctx, next) {
  control.counts.device_authorizations += 1;
  await next();
  if (ctx.body?.device_code && given.device.interval !== null) ctx.body.interval = given.device.interval;
}

async function tokenRequest(ctx, next) {
  const fault = control.takeFault();
  const body = await readAll(ctx.req);
  control.sawTokenRequest(new URLSearchParams(body));
  const sent = new URLSearchParams(body);
  if (sent.get('grant_type') === JWT_BEARER && !sent.has('client_id') && !ctx.headers.authorization) sent.set('client_id', NOBODY);
  ctx.req.body = sent.toString();
  // A wait is the fault itself here: a provider that is slow.
  if (given.token_delay_ms) await new Promise((resolve) => { setTimeout(resolve, given.token_delay_ms); });
  const answered = fault?.hold ? await control.hold() : () => {};
  try {
    if (fault?.drop !== 'before' && fault?.status === undefined) await next();
  } finally {
    answered();
  }
  if (ctx.body?.id_token) store.issued.id_tokens.push(ctx.body.id_token);
  if (fault?.drop) {
    ctx.respond = false;
    ctx.req.socket.destroy();
  } else if (fault?.status !== undefined) {
    ctx.status = fault.status;
    ctx.set(fault.headers ?? {});
    ctx.body = typeof fault.body === 'string' ? fault.body : JSON.stringify(fault.body ?? {});
    ctx.type = fault.content_type ?? 'application/json';
  }
}

async function readAll(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

await serve(async (issuer) => {
  const provider = configure(issuer);
  const protocol = provider.callback();
  const handle = async (request, response) => {
    const path = new URL(request.url, issuer).pathname;
    try {
      if (path.startsWith('/test/')) await control.handle(request, response, path);
      else if (path.startsWith('/interaction/')) await interaction(provider, request, response);
      else await protocol(request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else sendJson(response, 400, { error: String(error.message) });
    }
  };
  return { handle, ready: { issuer, clients: given.clients, introspector: given.introspector, assertions: { issuer: ISSUER, keys: assertions.privateKeys } } };
});
