"""A collection as its users meet it: what is stored is found, what changed is embedded, what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fakes import FakeEmbedder

from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.collections.store import EmbeddedDocument
from sememe.collections.upserting import UpsertReport
from sememe.errors import CollectionMismatch, InputError, NotFound

WORDS = "amber birch cedar dune ember fjord grove heath islet jetty knoll lagoon marsh oasis pond reef".split()


def documents(n: int = 40) -> list[Document]:
    return [
        Document(
            f"doc-{i}",
            f"{WORDS[i % 16]} {WORDS[(i * 7 + 3) % 16]} {WORDS[(i // 16) % 16]} number{i}",
            metadata={"third": i % 3, "word": WORDS[i % 16]},
        )
        for i in range(n)
    ]


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder(dimension=32)


@pytest.fixture
def collection(tmp_path: Path, embedder: FakeEmbedder) -> Collection:
    made = Collection.create(tmp_path / "c", embedder)
    made.upsert(documents())
    return made


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_what_is_stored_is_found(collection: Collection, mode: str) -> None:
    for document in documents():
        hit = collection.search(document.text, 1, SearchOptions(mode=mode))[0]  # type: ignore[arg-type]
        assert hit.document.id == document.id
        assert hit.chunk.text == document.text


def test_what_did_not_change_is_not_embedded_again(collection: Collection, embedder: FakeEmbedder) -> None:
    embedder.texts.clear()
    again = documents()
    again[3] = Document("doc-3", "something new", metadata=again[3].metadata)
    again[4] = Document("doc-4", again[4].text, metadata={"third": 99})
    report = collection.upsert([*again, Document("doc-new", "more")])
    assert report == UpsertReport(added=1, changed=1, described=1, unchanged=38, n_chunks=2)
    assert embedder.texts == ["more", "something new"]
    assert collection.search("something new", 1)[0].document.id == "doc-3"
    assert [d.id for d in collection.documents({"third": 99})] == ["doc-4"]
    assert collection.count().documents == 41


def test_deleted_is_gone_also_after_reopening(collection: Collection, embedder: FakeEmbedder, tmp_path: Path) -> None:
    texts = {d.id: d.text for d in documents()}
    assert collection.delete(ids=["doc-5", "doc-5", "never"]) == 1
    assert collection.delete(where={"third": 0}) == 14
    for opened in (collection, Collection.open(tmp_path / "c", embedder)):
        for id in ("doc-5", "doc-0", "doc-3"):
            hits = opened.search(texts[id], 50)
            assert hits
            assert id not in {hit.document.id for hit in hits}
            with pytest.raises(NotFound):
                opened.get(id)
        assert opened.count().chunks == 25


def test_a_document_comes_back_as_it_was_given(tmp_path: Path, embedder: FakeEmbedder) -> None:
    given = Document(
        "ä#'\x00\"\n👩‍👩‍👧", "text\x00 ü", "título", "a/b.md", {"x": 1, "y": 1.5, "z": True, "ключ": "значение"}
    )
    with Collection.create(tmp_path / "c", embedder) as collection:
        collection.upsert([given])
        found = collection.get(given.id)
        assert found == given
        assert {key: type(value) for key, value in found.metadata.items()} == {
            "x": int,
            "y": float,
            "z": bool,
            "ключ": str,
        }
        assert collection.search("ü", 1)[0].document.id == given.id
        assert collection.delete(ids=[given.id]) == 1


def test_chunks_keep_their_places_and_are_grouped_by_document(tmp_path: Path, embedder: FakeEmbedder) -> None:
    def by_line(document: Document) -> list[Chunk]:
        made, start = [], 0
        for position, line in enumerate(document.text.split("\n")):
            made.append(Chunk(document.id, position, line, start, start + len(line)))
            start += len(line) + 1
        return made

    collection = Collection.create(tmp_path / "c", embedder, chunker=by_line, chunking="lines")
    collection.upsert([Document("a", "amber reef\namber pond\namber"), Document("b", "amber dune")])
    assert [chunk.text for chunk in collection.chunks_of("a")] == ["amber reef", "amber pond", "amber"]
    hits = collection.search("amber", 4, with_text=True)
    assert {hit.document.id for hit in hits[:3]} == {"a", "b"}
    for hit in hits:
        assert hit.document.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text
    grouped = collection.search("amber", 4, SearchOptions(group_by_document=True))
    assert [hit.document.id for hit in grouped] == ["a", "b"]
    collection.upsert([Document("a", "marsh")])
    assert collection.count().chunks == 2
    assert Collection.open(tmp_path / "c").about.chunking == "lines"


def test_vectors_of_another_space_are_refused(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(CollectionMismatch, match="migrate"):
        Collection.open(tmp_path / "c", FakeEmbedder("another", dimension=32))
    ready = EmbeddedDocument(Document("x", "x"), (Chunk("x", 0, "x", 0, 1),), np.ones((1, 32), np.float32))
    with pytest.raises(CollectionMismatch, match="another-space"):
        collection.upsert_embedded([ready], fingerprint="another-space")
    collection.upsert_embedded([ready], fingerprint=collection.about.fingerprint)
    assert collection.search_by_vector(np.ones(32, np.float32), 1)[0].document.id == "x"


def test_a_collection_opened_without_its_model_searches_words(tmp_path: Path, collection: Collection) -> None:
    with Collection.open(tmp_path / "c") as opened:
        assert opened.search("number7", 1, SearchOptions(mode="lexical"))[0].document.id == "doc-7"
        with pytest.raises(InputError, match="without its model, fake"):
            opened.search("number7")


def test_words_alone_need_no_model(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", None, CollectionOptions(outputs=())) as collection:
        collection.upsert(documents())
        assert collection.search("number7", 1)[0].document.id == "doc-7"
    with pytest.raises(InputError, match="needs a model"):
        Collection.create(tmp_path / "d", None)


@pytest.mark.parametrize("fusion", ["rrf", "weighted"])
def test_an_explanation_adds_up(collection: Collection, fusion: str) -> None:
    options = SearchOptions(fusion=fusion, explain=True)  # type: ignore[arg-type]
    for hit in collection.search("amber number16 amber", 5, options):
        assert hit.explanation is not None
        assert sum(hit.explanation.contributions.values()) == pytest.approx(hit.score, abs=1e-6)
        lexical = [score.score for score in hit.retrievers if score.retriever == "lexical"]
        assert sum(hit.explanation.words.values()) == pytest.approx(sum(lexical), abs=1e-5)


def test_filters_thresholds_rerankers_and_diversity(collection: Collection) -> None:
    hits = collection.search("amber", 50, where={"third": {"in": [1, 2]}})
    assert hits
    assert {hit.document.metadata["third"] for hit in hits} <= {1, 2}
    least = hits[2].score
    assert all(h.score >= least for h in collection.search("amber", 50, SearchOptions(min_score=least)))
    reranked = collection.search("amber", 3, rerank=lambda query, texts: [float("number32" in text) for text in texts])
    assert reranked[0].document.id == "doc-32"
    with pytest.raises(InputError, match="gave 1 scores"):
        collection.search("amber", 3, rerank=lambda query, texts: [1.0])
    diverse = collection.search("amber dune ember", 5, SearchOptions(mmr=0.3))
    assert len({hit.document.id for hit in diverse}) == 5


def test_more_like_this(collection: Collection) -> None:
    hits = collection.more_like("doc-0", 5)
    assert len(hits) == 5
    assert "doc-0" not in {hit.document.id for hit in hits}
    assert "amber" in hits[0].chunk.text
    with pytest.raises(NotFound):
        collection.more_like("never")


def test_wrong_uses_are_said(tmp_path: Path, collection: Collection, embedder: FakeEmbedder) -> None:
    with pytest.raises(InputError, match="already"):
        Collection.create(tmp_path / "c", embedder)
    with pytest.raises(NotFound, match="no collection"):
        Collection.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="comes twice"):
        collection.upsert([Document("a", "x"), Document("a", "y")])
    with pytest.raises(InputError, match="1 or more"):
        collection.search("x", 0)
    with pytest.raises(InputError, match="sparse search finds nothing"):
        collection.search("x", 1, SearchOptions(mode="sparse"))
    with pytest.raises(InputError, match="one of both"):
        collection.delete()
    with pytest.raises(InputError, match="Weights name 'sparse'"):
        collection.search("x", 1, SearchOptions(weights=(("sparse", 1.0),)))
    assert collection.search("", 3, SearchOptions(mode="lexical")) == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("outputs", [("dense",), ("dense", "sparse", "multi_vector")])
def test_every_kind_of_vector_finds_its_own(tmp_path: Path, dtype: str, outputs: tuple[str, ...]) -> None:
    embedder = FakeEmbedder(dimension=64)
    options = CollectionOptions(outputs=outputs, dtype=dtype)  # type: ignore[arg-type]
    with Collection.create(tmp_path / "c", embedder, options) as collection:
        collection.upsert(documents(20))
    with Collection.open(tmp_path / "c", embedder) as collection:
        for mode in (*outputs, "hybrid"):
            for document in documents(20):
                hit = collection.search(document.text, 1, SearchOptions(mode=mode))[0]  # type: ignore[arg-type]
                assert hit.document.id == document.id, mode


def test_an_empty_collection_finds_nothing(tmp_path: Path, embedder: FakeEmbedder) -> None:
    with Collection.create(tmp_path / "c", embedder) as collection:
        assert collection.search("amber") == []
        assert collection.upsert([]) == UpsertReport()
        assert collection.upsert([Document("empty", "")]) == UpsertReport(added=1)
        assert collection.search("amber", where={"@id": "empty"}) == []
        assert collection.count().documents == 1


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"yeer": {">=": 2020}}, "No document has the field 'yeer' that the filter names."),
        ({"id": "doc-1"}, "No document has the field 'id' that the filter names; the documents' own is @id."),
        ({"note": {"exists": True}}, "No document has the field 'note'"),
        (
            {"word": {"<": 5}},
            "compares 'word' with numbers, and the documents hold text in it. Values of different kinds",
        ),
        (
            {"not": {"or": [{"third": "1"}, {"third": {"prefix": "1"}}]}},
            "'third' with text, and the documents hold numbers",
        ),
        ({"third": {"in": [True, False]}}, "'third' with truth values, and the documents hold numbers"),
        ({"@id": {"!=": 7}}, "'@id' with numbers, and the documents hold text"),
        ({"mixed": {">": 5}}, "compares 'mixed' with numbers, and in some documents it holds text."),
        ({"mixed": {"in": [5, "5"]}, "word": "reef", "third": {"in": [1, "1"]}}, ""),
        ({"mixed": {"exists": False}, "@source": {"prefix": "x"}}, ""),
        ({}, ""),
    ],
)
def test_what_a_filter_asks_in_vain_is_said_once(
    collection: Collection, caplog: pytest.LogCaptureFixture, where: dict[str, object], words: str
) -> None:
    collection.upsert([Document("a", "a", metadata={"mixed": 5}), Document("b", "b", metadata={"mixed": "5"})])
    for _ in range(2):
        collection.search("amber", where=where)
        collection.more_like("doc-1", where=where)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == bool(words)
    assert all(words in one for one in said)


def test_ever_other_fields_fill_no_log(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(300):
        collection.search("amber", where={f"field-{i}": 1})
    assert 100 < len(caplog.records) <= 200
