"""Verifies requests with the Python code of docs/webhooks.md and the published library.

    python verify.py docs/webhooks.md < requests

Each line of the input is a request, `{"headers": …, "body": …}`; each line of the output the status that the code
answers with, and the event's id and type.
"""

import json
import sys


def code_of(document: str, language: str) -> str:
    return document.split(f"```{language}\n")[1].split("```")[0]


handled = []
scope = {"handle": lambda message, event: handled.append([message, event["type"]])}
with open(sys.argv[1], encoding="utf-8") as document:
    exec(code_of(document.read(), "python"), scope)

for line in sys.stdin:
    request = json.loads(line)
    status = scope["receive"](request["body"].encode(), request["headers"])
    print(json.dumps({"status": status, "handled": handled}), flush=True)
    handled.clear()
