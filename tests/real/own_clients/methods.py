"""Our Python client: `Client`, or `AsyncClient` with `{"asynchronous": true}`. The options also set variables, under `environment`.

One JSON line for each line in: {"call": "execute", "with": {…}} calls a method with these arguments; `wait` also takes the last
authorization under the name "last". Out: {"result", "shown"} or {"error": {"type", "bases", "message", …}, "shown"}, where `shown` is all
that a program prints of it and of the client.
"""

import asyncio
import dataclasses
import inspect
import json
import os
import sys
import traceback

from countersign import AsyncClient, Authorization, Client, CountersignError, Outcome, Ready

FIELDS = ("name", "status", "kind", "can_retry", "status_code", "was_sent", "authorization", "confirmation")


def plain(value):
    if isinstance(value, Ready):
        return {"met": value.met, "links": value.links, "problems": value.problems}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        of_outcome = {"is": type(value).__name__} if isinstance(value, Outcome) else {}
        return {**of_outcome, **dataclasses.asdict(value)}
    return value


def told(error):
    found = {field: plain(getattr(error, field)) for field in FIELDS if hasattr(error, field)}
    bases = [base.__name__ for base in type(error).__mro__]
    return {"type": type(error).__name__, "bases": bases, "message": str(error), **found}


async def finished(value):
    return await value if inspect.isawaitable(value) else value


async def turn(client, wish, last):
    arguments = wish["with"]
    if arguments.get("authorization") == "last":
        arguments["authorization"] = last
    try:
        result = await finished(getattr(client, wish["call"])(**arguments))
        return {"result": plain(result), "shown": f"{result!r} {client!r} {vars(client)!r}"}, result
    except CountersignError as error:
        shown = f"{error!r} {error} {vars(error)!r} {client!r} {''.join(traceback.format_exception(error))}"
        return {"error": told(error), "shown": shown}, getattr(error, "authorization", None)


async def main(options):
    os.environ.update(options.get("environment", {}))
    kind = AsyncClient if options.get("asynchronous") else Client
    try:
        client = kind(**options.get("settings", {}))
    except ValueError as error:
        print(json.dumps({"refused": "".join(traceback.format_exception(error))}), flush=True)
        return
    print(json.dumps({"client": kind.__name__}), flush=True)
    last = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer, result = await turn(client, json.loads(line), last)
        last = result if isinstance(result, Authorization) else last
        print(json.dumps(answer), flush=True)


asyncio.run(main(json.loads(sys.argv[1])))
