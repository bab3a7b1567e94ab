"""Who may ask, and how often: keys and rates, the same over HTTP and gRPC."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from sememe.server.problems import Problem, ProblemError
from sememe.server.rate_limit import RateLimit


class Admission:
    """The keys that open the server, and a bucket of requests for each caller. On the event loop alone."""

    def __init__(self, api_keys: Sequence[str], rate_limit: float | None = None) -> None:
        """api_keys: none leaves the server open. rate_limit: requests a second of one key, else of one address."""
        self._keys = [key.encode() for key in api_keys]
        self._rate_limit = None if rate_limit is None else RateLimit(rate_limit)

    def check(self, authorization: bytes, other_key: bytes, address: str) -> None:
        """Let a request pass, and count it. other_key: of `api-key`, where there is no bearer token.

        Raises ProblemError for a key that is missing or wrong, and for one request too many.
        """
        scheme, _, token = authorization.partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else other_key
        if self._keys and not self._is_ours(given):
            raise ProblemError(
                Problem("unauthorized", "The API key is missing or wrong. Send it as Authorization: Bearer KEY.")
            )
        self._check_rate(given if self._keys else address.encode())

    def _is_ours(self, given: bytes) -> bool:
        """Every key is compared, and each comparison takes as long for a wrong key as for a right one."""
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0

    def _check_rate(self, caller: bytes) -> None:
        seconds = 0.0 if self._rate_limit is None else self._rate_limit.take(caller)
        if seconds:
            whose = "with this API key" if self._keys else "from this address"
            raise ProblemError(
                Problem(
                    "rate_limit",
                    f"Too many requests {whose}. The next may be sent in {seconds:.2f} s; "
                    "several inputs fit into one request.",
                    retry_after_seconds=seconds,
                )
            )
