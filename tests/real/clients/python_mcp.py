"""Python `mcp` 2.3.0. What it can be made to offer, read from its sources:
  2026-07-28                          `Client(mode="auto")`, its default, or the pin `Client(mode="2026-07-28")`
  2025-11-25                          `Client(mode="legacy")`; `ClientSession.initialize` always offers this one
  2024-11-05, 2025-03-26, 2025-06-18  `ClientSession` with a handshake of one's own: `send_request(InitializeRequest)`,
                                      then the public `adopt(result)`, which accepts every handshake revision
A callback for elicitations always declares form and url together.
"""

from contextlib import asynccontextmanager

import mcp_types as types
from journey import run, shake_hands
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

CLIENT_INFO = types.Implementation(name="python-mcp", version="2.3.0")
MODES = {"default": "auto", "auto": "auto", "2025-11-25": "legacy", "2026-07-28": "2026-07-28"}


def transport(server):
    match server.get("transport"):
        case "http":
            return streamable_http_client(server["url"])
        case "sse":
            return sse_client(server["url"])
    return stdio_client(
        StdioServerParameters(command=server["binary"], args=server["args"], env=server["env"], cwd=server["cwd"])
    )


class Connected:
    def __init__(self, client):
        self.client = client

    def negotiated(self):
        return self.client.protocol_version

    async def tool_names(self):
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, tool):
        return await self.client.call_tool(tool, {})


@asynccontextmanager
async def connect(wish, person):
    async def elicited(_context, params):
        return person.elicited(params)

    callbacks = {"message_handler": person.heard, "client_info": CLIENT_INFO}
    if wish["elicits"]:
        callbacks["elicitation_callback"] = elicited
    if wish["protocol"] in MODES:
        async with Client(transport(wish["server"]), mode=MODES[wish["protocol"]], **callbacks) as client:
            yield Connected(client)
        return
    async with transport(wish["server"]) as (read, write), ClientSession(read, write, **callbacks) as session:
        await shake_hands(session, wish["protocol"], wish["elicits"], CLIENT_INFO)
        yield Connected(session)


if __name__ == "__main__":
    run("mcp", connect)
