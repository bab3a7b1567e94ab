"""A small corpus that ships with the package: for the first run, for calibration, for examples.

passages.jsonl: 250 passages of about 80 words on printing, prisons, the ancient world, nature and the inquiry into
the death of President Kennedy. Joined from the transcripts of the LJ Speech data set (Keith Ito, Linda Johnson, 2017;
texts published 1884 to 1964), which are in the public domain.
"""

from __future__ import annotations

import json
from importlib.resources import files

from sememe.records import Document

QUESTIONS: tuple[str, ...] = (
    "Who made the first books with movable type?",
    "What did prisoners in Newgate get to eat?",
    "How was the rifle found at the Depository identified?",
)


def passages() -> list[Document]:
    """The corpus, in the file's order."""
    lines = files("sememe.samples").joinpath("passages.jsonl").read_text("utf-8").splitlines()
    return [Document(id=row["id"], text=row["text"]) for row in map(json.loads, lines)]


def calibration_texts() -> list[str]:
    """Texts from which value ranges are taken where a caller gives none: the passages and the questions."""
    return [*(document.text for document in passages()), *QUESTIONS]
