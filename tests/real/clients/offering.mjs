// A client of the TypeScript SDK that can be made to offer an older revision than the one that its `connect` always offers:
// by overriding the public `request` for `initialize`.

export const offering = (Client) => class extends Client {
  offers = 'default';
  negotiated = undefined;

  async request(request, ...rest) {
    if (request.method !== 'initialize') return super.request(request, ...rest);
    const params = this.offers === 'default' ? request.params : { ...request.params, protocolVersion: this.offers };
    const result = await super.request({ ...request, params }, ...rest);
    this.negotiated = result.protocolVersion;
    return result;
  }
};
