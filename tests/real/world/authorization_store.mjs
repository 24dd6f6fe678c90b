// Where oidc-provider keeps its artifacts: a map without limit or eviction (its own memory adapter forgets after 1,000
// entries, which two hundred calls at once would reach), which also remembers every secret it was ever handed.

import { createHash } from 'node:crypto';

const BELONG_TO_A_GRANT = ['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode'];
const REMEMBERED = {
  AccessToken: 'access_tokens', ClientCredentials: 'access_tokens', RefreshToken: 'refresh_tokens', AuthorizationCode: 'codes', DeviceCode: 'device_codes',
};

export function hashed(secret) {
  return createHash('sha256').update(secret).digest('hex').slice(0, 16);
}

export class AuthorizationStore {
  #artifacts = new Map();
  /** Everything issued or received since the start that must never be seen elsewhere. */
  issued = {
    access_tokens: [], refresh_tokens: [], codes: [], id_tokens: [], states: [], code_verifiers: [], device_codes: [], assertions: [],
  };

  /** What oidc-provider calls to get the keeper of one kind of artifact. */
  adapter = (model) => ({
    upsert: async (id, payload) => {
      const key = `${model}:${id}`;
      if (model in REMEMBERED && !this.#artifacts.has(key)) this.issued[REMEMBERED[model]].push(id);
      this.#artifacts.set(key, payload);
    },
    find: async (id) => this.#artifacts.get(`${model}:${id}`),
    findByUid: async (uid) => this.#all(model).find((payload) => payload.uid === uid),
    findByUserCode: async (userCode) => this.#all(model).find((payload) => payload.userCode === userCode),
    consume: async (id) => {
      this.#artifacts.get(`${model}:${id}`).consumed = Math.floor(Date.now() / 1000);
    },
    destroy: async (id) => {
      this.#artifacts.delete(`${model}:${id}`);
    },
    revokeByGrantId: async (grantId) => {
      for (const [key, payload] of this.#artifacts) {
        if (key.startsWith(`${model}:`) && payload.grantId === grantId) this.#artifacts.delete(key);
      }
    },
  });

  #all(model) {
    return [...this.#artifacts].filter(([key]) => key.startsWith(`${model}:`)).map(([, payload]) => payload);
  }

  #forget(models) {
    let forgotten = 0;
    for (const key of this.#artifacts.keys()) {
      if (models.includes(key.slice(0, key.indexOf(':')))) {
        this.#artifacts.delete(key);
        forgotten += 1;
      }
    }
    return forgotten;
  }

  /** As if every access token had run out: introspection says inactive, refreshing still works. */
  expireAccessTokens() {
    return this.#forget(['AccessToken', 'ClientCredentials']);
  }

  /** As if the person had removed the app in the provider's settings. */
  revokeGrants() {
    const grants = this.#all('Grant').length;
    this.#forget(['Grant', ...BELONG_TO_A_GRANT]);
    return grants;
  }
}
