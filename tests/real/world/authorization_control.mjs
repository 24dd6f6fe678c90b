// The levers and gauges under `/test/`: what a test may ask the authorization server to do and to tell.
// They stand beside the protocol, never in it: a client that does not know them sees a plain certified server.

import { readBody, sendJson } from './serve.mjs';
import { hashed } from './authorization_store.mjs';

/**
 * A lever that is pulled for the next `times` token requests: an answer of the test's own, a request that is held until
 * the test releases it, a lost connection.
 */
const NO_FAULT = { times: 0 };

export class Control {
  accessTokenSeconds;
  #store;
  #fault = NO_FAULT;
  /** The token request that is held: what lets it go on, and when it has been decided. */
  #held;
  counts = {
    authorization_requests: 0,
    token_requests: {},
    token_errors: {},
    refresh_reuses: 0,
    grants_destroyed: 0,
    device_authorizations: 0,
    introspections: 0,
    revocations: 0,
    userinfo: 0,
    // For each refresh token, by its hash, when it came: milliseconds since 1970.
    refresh_token_sends: {},
  };

  constructor(store, accessTokenSeconds) {
    this.#store = store;
    this.accessTokenSeconds = accessTokenSeconds;
  }

  /** The fault for this token request, if one is left. */
  takeFault() {
    if (this.#fault.times <= 0) return null;
    this.#fault.times -= 1;
    return this.#fault;
  }

  /** Waits for the test to release this token request; returns what is to be called once it has been decided. */
  async hold() {
    const released = Promise.withResolvers();
    const decided = Promise.withResolvers();
    this.#held = { release: released.resolve, decided: decided.promise };
    await released.promise;
    return decided.resolve;
  }

  /** Counts what the token endpoint was sent, before anything is decided about it. */
  sawTokenRequest(form) {
    const kind = form.get('grant_type') ?? 'none';
    this.counts.token_requests[kind] = (this.counts.token_requests[kind] ?? 0) + 1;
    if (form.get('code_verifier')) this.#store.issued.code_verifiers.push(form.get('code_verifier'));
    if (kind !== 'refresh_token') return;
    const hash = hashed(form.get('refresh_token') ?? '');
    (this.counts.refresh_token_sends[hash] ??= []).push(Date.now());
  }

  sawTokenError(error) {
    this.counts.token_errors[error.message] = (this.counts.token_errors[error.message] ?? 0) + 1;
    if (error.error_detail === 'refresh token already used') this.counts.refresh_reuses += 1;
  }

  async handle(request, response, path) {
    const body = await readBody(request);
    const given = body.length ? JSON.parse(body.toString()) : {};
    switch (`${request.method} ${path}`) {
      case 'GET /test/counts':
        return sendJson(response, 200, this.counts);
      case 'GET /test/now':
        return sendJson(response, 200, Date.now());
      case 'GET /test/issued':
        return sendJson(response, 200, this.#store.issued);
      case 'POST /test/expire-access-tokens':
        return sendJson(response, 200, { expired: this.#store.expireAccessTokens() });
      case 'POST /test/revoke-grants':
        return sendJson(response, 200, { revoked: this.#store.revokeGrants() });
      case 'POST /test/ttl':
        this.accessTokenSeconds = given.seconds;
        return sendJson(response, 200, { seconds: given.seconds });
      case 'POST /test/token-fault':
        this.#fault = { times: 1, ...given };
        return sendJson(response, 200, {});
      case 'POST /test/release':
        this.#held.release();
        await this.#held.decided;
        return sendJson(response, 200, {});
      default:
        return sendJson(response, 404, { error: `no lever ${request.method} ${path}` });
    }
  }
}
