"""Needs → shortlist: nothing is lost, every exclusion has its reason, and doubt is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.catalogue import Catalogue, CatalogueEntry
from sememe.catalogue.languages import NAMES, read_language
from sememe.catalogue.licences import licence_in_words
from sememe.catalogue.schema import ENTRY_OUTPUTS, MODALITIES, TASKS
from sememe.catalogue.shortlist import Needs, in_bytes, shortlist, sort_choices
from sememe.errors import InputError

ENTRIES = Catalogue.read().entries
NEEDS = st.builds(
    Needs,
    task=st.none() | st.sampled_from(TASKS),
    language=st.none() | st.sampled_from(sorted(NAMES)),
    licenses=st.sampled_from([(), ("apache-2.0",), ("MIT", "Apache-2.0")]),
    commercial=st.booleans(),
    max_params=st.none() | st.floats(1e6, 1e10),
    max_memory_bytes=st.none() | st.floats(1e6, 2e10),
    min_tokens=st.none() | st.integers(1, 40_000),
    modality=st.none() | st.sampled_from(MODALITIES),
    outputs=st.sampled_from([(), *((output,) for output in ENTRY_OUTPUTS), ("dense", "sparse")]),
    runnable=st.booleans(),
)


def runs(entry: CatalogueEntry) -> bool:
    return entry.family == "bert"


def chosen(needs: Needs) -> set[str]:
    return {choice.entry.id for choice in shortlist(ENTRIES, needs, runs).choices}


@given(NEEDS)
def test_every_entry_is_chosen_or_left_out_with_a_reason(needs: Needs) -> None:
    found = shortlist(ENTRIES, needs, runs)
    ids = [choice.entry.id for choice in found.choices] + [left.entry.id for left in found.exclusions]
    assert sorted(ids) == sorted(entry.id for entry in ENTRIES)
    assert all(left.reasons and all(left.reasons) for left in found.exclusions)


@given(NEEDS, st.sampled_from(["task", "language", "licenses", "commercial", "max_params", "max_memory_bytes"]))
def test_asking_for_less_never_excludes_more(needs: Needs, dropped: str) -> None:
    looser = replace(needs, **{dropped: getattr(Needs(), dropped)})
    assert chosen(needs) <= chosen(looser)


def test_no_needs_choose_everything() -> None:
    assert len(chosen(Needs())) == len(ENTRIES)


def test_non_commercial_and_unknown_licences_are_no_business_of_a_business() -> None:
    found = shortlist(ENTRIES, Needs(commercial=True))
    reasons = {left.entry.id: left.reasons for left in found.exclusions}
    assert reasons["jinaai/jina-embeddings-v3"] == ("commercial use not allowed (CC-BY-NC-4.0)",)
    assert reasons["dmis-lab/biobert-v1.1"] == ("commercial use unknown (no licence known)",)
    assert all(choice.entry.commercial_use for choice in found.choices)


def test_a_language_is_met_missed_or_in_doubt() -> None:
    found = shortlist(ENTRIES, Needs(language="de"))
    doubts = {choice.entry.id: choice.doubts for choice in found.choices}
    reasons = {left.entry.id: left.reasons for left in found.exclusions}
    assert doubts["BAAI/bge-m3"] == ()
    assert doubts["jinaai/jina-clip-v2"] == ("German unknown (89 languages)",)
    assert reasons["sentence-transformers/all-MiniLM-L6-v2"] == ("does not speak German",)


def test_limits_say_both_figures() -> None:
    found = shortlist(ENTRIES, Needs(max_params=1e8, max_memory_bytes=1e8, min_tokens=1024))
    reasons = {left.entry.id: left.reasons for left in found.exclusions}
    assert reasons["BAAI/bge-large-en-v1.5"] == (
        "parameters 335.1 M, more than 100 M",
        "weights 670 MB, more than 100 MB",
        "reads 512 tokens, fewer than 1,024",
    )
    # A static model has no limit of tokens.
    assert "minishlab/potion-base-8M" in {choice.entry.id for choice in found.choices}


def test_a_family_that_does_not_run_is_told() -> None:
    found = shortlist(ENTRIES, Needs(runnable=True), runs)
    reasons = {left.entry.id: left.reasons for left in found.exclusions}
    assert reasons["nvidia/NV-Embed-v2"] == ("this version does not run the nv_embed family",)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"task": "search"}, r"No task 'search'\. Known: retrieval, similarity"),
        ({"modality": "smell"}, r"No modality 'smell'"),
        ({"outputs": ("multi-vector",)}, r"No output 'multi-vector'\. Known: dense, sparse, multi_vector"),
        ({"language": "german"}, r"No language 'german'"),
    ],
)
def test_an_unknown_word_is_refused(needs: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Needs(**needs)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["score", "size", "tokens", "name", "released"])
def test_sorting_loses_nothing_and_puts_the_unknown_last(key: str) -> None:
    choices = shortlist(ENTRIES, Needs()).choices
    ordered = sort_choices(choices, key, "MTEB(eng, v2)")  # type: ignore[arg-type]
    assert sorted(choice.entry.id for choice in ordered) == sorted(choice.entry.id for choice in choices)
    scores = [choice.entry.score("MTEB(eng, v2)") for choice in sort_choices(choices, "score", "MTEB(eng, v2)")]
    known = [score for score in scores if score is not None]
    assert scores == sorted(known, reverse=True) + [None] * (len(scores) - len(known))


def test_newest_first_whatever_the_precision_of_the_date() -> None:
    dates = [choice.entry.released for choice in sort_choices(shortlist(ENTRIES, Needs()).choices, "released", "x")]
    assert dates[0].startswith("2026")
    assert dates[-1] == "2017"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1.5e3, "1.5 kB"), (90_868_376, "90.9 MB"), (2.27e9, "2.27 GB")]
)
def test_bytes_in_words(size: float, text: str) -> None:
    assert in_bytes(size) == text


@pytest.mark.parametrize("text", ["de", "DE", "de-AT", "de_CH", "deu", "German", " german "])
def test_a_language_may_be_written_in_many_ways(text: str) -> None:
    assert read_language(text) == "de"


def test_norwegian_bokmal_is_norwegian_and_nonsense_is_refused() -> None:
    assert read_language("nb") == "no"
    with pytest.raises(InputError, match="Language 'xx' is none"):
        read_language("xx")


def test_every_licence_has_its_words_and_non_commercial_stands_out() -> None:
    for entry in ENTRIES:
        words = licence_in_words(entry)
        assert entry.license is None or words.text.startswith(entry.license), entry.id
        assert (
            ("NON-COMMERCIAL" in words.text) == (entry.commercial_use is False) == (words.verdict == "NON-COMMERCIAL")
        )
        assert entry.license is None or ":" in words.text, f"{entry.id}: no terms for {entry.license}"


def test_a_need_met_by_a_fact_from_memory_is_in_doubt() -> None:
    entry = replace(ENTRIES[0], license="MIT", commercial_use=True, unverified=("license", "max_tokens"))
    for needs, words in (
        (Needs(commercial=True), ("licence from memory",)),
        (Needs(licenses=("mit",), min_tokens=1), ("licence from memory", "tokens from memory")),
        (Needs(max_params=1e12), ()),
    ):
        assert shortlist([entry], needs).choices[0].doubts == words
