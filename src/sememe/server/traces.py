"""Traces through OpenTelemetry's API: where the program has no provider configured, or no API, nothing happens.

A request's span continues the caller's `traceparent`. Below it: `queue`, until the first batch that has one of the
request's inputs begins, and `inference`, from there until its last value is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sememe.server.call_times import CallTimes

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:  # the extra `otel` is not installed
    _HAS_API = False
else:
    _HAS_API = True

_NAME = "sememe"


@dataclass
class Outcome:
    """What a request's span says at its end."""

    status: int = 0


@contextmanager
def request_span(method: str, route: str, headers: Mapping[bytes, bytes]) -> Iterator[Outcome]:
    """A span around one request; the caller sets the outcome. route: the path as declared, never the one given."""
    outcome = Outcome()
    if not _HAS_API:
        yield outcome
        return
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    with trace.get_tracer(_NAME).start_as_current_span(
        f"{method} {route}", context=propagate.extract(carrier), kind=trace.SpanKind.SERVER
    ) as span:
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        try:
            yield outcome
        finally:
            span.set_attribute("http.response.status_code", outcome.status)
            if outcome.status >= 500:
                span.set_status(trace.StatusCode.ERROR)


def call_spans(times: CallTimes, model: str, n_inputs: int, n_tokens: int) -> None:
    """The spans of one call that is done, below the current one."""
    if not _HAS_API or not trace.get_current_span().is_recording():
        return
    epoch_ns = time.time_ns() - time.monotonic_ns()

    def at(seconds: float) -> int:
        return epoch_ns + int(seconds * 1e9)

    started = times.started if times.started is not None else times.done
    tracer = trace.get_tracer(_NAME)
    attributes: dict[str, str | int] = {"model": model, "inputs": n_inputs, "tokens": n_tokens}
    for name, begin, end in (("queue", times.admitted, started), ("inference", started, times.done)):
        tracer.start_span(name, start_time=at(begin), attributes=attributes).end(at(end))
