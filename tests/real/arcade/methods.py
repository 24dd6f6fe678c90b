"""Arcade's Python client, `arcadepy` 1.10.0, one method at a time: `Arcade`, or `AsyncArcade` with `{"asynchronous": true}`.

One JSON line for each line in:
  {"call": ["tools", "get"], "with": ["Notes.List"], "named": {"user_id": "ana"}}   the result, as the client parses it
  {"each": ["tools", "list"], "named": {}}      every item of `for … in`, and the number of pages that it took
  {"post": "/v1/tools/requirements", "body": {}}     a request that the client has no method for
  {"untried": true}                             the client's methods that no line has called
An error that the client raises is {"error": {"type", "bases", "status", "body", "message"}}.
"""

import asyncio
import inspect
import json
import sys
import time

import arcadepy
from arcadepy import Arcade, AsyncArcade
from arcadepy.types import AuthorizationResponse

# No part of the contract that Countersign serves.
LEFT_OUT = ("chat", "workers")

tried = set()


def resources(client, path=()):
    """Every group of methods below a client, with the names that lead to it."""
    for name, value in inspect.getmembers(type(client), lambda value: not inspect.isroutine(value)):
        if name.startswith(("_", "with_")) or name in LEFT_OUT:
            continue
        found = getattr(client, name, None)
        if "Resource" in type(found).__name__:
            yield path + (name,), found
            yield from resources(found, path + (name,))
    for name, value in vars(client).items():
        if "Resource" in type(value).__name__ and "With" not in type(value).__name__ and name not in LEFT_OUT:
            yield path + (name,), value
            yield from resources(value, path + (name,))


def methods(client):
    for path, resource in resources(client):
        for name, _ in inspect.getmembers(type(resource), inspect.isfunction):
            if not name.startswith("_"):
                yield ".".join(path + (name,))


def method(client, path):
    tried.add(".".join(path))
    for name in path:
        client = getattr(client, name)
    return client


def plain(value):
    if hasattr(value, "to_dict"):
        return value.to_dict(mode="json")
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


async def finished(value):
    return await value if inspect.isawaitable(value) else value


async def each(client, wish):
    paginator = method(client, wish["each"])(**wish.get("named", {}))
    items = [plain(item) async for item in paginator] if hasattr(paginator, "__aiter__") else [plain(item) for item in paginator]
    pages, page = 1, await finished(method(client, wish["each"])(**wish.get("named", {})))
    while page.has_next_page():
        pages, page = pages + 1, await finished(page.get_next_page())
    return {"items": items, "pages": pages}


async def carried_out(client, wish):
    if "untried" in wish:
        return sorted(set(methods(client)) - tried)
    if "each" in wish:
        return await each(client, wish)
    if "post" in wish:
        return plain(await finished(client.post(wish["post"], body=wish["body"], cast_to=object)))
    positional = wish.get("with", [])
    if wish["call"][-1] == "wait_for_completion":
        # The method takes what `authorize` has answered, or its id.
        positional = [AuthorizationResponse(**given) if isinstance(given, dict) else given for given in positional]
    return plain(await finished(method(client, wish["call"])(*positional, **wish.get("named", {}))))


def told(error):
    return {
        "type": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "status": getattr(error, "status_code", None),
        "body": getattr(error, "body", None),
        "message": str(error),
    }


async def main(options):
    kind = AsyncArcade if options.get("asynchronous") else Arcade
    client = kind(base_url=options["base_url"], api_key=options["api_key"])
    print(json.dumps({"client": "arcadepy", "version": arcadepy.__version__, "kind": kind.__name__}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        begun = time.monotonic()
        try:
            answer = {"result": await carried_out(client, json.loads(line))}
        except Exception as error:  # noqa: BLE001: each is told, whatever it is
            answer = {"error": told(error)}
        print(json.dumps({**answer, "seconds": time.monotonic() - begun}), flush=True)


asyncio.run(main(json.loads(sys.argv[1])))
