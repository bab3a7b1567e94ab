"""The commonest words of a language, which say little about a text. Source: the lists that bm25s carries (MIT)."""

from __future__ import annotations

from functools import cache

from sememe.lexical import folding

# ISO 639-1 to the ending of bm25s' names.
LISTS: dict[str, str] = {
    "da": "DANISH", "de": "GERMAN", "en": "EN_PLUS", "es": "SPANISH", "fr": "FRENCH", "it": "ITALIAN", "nl": "DUTCH",
    "no": "NORWEGIAN", "pt": "PORTUGUESE", "ru": "RUSSIAN", "sv": "SWEDISH", "tr": "TURKISH",
}  # fmt: skip


@cache
def stop_words(language: str) -> frozenset[str]:
    """The language's stop words, case-folded; the list of a language must be in `LISTS`."""
    from bm25s import stopwords as lists

    words: tuple[str, ...] = getattr(lists, f"STOPWORDS_{LISTS[language]}")
    return frozenset(folding.fold_case(folding.normalize(word), language) for word in words)
