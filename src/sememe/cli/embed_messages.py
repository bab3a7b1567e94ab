"""What `sememe embed` tells people: a bar on a terminal, and what was done. All of it on standard error."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from sememe.tables.job import JobReport, Progress
from sememe.tables.running import n_kept_rows


class Bar:
    """Texts done, texts/s, tokens/s and the time left, on a terminal only; elsewhere a line where a job goes on."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None
        self._began, self._tokens_before = time.monotonic(), 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        """Say how far the job is."""
        if self._quiet:
            return
        if progress.stage == "begin":
            if progress.n_rows:
                _say(f"Going on: {progress.n_rows:,} rows are kept from before.")
            self._began, self._tokens_before = time.monotonic(), progress.n_tokens
            self._bar = tqdm(initial=progress.n_rows, unit=" texts", disable=None, dynamic_ncols=True, smoothing=0.1)
        elif self._bar is not None:
            self._advance(self._bar, progress)

    def _advance(self, bar: tqdm[NoReturn], progress: Progress) -> None:
        if progress.n_estimated is not None:
            bar.total = max(progress.n_estimated, progress.n_rows)
        rate = (progress.n_tokens - self._tokens_before) / max(time.monotonic() - self._began, 1e-9)
        bar.set_postfix_str(f"{rate:,.0f} tokens/s", refresh=False)
        bar.update(progress.n_rows - bar.n)
        if progress.stage == "assemble":
            bar.set_description_str("writing")


def say_report(report: JobReport) -> None:
    """Say what was done, and everything about the rows that somebody should know."""
    width = "" if report.dimension is None else f"{report.dimension} × {report.dtype}, "
    kinds = " and ".join(report.outputs).replace("_", "-")
    _say(f"{report.n_rows:,} rows → {report.output} ({kinds}, {width}{report.size_bytes / 1e6:,.1f} MB)")
    if report.n_rows == 0:
        _say("The input has no rows: the output is empty, but valid.")
    n_embedded = report.n_rows - report.n_kept
    if n_embedded:
        _say(
            f"{n_embedded:,} embedded in {report.seconds:,.1f} s: {report.texts_per_second:,.0f} texts/s, "
            f"{report.tokens_per_second:,.0f} tokens/s. Model {report.model}, space {report.fingerprint}."
        )
    if columns := sorted({column for column in report.text_columns if column}):
        _say(f"Texts are from column {', '.join(columns)}.")
    if report.n_empty:
        _say(f"{report.n_empty:,} rows are empty; they have the vector of the empty text.")
    if report.n_truncated:
        _say(
            f"{report.n_truncated:,} rows are too long for the model: {report.n_dropped_tokens:,} tokens at their ends "
            "were not read."
        )


def say_interrupted(out: Path) -> None:
    """Say what an interruption has left, and how to go on."""
    n_rows = n_kept_rows(out)
    if n_rows:
        _say(f"Interrupted. {n_rows:,} rows are kept in {out}.partial; run the same command again to go on.")
    else:
        _say("Interrupted, before any row was done.")


def _say(message: str) -> None:
    print(message, file=sys.stderr)
