"""Passages as the terminal shows them."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from sememe.collections.documents import Chunk, Document

_SHOWN_CHARACTERS = 400


def place_of(document: Document, chunk: Chunk) -> str:
    """`path:3-9` as editors and compilers write it, `path, page 2`, and the heading; of what is no file, its id."""
    where = _short(document.source) or document.id
    place = chunk.place
    if place is not None:
        span = f"{place.first}" if place.first == place.last else f"{place.first}-{place.last}"
        where += f":{span}" if place.unit == "line" else f", {place.unit} {span}"
    return f"{where}  ({chunk.heading})" if chunk.heading else where


def shown(text: str) -> str:
    """The beginning of a passage on one line, indented."""
    return textwrap.indent(textwrap.shorten(text, _SHOWN_CHARACTERS, placeholder=" …"), "   ")


def _short(source: str) -> str:
    """A path below the folder that we stand in without that folder."""
    if not os.path.isabs(source):  # noqa: PTH117  # an address may be a source too
        return source
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source
