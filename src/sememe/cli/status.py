"""A line on a terminal that says what is being done now; elsewhere a line for each new thing."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType


class StatusLine:
    """On standard error. quiet: says nothing."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._last = ""

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_terminal and self._last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Say it. Without a terminal, counts of the same thing are said once."""
        if self._quiet:
            return
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
        elif (text := text.rpartition(": ")[0] if text.endswith(" texts") else text) != self._last:
            print(text, file=sys.stderr, flush=True)
        self._last = text
