"""The same text written differently: how people type, and what no typing should change. Each change is seeded."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

Change = Callable[[str, random.Random], str]

# Letters beside each other on a QWERTY keyboard.
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {row[i]: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in _ROWS for i in range(len(row))}
_TYPO_SHARE = 0.2  # of the words, one at least
_SHORTEST_FOR_TYPO = 4
_DIGITS = ("٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９")
_AUXILIARIES = re.compile(r"\b(is|are|was|were|does|do|did|can|could|will|would|has|have|should|may)\b", re.IGNORECASE)
_NOT = re.compile(r"\bnot\s+|n't\b", re.IGNORECASE)
_POLITE = (
    "Hello, I have a question that I would like to have answered: ",
    " Thank you very much in advance for your help.",
)


@dataclass(frozen=True)
class NamedChange:
    """keeps_meaning: whether the answers should stay; where not, a model that does not move is blind to the change."""

    name: str
    what: str
    change: Change
    keeps_meaning: bool = True


def typos(text: str, rng: random.Random) -> str:
    """One slip in a fifth of the words: letters swapped, left out, doubled, or the neighbour on the keyboard."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= _SHORTEST_FOR_TYPO and word.isalpha()]
    for i in rng.sample(long, min(len(long), max(1, round(len(words) * _TYPO_SHARE)))):
        words[i] = _slip(words[i], rng)
    return " ".join(words)


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)  # people rarely miss the first letter
    kind = rng.choice(("swap", "drop", "double", "neighbour"))
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    near = _NEIGHBOURS.get(word[at].lower(), "")
    if kind == "double" or not near:
        return word[: at + 1] + word[at:]
    return word[:at] + rng.choice(near) + word[at + 1 :]


def upper_case(text: str, rng: random.Random) -> str:
    """ALL CAPITALS."""
    return text.upper()


def lower_case(text: str, rng: random.Random) -> str:
    """no capitals."""
    return text.lower()


def whitespace(text: str, rng: random.Random) -> str:
    """Several spaces, tabs and line breaks where there was one space, and around the text."""
    return "  " + re.sub(r" ", lambda match: rng.choice(("  ", "\t", " \n", "   ", " ")), text) + " \n"


def without_punctuation(text: str, rng: random.Random) -> str:
    """No marks but those inside a word."""
    return re.sub(r"(?<!\w)[^\w\s]+|[^\w\s]+(?!\w)", "", text)


def more_punctuation(text: str, rng: random.Random) -> str:
    """Ends in marks, as impatient people write."""
    return text.rstrip(".?! ") + rng.choice(("??", "?!", "!!!", " ...", "?"))


def other_digits(text: str, rng: random.Random) -> str:
    """Digits of one of three other scripts: Arabic-Indic, Devanagari, full width."""
    return text.translate(str.maketrans("0123456789", rng.choice(_DIGITS)))


def truncated(text: str, rng: random.Random) -> str:
    """The first two thirds of the words."""
    words = text.split()
    return " ".join(words[: max(1, -(-len(words) * 2 // 3))])


def lengthened(text: str, rng: random.Random) -> str:
    """With a greeting before and thanks after it."""
    return _POLITE[0] + text + _POLITE[1]


def negated(text: str, rng: random.Random) -> str:
    """Says the opposite: a `not` taken out, or put after the first auxiliary; unchanged where there is neither."""
    if _NOT.search(text):
        return _NOT.sub("", text, count=1)
    return _AUXILIARIES.sub(lambda match: f"{match[0]} not", text, count=1)


CHANGES: tuple[NamedChange, ...] = (
    NamedChange("typos", "a slip in a fifth of the words", typos),
    NamedChange("upper case", "all capitals", upper_case),
    NamedChange("lower case", "no capitals", lower_case),
    NamedChange("whitespace", "several spaces, tabs, line breaks", whitespace),
    NamedChange("no punctuation", "marks left out", without_punctuation),
    NamedChange("more punctuation", "ends in ??, !!! or …", more_punctuation),
    NamedChange("other digits", "Arabic-Indic, Devanagari or full-width digits", other_digits),
    NamedChange("truncated", "the first two thirds of the words", truncated, keeps_meaning=False),
    NamedChange("longer", "a greeting before and thanks after", lengthened),
    NamedChange("negated", "the opposite (English)", negated, keeps_meaning=False),
)
