"""What Portia's registry of MCP servers does with MCP's Python SDK 1.x: a session, and so a process over stdio, for the list and for each
call; capabilities {}, so no elicitation; only the first page of the tools; a result of one text block is that text; an `isError` result is a
failure whose text is the whole result as JSON, and a JSON-RPC error a failure with its message only.

In, one JSON line per turn: {"server", "tool", "arguments"}, the server as for turn.py. Out: {"listed": the tools, "pages_left", "read"} or
{"error"}.
"""

import json
import re
from contextlib import asynccontextmanager

import mcp.types as types
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from turn import run

# The tool's name is the name of the function that the model calls.
FUNCTION_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


def transport(server):
    match server.get("transport"):
        case "http":
            return streamable_http_client(server["url"])
        case "sse":
            return sse_client(server["url"])
    return stdio_client(StdioServerParameters(**server))


@asynccontextmanager
async def session(server):
    async with transport(server) as streams, ClientSession(*streams[:2]) as opened:
        await opened.initialize()
        yield opened


async def listed(server):
    async with session(server) as opened:
        page = await opened.list_tools()
    for tool in page.tools:
        if not FUNCTION_NAME.match(tool.name):
            raise RuntimeError(f"no function can have the name {tool.name}")
        if taken := [name for name in tool.inputSchema.get("properties", {}) if name.startswith("_")]:
            raise RuntimeError(f"the registry fails at the parameters {taken} of {tool.name}")
    return {"listed": [tool.name for tool in page.tools], "pages_left": page.nextCursor is not None}


async def called(server, tool, arguments):
    async with session(server) as opened:
        try:
            result = await opened.call_tool(tool, arguments)
        except McpError as error:
            raise RuntimeError(error.error.message) from error
    if result.isError:
        raise RuntimeError(f"{tool} failed: {result.model_dump_json()}")
    match result.content:
        case [types.TextContent(text=text)]:
            return text
    return result.model_dump_json()


async def turn(wish, _asked):
    found = await listed(wish["server"])
    if "tool" not in wish:
        return json.dumps(found)
    return await called(wish["server"], wish["tool"], wish.get("arguments", {}))


run("portia", turn)
