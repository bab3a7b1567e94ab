"""How much may wait, and when there is room again: by the rate that the work of the last seconds went at."""

from __future__ import annotations

from typing import Any

from sememe.errors import InputError, Overloaded
from sememe.records import Tokens
from sememe.server.line import Line

# The measured rate follows the last few seconds of work.
_RATE_SECONDS = 5.0
_FIRST_GUESS = 2000.0  # tokens a second, until the first batch is done: warming up makes it one


class BackPressure:
    """A bound on the tokens that wait. No lock here: the caller holds one."""

    def __init__(self, queue_tokens: int) -> None:
        self._limit = queue_tokens
        self._tokens, self._seconds = 0.0, 0.0
        self._last_done = 0.0
        self._characters_per_token = 4.0

    def estimate(self, line: Line, given: Any) -> int:
        """About how many tokens an input will have, before it is tokenized."""
        return min(line.max_tokens, int(n_characters(given) / self._characters_per_token) + 2)

    def learn_length(self, given: Any, tokens: Tokens) -> None:
        """Characters a token, for the estimates: a mean that follows the traffic."""
        if isinstance(given, str) and not tokens.n_dropped and len(tokens) > 2:
            seen = max(0.5, min(8.0, len(given) / (len(tokens) - 1)))
            self._characters_per_token += 0.02 * (seen - self._characters_per_token)

    def check_room(self, n_tokens: int, n_queued: int, n_running: int) -> None:
        """Raise Overloaded where so many more do not fit now, and InputError where they never do."""
        if n_tokens > self._limit:
            raise InputError(
                f"The request has about {n_tokens:,} tokens; this server's queue holds {self._limit:,}. Send it in pieces."
            )
        if n_queued + n_tokens > self._limit:
            # Room comes when batches are taken, and the next one is taken when those on the device are done.
            seconds = (n_queued + n_tokens - self._limit + n_running) / self.tokens_per_second
            raise Overloaded(
                f"The queue is full: {n_queued:,} of {self._limit:,} tokens wait. There will be room in {seconds:.1f} s.",
                retry_after_seconds=seconds,
            )

    @property
    def tokens_per_second(self) -> float:
        """While the device is busy."""
        return self._tokens / self._seconds if self._seconds > 0 else _FIRST_GUESS

    def batch_done(self, n_tokens: int, started: float, now: float) -> float:
        """Take a batch into the rate. Gives its seconds on the device, without those that it waited there for another."""
        seconds = now - max(started, self._last_done)
        self._last_done = now
        keep = max(0.0, 1 - seconds / _RATE_SECONDS)
        self._tokens = self._tokens * keep + n_tokens
        self._seconds = self._seconds * keep + seconds
        return seconds


def n_characters(given: Any) -> int:
    """Characters of one input: a text, or texts."""
    return len(given) if isinstance(given, str) else sum(map(len, given))
