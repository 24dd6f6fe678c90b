"""Countersign's client: tools that act with a user's own accounts, once the user has consented."""

from .client import AsyncClient, Client
from .core import (
    Completed,
    ConfirmationRequired,
    ConsentRefused,
    ConsentRequired,
    Failed,
    Outcome,
    Ready,
    TimedOut,
    ToolError,
)
from .errors import ApiError, CountersignError, NoAnswer, UnexpectedAnswer
from .types import AuthorizationAnswer as Authorization
from .types import UserConnection as Connection

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AsyncClient",
    "Authorization",
    "Client",
    "Completed",
    "ConfirmationRequired",
    "Connection",
    "ConsentRefused",
    "ConsentRequired",
    "CountersignError",
    "Failed",
    "NoAnswer",
    "Outcome",
    "Ready",
    "TimedOut",
    "ToolError",
    "UnexpectedAnswer",
]
