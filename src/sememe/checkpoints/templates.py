"""Texts with places to fill, such as `Instruct: {task}\\nQuery: {text}`."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\{(\w+)\}")


def fill(template: str, **values: str) -> str:
    """The template with each {name} that has a value replaced, all at once: braces in a value stay what they are."""
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), template)
