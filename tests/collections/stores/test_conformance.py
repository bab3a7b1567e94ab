"""What every store must do, run on each: the embedded one and all adapters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.collections.stores.conftest import Place

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Metadata
from sememe.collections.documents import Place as Span
from sememe.collections.filters import kind_of, matches, parse_filter
from sememe.collections.options import CollectionOptions, Metric
from sememe.collections.store import EmbeddedDocument, Scored, VectorStore
from sememe.errors import InputError, NotFound
from sememe.lexical import BM25
from sememe.records import MultiVectorEmbeddings, SparseEmbeddings
from sememe.similarity import maxsim, similarity, sparse_similarity

D = 16
N_TERMS = 40
WORDS = "red green blue house tree river cloud stone bird fish".split()
# What the others promise less stands in their modules.
EXACT_WORDS = SNAPSHOTS = ("embedded", "pgvector")
HOSTILE = [
    "'; DROP TABLE documents; --", '"quoted" \\ back', "%s %d {0} $1 ?", "a\0b", "\x01\x02", "tab\tnew\nline", "100%_",
    "ключ ключ", "日本語", "🦉" * 3, "'' or 1==1", "] or id != \"\" [", "x" * 3000, "\u200b", "é", "e\u0301",
]  # fmt: skip


def about(**options: object) -> About:
    kept = CollectionOptions(**({"outputs": ("dense", "sparse", "multi_vector")} | options))  # type: ignore[arg-type]
    return About(kept, "fake", "1", "f" * 16, D, "whole", "words1", "2026-11-25T00:00:00+00:00")


def embedded(documents: Sequence[Document], *, seed: int = 0, n_chunks: int = 2) -> list[EmbeddedDocument]:
    random = np.random.default_rng(seed)
    return [_embedded(document, random, n_chunks) for document in documents]


def _embedded(document: Document, random: np.random.Generator, n_chunks: int) -> EmbeddedDocument:
    words = tuple(tuple(random.choice(WORDS, size=random.integers(1, 9)).tolist()) for _ in range(n_chunks))
    chunks = tuple(
        Chunk(document.id, i, " ".join(words[i]), i, i + 1, Span("line", i + 1, i + 2), "A > B")
        for i in range(n_chunks)
    )
    sets = [np.sort(random.choice(N_TERMS, size=5, replace=False)).astype(np.int32) for _ in range(n_chunks)]
    sparse = SparseEmbeddings(
        np.arange(0, 5 * n_chunks + 1, 5, dtype=np.int64),
        np.concatenate([*sets, np.empty(0, np.int32)]),
        random.random(5 * n_chunks).astype(np.float32) + 0.1,
        N_TERMS,
    )
    lists = MultiVectorEmbeddings(
        random.standard_normal((3 * n_chunks, D)).astype(np.float16).astype(np.float32),
        np.arange(0, 3 * n_chunks + 1, 3, dtype=np.int64),
    )
    return EmbeddedDocument(
        document, chunks, random.standard_normal((n_chunks, D)).astype(np.float32), sparse, lists, words
    )


def plain(n: int, metadata: Metadata | None = None) -> list[Document]:
    return [Document(f"d{i:03}", f"text {i}", f"title {i}", f"src/{i}.md", metadata or {"n": i}) for i in range(n)]


def names(store: VectorStore, scored: list[Scored]) -> list[str]:
    return [stored.chunk.id for stored in store.chunks([one.key for one in scored])]


def all_names(documents: Sequence[EmbeddedDocument]) -> list[str]:
    return [chunk.id for one in documents for chunk in one.chunks]


def best(ids: list[str], scores: NDArray[np.float32], k: int) -> list[str]:
    return [ids[i] for i in np.argsort(-scores, kind="stable")[:k]]


def test_documents_come_back_as_they_were(place: Place) -> None:
    documents = [
        Document(
            f"id {text}",
            f"text {text}",
            f"title {text}",
            f"from {text}",
            {f"key {text}": text, "n": 2**62, "f": 0.1, "b": True},
        )
        for text in HOSTILE
    ]
    store = place.create(about())
    given = embedded(documents)
    store.upsert(given)
    store.close()
    store = place.open()
    for one in given:
        assert store.document(one.document.id) == one.document
        stored = store.chunks_of(one.document.id)
        assert [chunk.chunk for chunk in stored] == list(one.chunks)
        assert stored[0].document == one.document
        assert store.chunks([stored[1].key])[0].document.text == ""
        unit = one.dense / np.linalg.norm(one.dense, axis=1, keepdims=True)  # type: ignore[operator]
        np.testing.assert_allclose(store.vectors([chunk.key for chunk in stored]), unit, atol=1e-6)
    assert [one.id for one in store.documents()] == sorted(one.id for one in documents)
    listed = {one.id: one for one in store.documents()}
    assert all(listed[one.id].content_hash == one.content_hash for one in documents)
    assert all(listed[one.id].metadata == one.metadata and listed[one.id].n_chunks == 2 for one in documents)
    store.close()


def test_what_a_collection_says_of_itself_is_kept(place: Place) -> None:
    made = about(similarity="dot", language="de")
    store = place.create(made)
    store.close()
    store = place.open()
    assert store.about == made  # type: ignore[attr-defined]
    store.close()
    with pytest.raises(InputError, match="already"):
        place.create(made)


def test_what_was_never_made_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound, match="no collection"):
        place.open()


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_dense_search_is_exact(place: Place, metric: Metric) -> None:
    store = place.create(about(similarity=metric))
    given = embedded(plain(40))
    store.upsert(given)
    ids, vectors = all_names(given), np.concatenate([one.dense for one in given])  # type: ignore[arg-type]
    for query in np.random.default_rng(5).standard_normal((5, D)).astype(np.float32):
        scores = similarity(query, vectors, metric)[0]
        found = store.dense(query, 10)
        assert names(store, found) == best(ids, scores, 10)
        np.testing.assert_allclose([one.score for one in found], -np.sort(-scores)[:10], atol=1e-5)
    assert len(store.dense(query, 1000)) == 80
    store.close()


def test_sparse_lists_and_words_are_searched_exactly(place: Place) -> None:
    store = place.create(about())
    given = embedded(plain(40))
    store.upsert(given)
    ids = all_names(given)
    random = np.random.default_rng(6)
    query = SparseEmbeddings(
        np.array([0, 3]), np.array([1, 7, 30], np.int32), np.array([1, 0.5, 2], np.float32), N_TERMS
    )
    scores = np.concatenate([sparse_similarity(query, one.sparse)[0] for one in given])  # type: ignore[arg-type]
    found = store.sparse(query, 10)
    np.testing.assert_allclose([one.score for one in found], -np.sort(-scores)[:10], atol=1e-5)
    assert len(store.sparse(query, 1000)) == int((scores > 0).sum())

    tokens = random.standard_normal((4, D)).astype(np.float32)
    scores = np.concatenate([maxsim([tokens], one.multi_vector)[0] for one in given])  # type: ignore[arg-type]
    found = store.multi_vector(tokens, 10)
    assert names(store, found) == best(ids, scores, 10)
    among = [one.key for one in found[3:6]]
    assert [one.key for one in store.multi_vector(tokens, 10, candidates=among)] == among

    judge = BM25([list(words) for one in given for words in one.words or ()])
    asked = ["river", "bird", "bird", "unheard"]
    scores = judge.scores(asked)
    found = store.lexical(asked, 1000)
    assert set(names(store, found)) == {id for id, score in zip(ids, scores.tolist(), strict=True) if score}
    assert store.lexical(["unheard"], 5) == store.lexical([], 5) == []
    if place.name not in EXACT_WORDS:
        assert len(set(names(store, found)[:10]) & set(best(ids, scores, 10))) >= 7
        store.close()
        return
    assert {name: pytest.approx(one.score, abs=1e-4) for name, one in zip(names(store, found), found, strict=True)} == {
        id: score for id, score in zip(ids, scores.tolist(), strict=True) if score
    }
    parts = store.term_weights(asked, [one.key for one in found[:5]])
    assert [sum(part.values()) for part in parts] == pytest.approx([one.score for one in found[:5]], abs=1e-4)
    assert all(set(part) <= {"river", "bird"} for part in parts)
    store.close()


FILTERS: list[dict[str, object]] = [
    {}, {"n": 3}, {"n": {"!=": 3}}, {"n": {">=": 3, "<": 7}}, {"n": {"in": [1, 4, "4", True]}}, {"n": {"exists": False}},
    {"half": {">": 0.5}}, {"half": 1}, {"half": {"<=": 2}}, {"even": True}, {"even": {"!=": True}}, {"even": {"in": [False]}},
    {"kind": "b"}, {"kind": {">": "a"}}, {"kind": {"prefix": "k"}}, {"kind": {"prefix": ""}}, {"kind": 3}, {"kind": {"<": 5}},
    {"@id": "d003"}, {"@id": {"in": ["d001", "d002", 3]}}, {"@source": {"prefix": "src/1"}}, {"@title": {">": "title 5"}},
    {"@id": {"exists": True}}, {"@id": 3}, {"and": [{"n": {">": 2}}, {"even": True}]}, {"or": [{"n": 1}, {"kind": "a"}]},
    {"not": {"or": [{"n": 1}, {"n": 2}]}}, {"and": []}, {"or": []}, {"not": {"kind": {"exists": True}}}, {"nothing": 1},
    {"nothing": {"!=": 1}}, {"n": 3.0}, {"big": 2**53}, {"big": {">": 2**53}}, {"n": {"in": []}}, {"kind": {"in": ["a", "b"]}},
    {"text": {"prefix": "x" * 2500}}, {"text": {"<=": "x" * 3000}},
]  # fmt: skip


def varied(n: int) -> list[Document]:
    found = []
    for i in range(n):
        metadata: dict[str, str | int | float | bool] = {
            "n": i,
            "half": i / 2,
            "even": i % 2 == 0,
            "big": 2**53 + i % 2,
        }
        if i % 3:
            metadata["kind"] = "abk"[i % 3]
        metadata["text"] = HOSTILE[i % len(HOSTILE)]
        found.append(Document(f"d{i:03}", f"text {i}", f"title {i}", f"src/{i}.md", metadata))
    return found


def test_every_kind_of_vector_comes_back(place: Place) -> None:
    """In whatever order they are asked for: what an export and a copy are made from."""
    documents = embedded(plain(4), n_chunks=3)
    store = place.create(about(similarity="dot"))
    store.upsert(documents)
    with store.reading():
        keys = {s.chunk.id: s.key for one in documents for s in store.chunks_of(one.document.id)}
        wanted = [(one, i) for one in documents for i in (2, 0)]
        asked = [keys[one.chunks[i].id] for one, i in wanted]
        found = store.other_vectors(asked)
        np.testing.assert_allclose(store.vectors(asked), [one.dense[i] for one, i in wanted], rtol=1e-6)  # type: ignore[index]
        assert found.sparse is not None
        assert found.multi_vector is not None
        for row, (one, i) in enumerate(wanted):
            assert found.sparse.weights(row) == pytest.approx(one.sparse.weights(i))  # type: ignore[union-attr]
            np.testing.assert_array_equal(found.multi_vector[row], one.multi_vector[i])  # type: ignore[index]
        assert len(store.other_vectors([]).sparse or ()) == 0
    store.close()


@pytest.mark.parametrize(
    "options", [{"outputs": ("dense",)}, {"outputs": ("dense",), "lexical": False}, {"outputs": ()}]
)
def test_a_collection_may_keep_only_some_of_it(place: Place, options: dict[str, object]) -> None:
    store = place.create(about(**options))
    made = embedded(plain(3))
    kept = [
        replace(
            one,
            dense=one.dense if options["outputs"] else None,
            sparse=None,
            multi_vector=None,
            words=one.words if options.get("lexical", True) else None,
        )
        for one in made
    ]
    store.upsert(kept)
    assert store.count().chunks == 6
    if options["outputs"]:
        assert names(store, store.dense(made[1].dense[1], 1)) == ["d001#1"]  # type: ignore[index]
    if options.get("lexical", True):
        assert store.lexical(list(made[1].words[1]), 6)  # type: ignore[index]
    store.close()
    store = place.open()
    assert store.count().chunks == 6
    store.close()


def test_filters_let_through_what_python_would(place: Place) -> None:
    documents = varied(24)
    store = place.create(about())
    store.upsert(embedded(documents, n_chunks=1))
    hostile = [{"text": value} for value in HOSTILE] + [{"text": {"prefix": value[:1]}} for value in HOSTILE]
    odd_keys = [{value: 1} for value in HOSTILE] + [{value: {"!=": "x"}} for value in HOSTILE]
    query = np.ones(D, np.float32)
    for where in [*FILTERS, *hostile, *odd_keys]:
        tree = parse_filter(where)
        expected = [document.id for document in documents if matches(tree, document)]
        assert [one.id for one in store.documents(tree)] == expected, where
        found = store.dense(query, 100, tree)
        assert sorted(stored.document.id for stored in store.chunks([one.key for one in found])) == expected, where
    store.close()


def test_which_kinds_of_values_a_field_has(place: Place) -> None:
    values: dict[str, list[str | int | float | bool]] = {
        "text": ["", "a"], "number": [-5, 2**60], "fraction": [-0.5], "zero": [0], "bool": [False],
        "mixed": ["1", 1], "all": ["x", -1e300, True], "it's; \0": [1], "k" * 300: ["x"],
    }  # fmt: skip
    documents = [
        Document(f"{field[:9]}{i}", "x", metadata={field: value})
        for field, of_it in values.items()
        for i, value in enumerate(of_it)
    ]
    store = place.create(about())
    assert store.kinds_of("text") == frozenset()
    store.upsert(embedded(documents, n_chunks=1))
    for field, of_it in values.items():
        assert store.kinds_of(field) == set(map(kind_of, of_it)), field
    assert store.kinds_of("absent") == store.kinds_of("k" * 299) == frozenset()
    store.delete_where(parse_filter({"mixed": 1}))
    assert store.kinds_of("mixed") == {"text"}
    store.close()


def test_every_search_heeds_its_filter(place: Place) -> None:
    store = place.create(about())
    given = embedded(varied(24))
    store.upsert(given)
    tree = parse_filter({"even": True})
    query = SparseEmbeddings(np.array([0, 3]), np.array([1, 7, 30], np.int32), np.ones(3, np.float32), N_TERMS)
    for found in (
        store.dense(np.ones(D, np.float32), 100, tree),
        store.sparse(query, 100, tree),
        store.lexical(["river", "bird"], 100, tree),
        store.multi_vector(np.ones((2, D), np.float32), 100, tree),
    ):
        assert found
        assert all(stored.document.metadata["even"] for stored in store.chunks([one.key for one in found]))
    if place.name in EXACT_WORDS:
        everywhere = {one.key: one.score for one in store.lexical(["river"], 100)}
        kept = {one.key: one.score for one in store.lexical(["river"], 100, tree)}
        assert kept.items() <= everywhere.items()  # a filter changes no score
    store.close()


def test_upsert_replaces_and_delete_means_gone(place: Place) -> None:
    store = place.create(about())
    store.upsert(embedded(plain(10)))
    before = store.count()
    store.upsert(embedded([Document("d003", "other", metadata={"n": 300})], seed=9, n_chunks=1))
    assert store.document("d003").text == "other"
    assert (store.count().documents, store.count().chunks) == (10, 19)
    assert store.count().generation > before.generation
    assert store.delete(["d000", "d001", "unknown", "d000"]) == 2
    assert store.delete_where(parse_filter({"n": {"in": [300, 4]}})) == 2
    assert store.delete([]) == 0
    store.close()
    store = place.open()
    left = [f"d{i:03}" for i in (2, 5, 6, 7, 8, 9)]
    assert [one.id for one in store.documents()] == left
    assert Counter(store.count().__getattribute__(name) for name in ("documents", "chunks")) == Counter([6, 12])
    found = [*store.dense(np.ones(D, np.float32), 100), *store.lexical(WORDS, 100)]
    assert {stored.document.id for stored in store.chunks([one.key for one in found])} == set(left)
    for missing in ("d000", "d003"):
        with pytest.raises(NotFound, match=missing):
            store.document(missing)
        with pytest.raises(NotFound, match=missing):
            store.chunks_of(missing)
    store.close()


def test_scores_of_words_follow_what_is_stored_now(place: Place) -> None:
    """Whatever was deleted or replaced on the way."""
    if place.name not in EXACT_WORDS:
        pytest.skip(f"{place.name} has a BM25 of its own, as its module says")
    given = embedded(plain(12))
    store = place.create(about())
    store.upsert(embedded(plain(20), seed=4))
    store.delete([f"d{i:03}" for i in range(12, 20)])
    store.upsert(given)
    judge = BM25([list(words) for one in given for words in one.words or ()])
    found = store.lexical(["tree", "fish"], 100)
    scores = dict(zip(all_names(given), judge.scores(["tree", "fish"]).tolist(), strict=True))
    assert [one.score for one in found] == pytest.approx([scores[name] for name in names(store, found)], abs=1e-4)
    store.close()


def test_describing_changes_metadata_alone(place: Place) -> None:
    store = place.create(about())
    store.upsert(embedded(plain(3)))
    hits = store.dense(np.ones(D, np.float32), 10)
    store.describe([Document("d001", "text 1", "new title", "new.md", {"m": "neu"})])
    assert store.document("d001") == Document("d001", "text 1", "new title", "new.md", {"m": "neu"})
    assert [one.id for one in store.documents(parse_filter({"m": "neu"}))] == ["d001"]
    assert [one.id for one in store.documents(parse_filter({"n": 1}))] == []
    assert len(store.chunks_of("d001")) == 2
    again = store.dense(np.ones(D, np.float32), 10)
    assert [(one.key, pytest.approx(one.score, abs=1e-6)) for one in hits] == [(one.key, one.score) for one in again]
    with pytest.raises(NotFound, match="unknown"):
        store.describe([Document("unknown", "")])
    store.close()


def test_bad_vectors_and_ids_change_nothing(place: Place) -> None:
    store = place.create(about())
    good = embedded(plain(2))
    store.upsert(good)
    for dense, said in (
        (np.full((2, D), np.nan, np.float32), "NaN"),
        (np.zeros((2, D), np.float32), "zero"),
        (np.ones((2, D + 1), np.float32), str(D)),
    ):
        first, second = embedded([Document("new", "x"), Document("d001", "y")])
        bad = EmbeddedDocument(second.document, second.chunks, dense, second.sparse, second.multi_vector, second.words)
        with pytest.raises(InputError, match=said):
            store.upsert([first, bad])
    with pytest.raises(InputError, match="twice"):
        store.upsert([good[0], good[0]])
    with pytest.raises(InputError):
        store.dense(np.full(D, np.nan, np.float32), 5)
    assert [one.id for one in store.documents()] == ["d000", "d001"]
    assert store.document("d001") == good[1].document
    store.close()


def test_an_empty_store_and_documents_without_chunks(place: Place) -> None:
    store = place.create(about())
    assert store.dense(np.ones(D, np.float32), 5) == store.lexical(["red"], 5) == []
    assert list(store.documents()) == []
    store.upsert([])
    store.upsert(embedded(plain(1), n_chunks=0))
    assert (store.count().documents, store.count().chunks) == (1, 0)
    assert store.chunks_of("d000") == []
    assert store.document("d000").text == "text 0"
    store.close()


def test_what_is_read_together_is_of_one_state(place: Place) -> None:
    if place.name not in SNAPSHOTS:
        pytest.skip(f"{place.name} promises no snapshots, as its class says")
    reader, given = place.create(about()), embedded(plain(4))
    reader.upsert(given)
    writer = place.open()
    with reader.reading():
        before = reader.count()
        writer.delete(["d000"])
        assert reader.count() == before
        assert reader.document("d000") == given[0].document
    assert reader.count().documents == 3
    reader.close()
    writer.close()


def test_ten_megabytes_of_metadata(place: Place) -> None:
    store = place.create(about())
    document = Document("large", "x", metadata={"note": "ä" * 5_000_000, "n": 1})
    store.upsert(embedded([document]))
    assert store.document("large") == document
    assert [one.id for one in store.documents(parse_filter({"note": {"prefix": "ä" * 300}}))] == ["large"]
    store.close()
