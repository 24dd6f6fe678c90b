// TypeScript `@modelcontextprotocol/sdk` 1.23.1, the last before events without data were known to it; hosts still
// ship it and older ones. It offers 2025-06-18, and the revisions before as `offering.mjs` makes it.
// Whatever it complains of by `onerror` fails the journey: hosts hang up over it.

import { Client } from 'mcp-sdk-1.23/client/index.js';
import { SSEClientTransport } from 'mcp-sdk-1.23/client/sse.js';
import { StdioClientTransport } from 'mcp-sdk-1.23/client/stdio.js';
import { StreamableHTTPClientTransport } from 'mcp-sdk-1.23/client/streamableHttp.js';
import { run, transport } from './journey.mjs';
import { offering } from './offering.mjs';

const ClientOf = offering(Client);

const transports = { http: StreamableHTTPClientTransport, sse: SSEClientTransport, stdio: StdioClientTransport };

await run('@modelcontextprotocol/sdk 1.23', async ({ server, protocol }) => {
  const client = new ClientOf({ name: 'ts-sdk', version: '1.23.1' });
  client.offers = protocol;
  const complaints = [];
  client.onerror = (error) => complaints.push(String(error));
  const wire = transport(server, transports);
  await client.connect(wire);
  return {
    negotiated: () => client.negotiated,
    toolNames: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (name) => client.callTool({ name, arguments: {} }),
    elicitationsOf: () => undefined,
    close: async () => {
      // Closing breaks its own streams off, which it complains of too.
      const heard = [...complaints];
      await wire.terminateSession?.();
      await client.close();
      if (heard.length > 0) throw new Error(`the client complained: ${heard.join('; ')}`);
    },
  };
});
