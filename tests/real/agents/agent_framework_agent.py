"""Microsoft's agent framework, which tells its model of an `isError` result only that the function failed."""

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    Content,
    FunctionInvocationLayer,
    MCPStdioTool,
    MCPStreamableHTTPTool,
    Message,
)

from turn import run, texts


class PlayedModel(FunctionInvocationLayer, BaseChatClient):
    def __init__(self, tool):
        super().__init__()
        self.tool = tool
        self.read = []

    def _inner_get_response(self, *, messages, stream, options, **_):
        async def answer():
            parts = [part for message in messages for part in message.contents]
            results = [part for part in parts if part.type == "function_result"]
            self.read.extend(texts(part.result) for part in results)
            call = Content.from_function_call("call-1", self.tool, arguments="{}")
            contents = [Content.from_text("done")] if results else [call]
            return ChatResponse(messages=Message("assistant", contents))

        return answer()


def tool_of(server):
    # Beside tools the framework asks for prompts, which are not there.
    options = {"load_prompts": False, "request_timeout": 40}
    if "url" in server:
        return MCPStreamableHTTPTool("countersign", server["url"], **options)
    return MCPStdioTool("countersign", server["command"], args=server["args"], env=server["env"], cwd=server["cwd"], **options)


async def turn(wish, asked):
    model = PlayedModel(wish["tool"])
    async with tool_of(wish["server"]) as tool:
        await Agent(model, tools=[tool]).run("Who am I there?")
    return "\n".join(model.read)


run("agent-framework", turn)
