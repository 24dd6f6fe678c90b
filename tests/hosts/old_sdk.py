"""MCP's Python SDK 1.22 over Streamable HTTP: a call, twice. Out: what the two results say, as JSON."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def call(url, tool):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        result = await session.call_tool(tool, {})
        return "\n".join(block.text for block in result.content)


print(json.dumps({"read": asyncio.run(call(*sys.argv[1:]))}))
