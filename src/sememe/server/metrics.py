"""Figures for Prometheus: TEI's names under our prefix, and a few of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, UnknownMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from sememe.records import Usage
from sememe.server.call_times import CallTimes
from sememe.server.scheduler import Health

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
# TEI's words for what fails; every other status below 500 is "validation".
_ERRORS = {429: "overloaded", 424: "backend"}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One server's counters. It is the scheduler's observer, and what the gate reports requests to."""

    def __init__(self, health: Callable[[], Health] | None = None) -> None:
        """health: the scheduler's, read when somebody asks for the figures; set by `watch` otherwise."""
        self._registry = CollectorRegistry()
        self._requests = self._counter("sememe_request_count", "Requests answered.", "route", "status")
        self._durations = Histogram(
            "sememe_request_duration", "Seconds from a request's head to its answer.", ["route"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._inference = Histogram(
            "sememe_request_inference_duration", "Seconds of one batch on the device.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._queue_age = Histogram(
            "sememe_request_queue_duration", "Seconds that a batch's oldest input waited.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._batch_inputs = Histogram(
            "sememe_batch_next_size", "Inputs of a batch.", buckets=_TOKENS[:9], registry=self._registry
        )
        self._batch_tokens = Histogram(
            "sememe_batch_next_tokens", "Tokens of a batch.", buckets=_TOKENS, registry=self._registry
        )
        self._batch_fill = Histogram(
            "sememe_batch_fill", "Tokens of a batch over the token budget.",
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1), registry=self._registry,
        )  # fmt: skip
        self._success = self._counter("sememe_request_success", "Requests answered as asked.")
        self._failure = self._counter("sememe_request_failure", "Requests refused or failed.", "err")
        self._tokenization = Histogram(
            "sememe_request_tokenization_duration", "Seconds in which a call's inputs were tokenized.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._embed_durations = Histogram(
            "sememe_embed_duration", "Seconds of a call to embed, queue included.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._predictions = self._counter("sememe_predict_count", "Pairs and texts scored.")
        self._predict_durations = Histogram(
            "sememe_predict_duration", "Seconds of a call to score, queue included.",
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._lengths = _Lengths()
        self._registry.register(self._lengths)
        self._inputs = self._counter("sememe_embed_count", "Inputs embedded.")
        self._tokens = self._counter("sememe_embed_tokens", "Tokens of inputs embedded.")
        self._truncated = self._counter("sememe_truncated_inputs", "Inputs that were cut.")
        self._cached = self._counter("sememe_cache_hits", "Inputs that the embedding cache had.")
        # The library looks a child up by checking and joining its labels each time.
        self._durations_of = cache(self._durations.labels)
        if health is not None:
            self.watch(health)

    def _counter(self, name: str, words: str, *labels: str) -> _Counter:
        made = _Counter(name, words, labels)
        self._registry.register(made)
        return made

    def watch(self, health: Callable[[], Health]) -> None:
        """Give the scheduler's state among the figures."""
        self._registry.register(_Gauges(health))

    def batch_done(
        self, n_inputs: int, n_tokens: int, token_budget: int, seconds: float, oldest_seconds: float
    ) -> None:
        """One batch went through the device."""
        self._inference.observe(seconds)
        self._queue_age.observe(oldest_seconds)
        self._batch_inputs.observe(n_inputs)
        self._batch_tokens.observe(n_tokens)
        self._batch_fill.observe(n_tokens / token_budget)

    def request_done(self, route: str, status: int, seconds: float) -> None:
        """One request is done. route: the path as declared, so that there are only so many. status: 0 for no answer."""
        self._requests.add(1, route, str(status))
        self._durations_of(route).observe(seconds)
        if 0 < status < 400:
            self._success.add(1)
        else:
            self._failure.add(1, _ERRORS.get(status, "validation" if 0 < status < 500 else "backend"))

    def scored(self, n_inputs: int, times: CallTimes) -> None:
        """One call was scored."""
        self._predictions.add(n_inputs)
        self._tokenization.observe(times.tokenizing)
        self._predict_durations.observe(times.done - times.admitted)

    def embedded(self, usage: Usage, n_tokens: NDArray[np.int32], times: CallTimes) -> None:
        """One call was embedded."""
        self._lengths.add(n_tokens)
        self._tokenization.observe(times.tokenizing)
        self._embed_durations.observe(times.done - times.admitted)
        self._inputs.add(usage.n_inputs)
        self._tokens.add(usage.n_tokens)
        self._truncated.add(usage.n_truncated)
        self._cached.add(usage.n_cached)

    def text(self) -> bytes:
        """All figures, in Prometheus' text form."""
        return generate_latest(self._registry)


class _Counter(Collector):
    """Numbers that only grow, by TEI's names, to which the library's own counters would add `_total`.

    On the event loop alone.
    """

    def __init__(self, name: str, words: str, labels: Sequence[str]) -> None:
        self._name, self._words, self._labels = name, words, labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def add(self, n: float, *labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0) + n

    def collect(self) -> Iterable[UnknownMetricFamily]:
        family = UnknownMetricFamily(self._name, self._words, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class _Lengths(Collector):
    """Tokens of each input: a histogram that takes all inputs of a call at once. On the event loop alone."""

    def __init__(self) -> None:
        self._counts, self._sum = np.zeros(len(_TOKENS) + 1, np.int64), 0

    def add(self, n_tokens: NDArray[np.int32]) -> None:
        places = np.searchsorted(_TOKENS, n_tokens)  # a bucket holds its bound
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += int(n_tokens.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        bounds = [*map(floatToGoString, _TOKENS), "+Inf"]
        buckets = list(zip(bounds, np.cumsum(self._counts).tolist(), strict=True))
        name = "sememe_request_input_length"
        yield HistogramMetricFamily(name, "Tokens of an input.", buckets=buckets, sum_value=self._sum)


class _Gauges(Collector):
    """The scheduler's state at the moment of reading."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def collect(self) -> Iterable[GaugeMetricFamily]:
        health = self._health()
        figures = {
            "sememe_queue_size": ("Inputs that wait.", health.queue_inputs),
            "sememe_queue_tokens": ("Tokens that wait.", health.queue_tokens),
            "sememe_queue_age_seconds": ("How long the oldest input has waited.", health.oldest_seconds),
            "sememe_tokens_per_second": ("The measured rate while the device is busy.", health.tokens_per_second),
            "sememe_worker_restarts": ("Threads that died and were replaced.", health.restarts),
            "sememe_healthy": ("1 while the workers live and none is stuck.", health.is_alive),
        }
        for name, (help_text, value) in figures.items():
            yield GaugeMetricFamily(name, help_text, value=value)
