"""Python `mcp` 2.3.0: the whole journey over stdio (see journey.mjs, whose options and answer it shares).

What it can be made to offer, read from its sources:
  2026-07-28                          `Client(mode="auto")`, its default, or the pin `Client(mode="2026-07-28")`
  2025-11-25                          `Client(mode="legacy")`; `ClientSession.initialize` always offers this one
  2024-11-05, 2025-03-26, 2025-06-18  `ClientSession` with a handshake of one's own: `send_request(InitializeRequest)`,
                                      then the public `adopt(result)`, which accepts every handshake revision
A callback for elicitations always declares form and url together.
"""

import argparse
import asyncio
import json
import os
import pathlib
import sys
from contextlib import asynccontextmanager

import mcp_types as types
from mcp import Client, ClientSession, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import UrlElicitationRequiredError

CONSENT = pathlib.Path(__file__).parent.parent / "world" / "consent.mjs"
PATIENCE_SECONDS = 90
CLIENT_INFO = types.Implementation(name="python-mcp", version="2.3.0")
MODES = {"default": "auto", "auto": "auto", "2025-11-25": "legacy", "2026-07-28": "2026-07-28"}


class Person:
    """Who is asked, and what has been heard."""

    def __init__(self, login):
        self.login = login
        self.was_asked = False
        self.visits = []
        self.completed = {}

    async def elicited(self, _context, params):
        if params.mode != "url":
            return types.ErrorData(code=types.INVALID_PARAMS, message=f"no mode {params.mode} here")
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
        program = await asyncio.create_subprocess_exec(
            os.environ.get("NODE", "node"), str(CONSENT), url, "--login", self.login, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await program.communicate()
        if program.returncode != 0:
            raise RuntimeError("the browser did not get to the end")
        report = json.loads(output)
        if report["final_status"] != 200:
            raise RuntimeError(f"the browser ended at status {report['final_status']}: {report['final_title']}")

    async def arrived(self):
        for visit in self.visits:
            await visit


@asynccontextmanager
async def connected(given, person):
    """A connected client of the wanted revision, whatever it takes."""
    parameters = StdioServerParameters(
        command=given.binary, args=json.loads(given.args), env=json.loads(given.env), cwd=given.cwd
    )
    callbacks = {"message_handler": person.heard, "client_info": CLIENT_INFO}
    if given.elicitation == "url":
        callbacks["elicitation_callback"] = person.elicited
    if given.protocol in MODES:
        async with Client(parameters, mode=MODES[given.protocol], **callbacks) as client:
            yield client
        return
    async with stdio_client(parameters) as (read, write), ClientSession(read, write, **callbacks) as session:
        await shake_hands(session, given)
        yield session


async def shake_hands(session, given):
    asks = types.ElicitationCapability(form=types.FormElicitationCapability(), url=types.UrlElicitationCapability())
    capabilities = types.ClientCapabilities(elicitation=asks if given.elicitation == "url" else None)
    offer = types.InitializeRequestParams(
        protocol_version=given.protocol, capabilities=capabilities, client_info=CLIENT_INFO
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


async def journey(client, person, given):
    names = [tool.name for tool in (await client.list_tools()).tools]
    if given.tool not in names:
        raise RuntimeError(f"no tool {given.tool} among {names}")
    arguments = json.loads(given.arguments)
    try:
        result = await client.call_tool(given.tool, arguments)
    except MCPError as error:
        if error.code != types.URL_ELICITATION_REQUIRED:
            raise
        await approve_elicitations(error, person)
        return "-32042", await client.call_tool(given.tool, arguments)
    await person.arrived()
    if person.was_asked:
        return "input_required", result
    link = link_in(result) if result.is_error else None
    if link is None:
        return "none", result
    await person.visit(link)
    return "text", await client.call_tool(given.tool, arguments)


async def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--binary", required=True)
    options.add_argument("--args", default="[]")
    options.add_argument("--env", default="{}")
    options.add_argument("--cwd")
    options.add_argument("--tool", required=True)
    options.add_argument("--arguments", default="{}")
    options.add_argument("--protocol", default="default")
    options.add_argument("--elicitation", choices=["url", "none"], default="none")
    options.add_argument("--login", default="ana")
    given = options.parse_args()
    person = Person(given.login)
    async with asyncio.timeout(PATIENCE_SECONDS), connected(given, person) as client:
        path, result = await journey(client, person, given)
        answer = {"client": "mcp", "protocol_negotiated": client.protocol_version, "path": path}
        print(json.dumps({**answer, "result_text": "\n".join(texts(result))}), flush=True)
        return 1 if result.is_error else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
