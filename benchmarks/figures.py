"""Measurements into the figures that are promised, and into rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from measuring import CORPORA, Measured, ratio
from systems import System

_CORPUS_NAMES = {"mixed": "mixed, about 50 tokens", "uniform": "uniform, 256 tokens", "queries": "queries, 8 tokens"}


@dataclass(frozen=True)
class Figure:
    """One promise. ours, peer: medians, written out. value: what is compared with the target, written out."""

    name: str
    ours: str
    peer: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the measured value keeps the promise."""
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    @property
    def target(self) -> str:
        """The promise in words."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}{self.unit}"
        return f"≤ {self.at_most:g}{self.unit}"

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        target = {"at_least": self.at_least, "at_most": self.at_most, "met": self.met}
        return {"figure": self.name, "ours": self.ours, "peer": self.peer, "value": self.value, **target}


def promised(measured: Measured, device: str) -> list[Figure]:
    """The figures with a target; the targets are for two cores with native bf16, and on a GPU none is set."""
    imported = median(measured.import_seconds)
    figures = [
        _bulk_figure(measured, "mixed", "peer", "its default", 6),
        _bulk_figure(measured, "uniform", "peer", "its default", 4),
        _bulk_figure(measured, "mixed", "peer_bfloat16", "its bf16", 2.3),
        _bulk_figure(measured, "uniform", "peer_bfloat16", "its bf16", 2.3),
        Figure(
            "one short text, latency",
            f"{median(measured.single['ours']) * 1e3:.2f} ms",
            f"{median(measured.single['peer']) * 1e3:.2f} ms",
            ratio(measured.single["ours"], measured.single["peer"]),
            "×",
            at_most=0.15,
        ),
        Figure(
            "process start to first vector",
            f"{median(measured.start['ours']):.2f} s",
            f"{median(measured.start['peer']):.2f} s",
            ratio(measured.start["ours"], measured.start["peer"]),
            "×",
            at_most=0.15,
        ),
        Figure(
            "peak memory",
            f"{median(measured.peak['ours']) / 1e6:.0f} MB",
            f"{median(measured.peak['peer']) / 1e6:.0f} MB",
            ratio(measured.peak["ours"], measured.peak["peer"]),
            "×",
            at_most=0.6,
        ),
        *(_matrix_share(measured, corpus) for corpus in ("mixed", "uniform")),
        Figure("`import sememe`", f"{imported:.3f} s", "", imported, " s", at_most=0.3),
    ]
    if device == "cpu":
        return figures
    return [Figure(f.name, f.ours, f.peer, f.value, f.unit) for f in figures]


def _bulk_figure(measured: Measured, corpus: str, peer: str, words: str, target: float) -> Figure:
    seconds, n_texts = measured.bulk[corpus], measured.n_texts[corpus]
    return Figure(
        f"bulk, {_CORPUS_NAMES[corpus]}, against {words}",
        f"{n_texts / median(seconds['ours']):,.0f} texts/s",
        f"{n_texts / median(seconds[peer]):,.0f} texts/s",
        ratio(seconds[peer], seconds["ours"]),
        "×",
        at_least=target,
    )


def _matrix_share(measured: Measured, corpus: str) -> Figure:
    """Our matrix multiplications a second in bulk, over what the machine does when it does nothing else."""
    flops = measured.n_tokens[corpus] * measured.flops_per_token
    done = [flops / seconds for seconds in measured.bulk[corpus]["ours"]]
    limit = measured.matrix_rate[corpus]
    precision = "bf16" if measured.precision == "bfloat16" else measured.precision
    return Figure(
        f"share of the matrix-multiply rate, {_CORPUS_NAMES[corpus]}",
        f"{median(done) / 1e9:,.0f} GFLOP/s",
        f"{median(limit) / 1e9:,.0f} GFLOP/s ({precision} limit)",
        100 * ratio(done, limit),
        " %",
        at_least=70,
    )


def promises_table(figures: Sequence[Figure]) -> list[list[str]]:
    """Head and rows."""
    rows = [["", "sememe", "sentence-transformers", "measured", "target", ""]]
    for f in figures:
        digits = 0 if f.unit == " %" else 3 if f.at_most is not None or f.unit == " s" else 2
        has_target = f.at_least is not None or f.at_most is not None
        target, met = (f.target, "met" if f.met else "MISSED") if has_target else ("", "")
        rows.append([f.name, f.ours, f.peer, f"{f.value:.{digits}f}{f.unit}", target, met])
    return rows


def bulk_table(measured: Measured, compared: Sequence[System]) -> list[list[str]]:
    """texts/s and tokens/s of every system with every corpus, and how many times the peer's default that is."""
    head = ["bulk: texts/s · tokens/s · ratio"]
    head += [f"{_CORPUS_NAMES[corpus]} ({measured.n_texts[corpus]:,})" for corpus in CORPORA]
    rows = [head]
    for system in compared:
        row = [system.label]
        for corpus in CORPORA:
            seconds = measured.bulk[corpus]
            middle = median(seconds[system.key])
            texts, tokens = measured.n_texts[corpus] / middle, measured.n_tokens[corpus] / middle
            row.append(f"{texts:,.0f} · {tokens:,.0f} · {ratio(seconds['peer'], seconds[system.key]):.2f}×")
        rows.append(row)
    return rows


def process_table(measured: Measured, compared: Sequence[System]) -> list[list[str]]:
    """Latency, start and memory of every system."""
    rows = [["", "one short text", "start to first vector", "peak memory"]]
    for system in compared:
        single, start, peak = (
            median(values[system.key]) for values in (measured.single, measured.start, measured.peak)
        )
        rows.append([system.label, f"{single * 1e3:.2f} ms", f"{start:.2f} s", f"{peak / 1e6:.0f} MB"])
    first = f"{median(measured.first_start):.2f} s"
    return [*rows, [f"{compared[0].label}, nothing remembered from an earlier load", "", first, ""]]
