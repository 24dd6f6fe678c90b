// The grant type that oidc-provider lacks: an assertion signed by somebody we know (RFC 7523 §2.1).

import { generateKeyPairSync } from 'node:crypto';
import { jwtVerify } from 'jose';
import { errors } from 'oidc-provider';

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const ISSUER = 'robot@acme.example';
/** Stands in for whoever sends an assertion and nothing else: oidc-provider knows no request without a client. */
export const NOBODY = 'assertion-only';

const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

/** Key pairs by algorithm: the private ones, as PEM, are for the test. */
export function assertionKeys() {
  const pairs = Object.entries(KINDS).map(([algorithm, [kind, how]]) => [algorithm, generateKeyPairSync(kind, how)]);
  return {
    publicKeys: Object.fromEntries(pairs.map(([algorithm, { publicKey }]) => [algorithm, publicKey])),
    privateKeys: Object.fromEntries(pairs.map(([algorithm, { privateKey }]) => [algorithm, privateKey.export({ type: 'pkcs8', format: 'pem' })])),
  };
}

/** Teaches the provider the grant. The key is looked up by the header's `alg`, and its `kid` must be that name. */
export function registerAssertions(provider, publicKeys, issued) {
  const used = new Set();
  const verify = async (assertion) => {
    const key = ({ alg, kid }) => {
      if (alg !== kid || !(alg in publicKeys)) throw new Error('unknown key');
      return publicKeys[alg];
    };
    const { payload } = await jwtVerify(assertion, key, {
      algorithms: Object.keys(publicKeys),
      issuer: ISSUER,
      audience: [provider.issuer, `${provider.issuer}/token`],
      requiredClaims: ['exp', 'iat', 'jti'],
      maxTokenAge: '1h',
      typ: 'JWT',
    });
    if (used.has(payload.jti)) throw new Error('seen before');
    used.add(payload.jti);
    return payload;
  };
  const grant = async (ctx) => {
    const { assertion, scope } = ctx.oidc.params;
    issued.assertions.push(assertion);
    try {
      ctx.state.asserted = await verify(assertion);
    } catch (error) {
      throw new errors.InvalidGrant('the assertion is not good', error.message);
    }
    const token = new provider.ClientCredentials({ client: ctx.oidc.client, scope: scope ?? ctx.state.asserted.scope });
    const access_token = await token.save();
    ctx.body = { access_token, token_type: token.tokenType, expires_in: token.expiration, scope: token.scope };
  };
  provider.registerGrantType(JWT_BEARER, grant, ['assertion', 'scope'], []);
}

/** Whom the token speaks for, which the API gets to see at introspection. */
export async function assertedClaims(ctx, token) {
  if (token.kind !== 'ClientCredentials') return undefined;
  const { asserted } = ctx.state;
  return { sub: asserted ? asserted.sub ?? asserted.iss : token.clientId };
}
