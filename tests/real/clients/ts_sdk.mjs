// TypeScript `@modelcontextprotocol/sdk` 1.32.2. What it can be made to offer, read from its sources:
//   2025-11-25                          what `Client.connect` always offers; there is no option
//   2024-11-05, 2025-03-26, 2025-06-18  only by overriding the public `request` for `initialize`, as below; it accepts
//                                       each of them when a server answers with it
//   2026-07-28                          not known to it

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ElicitationCompleteNotificationSchema, ElicitRequestSchema, UrlElicitationRequiredError } from '@modelcontextprotocol/sdk/types.js';
import { run } from './journey.mjs';

class ClientOf extends Client {
  offers = 'default';
  negotiated = undefined;

  async request(request, ...rest) {
    if (request.method !== 'initialize') return super.request(request, ...rest);
    const params = this.offers === 'default' ? request.params : { ...request.params, protocolVersion: this.offers };
    const result = await super.request({ ...request, params }, ...rest);
    this.negotiated = result.protocolVersion;
    return result;
  }
}

await run('@modelcontextprotocol/sdk', async ({ binary, args, env, cwd, protocol, elicitation }, person) => {
  const asks = elicitation === 'url';
  const client = new ClientOf({ name: 'ts-sdk', version: '1.32.2' }, { capabilities: asks ? { elicitation: { url: {} } } : {} });
  client.offers = protocol;
  if (asks) {
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => person.elicited(params));
    client.setNotificationHandler(ElicitationCompleteNotificationSchema, ({ params }) => person.completed(params.elicitationId));
  }
  await client.connect(new StdioClientTransport({ command: binary, args, env, cwd }));
  return {
    negotiated: () => client.negotiated,
    toolNames: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (name, given) => client.callTool({ name, arguments: given }),
    elicitationsOf: (error) => (error instanceof UrlElicitationRequiredError ? error.elicitations : undefined),
    close: () => client.close(),
  };
});
