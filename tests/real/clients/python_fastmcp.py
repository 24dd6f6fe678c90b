"""Python `fastmcp` 4.1.2. What it can be made to offer, read from its sources:
  2026-07-28                          `Client(mode="auto")`, its default, or the pin `Client(mode="2026-07-28")`
  2025-11-25                          `Client(mode="legacy")`
  2024-11-05, 2025-03-26, 2025-06-18  `Client(auto_initialize=False)` with a handshake of one's own on its public `session`
An elicitation handler always declares form and url together. In the legacy era -32042 reaches the caller as MCPError.
"""

from contextlib import asynccontextmanager

import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from journey import run, shake_hands

CLIENT_INFO = types.Implementation(name="fastmcp", version="4.1.2")
MODES = {"default": "auto", "auto": "auto", "2025-11-25": "legacy", "2026-07-28": "2026-07-28"}


def transport(server):
    match server.get("transport"):
        case "http":
            return StreamableHttpTransport(server["url"])
        case "sse":
            return SSETransport(server["url"])
    return StdioTransport(
        command=server["binary"], args=server["args"], env=server["env"], cwd=server["cwd"], keep_alive=False
    )


class Connected:
    def __init__(self, client):
        self.client = client

    def negotiated(self):
        return self.client.protocol_version

    async def tool_names(self):
        return [tool.name for tool in await self.client.list_tools()]

    async def call(self, tool):
        return await self.client.call_tool(tool, {}, raise_on_error=False)


@asynccontextmanager
async def connect(wish, person):
    async def elicited(_message, _type, params, _context):
        return person.elicited(params)

    options = {"message_handler": person.heard, "client_info": CLIENT_INFO}
    if wish["elicits"]:
        options["elicitation_handler"] = elicited
    by_hand = wish["protocol"] not in MODES
    mode = "legacy" if by_hand else MODES[wish["protocol"]]
    async with Client(transport(wish["server"]), mode=mode, auto_initialize=not by_hand, **options) as client:
        if by_hand:
            await shake_hands(client.session, wish["protocol"], wish["elicits"], CLIENT_INFO)
        yield Connected(client)


if __name__ == "__main__":
    run("fastmcp", connect)
