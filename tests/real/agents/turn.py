"""One turn of an agent whose model is played: it calls one tool and reads what came of it.

In, one JSON line per turn: {"server": {"command", "args", "env", "cwd"} or {"url", "transport"}, "tool", "asks": whether
the host gives the framework a way to ask the person}. Out, one line: {"read": what the model read as the tool's result,
"asked": the links that the person was asked to open, "error": what the turn ended with instead}.
"""

import asyncio
import json
import sys
import traceback

PATIENCE_SECONDS = 50


def texts(content):
    """The texts of a tool's result, in whichever shape a framework hands it to the model."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return texts(content["text"]) if "text" in content else json.dumps(content)
    if isinstance(content, (list, tuple)):
        return "\n".join(texts(part) for part in content)
    return str(getattr(content, "text", content))


async def turns(turn):
    while line := await asyncio.to_thread(sys.stdin.readline):
        wish, asked = json.loads(line), []
        answer = {"asked": asked}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer["read"] = await turn(wish, asked)
        except Exception as error:
            traceback.print_exc()
            answer["error"] = describe(error)
        print(json.dumps(answer), flush=True)


def describe(error):
    """What a program that logs the exception would show: a group's members, each with its message."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(describe(inner) for inner in error.exceptions)
    return str(error)


def run(name, turn):
    print(json.dumps({"client": name}), flush=True)
    asyncio.run(turns(turn))
