"""OpenAI Agents SDK."""

from agents import Agent, Runner, Usage, set_tracing_disabled
from agents.items import ModelResponse
from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from turn import run, texts

# Traces would be sent to the vendor.
set_tracing_disabled(True)


class PlayedModel(Model):
    def __init__(self, tool):
        self.tool = tool
        self.read = []

    async def get_response(self, system_instructions, input, *_, **__):
        items = input if isinstance(input, list) else []
        results = [item for item in items if isinstance(item, dict) and item.get("type") == "function_call_output"]
        if results:
            self.read.extend(texts(item["output"]) for item in results)
            text = ResponseOutputText(text="done", type="output_text", annotations=[])
            output = ResponseOutputMessage(id="m1", content=[text], role="assistant", status="completed", type="message")
        else:
            output = ResponseFunctionToolCall(arguments="{}", call_id="call-1", name=self.tool, type="function_call")
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        raise NotImplementedError


def server_of(server):
    if "url" in server:
        kind = {"http": MCPServerStreamableHttp, "sse": MCPServerSse}[server["transport"]]
        return kind(params={"url": server["url"]}, client_session_timeout_seconds=40)
    return MCPServerStdio(params=server, client_session_timeout_seconds=40)


async def turn(wish, asked):
    model = PlayedModel(wish["tool"])
    async with server_of(wish["server"]) as server:
        await Runner.run(Agent(name="agent", model=model, mcp_servers=[server]), "Who am I there?")
    return "\n".join(model.read)


run("openai-agents", turn)
