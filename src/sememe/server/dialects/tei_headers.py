"""TEI's headers on what was computed and where the time went, in whole milliseconds as there.

`x-tokenization-time` and `x-inference-time`: in which some of the request's inputs were tokenized, or were on the device,
alone or with others'. `x-queue-time`: in which none was either. `x-total-time`, and `x-compute-time` as in TEI: from the
body that was read to the answer that is written, so a little more than the three together. TEI gives means over the
inputs for those three. Source: TEI 1.9.3 `router/src/http/server.rs`, `ResponseMetadata`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sememe.server.call_times import CallTimes


def compute_headers(
    device: str, n_characters: int, n_tokens: int, times: Sequence[CallTimes], started: float
) -> dict[str, str]:
    """The headers. times: of the request's calls, which went at once; the one that took longest is told.

    started: of `time.perf_counter`, when the body had been read.
    """
    longest = max(times, key=lambda one: one.done - one.admitted)
    total = _milliseconds(time.perf_counter() - started)
    return {
        "x-compute-type": "cpu" if device == "cpu" else "gpu",
        "x-compute-time": total,
        "x-compute-characters": str(n_characters),
        "x-compute-tokens": str(n_tokens),
        "x-total-time": total,
        "x-tokenization-time": _milliseconds(longest.tokenizing),
        "x-queue-time": _milliseconds(longest.waiting),
        "x-inference-time": _milliseconds(longest.computing),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1e3))
