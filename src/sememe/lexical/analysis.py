"""A text as the words that lexical search compares.

Defaults by measurement (nDCG@10 of BM25 with k1 1.2, b 0.75; `benchmarks/lexical.py`, figures in `benchmarks/RESULTS.md`):
accents folded 0.645 against 0.480 on MIRACL Yoruba, whose queries leave tones out, but 0.941 against 0.962 on XQuAD's
Vietnamese; identifiers split 0.371 against 0.297 on CoSQA; stems 0.689 against 0.665 on SciFact and 0.952 against 0.871
on XQuAD's Russian; one and two ideographs 0.912 against 0.900 for two on JaQuAD; stop words change less than 0.005,
but for CACM (0.474 with them, 0.462 without).
"""

from __future__ import annotations

from dataclasses import dataclass

from sememe.errors import InputError
from sememe.lexical import folding, identifiers, scripts, stemming
from sememe.lexical.stop_words import LISTS as STOP_WORD_LISTS
from sememe.lexical.stop_words import stop_words

# Kept with every index by `Analyzer.fingerprint`: another number says that the same text may give other words now.
_VERSION = 1
# How many neighbours make a gram, where a script has no spaces. Single ones are among them, so that a word as short as
# that is found; longer ones tell words apart. A Thai gram of three is about a word (0.967 on XQuAD; 0.962 without).
_IDEOGRAPHS_OF_GRAM = (1, 2)
_CLUSTERS_OF_GRAM = (1, 2, 3)
# Their marks are letters in all but name: ma, má and mã are three words.
_ACCENTS_TELL_WORDS_APART = frozenset({"vi"})


@dataclass(frozen=True)
class Analyzer:
    """How a text becomes words; queries and documents of one index need the same.

    language: ISO 639-1 code; chooses the stemmer, the stop words, and how I and accents are folded. None treats all
    languages alike, without stems. stem: reduce words to their stems, where the language has a stemmer.
    drop_stop_words: leave out the language's commonest words. fold_accents: café and cafe are one word; None says yes but
    for Vietnamese. split_identifiers: names in code count as a whole and by their words.

    Raises InputError for a language that is no two-letter code, and for stop words of a language that has no list.
    """

    language: str | None = None
    stem: bool = True
    drop_stop_words: bool = False
    fold_accents: bool | None = None
    split_identifiers: bool = True

    def __post_init__(self) -> None:
        if self.language is not None and not (
            len(self.language) == 2 and self.language.isascii() and self.language.islower()
        ):
            raise InputError(
                f"The language of words is {self.language!r}; expected an ISO 639-1 code such as 'en' or 'ja'."
            )
        if self.drop_stop_words and self.language not in STOP_WORD_LISTS:
            raise InputError(
                f"There is no list of stop words for the language {self.language!r}; there is one for "
                f"{', '.join(sorted(STOP_WORD_LISTS))}. Leave drop_stop_words off for others."
            )

    @property
    def fingerprint(self) -> str:
        """Names the words that `analyze` gives, for an index to keep: two that differ must not be compared."""
        said = (self.language or "any", self.stem, self.drop_stop_words, self.folds_accents, self.split_identifiers)
        return ":".join([f"words{_VERSION}", *(str(value).lower() for value in said)])

    @property
    def folds_accents(self) -> bool:
        """`fold_accents` with None resolved."""
        return self.language not in _ACCENTS_TELL_WORDS_APART if self.fold_accents is None else self.fold_accents


def analyze(text: str, analyzer: Analyzer = Analyzer()) -> list[str]:
    """The words of a text, repeated ones repeated: folded, in case the analyzer says so stemmed, with no spaces in them.

    Scripts without spaces (Han, kana, Hangul; Thai, Lao, Khmer, Burmese) give overlapping grams, whatever the language.
    """
    if text.isascii():
        return _finish(scripts.ascii_word_pattern().findall(text), analyzer)
    words: list[str] = []
    grams: list[str] = []
    for run in scripts.run_pattern().finditer(folding.normalize(text)):
        if run.lastgroup == "word":
            words.append(run.group())
        elif run.lastgroup == "ideographs":
            grams += _grams(run.group(), _IDEOGRAPHS_OF_GRAM)
        else:
            grams += _grams(scripts.cluster_pattern().findall(run.group()), _CLUSTERS_OF_GRAM)
    return _finish(words, analyzer) + grams


def _finish(words: list[str], analyzer: Analyzer) -> list[str]:
    if not words:
        return []
    if analyzer.split_identifiers:
        words = identifiers.with_parts(words)
    # Joined, so that Python's loop is not run for each word; no word has a line break in it.
    words = folding.fold_case("\n".join(words), analyzer.language).split("\n")
    if analyzer.drop_stop_words and analyzer.language:
        unwanted = stop_words(analyzer.language)
        words = [word for word in words if word not in unwanted]
    if analyzer.stem and analyzer.language:
        words = stemming.stem(words, analyzer.language)
    # After stemming, which reads accents: French and Greek endings are told by them.
    return folding.fold_accents("\n".join(words)).split("\n") if analyzer.folds_accents and words else words


def _grams(units: str | list[str], sizes: tuple[int, ...]) -> list[str]:
    return ["".join(units[i : i + n]) for n in sizes for i in range(len(units) - n + 1)]
