"""LangChain: `get_tools()` opens a session, and so starts a server, for each call."""

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.types import ElicitResult

from turn import run, texts


class PlayedModel(BaseChatModel):
    tool: str
    read: list = []

    @property
    def _llm_type(self):
        return "played"

    def bind_tools(self, tools, **_):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **_):
        results = [message for message in messages if isinstance(message, ToolMessage)]
        if results:
            self.read.extend(texts(result.content) for result in results)
            message = AIMessage("done")
        else:
            message = AIMessage("", tool_calls=[{"name": self.tool, "args": {}, "id": "call-1"}])
        return ChatResult(generations=[ChatGeneration(message=message)])


def connection(server):
    if "url" in server:
        transport = {"http": "streamable_http", "sse": "sse"}[server["transport"]]
        return {"transport": transport, "url": server["url"]}
    return {"transport": "stdio", **server}


async def turn(wish, asked):
    async def elicited(_mcp, params, _context):
        asked.append(params.url)
        return ElicitResult(action="accept")

    callbacks = Callbacks(on_elicitation=elicited) if wish["asks"] else None
    client = MultiServerMCPClient({"countersign": connection(wish["server"])}, callbacks=callbacks)
    model = PlayedModel(tool=wish["tool"])
    agent = create_agent(model, await client.get_tools())
    await agent.ainvoke({"messages": [{"role": "user", "content": "Who am I there?"}]})
    return "\n".join(model.read)


run("langchain", turn)
