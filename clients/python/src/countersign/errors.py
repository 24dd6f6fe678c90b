"""Base classes of the errors. `types` has one class for each name of a server's error."""

from __future__ import annotations


class CountersignError(Exception):
    """An error of this client."""


class NoAnswer(CountersignError):
    """The server could not be reached, or its answer was lost."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        """Whether the server may have received the request. Repeat a call only with its idempotency key."""


class UnexpectedAnswer(CountersignError):
    """An answer that is not of this API, e.g. of a proxy or of another server."""


class ApiError(CountersignError):
    """An error that the server names."""

    def __init__(self, message: str, *, name: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        """One of `types.ErrorName`; a newer server may have more."""
        self.status = status
