"""What goes wrong, with its HTTP status: the one table. How it is written is each dialect's own affair."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from typing import Literal

from sememe.errors import (
    CheckpointError,
    CollectionMismatch,
    InputError,
    NewerVersion,
    NotFound,
    Overloaded,
    RemoteError,
    SememeError,
    UnsupportedCheckpoint,
)
from sememe.server.models import WrongModel
from sememe.server.workers import Unavailable

logger = logging.getLogger(__name__)

Kind = Literal[
    "input",  # a value that cannot be used
    "empty",  # no input at all
    "syntax",  # no JSON
    "body",  # JSON, with fields of wrong types
    "wrong_model",  # of another kind than the route needs
    "not_acceptable",
    "media_type",
    "too_large",
    "unauthorized",
    "rate_limit",
    "not_found",
    "no_route",
    "method",
    "mismatch",
    "overloaded",
    "unavailable",
    "remote",  # a server that was asked in turn
    "deadline",
    "unsupported",
    "model",
    "failed",  # what the server keeps or asks is damaged or full: its words say what
    "internal",
]

STATUS: dict[Kind, int] = {
    "input": 422,
    "empty": 422,
    "syntax": 400,
    "body": 422,
    "wrong_model": 422,
    "not_acceptable": 406,
    "media_type": 415,
    "too_large": 413,
    "unauthorized": 401,
    "rate_limit": 429,
    "not_found": 404,
    "no_route": 404,
    "method": 405,
    "mismatch": 409,
    "overloaded": 429,
    "unavailable": 503,
    "remote": 502,
    "deadline": 504,
    "unsupported": 501,
    "model": 500,
    "failed": 500,
    "internal": 500,
}

# Whose words are for the operator too: the log has them whole, and the client without folders of this machine.
_FAULTS: frozenset[Kind] = frozenset({"unsupported", "mismatch", "model", "failed"})
_FOLDERS = re.compile(r"(?<![\w/:.~-])~?/(?:[^/\n:;,'\"]*[^/\s:;,'\"]/)+")

# The first that fits; subclasses before their parents.
_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (WrongModel, "wrong_model"),
    (InputError, "input"),
    (NotFound, "not_found"),
    (UnsupportedCheckpoint, "unsupported"),
    (NewerVersion, "unsupported"),
    (CheckpointError, "model"),
    (CollectionMismatch, "mismatch"),
    (Overloaded, "overloaded"),
    (Unavailable, "unavailable"),
    (RemoteError, "remote"),
    (TimeoutError, "deadline"),
    (SememeError, "failed"),
)


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong. param: the field it is about, where that is known."""

    kind: Kind
    message: str
    param: str | None = None
    retry_after_seconds: float | None = None

    @property
    def status(self) -> int:
        """The usual HTTP status; a dialect may have another."""
        return STATUS[self.kind]

    def headers(self) -> dict[str, str]:
        """When to come again: in whole seconds for everybody, in milliseconds for those who read them."""
        if self.retry_after_seconds is None:
            return {}
        seconds = self.retry_after_seconds
        return {"Retry-After": str(max(1, math.ceil(seconds))), "Retry-After-Ms": str(max(1, math.ceil(seconds * 1e3)))}


class ProblemError(SememeError):
    """A problem of the exchange itself, not of what was asked: no JSON, no key, too many bytes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem_of(error: Exception) -> Problem:
    """The problem behind an exception. What we did not raise on purpose says nothing of itself to the client."""
    if isinstance(error, ProblemError):
        return error.problem
    for known, kind in _KINDS:
        if isinstance(error, known):
            after = error.retry_after_seconds if isinstance(error, Overloaded) else None
            message = _FOLDERS.sub("…/", str(error)) if kind in _FAULTS else str(error)
            return Problem(kind, message, retry_after_seconds=after)
    return Problem("internal", f"Something went wrong inside the server ({type(error).__name__}); its log has more.")


def logged_problem_of(error: Exception) -> Problem:
    """As `problem_of`; what is a fault of this side goes to the log, whole."""
    problem = problem_of(error)
    if problem.kind == "internal":
        logger.error("a request failed", exc_info=error)
    elif problem.status >= 500 and problem.kind in _FAULTS:
        logger.error("a request failed: %s", error)
    return problem
