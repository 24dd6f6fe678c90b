// TypeScript `@modelcontextprotocol/sdk` 1.32.2. What it can be made to offer, read from its sources:
//   2025-11-25                          what `Client.connect` always offers; there is no option
//   2024-11-05, 2025-03-26, 2025-06-18  only as `offering.mjs` makes it; it accepts
//                                       each of them when a server answers with it
//   2026-07-28                          not known to it

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitationCompleteNotificationSchema, ElicitRequestSchema, UrlElicitationRequiredError } from '@modelcontextprotocol/sdk/types.js';
import { run, transport } from './journey.mjs';
import { offering } from './offering.mjs';

const ClientOf = offering(Client);

const transports = { http: StreamableHTTPClientTransport, sse: SSEClientTransport, stdio: StdioClientTransport };

await run('@modelcontextprotocol/sdk', async ({ server, protocol, elicits }, person) => {
  const client = new ClientOf({ name: 'ts-sdk', version: '1.32.2' }, { capabilities: elicits ? { elicitation: { url: {} } } : {} });
  client.offers = protocol;
  if (elicits) {
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => person.elicited(params));
    client.setNotificationHandler(ElicitationCompleteNotificationSchema, ({ params }) => person.completed(params.elicitationId));
  }
  const wire = transport(server, transports);
  await client.connect(wire);
  return {
    negotiated: () => client.negotiated,
    toolNames: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (name) => client.callTool({ name, arguments: {} }),
    elicitationsOf: (error) => (error instanceof UrlElicitationRequiredError ? error.elicitations : undefined),
    close: async () => {
      await wire.terminateSession?.();
      await client.close();
    },
  };
});
