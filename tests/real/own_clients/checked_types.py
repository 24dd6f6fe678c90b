"""What a type checker knows of our Python client; mypy reads this file, and nothing runs it."""

from typing import Any, assert_type

from countersign import AsyncClient, Authorization, Client, Completed, Connection, ConsentRequired, Failed, Outcome, Ready, TimedOut


def blocking(client: Client) -> str | None:
    asked = client.authorize("Github.StarRepo", "ana")
    assert_type(asked, Authorization)
    assert_type(client.authorize(provider="github", scopes=["repo"]), Authorization)
    assert_type(client.execute("Github.StarRepo", {"owner": "a"}, "ana", idempotency_key="k"), Any)
    assert_type(client.ready(["Github.StarRepo"], user="ana"), Ready)
    assert_type(client.connections(), list[Connection])
    assert_type(client.wait(asked, timeout=2), Outcome)
    client.wait(3)  # type: ignore[arg-type]
    client.execute()  # type: ignore[call-arg]
    match client.wait("ar_x"):
        case Completed(authorization):
            return authorization.user_id
        case Failed(reason):
            return reason
        case TimedOut(authorization):
            return authorization.url


async def awaited(client: AsyncClient) -> str | None:
    assert_type(await client.authorize("Github.StarRepo", "ana"), Authorization)
    assert_type(await client.wait("ar_x"), Outcome)
    assert_type(await client.disconnect("c"), None)
    try:
        await client.execute("Github.StarRepo")
    except ConsentRequired as error:
        return error.authorization.url
    return None
