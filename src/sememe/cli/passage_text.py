"""Passages as the terminal shows them."""

from __future__ import annotations

import os
import textwrap
from dataclasses import asdict
from pathlib import Path

from sememe.collections.documents import Chunk, Document
from sememe.collections.hits import Hit

_SHOWN_CHARACTERS = 400


def place_of(document: Document, chunk: Chunk) -> str:
    """`path:3-9` as editors and compilers write it, `path, page 2`, and the heading; of what is no file, its id."""
    where = _short(document.source) or document.id
    place = chunk.place
    if place is not None:
        span = f"{place.first}" if place.first == place.last else f"{place.first}-{place.last}"
        where += f":{span}" if place.unit == "line" else f", {place.unit} {span}"
    return f"{where}  ({chunk.heading})" if chunk.heading else where


def hit_row(hit: Hit) -> dict[str, object]:
    """A hit for machines."""
    place, why = hit.chunk.place, hit.explanation
    row: dict[str, object] = {
        "score": hit.score,
        "id": hit.chunk.id,
        "document": hit.document.id,
        "title": hit.document.title,
        "source": hit.document.source,
        "place": None if place is None else asdict(place),
        "heading": hit.chunk.heading,
        "text": hit.chunk.text,
        "metadata": dict(hit.document.metadata),
        "retrievers": [asdict(score) for score in hit.retrievers],
    }
    if why is not None:
        row["explanation"] = {"words": dict(why.words), "contributions": dict(why.contributions)}
    if hit.parent is not None:
        row["parent"] = asdict(hit.parent)
    return row


def said_why(hit: Hit) -> str:
    """Which retriever found it where, and which words weighed how much, on one line or two."""
    found = [f"{score.retriever} {score.score:.3f} (rank {score.rank})" for score in hit.retrievers]
    lines = ["   " + ", ".join(found)] if found else []
    if hit.explanation is not None and hit.explanation.words:
        weights = sorted(hit.explanation.words.items(), key=lambda item: -item[1])
        lines.append("   words: " + ", ".join(f"{word} {weight:.2f}" for word, weight in weights if weight))
    return "\n".join(lines)


def shown(text: str) -> str:
    """The beginning of a passage on one line, indented."""
    return textwrap.indent(textwrap.shorten(text, _SHOWN_CHARACTERS, placeholder=" …"), "   ")


def whole(text: str) -> str:
    """All of a passage as it stands, indented."""
    return textwrap.indent(text, "   ")


def _short(source: str) -> str:
    """A path below the folder that we stand in without that folder."""
    if not os.path.isabs(source):  # noqa: PTH117  # an address may be a source too
        return source
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source
