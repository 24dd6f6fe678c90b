"""Journeys for Python client libraries: see journey.mjs, whose lines in and out these are."""

import asyncio
import json
import os
import pathlib
import sys
import traceback

import mcp_types as types
from mcp import MCPError
from mcp.shared.exceptions import UrlElicitationRequiredError

CONSENT = pathlib.Path(__file__).parent.parent / "world" / "consent.mjs"
PATIENCE_SECONDS = 50
ASKS = types.ElicitationCapability(form=types.FormElicitationCapability(), url=types.UrlElicitationCapability())


class Person:
    """Who is asked, and what has been heard: the same for every library."""

    def __init__(self):
        self.was_asked = False
        self.visits = []
        self.completed = {}

    def elicited(self, params):
        if params.mode != "url":
            raise RuntimeError(f"asked for an elicitation of mode {params.mode}")
        self.was_asked = True
        # Accepting means "I am going there", so nobody waits for the page here.
        self.visits.append(asyncio.ensure_future(self.visit(params.url)))
        return types.ElicitResult(action="accept")

    async def heard(self, message):
        if isinstance(message, types.ElicitCompleteNotification):
            self.completion(message.params.elicitation_id).set()

    def completion(self, elicitation_id):
        return self.completed.setdefault(elicitation_id, asyncio.Event())

    async def visit(self, url):
        node = os.environ["COUNTERSIGN_REAL_NODE"]
        program = await asyncio.create_subprocess_exec(node, str(CONSENT), url, stdout=asyncio.subprocess.PIPE)
        output, _ = await program.communicate()
        if program.returncode != 0:
            raise RuntimeError("the browser did not get to the end")
        report = json.loads(output)
        if report["final_status"] != 200:
            raise RuntimeError(f"the browser ended at status {report['final_status']}: {report['final_title']}")

    async def arrived(self):
        for visit in self.visits:
            await visit


async def shake_hands(session, revision, elicits, client_info):
    """The handshake of a revision that the library would not offer by itself, by its public parts."""
    capabilities = types.ClientCapabilities(elicitation=ASKS if elicits else None)
    offer = types.InitializeRequestParams(
        protocol_version=revision, capabilities=capabilities, client_info=client_info
    )
    result = await session.send_request(types.InitializeRequest(params=offer), types.InitializeResult)
    session.adopt(result)
    await session.send_notification(types.InitializedNotification())


def texts(result):
    return [block.text for block in result.content if block.type == "text"]


def link_in(result):
    """The link of the text fallback: the second text block is JSON."""
    blocks = texts(result)
    return json.loads(blocks[1]).get("authorization_url") if len(blocks) > 1 else None


async def approve_elicitations(error, person):
    required = UrlElicitationRequiredError.from_error(error.error)
    if any(person.completion(e.elicitation_id).is_set() for e in required.elicitations):
        raise RuntimeError("the completion was announced before the error it belongs to")
    for elicitation in required.elicitations:
        await person.visit(elicitation.url)
    for elicitation in required.elicitations:
        await person.completion(elicitation.elicitation_id).wait()


async def journey(client, person, tool):
    names = await client.tool_names()
    if tool not in names:
        raise RuntimeError(f"no tool {tool} among {names}")
    try:
        result = await client.call(tool)
    except MCPError as error:
        if error.code != types.URL_ELICITATION_REQUIRED:
            raise
        await approve_elicitations(error, person)
        return "-32042", await client.call(tool)
    await person.arrived()
    if person.was_asked:
        return "input_required", result
    link = link_in(result) if result.is_error else None
    if link is None:
        return "none", result
    await person.visit(link)
    return "text", await client.call(tool)


async def walk(wish, connect):
    person = Person()
    async with asyncio.timeout(PATIENCE_SECONDS), connect(wish, person) as client:
        path, result = await journey(client, person, wish["tool"])
        text = "\n".join(texts(result))
        if result.is_error:
            raise RuntimeError(f"the last call failed: {text}")
        return {"protocol_negotiated": client.negotiated(), "path": path, "result_text": text}


async def walk_each(connect):
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = await walk(json.loads(line), connect)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


def run(name, connect):
    print(json.dumps({"client": name}), flush=True)
    asyncio.run(walk_each(connect))
