"""Durations as requests write them."""

from __future__ import annotations

import math
import re

from sememe.errors import InputError

_NUMBER = r"\d{1,9}(\.\d{1,9})?"
_DURATION = re.compile(rf"(?P<sign>-?)(?P<rest>{_NUMBER}|({_NUMBER}(ms|s|m|h))+)", re.ASCII)
_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: float | str) -> float:
    """Seconds of a number of them, or of a duration such as `5m` or `1h30m`. Raises InputError."""
    if isinstance(duration, str):
        parts = _DURATION.fullmatch(duration.strip())
        if not parts or not parts["rest"]:
            raise InputError(f"keep_alive is {duration[:40]!r}; expected seconds, or a duration such as 5m or 1h30m.")
        pieces = re.findall(r"([\d.]+)(ms|s|m|h)?", parts["rest"])
        found = sum(float(number) * _UNITS[unit] for number, unit in pieces)
        return -found if parts["sign"] else found
    if not math.isfinite(duration):
        raise InputError(f"keep_alive is {duration}; expected seconds.")
    return float(duration)
