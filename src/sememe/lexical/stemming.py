"""The stemmers of the Snowball project, by language. Source: PyStemmer 3.1 (MIT and BSD), https://snowballstem.org."""

from __future__ import annotations

import threading
from typing import Protocol

# ISO 639-1 to Snowball's names. Chinese, Japanese, Korean and the scripts without spaces have no stems to find.
ALGORITHMS: dict[str, str] = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish", "nl": "dutch",
    "en": "english", "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german", "el": "greek",
    "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian",
    "ne": "nepali", "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "fa": "persian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "st": "sesotho", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


class WordStemmer(Protocol):
    """What PyStemmer's object does."""

    def stemWords(self, words: list[str]) -> list[str]:  # noqa: N802 - PyStemmer's name
        """The stem of each word."""
        ...


# A Snowball stemmer keeps the word it works on in itself: each thread has its own.
_of_thread = threading.local()


def stem(words: list[str], language: str) -> list[str]:
    """The words' stems; the words themselves where the language has no stemmer."""
    if language not in ALGORITHMS:
        return words
    stemmers: dict[str, WordStemmer] = _of_thread.__dict__
    if language not in stemmers:
        import Stemmer

        stemmers[language] = Stemmer.Stemmer(ALGORITHMS[language])
    return stemmers[language].stemWords(words)
