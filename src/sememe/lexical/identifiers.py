"""Names in code and the words they are made of: `getHTTPResponse` is get, HTTP, Response; `max_tokens` is max, tokens."""

from __future__ import annotations

import re

# Underscores; a small letter before a capital; the last of several capitals before a small letter.
_BOUNDARY = re.compile(r"_+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def with_parts(words: list[str]) -> list[str]:
    """The words, each identifier of several words followed by these, as written."""
    found: list[str] = []
    for word in words:
        found.append(word)
        if not word.islower() or "_" in word:
            parts = [part for part in _BOUNDARY.split(word) if part]
            if parts != [word]:
                found += parts
    return found
