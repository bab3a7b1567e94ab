"""Collections of a running server through both clients: the same values as the collection itself gives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import specimens
from sememe import AsyncClient, Client
from sememe.client.settings import ClientOptions
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.hits import Hit
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.collections.store import Counts
from sememe.collections.upserting import UpsertReport
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.errors import InputError, NotFound, RemoteError
from sememe.server.models import EmbeddingModel, Models, ScoringModel
from sememe.server.options import ServerOptions
from server.running import run

DOCUMENTS = [
    Document("a", "refunds take five days", "Shop", "shop.md", {"lang": "en", "year": 2020}),
    Document("b/with #?%, ü", "our office is in lyon", metadata={"lang": "fr", "open": True}),
    Document("..", "two dots are an id too", metadata={"share": 0.5}),
    Document("c", "ask for your money back. " * 40),
]
SMALL = ChunkOptions(size=32)


@pytest.fixture(scope="module")
def embedder(specimen_folder: Path) -> Embedder:
    return Embedder(specimens.make("bert", specimen_folder / "remote-bert", sigma=0.3), precision="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collections")


@pytest.fixture(scope="module")
def url(embedder: Embedder, folder: Path, specimen_folder: Path) -> Iterator[str]:
    reranker = Reranker(specimens.make("ms_marco", specimen_folder / "remote-ms", sigma=0.3), precision="float32")
    models = Models([EmbeddingModel("tiny", embedder), ScoringModel("ranker", reranker)])
    with run(models, ServerOptions(collections_dir=folder)) as running:
        yield running.url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url, options=ClientOptions(batch_size=3)) as made:
        made.create_collection("docs", chunking=SMALL).upsert(DOCUMENTS)
        yield made


def _near(found: list[Hit], expected: list[Hit]) -> None:
    """Equal but for the last digits of scores: the server's batches are others."""
    assert [hit.chunk for hit in found] == [hit.chunk for hit in expected]
    assert [hit.document for hit in found] == [hit.document for hit in expected]
    assert [hit.parent for hit in found] == [hit.parent for hit in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert [(r.retriever, r.rank) for r in one.retrievers] == [(r.retriever, r.rank) for r in other.retrievers]
        assert (one.explanation is None) == (other.explanation is None)
        if one.explanation is not None and other.explanation is not None:
            assert one.explanation.words == pytest.approx(other.explanation.words)


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(),
        SearchOptions(mode="lexical", explain=True, parent="paragraph"),
        SearchOptions(fusion="rrf", rrf_k=5.0, weights=(("dense", 0.25),), min_score=0.0),
        SearchOptions(mode="dense", mmr=0.3, n_candidates=3, group_by_document=True),
    ],
    ids=["plain", "lexical", "rrf", "mmr"],
)
def test_hits_are_those_of_the_collection(
    client: Client, folder: Path, embedder: Embedder, options: SearchOptions
) -> None:
    with Collection.open(folder / "docs", embedder) as own:
        expected = own.search("money lyon", 4, options, with_text=True)
        _near(client.collection("docs").search("money lyon", 4, options, with_text=True), expected)
        vector = embedder.encode_query("money lyon")
        by_vector = client.collection("docs").search_by_vector(vector, 4, where={"lang": {"exists": True}})
        _near(by_vector, own.search_by_vector(vector, 4, where={"lang": {"exists": True}}))
        _near(client.collection("docs").more_like("a", 2), own.more_like("a", 2))
        found, kept = client.collection("docs").context("money", 200), own.context("money", 200)
        assert (found.text, found.n_tokens) == (kept.text, kept.n_tokens)
        assert [(p.place, p.heading, p.citation) for p in found.passages] == [
            (p.place, p.heading, p.citation) for p in kept.passages
        ]


def test_documents_come_and_go(client: Client) -> None:
    made = client.create_collection("some", CollectionOptions(with_title=False, language="en"), model="tiny")
    reports: list[UpsertReport] = []
    short = [*DOCUMENTS[:3], Document("c", "ask for it")]
    assert made.upsert(iter(short), on_progress=reports.append) == UpsertReport(added=4, n_chunks=4)
    assert [report.added for report in reports] == [3, 1]
    changed = [replace(DOCUMENTS[0], text="refunds take six days"), *short[1:]]
    assert made.upsert(changed) == UpsertReport(changed=1, unchanged=3, n_chunks=1)
    for document in changed:
        assert made.get(document.id) == document
    assert made.delete(where={"lang": "fr"}) == 1
    assert made.delete(ids=["..", "nobody"]) == 1
    assert made.count() == Counts(2, 2, made.info().generation)
    with pytest.raises(NotFound, match=r"no document '\.\.'"):
        made.get("..")
    client.delete_collection("some")
    with pytest.raises(NotFound, match="There is no collection some"):
        made.search("x")


def test_what_there_is(client: Client, embedder: Embedder, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = client.collection("docs").info()
    assert info in client.collections()
    assert (info.model, info.fingerprint) == ("tiny", embedder.fingerprint())
    assert (info.documents, info.dimension, info.chunking) == (4, embedder.dimension, str(SMALL))
    (folder / "broken").mkdir()
    (folder / "broken/collection.sqlite").write_bytes(b"no database " * 100)
    with caplog.at_level(logging.WARNING):
        assert [one.name for one in client.collections()] == ["docs"]
    assert "cannot open its collection broken" in caplog.text
    (folder / "broken/collection.sqlite").unlink()


def test_a_reranker_of_the_server(client: Client) -> None:
    plain = client.collection("docs").search("money", 3)
    (best, *_) = client.collection("docs").search("money", 3, rerank="ranker")
    assert best.score not in [hit.score for hit in plain]


def test_what_a_filter_asks_in_vain_is_logged_here(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    docs = client.collection("docs")
    assert docs.search("money", where={"langue": "fr"}) == []
    assert not docs.context("money", where={"langue": "fr"}).passages
    said = [record.getMessage() for record in caplog.records if record.name.startswith("sememe.client")]
    assert said == ["No document has the field 'langue' that the filter names."] * 2


def test_wrong_uses_are_said(client: Client) -> None:
    docs = client.collection("docs")
    with pytest.raises(InputError, match="comes twice"):
        docs.upsert([DOCUMENTS[0], DOCUMENTS[0]])
    with pytest.raises(InputError, match="one of both"):
        docs.delete()
    with pytest.raises(InputError, match="one of both"):
        docs.delete(ids=["a"], where={})
    with pytest.raises(InputError, match="no comparison"):
        docs.search("x", where={"a": {"~": 1}})
    with pytest.raises(InputError, match="at least one character"):
        docs.get("")
    with pytest.raises(InputError, match="There is a collection docs already"):
        client.create_collection("docs")
    with pytest.raises(NotFound, match="There is no collection nobody"):
        client.collection("nobody").upsert(DOCUMENTS)


def test_a_server_without_collections(embedder: Embedder) -> None:
    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, ServerOptions()) as running, Client(running.url) as client, pytest.raises(NotFound):
        client.collections()


def test_an_answer_of_another_form(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = client._send
    monkeypatch.setattr(client, "_send", lambda *asked: replace(sent(*asked), body={"hits": [{"id": "a#0"}]}))
    with pytest.raises(RemoteError, match="not of our form: KeyError 'document'"):
        client.collection("docs").search("x")


def test_the_same_in_an_event_loop(client: Client, url: str) -> None:
    docs = client.collection("docs")

    async def ask() -> None:
        async with AsyncClient(url, options=ClientOptions(batch_size=3)) as other:
            later = other.collection("docs")
            hits, context = await asyncio.gather(
                later.search("money", 2, where={"lang": "en"}), later.context("lyon", 200)
            )
            _near(hits, docs.search("money", 2, where={"lang": "en"}))
            assert context.text == docs.context("lyon", 200).text
            assert await later.info() == docs.info()
            assert await later.get("..") == DOCUMENTS[2]
            vector = np.ones(later_info.dimension, np.float32)
            _near(await later.search_by_vector(vector, 2), docs.search_by_vector(vector, 2))
            _near(await later.more_like("a", 2), docs.more_like("a", 2))
            made = await other.create_collection("later", chunking=SMALL)
            assert (await made.upsert(DOCUMENTS)).added == 4
            assert await made.delete(ids=["a"]) == 1
            assert (await made.count()).documents == 3
            assert [one.name for one in await other.collections()] == ["docs", "later"]
            await other.delete_collection("later")

    later_info = docs.info()
    asyncio.run(ask())
