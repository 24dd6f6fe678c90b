"""The two clients, which send the requests of `core`."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from ipaddress import ip_address
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from . import core
from .errors import NoAnswer

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
ANY_KEY = "countersign"
"""Key for a server of one's own machine, which takes any."""
CONNECT_SECONDS = 5.0


def _blocking(flow: Callable[P, core.Flow[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(flow(*args, **kwargs))

    return _described(method, flow)


def _awaitable(flow: Callable[P, core.Flow[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(flow(*args, **kwargs))

    return _described(method, flow)


def _described(method: F, flow: Callable[..., Any]) -> F:
    """Gives a method the name, the documentation and the parameters of its flow."""
    update_wrapper(method, flow, assigned=("__name__", "__doc__"))
    signature = inspect.signature(flow)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [own, *signature.parameters.values()]
    vars(method)["__signature__"] = signature.replace(
        parameters=parameters, return_annotation=inspect.Signature.empty
    )
    return method


class _Settings:
    """Address and key of the server. Only the headers of the HTTP client hold the key; its `repr` does not show them."""

    def __init__(self, url: str | None, api_key: str | None, timeout: float) -> None:
        self.url = (url or os.environ.get("COUNTERSIGN_URL") or DEFAULT_URL).rstrip("/")
        self.timeout = timeout
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ValueError("the URL of the server is like https://tools.example.com, without user, password or query")
        is_loopback = _is_loopback(parts.hostname)
        key = api_key or os.environ.get("COUNTERSIGN_API_KEY") or (ANY_KEY if is_loopback else None)
        if not key:
            raise ValueError(f"set COUNTERSIGN_API_KEY to a key of {self.url}, or pass api_key")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("the API key has characters that no key has")
        self._http_options: dict[str, Any] = {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {key}", "User-Agent": "countersign-client/0.1.0 (python)"},
            # A redirect must not take the key to another server, and a proxy must not see what stays on this machine.
            "follow_redirects": False,
            "trust_env": not is_loopback,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _http_request(self, request: core.Request) -> dict[str, Any]:
        key = request.idempotency_key
        return {
            "method": request.method,
            "url": request.path,
            "params": request.query,
            "json": request.body,
            "headers": {} if key is None else {"Idempotency-Key": key},
            "timeout": httpx.Timeout(self.timeout + request.extra_seconds, connect=CONNECT_SECONDS),
        }

    def _no_answer(self, error: httpx.RequestError) -> NoAnswer:
        was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        what = "did not answer" if was_sent else "cannot be reached"
        return NoAnswer(f"{self.url} {what} ({type(error).__name__})", was_sent=was_sent)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Client(_Settings):
    """A client for programs without an event loop. Threads may share it."""

    authorize = _blocking(core.authorize)
    wait = _blocking(core.wait)
    execute = _blocking(core.execute)
    ready = _blocking(core.ready)
    connections = _blocking(core.connections)
    disconnect = _blocking(core.disconnect)

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 60.0) -> None:
        super().__init__(url, api_key, timeout)
        self._http = httpx.Client(**self._http_options)
        del self._http_options

    def _run(self, flow: core.Flow[T]) -> T:
        answer: core.Response | NoAnswer | None = None
        try:
            while True:
                step = flow.send(answer)
                if isinstance(step, core.Sleep):
                    time.sleep(step.seconds)
                    answer = None
                    continue
                try:
                    response = self._http.request(**self._http_request(step))
                    answer = core.Response(response.status_code, response.headers, response.content)
                except httpx.RequestError as error:
                    answer = self._no_answer(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Settings):
    """A client for asyncio."""

    authorize = _awaitable(core.authorize)
    wait = _awaitable(core.wait)
    execute = _awaitable(core.execute)
    ready = _awaitable(core.ready)
    connections = _awaitable(core.connections)
    disconnect = _awaitable(core.disconnect)

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 60.0) -> None:
        super().__init__(url, api_key, timeout)
        self._http = httpx.AsyncClient(**self._http_options)
        del self._http_options

    async def _run(self, flow: core.Flow[T]) -> T:
        answer: core.Response | NoAnswer | None = None
        try:
            while True:
                step = flow.send(answer)
                if isinstance(step, core.Sleep):
                    await asyncio.sleep(step.seconds)
                    answer = None
                    continue
                try:
                    response = await self._http.request(**self._http_request(step))
                    answer = core.Response(response.status_code, response.headers, response.content)
                except httpx.RequestError as error:
                    answer = self._no_answer(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
