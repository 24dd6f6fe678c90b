// TypeScript `@modelcontextprotocol/client` 2.4.0. What it can be made to offer, read from its sources:
//   2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25  `supportedProtocolVersions: [v]`, whose first is what `initialize` offers
//   2025-11-25                                      the default (`versionNegotiation.mode` "legacy")
//   2026-07-28                                      `versionNegotiation.mode` "auto" or `{ pin }`
// With "auto" and `{ pin }` over stdio it starts the server TWICE, one after the other: a first copy is asked
// `server/discover` and signalled away, then the copy that is kept is started (`negotiateStdioViaSibling`).

import { Client, SSEClientTransport, StreamableHTTPClientTransport, UrlElicitationRequiredError } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { run, transport } from './journey.mjs';

function versions(protocol) {
  if (protocol === 'default') return {};
  if (protocol === 'auto') return { versionNegotiation: { mode: 'auto' } };
  if (protocol >= '2026-07-28') return { versionNegotiation: { mode: { pin: protocol } } };
  return { supportedProtocolVersions: [protocol] };
}

const transports = { http: StreamableHTTPClientTransport, sse: SSEClientTransport, stdio: StdioClientTransport };

await run('@modelcontextprotocol/client', async ({ server, protocol, elicits }, person) => {
  const client = new Client({ name: 'ts-client', version: '2.4.0' }, {
    ...versions(protocol),
    capabilities: elicits ? { elicitation: { url: {} } } : {},
  });
  if (elicits) {
    client.setRequestHandler('elicitation/create', async ({ params }) => person.elicited(params));
    client.setNotificationHandler('notifications/elicitation/complete', ({ params }) => person.completed(params.elicitationId));
  }
  const wire = transport(server, transports);
  await client.connect(wire);
  return {
    negotiated: () => client.getNegotiatedProtocolVersion(),
    toolNames: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (name) => client.callTool({ name, arguments: {} }),
    elicitationsOf: (error) => (error instanceof UrlElicitationRequiredError ? error.elicitations : undefined),
    close: async () => {
      await wire.terminateSession?.();
      await client.close();
    },
  };
});
