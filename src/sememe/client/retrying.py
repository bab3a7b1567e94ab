"""What a status means, and when to ask again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from sememe.client.exchange import Answer
from sememe.errors import CollectionMismatch, InputError, NotFound, Overloaded, RemoteError, SememeError

# Too many requests, or a server that is starting, stopping or behind a gateway that lost it.
_PASSING = frozenset((429, 502, 503, 504))
_FIRST_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Retries:
    """n_retries: after the first try. longest_wait_seconds: of one wait; a server that says more is not waited for."""

    n_retries: int = 5
    longest_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.n_retries < 0 or self.longest_wait_seconds < 0:
            raise InputError("n_retries and longest_wait_seconds are 0 or more.")

    def wait_seconds(self, n_done: int, answer: httpx2.Response | None) -> float | None:
        """How long to wait before the next try, None to give up. answer: None where the server could not be reached."""
        if n_done >= self.n_retries or (answer is not None and answer.status_code not in _PASSING):
            return None
        said = None if answer is None else retry_after_seconds(answer.headers)
        if said is not None:
            return said if said <= self.longest_wait_seconds else None
        grown = _FIRST_WAIT_SECONDS * 2**n_done * random.uniform(0.5, 1.5)  # spread, not secrecy
        return min(grown, self.longest_wait_seconds)


class Tries:
    """One request's tries, counted: what an outcome means, whoever sends and waits."""

    def __init__(self, retries: Retries, where: str) -> None:
        """where: the address that is asked, for messages."""
        self._retries, self._where, self._n_done = retries, where, 0

    def after(self, outcome: httpx2.Response | httpx2.HTTPError) -> Answer | float:
        """The answer, or the seconds to wait before the next try. Raises what the outcome means where none would help."""
        answer = outcome if isinstance(outcome, httpx2.Response) else None
        if answer is not None and answer.status_code < 400:
            return read_answer(answer)
        wait = self._retries.wait_seconds(self._n_done, answer)
        self._n_done += 1
        if wait is not None:
            return wait
        if isinstance(outcome, httpx2.HTTPError):
            raise RemoteError(f"{self._where}: no answer after {self._n_done} tries ({outcome}).") from outcome
        raise error_of(outcome)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """What the server says: in milliseconds where it does, else in seconds; None where it says a date or nothing."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    return None


def read_answer(response: httpx2.Response) -> Answer:
    """An answer below 400; one without content has an empty body. Raises RemoteError for one that is no JSON."""
    if response.status_code == 204:
        return Answer({}, response.headers)
    try:
        body = response.json()
    except ValueError as exc:
        raise RemoteError(f"{response.url}: the answer is no JSON: {response.text[:80]!r}.") from exc
    return Answer(body, response.headers)


def error_of(answer: httpx2.Response) -> SememeError:
    """The error that an answer above 399 stands for."""
    message = f"{answer.url}: status {answer.status_code}: {_said(answer)}"
    if answer.status_code == 404:
        return NotFound(message)
    if answer.status_code == 409:
        return CollectionMismatch(message)
    if answer.status_code == 429:
        return Overloaded(message, retry_after_seconds=retry_after_seconds(answer.headers) or 0.0)
    if answer.status_code in (401, 403) or answer.status_code >= 500:
        return RemoteError(message)
    return InputError(message)


def _said(answer: httpx2.Response) -> str:
    """The message, wherever the dialect puts it."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:300]
    for key in ("error", "message", "detail"):
        said = body.get(key) if isinstance(body, dict) else None
        if isinstance(said, dict):
            said = said.get("message")
        if isinstance(said, str):
            return said
    return str(body)[:300]
