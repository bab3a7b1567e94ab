"""Traces through OpenTelemetry's API: where the program has no provider configured, or no API, nothing happens.

A request's span continues the caller's `traceparent`. Below it: `queue`, until the first batch that has one of the
request's inputs begins, and `inference`, from there until its last value is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sememe.server.call_times import CallTimes

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:  # the extra `otel` is not installed
    _HAS_API = False
else:
    _HAS_API = True

_NAME = "sememe"


def _is_on() -> bool:
    """Whether anybody has configured a provider; without one the API's own calls cost as much as all else of a request."""
    return _HAS_API and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@dataclass
class Outcome:
    """What a request's span says at its end. name: of the route as declared, never of the path that was given."""

    name: str = ""
    is_fault: bool = False
    attributes: dict[str, str | int] = field(default_factory=dict)


@contextmanager
def request_span(
    name: str, carrier: Callable[[], Mapping[str, str]], attributes: Mapping[str, str]
) -> Iterator[Outcome]:
    """A span around one request; the caller sets the outcome. carrier: gives its headers or metadata, by lower-case names."""
    outcome = Outcome()
    if not _is_on():
        yield outcome
        return
    with trace.get_tracer(_NAME).start_as_current_span(
        name,
        context=propagate.extract(carrier()),
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        record_exception=False,  # an exception's message may hold what a request said
        set_status_on_exception=False,
    ) as span:
        try:
            yield outcome
        finally:
            span.update_name(outcome.name or name)
            span.set_attributes(outcome.attributes)
            if outcome.is_fault:
                span.set_status(trace.StatusCode.ERROR)


def call_spans(times: CallTimes, model: str, n_inputs: int, n_tokens: int) -> None:
    """The spans of one call that is done, below the current one."""
    if not _is_on() or not trace.get_current_span().is_recording():
        return
    epoch_ns = time.time_ns() - time.monotonic_ns()

    def at(seconds: float) -> int:
        return epoch_ns + int(seconds * 1e9)

    started = times.started if times.started is not None else times.done
    tracer = trace.get_tracer(_NAME)
    attributes: dict[str, str | int] = {"model": model, "inputs": n_inputs, "tokens": n_tokens}
    for name, begin, end in (("queue", times.admitted, started), ("inference", started, times.done)):
        tracer.start_span(name, start_time=at(begin), attributes=attributes).end(at(end))
