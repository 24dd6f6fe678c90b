"""Runs an example of `clients/python/examples` with a played model: it calls the example's tool, and then says what it has read.

Prints what the example prints, and last {"answer": …}. Options: {"examples": their folder, "example", "user"}.
"""

import asyncio
import importlib
import inspect
import json
import sys
import uuid

QUESTION = "Star rust-lang/rust for me."
# No two calls of models have the same.
CALL_ID = f"call-{uuid.uuid4()}"
ARGUMENTS = {"owner": "rust-lang", "repo": "rust"}


def of_langchain():
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Played(BaseChatModel):
        @property
        def _llm_type(self):
            return "played"

        def bind_tools(self, tools, **_):
            return self

        def _generate(self, messages, stop=None, run_manager=None, **_):
            results = [message.content for message in messages if isinstance(message, ToolMessage)]
            call = AIMessage("", tool_calls=[{"name": "star_repo", "args": ARGUMENTS, "id": CALL_ID}])
            message = AIMessage(f"I have read: {results}") if results else call
            return ChatResult(generations=[ChatGeneration(message=message)])

    return Played()


def of_openai_agents():
    from agents import Model, ModelResponse, Usage, set_tracing_disabled
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    # Traces would be sent to the vendor.
    set_tracing_disabled(True)

    class Played(Model):
        async def get_response(self, system_instructions, input, *_, **__):
            results = [item["output"] for item in input if isinstance(item, dict) and item.get("type") == "function_call_output"]
            if results:
                text = ResponseOutputText(text=f"I have read: {results}", type="output_text", annotations=[])
                output = ResponseOutputMessage(id="m1", content=[text], role="assistant", status="completed", type="message")
            else:
                arguments = json.dumps(ARGUMENTS)
                output = ResponseFunctionToolCall(arguments=arguments, call_id=CALL_ID, name="star_repo", type="function_call")
            return ModelResponse(output=[output], usage=Usage(), response_id=None)

        def stream_response(self, *_, **__):
            raise NotImplementedError

    return Played()


def of_pydantic_ai():
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    def answer(messages, _info):
        results = [part.content for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        call = ToolCallPart("star_repo", ARGUMENTS, tool_call_id=CALL_ID)
        return ModelResponse(parts=[TextPart(f"I have read: {results}") if results else call])

    return FunctionModel(answer)


MODELS = {
    "langgraph_interrupt": of_langchain,
    "openai_agents_approval": of_openai_agents,
    "pydantic_ai_deferred": of_pydantic_ai,
}

options = json.loads(sys.argv[1])
sys.path.insert(0, options["examples"])
example = importlib.import_module(options["example"])
answer = example.run(MODELS[options["example"]](), options["user"], QUESTION)
print(json.dumps({"answer": asyncio.run(answer) if inspect.isawaitable(answer) else answer}))
