"""pydantic-ai."""

from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from mcp.types import ElicitResult
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from turn import run, texts


def transport(server):
    if "url" in server:
        return {"http": StreamableHttpTransport, "sse": SSETransport}[server["transport"]](server["url"])
    # Each turn is a process of its own, as with a program that runs an agent once.
    return StdioTransport(**server, keep_alive=False)


async def turn(wish, asked):
    read = []

    async def elicited(_message, _type, params, _context):
        asked.append(params.url)
        return ElicitResult(action="accept")

    def answer(messages, _info):
        parts = [part for message in messages for part in message.parts]
        results = [part for part in parts if isinstance(part, (ToolReturnPart, RetryPromptPart))]
        if results:
            read.extend(texts(part.content) for part in results)
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart(wish["tool"], {})])

    handler = {"elicitation_handler": elicited} if wish["asks"] else {}
    toolset = MCPToolset(transport(wish["server"]), **handler)
    agent = Agent(FunctionModel(answer), toolsets=[toolset])
    async with agent:
        await agent.run("Who am I there?")
    return "\n".join(read)


run("pydantic-ai", turn)
