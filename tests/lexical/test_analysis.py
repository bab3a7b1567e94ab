from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.errors import InputError
from sememe.lexical import Analyzer, analyze
from sememe.lexical.stemming import ALGORITHMS

ANY_LANGUAGE = st.sampled_from([None, "en", "tr", "vi", "ja", *sorted(ALGORITHMS)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" …!? ", []),
        ("The Café, naïve.", ["the", "cafe", "naive"]),
        ("ＡＢＣ ﬁne", ["abc", "fine"]),  # full width, ligature
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("Ёлка ёлка елка", ["елка"] * 3),
        ("ΣΊΣΥΦΟΣ Σίσυφος", ["σισυφοσ"] * 2),  # the final sigma too
        ("Łódź Ærø", ["lodz", "aero"]),
        ("co\u00adop\u200derate", ["cooperate"]),  # soft hyphen, joiner
        ("كتــاب كِتَاب", ["كتاب"] * 2),  # stretched, with vowels
        ("pi is 3.14, not 3,14!", ["pi", "is", "3.14", "not", "3,14"]),
        ("१२ ١٢", ["१२", "١٢"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs belong to the word
        ("日本", ["日", "本", "日本"]),
        ("猫", ["猫"]),
        ("ﾃｽﾄ", ["テ", "ス", "ト", "テス", "スト"]),  # half width
        ("한국", ["한", "국", "한국"]),
        ("ปลา", ["ป", "ล", "า", "ปล", "ลา", "ปลา"]),
        ("GPU対応", ["gpu", "対", "応", "対応"]),
    ],
)
def test_words_of_every_script(text: str, words: list[str]) -> None:
    assert analyze(text) == words


def test_identifiers_count_as_a_whole_and_by_their_words() -> None:
    assert analyze("getHTTPResponse") == ["gethttpresponse", "get", "http", "response"]
    assert analyze("max_tokens") == ["max_tokens", "max", "tokens"]
    assert analyze("__init__ _x_ ___") == ["init", "x"]
    assert analyze("mRNA p53 Berlin NATO") == ["mrna", "m", "rna", "p53", "berlin", "nato"]
    assert analyze("getHTTPResponse", Analyzer(split_identifiers=False)) == ["gethttpresponse"]


def test_stems_are_found_before_accents_go() -> None:
    assert analyze("running dogs", Analyzer("en")) == ["run", "dog"]
    assert analyze("running dogs", Analyzer("en", stem=False)) == ["running", "dogs"]
    assert analyze("собаки собака", Analyzer("ru")) == ["собак"] * 2
    assert analyze("δρόμος δρόμου", Analyzer("el")) == ["δρομ"] * 2
    assert analyze("走る", Analyzer("ja")) == ["走", "る", "走る"]  # no stemmer for it


def test_turkish_keeps_its_dotless_i() -> None:
    unfolded = Analyzer("tr", stem=False, fold_accents=False)
    assert analyze("IĞDIR İzmir", unfolded) == ["ığdır", "izmir"]
    assert analyze("IĞDIR ığdır igdir", Analyzer("tr", stem=False)) == ["igdir"] * 3


def test_vietnamese_keeps_its_tones() -> None:
    assert analyze("má mã", Analyzer("vi")) == ["má", "mã"]
    assert analyze("má mã", Analyzer("vi", fold_accents=True)) == ["ma", "ma"]
    assert analyze("má mã") == ["ma", "ma"]


def test_stop_words() -> None:
    assert analyze("The house is in the woods", Analyzer("en", stem=False, drop_stop_words=True)) == ["house", "woods"]
    assert analyze("Das Haus für dich", Analyzer("de", stem=False, drop_stop_words=True)) == ["haus"]


@pytest.mark.parametrize("language", ["english", "EN", "", "e1x"])
def test_what_is_no_language_is_refused(language: str) -> None:
    with pytest.raises(InputError, match="ISO 639-1"):
        Analyzer(language)


def test_stop_words_that_nobody_lists_are_refused() -> None:
    with pytest.raises(InputError, match="no list of stop words for the language 'yo'"):
        Analyzer("yo", drop_stop_words=True)
    with pytest.raises(InputError, match="None"):
        Analyzer(drop_stop_words=True)


def test_the_fingerprint_tells_analyzers_apart() -> None:
    made = [Analyzer(), Analyzer("en"), Analyzer("en", stem=False), Analyzer("vi"), Analyzer(split_identifiers=False)]
    assert len({analyzer.fingerprint for analyzer in made}) == len(made)
    assert Analyzer().fingerprint == Analyzer(fold_accents=True).fingerprint == "words1:any:true:false:true:true"


@given(st.text(), ANY_LANGUAGE)
def test_no_word_is_empty_or_has_a_space(text: str, language: str | None) -> None:
    assert all(
        word and not any(character.isspace() for character in word) for word in analyze(text, Analyzer(language))
    )


@given(st.text(), ANY_LANGUAGE)
def test_composed_and_decomposed_spellings_are_one(text: str, language: str | None) -> None:
    assert analyze(text, Analyzer(language)) == analyze(unicodedata.normalize("NFD", text), Analyzer(language))


@given(st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_a_text_of_letters_has_words(text: str) -> None:
    assert analyze(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_gives_the_same(text: str) -> None:
    # The last word makes the text take the way of all scripts.
    assert [*analyze(text), "猫"] == analyze(f"{text}\n猫")


def test_a_long_text_and_a_long_word() -> None:
    assert len(analyze("word " * 200_000)) == 200_000
    assert analyze("a" * 1_000_000) == ["a" * 1_000_000]
    assert len(analyze("字" * 100_000)) == 199_999
    assert analyze("_" * 1_000_000 + "a" + "_" * 1_000_000) == ["a"]
