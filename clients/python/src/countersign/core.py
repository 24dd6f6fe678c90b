"""The API without I/O: each function is a generator of requests, which `Client` and `AsyncClient` both send."""

from __future__ import annotations

import json
import random
import time
import types as python_types
import typing
import uuid
from collections.abc import Generator, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import quote

from . import types as wire
from .errors import ApiError, CountersignError, NoAnswer, UnexpectedAnswer

T = TypeVar("T")

MAX_RETRIES = 2
MAX_RETRY_AFTER_SECONDS = 30.0
"""A request that the server wants to have later is not sent again."""
MAX_POLL_SECONDS = 45
MIN_POLL_SECONDS = 1.0
RETRY_POLL_SECONDS = 2.0
PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    extra_seconds: float = 0.0
    """Time that the server takes on purpose, beside the client's timeout."""
    is_repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


Flow = Generator[Request | Sleep, "Response | NoAnswer | None", T]


# ── Results and errors ──────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Completed:
    """The user has consented."""

    authorization: wire.AuthorizationAnswer


@dataclass(frozen=True, slots=True)
class Failed:
    """The authorization has ended without a consent: the user declined, the provider refused, or the link expired."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The user has not answered yet. The link may still work: wait again."""

    authorization: wire.AuthorizationAnswer


Outcome = Completed | Failed | TimedOut


@dataclass(frozen=True, slots=True)
class Ready:
    """Consents that tools still need."""

    met: bool
    providers: dict[str, wire.ProviderRequirement]

    @property
    def links(self) -> dict[str, str]:
        """The link of each provider that the user has to open."""
        return {name: one.url for name, one in self.providers.items() if one.url}

    @property
    def problems(self) -> dict[str, str]:
        """For each provider that the user cannot connect now, the reason."""
        return {name: one.status_reason for name, one in self.providers.items() if one.status_reason}


class ConsentRequired(wire.ToolAuthorizationRequired):
    """The user has to open `authorization.url` first; then the same call runs."""

    def __init__(self, message: str, *, name: str, status: int, authorization: wire.AuthorizationAnswer) -> None:
        super().__init__(message, name=name, status=status)
        self.authorization = authorization


class ConsentRefused(wire.ToolAuthorizationRequired):
    """The user has declined so often that they are not asked now."""


class ToolError(CountersignError):
    """The tool has failed. `kind` says why."""

    def __init__(self, error: wire.ExecuteError) -> None:
        super().__init__(error.message)
        self.message = error.message
        self.kind = error.kind
        self.can_retry = error.can_retry
        self.retry_after = None if error.retry_after_ms is None else error.retry_after_ms / 1000
        self.status_code = error.status_code
        self.error = error


class ConfirmationRequired(ToolError):
    """The user has to confirm this call at `confirmation.confirmation_url`; then the same call runs."""

    def __init__(self, error: wire.ExecuteError, confirmation: wire.Confirmation) -> None:
        super().__init__(error)
        self.confirmation = confirmation


# ── Operations ──────────────────────────────────────────────────────────────


def authorize(
    tool: str | None = None,
    user: str | None = None,
    *,
    provider: str | None = None,
    scopes: Iterable[str] = (),
    next_uri: str | None = None,
) -> Flow[wire.AuthorizationAnswer]:
    """Asks for the consent that `tool` needs, or for `scopes` at `provider`.

    The status of the result is `completed`, or `pending` with the `url` that the user opens. While that link is open,
    a repetition returns it again.
    """
    if (tool is None) == (provider is None):
        raise ValueError("name a tool, or a provider")
    answer: wire.AuthorizationAnswer
    if tool is not None:
        of_tool: wire.AuthorizeTool = {"tool_name": tool, "user_id": user, "next_uri": next_uri}
        answer = yield from _post(wire.AuthorizationAnswer, "/v1/tools/authorize", of_tool)
    else:
        required: wire.AuthRequirement = {"id": provider, "oauth2": {"scopes": list(scopes)}}
        of_provider: wire.Authorize = {"auth_requirement": required, "user_id": user, "next_uri": next_uri}
        answer = yield from _post(wire.AuthorizationAnswer, "/v1/auth/authorize", of_provider)
    return answer


def wait(authorization: wire.AuthorizationAnswer | str, timeout: float = 900.0) -> Flow[Outcome]:
    """Waits up to `timeout` seconds for the user. Takes an authorization or its id."""
    if not isinstance(authorization, str) and authorization.status == "completed":
        return Completed(authorization)
    id = authorization if isinstance(authorization, str) else authorization.id
    deadline, has_answered, has_failed = time.monotonic() + timeout, False, False
    while True:
        began = time.monotonic()
        poll = max(0, min(MAX_POLL_SECONDS, int(deadline - began)))
        query = {"id": id, "wait": str(poll)}
        request = Request("GET", "/v1/auth/status", query=query, extra_seconds=poll)
        try:
            answer = yield from _ask(wire.AuthorizationAnswer, request)
        except (wire.AuthorizationFailed, wire.NotFound) as error:
            return Failed(error.message)
        except (NoAnswer, wire.Unavailable):
            left = deadline - time.monotonic()
            if not has_answered or left <= 0:
                raise
            # The link outlives a restart of the server.
            yield Sleep(min(RETRY_POLL_SECONDS, left))
            continue
        has_answered = True
        if answer.status == "completed":
            return Completed(answer)
        if answer.status == "failed":
            if has_failed:
                return Failed("the server gives no reason")
            # The server says `failed` once, and then why.
            has_failed = True
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            return TimedOut(answer)
        # A server that is about to end, or has too many polls, answers early.
        if time.monotonic() - began < MIN_POLL_SECONDS:
            yield Sleep(min(MIN_POLL_SECONDS, left))


def execute(
    tool: str, input: Mapping[str, Any] | None = None, user: str | None = None, *, idempotency_key: str | None = None
) -> Flow[Any]:
    """Calls a tool, and returns its output.

    With the same `idempotency_key`, a call runs once within 24 hours, however often it is sent. Without one, each call
    has a new key, so that it also runs once if its answer is lost and it is sent again.

    Raises:
        ConsentRequired: with the link that the user opens.
        ConfirmationRequired: with the link at which the user confirms this call.
        ToolError: the tool has failed.
        ApiError: the server refuses the request; `types` has one class for each name.
        NoAnswer: there was no answer, and it is unknown whether the tool ran.
    """
    call: wire.ExecuteTool = {"tool_name": tool, "input": dict(input or {}), "user_id": user}
    answer = yield from _post(wire.ExecuteAnswer, "/v1/tools/execute", call, idempotency_key or str(uuid.uuid4()))
    if answer.output is None:
        raise UnexpectedAnswer("the answer of the call has no output")
    error = answer.output.error
    if error is None:
        return answer.output.value
    raise ToolError(error) if error.extra is None else ConfirmationRequired(error, error.extra)


def ready(tools: Iterable[str], user: str | None = None) -> Flow[Ready]:
    """Asks for all consents that these tools need: one link for each provider."""
    question: wire.RequirementsQuestion = {"tool_names": list(tools), "user_id": user, "authorize": True}
    answer = yield from _post(wire.RequirementsAnswer, "/v1/tools/requirements", question)
    return Ready(answer.met, answer.authorization.items)


def connections(user: str | None = None, provider: str | None = None) -> Flow[list[wire.UserConnection]]:
    """Lists what users have connected. The key needs `admin = true`."""
    found: list[wire.UserConnection] = []
    asked = {"user_id": user, "provider_id": provider, "limit": str(PAGE_SIZE)}
    query = {name: value for name, value in asked.items() if value is not None}
    while True:
        request = Request("GET", "/v1/admin/user_connections", query={**query, "offset": str(len(found))})
        page = yield from _ask(wire.PageOfUserConnection, request)
        found.extend(page.items)
        if not page.items or len(found) >= page.total_count:
            return found


def disconnect(connection_id: str) -> Flow[None]:
    """Ends a connection, at the provider too. The key needs `admin = true`."""
    # Not repeated: the second answer would say that there is no such connection.
    path = f"/v1/admin/user_connections/{quote(connection_id, safe='')}"
    yield from _send(Request("DELETE", path, is_repeatable=False))


# ── Requests ────────────────────────────────────────────────────────────────


def _post(kind: type[T], path: str, body: Mapping[str, Any], idempotency_key: str | None = None) -> Flow[T]:
    written = {name: value for name, value in body.items() if value is not None}
    return (yield from _ask(kind, Request("POST", path, body=written, idempotency_key=idempotency_key)))


def _ask(kind: type[T], request: Request) -> Flow[T]:
    response = yield from _send(request)
    try:
        return cast(T, _decoded(kind, json.loads(response.body)))
    except (ValueError, TypeError, AttributeError) as error:
        raise UnexpectedAnswer(f"the answer to {request.method} {request.path} has another form") from error


def _send(request: Request) -> Flow[Response]:
    attempt = 0
    while True:
        response = yield request
        if isinstance(response, Response) and 200 <= response.status < 300:
            return response
        seconds = _seconds_until_retry(request, response, attempt)
        if seconds is None:
            raise response if isinstance(response, NoAnswer) else _error(request, cast(Response, response))
        yield Sleep(seconds)
        attempt += 1


def _seconds_until_retry(request: Request, response: Response | NoAnswer | None, attempt: int) -> float | None:
    """Returns when to send a request again; `None` if that is not safe, or of no use."""
    backoff: float = 0.5 * 2**attempt * random.uniform(0.75, 1)
    if attempt >= MAX_RETRIES:
        return None
    if isinstance(response, NoAnswer):
        return backoff if request.is_repeatable or not response.was_sent else None
    if response is None or response.headers.get("x-should-retry") == "false":
        return None
    # With 429, the request was refused before it was read.
    if response.status != 429 and not (request.is_repeatable and response.status in (502, 503, 504)):
        return None
    try:
        asked = float(response.headers.get("retry-after", backoff))
    except ValueError:
        return backoff
    return max(asked, backoff) if asked <= MAX_RETRY_AFTER_SECONDS else None


def _error(request: Request, response: Response) -> CountersignError:
    try:
        body = json.loads(response.body)
        name, message = str(body["name"]), str(body["message"])
        if name == "tool_authorization_required":
            authorization = _decoded(wire.ConsentRequired, body).authorization
            if authorization is None:
                return ConsentRefused(message, name=name, status=response.status)
            return ConsentRequired(message, name=name, status=response.status, authorization=authorization)
    except (ValueError, TypeError, AttributeError, KeyError):
        return UnexpectedAnswer(f"{request.method} {request.path} was answered with status {response.status}")
    return wire.ERRORS.get(name, ApiError)(message, name=name, status=response.status)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decoded(kind: Any, value: Any) -> Any:
    """Makes a value of JSON into the type that `types` names. Fields that are not known are left out."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        known = {one.name: one for one in fields(kind)}
        missing = [name for name, one in known.items() if name not in value and one.default is MISSING]
        if missing:
            raise ValueError(f"{kind.__name__} has no {missing[0]}")
        return kind(**{name: _decoded(hints[name], value[name]) for name in known if name in value})
    of = typing.get_args(kind)
    match typing.get_origin(kind):
        case origin if origin is list:
            return [_decoded(of[0], item) for item in value]
        case origin if origin is dict:
            return {name: _decoded(of[1], item) for name, item in value.items()}
        case origin if origin in (typing.Union, python_types.UnionType):
            return None if value is None else _decoded(next(one for one in of if one is not type(None)), value)
    return value
