"""Every text checkpoint of the catalogue, in small: its real layout through the real loading to every output.

Values come from routes that share nothing with `sememe`: transformers' classes, sentence-transformers' encoders, and
the plain references. A folder stands for its entry, as one from the hub does: `like=` names it.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import MultiVectorEncoder, SparseEncoder
from tokenizers import Tokenizer

import engines
import specimens
from reference import bge_m3, colbert, files, gte_sparse, maths, model2vec, pooling
from sememe.catalogue import Catalogue, CatalogueEntry
from sememe.cli.models import runs_here
from sememe.engine.engine import Engine
from sememe.records import EmbedOptions, Role, SparseEmbeddings

TEXTS = specimens.HARD_INPUTS
TASK = "Given a web search query, retrieve relevant passages that answer the query"
ROLES: tuple[Role | None, ...] = (None, "query", "document")
OVERRIDES: dict[str, dict[str, Any]] = {
    # As long as a query, as published: a filler that sees no token at all is undefined in the reference.
    "colbert_pylate": {"local_attention": 64},
    # More positions than the limit, as published: the prompt grows past it.
    "bge_en_icl": {"max_position_embeddings": 1024},
}

ENTRIES = [
    entry
    for entry in Catalogue.read().entries
    if set(entry.modalities) == {"text"} and entry.id not in specimens.UNSPECIFIED
]


def _each(entries: Sequence[CatalogueEntry]) -> pytest.MarkDecorator:
    """Parametrises over these; the quick tests take the first of each architecture and way of pooling."""
    seen, params = set(), []
    for entry in entries:
        way = (entry.family, entry.outputs, entry.recipe.pooling)
        params.append(pytest.param(entry, id=entry.id, marks=(pytest.mark.slow,) if way in seen else ()))
        seen.add(way)
    return pytest.mark.parametrize("entry", params, scope="module")  # all tests of an entry, then those of the next


def _giving(*outputs: str) -> pytest.MarkDecorator:
    """Parametrises over the entries that give these."""
    return _each([e for e in ENTRIES if set(outputs) <= set(e.outputs) and e.family != "static"])


@pytest.fixture(scope="module")
def folders(specimen_folder: Path) -> Any:
    """A folder for each kind, written once."""

    def folder_of(entry: CatalogueEntry) -> Path:
        kind = specimens.kind_of(entry.id)
        folder = specimen_folder / "catalogue" / kind
        return folder if folder.exists() else specimens.make(kind, folder, sigma=0.3, **OVERRIDES.get(kind, {}))

    return folder_of


@lru_cache(maxsize=1)
def _load(folder: Path, name: str) -> Engine:
    return engines.engine(folder, like=name, allow_pickle=True)


# ── what every input becomes ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Prepared:
    """What the specifications say of a role: text around the input, prompt tokens left out of the mean, adapter."""

    before: str
    after: str
    adapter: str | None


def _prepared(folder: Path, entry: CatalogueEntry, role: Role | None) -> Prepared:
    """The file's prompt, else the catalogue's, else the template's."""
    recipe = entry.recipe
    if role is None and entry.family != "jina_v5":
        return Prepared("", "", None)
    # jina v5's files name the document's prompt as the default.
    names = {
        "query": ("query", "retrieval.query", "retrieval"),
        "document": ("document", "passage", "retrieval.passage", "retrieval"),
    }[role or "document"]
    said = {**recipe.prompts, **{k: v for k, v in (specimens.kind(folder.name).layout.prompts or {}).items() if v}}
    before = next((said[name] for name in names if said.get(name)), "")
    after = ""
    if not before and role == "query" and "query" in recipe.templates:
        before, _, after = recipe.templates["query"].replace("{task}", TASK).partition("{text}")
    return Prepared(before, after, next((name for name in names if name in recipe.adapters), None))


class Reading:
    """The reference tokenizer with the entry's own rule for the end of a sequence."""

    def __init__(self, folder: Path, entry: CatalogueEntry) -> None:
        self.library = Tokenizer.from_file(str(next(iter(folder.rglob("tokenizer.json")))))
        self.library.no_truncation()
        self.library.no_padding()
        letter = self.library.encode("a")
        inner = [i for i, place in enumerate(letter.sequence_ids) if place is not None]
        self.before, self.after = letter.ids[: inner[0]], letter.ids[inner[-1] + 1 :]
        if entry.recipe.append_eos is not None:
            end = self.library.token_to_id(entry.recipe.append_eos)
            if self.after[-1:] != [end]:
                self.after = [*self.after, end]

    def body(self, text: str) -> list[int]:
        return list(self.library.encode(text, add_special_tokens=False).ids)

    def ids(self, text: str, limit: int) -> list[int]:
        room = limit - len(self.before) - len(self.after)
        return [*self.before, *self.body(text)[:room], *self.after]

    def ids_with_suffix(self, text: str, suffix: str, limit: int) -> list[int]:
        """bge-en-icl: the text alone is cut, then read again with what follows it."""
        room = limit - len(self.before) - len(self.after) - len(self.body(suffix))
        ids = self.body(text)
        kept = text if len(ids) <= room else self.library.decode(ids[:room], skip_special_tokens=False)
        return self.ids(kept + suffix, 2 * limit)


def _expected_ids(folder: Path, entry: CatalogueEntry, role: Role | None, limit: int) -> list[list[int]]:
    reading, said = Reading(folder, entry), _prepared(folder, entry, role)
    if said.after:
        return [reading.ids_with_suffix(said.before + text, said.after, limit) for text in TEXTS]
    return [reading.ids(said.before + text, limit) for text in TEXTS]


@_giving("dense")
def test_token_ids_equal_the_reference_tokenizers(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    engine = _load(folder, entry.id)
    for role in ROLES:
        got = [tokens.ids.tolist() for tokens in engine.tokenize(TEXTS, EmbedOptions(role=role))]
        assert got == _expected_ids(folder, entry, role, engine.checkpoint.max_tokens), role


# ── dense ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _n_prompt(folder: Path, entry: CatalogueEntry, prompt: str) -> int:
    """Leading tokens that the mean leaves out, where it leaves the prompt out at all."""
    reading = Reading(folder, entry)
    n_body = len(reading.body(prompt)) if prompt else 0
    return n_body if entry.recipe.pooling == "latent_attention" or not prompt else n_body + len(reading.before)


def _pooled(folder: Path, entry: CatalogueEntry, hidden: NDArray[Any], n_prompt: int) -> NDArray[Any]:
    if entry.family == "jina_v5":  # its list of modules names a class of the authors' alone
        return maths.l2(pooling.pool(hidden, "lasttoken", 0))
    if (folder / "modules.json").exists():
        return pooling.embed(folder, hidden, n_prompt)
    if entry.recipe.pooling == "pooler":
        tensors, _ = files.read(folder)
        return maths.l2(np.tanh(maths.linear(hidden[0], tensors, "pooler.dense")))
    assert entry.recipe.pooling == "mean"
    mean = pooling.pool(hidden, "mean", n_prompt)
    return maths.l2(mean) if entry.recipe.normalize else mean


@_giving("dense")
def test_dense_vectors_equal_the_reference(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    engine = _load(folder, entry.id)
    for role in ROLES:
        said = _prepared(folder, entry, role)
        ids = _expected_ids(folder, entry, role, engine.checkpoint.max_tokens)
        states = specimens.reference_hidden(folder, ids, task=said.adapter, dtype=torch.float64)
        skipped = _n_prompt(folder, entry, said.before)
        expected = np.stack([_pooled(folder, entry, rows, min(skipped, len(rows) - 1)) for rows in states])
        off = engines.distance(engines.dense(engine, TEXTS, {"role": role}), expected)
        assert off <= 1e-5, f"{role}: {off:.1e} of the largest value"


STATIC = [entry for entry in ENTRIES if entry.family == "static"]


@_each(STATIC)
def test_static_vectors_equal_the_reference(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    library = Tokenizer.from_file(str(next(iter(folder.rglob("tokenizer.json")))))
    got = engines.dense(_load(folder, entry.id), TEXTS)
    unknown, words = library.token_to_id("[UNK]"), sorted(library.get_vocab())
    for row, text in zip(got, TEXTS, strict=True):
        if (folder / "config.json").exists():
            ids = library.encode(model2vec.cut(text, words), add_special_tokens=False).ids
            expected = model2vec.embed(*files.read(folder), ids, unknown)
        else:
            ids = library.encode(text, add_special_tokens=False).ids
            expected = model2vec.embed_sentence_transformers(pooling.tensors(folder / "0_StaticEmbedding"), ids)
        np.testing.assert_allclose(row, expected, atol=1e-6, err_msg=text[:40])


# ── sparse ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _table(sparse: SparseEmbeddings) -> NDArray[np.float32]:
    """(N, V), after a look at what a sparse value must be."""
    rows = np.zeros((len(sparse), sparse.n_columns), np.float32)
    for i in range(len(sparse)):
        ids = sparse.indices[sparse.indptr[i] : sparse.indptr[i + 1]]
        assert (np.diff(ids) > 0).all()
        rows[i, ids] = list(sparse.weights(i).values())
    assert (sparse.values > 0).all()
    np.testing.assert_array_equal(sparse.to_scipy().toarray(), rows)
    return rows


def _sparse(engine: Engine, texts: Sequence[str], role: Role | None) -> NDArray[np.float32]:
    found = engine.embed(texts, EmbedOptions(role=role, outputs=("sparse",))).sparse
    assert found is not None
    return _table(found)


SPLADE = [entry for entry in ENTRIES if entry.outputs == ("sparse",)]


@_each(SPLADE)
def test_sparse_vectors_equal_sparse_encoders(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    engine, theirs = _load(folder, entry.id), SparseEncoder(str(folder), device="cpu")
    theirs.max_seq_length = engine.checkpoint.max_tokens
    for role, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        expected = encode(list(TEXTS)).to_dense().numpy()
        np.testing.assert_allclose(_sparse(engine, TEXTS, role), expected, atol=1e-5 * expected.max())  # type: ignore[arg-type]


@_giving("dense", "sparse")
def test_token_weights_equal_the_reference(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    engine = _load(folder, entry.id)
    ids = _expected_ids(folder, entry, None, engine.checkpoint.max_tokens)
    states = specimens.reference_hidden(folder, ids, dtype=torch.float64)
    special = [Reading(folder, entry).library.token_to_id(token) for token in bge_m3.SPECIAL_TOKENS]
    got = _sparse(engine, TEXTS, None)
    for row, sequence, hidden in zip(got, ids, states, strict=True):
        if (folder / "sparse_linear.pt").exists():
            head = torch.load(folder / "sparse_linear.pt", weights_only=True)
            linear = {name: value.double().numpy() for name, value in head.items()}
            weights = bge_m3.sparse(linear, hidden, sequence, special)
        else:
            weights = gte_sparse.sparse(files.read(folder)[0], hidden, sequence, special)
        expected = np.zeros_like(row)
        expected[list(weights)] = list(weights.values())
        np.testing.assert_allclose(row, expected, atol=1e-5 * max(1.0, expected.max()))


# ── lists of vectors ─────────────────────────────────────────────────────────────────────────────────────────────────

COLBERT = [entry for entry in ENTRIES if entry.outputs == ("multi_vector",) and entry.id != "jinaai/jina-colbert-v2"]


@_each(COLBERT)
def test_token_vectors_equal_multi_vector_encoders(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    engine, theirs = _load(folder, entry.id), MultiVectorEncoder(str(folder), device="cpu")
    for role, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        found = engine.embed(TEXTS, EmbedOptions(role=role, outputs=("multi_vector",))).multi_vector  # type: ignore[arg-type]
        assert found is not None
        for i, expected in enumerate(encode(list(TEXTS), convert_to_numpy=True)):
            assert found[i].shape == expected.shape, (role, TEXTS[i][:40])
            np.testing.assert_allclose(found[i], expected, atol=1e-5, err_msg=f"{role} {TEXTS[i][:40]}")


def test_jina_colberts_token_vectors_equal_the_reference(folders: Any) -> None:
    """The library would run the authors' code for it. Its [MASK] tokens are attended to."""
    entry = Catalogue.read().entry("jinaai/jina-colbert-v2")
    folder = folders(entry)
    engine, reading = _load(folder, entry.id), Reading(folder, entry)
    cls, sep, mask, *markers = (
        reading.library.token_to_id(token) for token in ("<s>", "</s>", "<mask>", "[QueryMarker]", "[DocumentMarker]")
    )
    weight = files.read(folder)[0]["linear.weight"]
    skipped = {reading.body(sign)[0] for sign in string.punctuation} - {reading.library.token_to_id("<unk>")}
    for role, marker in zip(("query", "document"), markers, strict=True):
        found = engine.embed(TEXTS, EmbedOptions(role=role, outputs=("multi_vector",))).multi_vector  # type: ignore[arg-type]
        assert found is not None
        for i, text in enumerate(TEXTS):
            if role == "query":
                ids = colbert.query_ids(reading.body(text), marker, cls, sep, mask, 16)
            else:
                ids = colbert.document_ids(reading.body(text), marker, cls, sep, 40)
            expected = colbert.vectors(weight, specimens.reference_hidden(folder, [ids], dtype=torch.float64)[0])
            if role == "document":
                expected = colbert.without_skipped(expected, ids, skipped)
            np.testing.assert_allclose(found[i], expected, atol=1e-5, err_msg=f"{role} {text[:40]}")


@_giving("dense", "multi_vector")
def test_bge_m3s_vectors_equal_the_reference(entry: CatalogueEntry, folders: Any) -> None:
    folder = folders(entry)
    engine = _load(folder, entry.id)
    ids = _expected_ids(folder, entry, None, engine.checkpoint.max_tokens)
    states = specimens.reference_hidden(folder, ids, dtype=torch.float64)
    head = torch.load(folder / "colbert_linear.pt", weights_only=True)
    linear = {name: value.double().numpy() for name, value in head.items()}
    found = engine.embed(TEXTS, EmbedOptions(outputs=("dense", "multi_vector"))).multi_vector
    assert found is not None
    for i, hidden in enumerate(states):
        np.testing.assert_allclose(found[i], bge_m3.multi_vector(linear, hidden), atol=1e-5)


# ── what is left ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_of_output_is_tested() -> None:
    kinds = {output for entry in ENTRIES for output in entry.outputs}
    assert kinds == {"dense", "sparse", "multi_vector", "score"}  # scores: tests/engine/test_reranker.py


@_each(ENTRIES)
def test_what_the_catalogue_promises_is_given(entry: CatalogueEntry, folders: Any) -> None:
    recipe = _load(folders(entry), entry.id).checkpoint.recipe
    given = set(recipe.outputs) | ({"score"} if recipe.pair is not None else set())
    assert given == set(entry.outputs)


def test_the_list_of_models_says_what_runs() -> None:
    """`sememe models --runs` names exactly the entries that are tested here."""
    runs = {entry.id for entry in Catalogue.read().entries if runs_here(entry)}
    assert runs == {entry.id for entry in ENTRIES}
