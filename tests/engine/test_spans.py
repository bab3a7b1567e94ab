"""Late chunking against plain embeddings and a numpy reference; hidden states; cutting at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import specimens
from sememe import Embedder
from sememe.errors import InputError
from sememe.records import EmbedOptions

TEXT = "The quick brown fox jumps over the lazy dog.  Refunds are paid within 14 days."
SPANS = [(0, 44), (44, len(TEXT)), (10, 30), (0, len(TEXT))]


def _embedder(folder: Path, kind: str, **overrides: Any) -> Embedder:
    return Embedder(specimens.make(kind, folder / kind, sigma=0.3, **overrides), precision="float32")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return _embedder(tmp_path_factory.mktemp("spans"), "bert")


def test_the_span_of_everything_has_the_plain_embedding(bert: Embedder) -> None:
    for options in (
        EmbedOptions(),
        EmbedOptions(dimensions=8),
        EmbedOptions(normalize=True),
        EmbedOptions(prompt="a b "),
    ):
        plain = bert.embed([TEXT], options)
        spanned = bert.embed_spans(TEXT, [(0, len(TEXT))], options)
        np.testing.assert_allclose(spanned.dense, plain.dense, atol=1e-6)
        assert spanned.n_tokens.tolist() == plain.n_tokens.tolist()
        assert spanned.fingerprint == plain.fingerprint


@pytest.mark.parametrize("kind", ["nomic_v1_5", "jina_v2", "gtr"])
def test_the_span_of_everything_in_other_families(tmp_path: Path, kind: str) -> None:
    model = _embedder(tmp_path, kind)
    found = model.embed_spans(TEXT, [(0, len(TEXT))])
    np.testing.assert_allclose(found.dense, model.embed([TEXT]).dense, atol=2e-6)


def test_spans_are_means_of_the_references_hidden_states(bert: Embedder) -> None:
    tokens = bert.tokenize([TEXT])[0]
    folder = bert.loaded.engine.checkpoint.folder
    states = specimens.reference_hidden(folder, [tokens.ids.tolist()])[0]
    spelled = bert.loaded.engine.checkpoint.tokenizer.spell(TEXT)
    starts = spelled.offsets[:, 0]
    found = bert.embed_spans(TEXT, SPANS, EmbedOptions(normalize=False))
    for i, (first, stop) in enumerate(SPANS):
        inside = (starts >= first) & (starts < stop)
        inside[0] |= first == 0  # the special tokens at both ends
        inside[-1] |= stop == len(TEXT)
        np.testing.assert_allclose(found.dense[i], states[inside].mean(0), atol=2e-5)  # type: ignore[index]
        assert found.n_tokens[i] == inside.sum()


def test_a_span_has_seen_its_neighbours(bert: Embedder) -> None:
    alone = bert.embed([TEXT[:44]]).dense
    assert np.abs(np.asarray(bert.embed_spans(TEXT, [(0, 44)]).dense) - np.asarray(alone)).max() > 1e-3


def test_hidden_states_are_the_references(bert: Embedder) -> None:
    texts = [TEXT, "the dog", ""]
    folder = bert.loaded.engine.checkpoint.folder
    expected = specimens.reference_hidden(folder, [t.ids.tolist() for t in bert.tokenize(texts)])
    for got, states in zip(bert.embed_tokens(texts), expected, strict=True):
        np.testing.assert_allclose(got, states, atol=2e-5)


def test_hidden_states_leave_the_other_program_as_it_is(bert: Embedder) -> None:
    program = bert.loaded.engine.program(("dense",), None)
    bert.embed_tokens([TEXT])
    assert bert.loaded.engine.program(("dense",), None) is program


@pytest.mark.parametrize(
    ("span", "words"), [((0, 0), "expected a part"), ((5, 1000), "expected a part"), ((44, 45), "no token that begins")]
)
def test_a_span_without_tokens_is_refused(bert: Embedder, span: tuple[int, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        bert.embed_spans(TEXT, [span])


def test_a_text_over_the_limit_is_refused(bert: Embedder) -> None:
    with pytest.raises(InputError, match="in one pass"):
        bert.embed_spans("the dog " * 200, [(0, 5)])


@pytest.mark.parametrize("kind", ["bge_m3", "static"])
def test_models_without_a_mean_over_tokens_refuse(tmp_path: Path, kind: str) -> None:
    model = Embedder(specimens.make(kind, tmp_path / kind), precision="float32", allow_pickle=True)
    with pytest.raises(InputError, match="Late chunking"):
        model.embed_spans(TEXT, [(0, 10)])


# ── cutting at the start ─────────────────────────────────────────────────────────────────────────────────────────────


@given(text=st.text(st.sampled_from("abc de.,\n京"), max_size=400), prompt=st.sampled_from(["", "the dog: "]))
def test_cutting_at_the_start_keeps_the_prompt_and_the_end(bert: Embedder, text: str, prompt: str) -> None:
    whole = bert.loaded.engine.checkpoint.tokenizer.spell(text, prompt=prompt).ids.tolist()
    n_prompt = len(bert.loaded.engine.checkpoint.tokenizer.spell(prompt, special=False).ids) if prompt else 0
    options = EmbedOptions(prompt=prompt, max_tokens=12, truncation_side="left")
    (tokens,) = bert.tokenize([text], options)
    if len(whole) <= 12:
        assert tokens.ids.tolist() == whole
        assert tokens.n_dropped == 0
    else:
        n_last = 12 - 1 - n_prompt
        assert tokens.ids.tolist() == [*whole[: 1 + n_prompt], *whole[-n_last:]]


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert", "qwen3"])
def test_cutting_by_characters_first_changes_no_token(tmp_path: Path, kind: str) -> None:
    tokenizer = _embedder(tmp_path, kind).loaded.engine.checkpoint.tokenizer
    text = " ".join(specimens.CORPUS) + " 京都 the dog, and " * 500
    whole = tokenizer.encode_plain([text])[0].ids
    (tokens,) = tokenizer.encode_plain([text], max_tokens=40, side="left")
    assert tokens.ids.tolist() == whole[-40:].tolist()
    assert tokens.n_dropped == pytest.approx(len(whole) - 40, rel=0.3)


def test_the_cache_tells_the_sides_apart(tmp_path: Path, bert: Embedder) -> None:
    folder = bert.loaded.engine.checkpoint.folder
    model = Embedder(folder, precision="float32", embedding_cache=tmp_path / "cache.sqlite")
    text = "the dog " * 50 + "京"
    right, left = (model.embed([text], EmbedOptions(truncation_side=side)).dense for side in ("right", "left"))
    assert not np.allclose(right, left)  # type: ignore[arg-type]
    again = model.embed([text], EmbedOptions(truncation_side="left"))
    assert again.usage.n_cached == 1
    np.testing.assert_array_equal(again.dense, left)  # type: ignore[arg-type]
