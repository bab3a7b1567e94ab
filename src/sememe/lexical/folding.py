"""One spelling for what readers take as the same: width, case, accents, invisible characters."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Marks that writers leave out: accents of Latin, Greek and Cyrillic, the points of Hebrew, the vowels of Arabic. The
# vowel signs of Devanagari or Thai and the voicing of kana are letters to their readers, and stay.
_OPTIONAL_MARKS = (
    "\u0300-\u036f\u0483-\u0487"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
)
# Letters with a stroke or tied together, which Unicode does not take apart.
_WITHOUT_STROKE = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d"}
)
_ARABIC_TATWEEL = "\u0640"
_TURKISH_CAPITALS = str.maketrans({"I": "ı", "İ": "i"})
# Capital I has a dot in these two languages only where it is written.
_DOTLESS_I = frozenset({"tr", "az"})


@cache
def _optional_marks() -> re.Pattern[str]:
    return re.compile(f"[{_OPTIONAL_MARKS}]+")


@cache
def _unseen() -> re.Pattern[str]:
    """Format characters: joiners, direction marks, soft hyphens; also variation selectors and Arabic's stretching line."""
    return re.compile(
        f"[\u00ad\u061c\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff{_ARABIC_TATWEEL}]+"
    )


def normalize(text: str) -> str:
    """NFKC (so that full-width ＡＢＣ is ABC and ﬁ is fi), without invisible characters. A zero-width space parts words."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _unseen().sub("", text).replace("\u200b", " "))


def fold_case(text: str, language: str | None) -> str:
    """Case folded after Unicode; Turkish and Azerbaijani keep their dotless i."""
    return (text.translate(_TURKISH_CAPITALS) if language in _DOTLESS_I else text).casefold()


def fold_accents(word: str) -> str:
    """A case-folded word without the marks that writers leave out: café is cafe, Ёлка is елка, straße is strasse already."""
    if word.isascii():
        return word
    bare = _optional_marks().sub("", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFC", bare).translate(_WITHOUT_STROKE)
