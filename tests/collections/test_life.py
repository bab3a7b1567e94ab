"""A collection's life: snapshots, exports, another model, the room it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.fakes import FakeEmbedder

from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document, Place, searchable_text
from sememe.collections.exporting import export_parquet, import_parquet
from sememe.collections.migrating import Migration, abandon_migration, pending_migration
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.errors import CollectionMismatch, InputError

LEXICAL = SearchOptions(mode="lexical")
OLD, NEW = FakeEmbedder("old", dimension=16), FakeEmbedder("new", dimension=24)


def by_word(document: Document) -> list[Chunk]:
    """Chunks that are not all of the document, with places and headings."""
    chunks, start = [], 0
    for i, word in enumerate(document.text.split()):
        start = document.text.index(word, start)
        chunks.append(Chunk(document.id, i, word, start, start + len(word), Place("line", i + 1, i + 1), f"H > {i}"))
    return chunks


def documents(n: int = 30) -> list[Document]:
    texts = [f"common word{i % 7} number{i} amber{i % 3}" for i in range(n)]
    return [Document(f"d{i}", text, f"Title {i}", f"s/{i}.md", {"n": i, "ü": "x"}) for i, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", OLD, chunker=by_word, chunking="words") as collection:
        collection.upsert(documents())
    return tmp_path / "c"


def test_a_snapshot_is_restored(folder: Path, tmp_path: Path) -> None:
    with Collection.open(folder, OLD) as collection:
        collection.snapshot(tmp_path / "snapshot")
        collection.delete(where={"n": {"<": 25}})
    with Collection.restore(tmp_path / "snapshot", tmp_path / "again", OLD) as restored:
        assert restored.count().documents == 30
        assert restored.get("d3") == documents()[3]
        assert restored.search("number3", 1, LEXICAL)[0].document.id == "d3"
    with pytest.raises(InputError, match="already"):
        Collection.restore(tmp_path / "snapshot", folder, OLD)


@pytest.mark.parametrize("outputs", [("dense",), ("dense", "sparse", "multi_vector"), ()])
def test_an_export_comes_back_as_it_was(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    embedder = OLD if outputs else None
    options = CollectionOptions(outputs=outputs)  # type: ignore[arg-type]
    collection = Collection.create(tmp_path / "c", embedder, options, chunker=by_word, chunking="words")
    collection.upsert([*documents(), Document("empty", ""), Document("日本#1", "日本")])
    assert export_parquet(collection, tmp_path / "c.parquet") == 121
    table = pq.read_table(tmp_path / "c.parquet")
    assert table.num_rows == 122
    assert table.schema.metadata[b"sememe.fingerprint"].decode() == collection.about.fingerprint
    again = import_parquet(tmp_path / "c.parquet", tmp_path / "again", embedder)
    assert list(again.documents()) == list(collection.documents())
    for stored in collection.documents():
        assert again.get(stored.id) == collection.get(stored.id)
        assert again.chunks_of(stored.id) == collection.chunks_of(stored.id)
    for mode in (*outputs, "lexical"):
        options_of = SearchOptions(mode=mode)  # type: ignore[arg-type]
        found = [[(h.chunk, h.score) for h in c.search("common number3", 9, options_of)] for c in (collection, again)]
        assert found[0] == found[1]


def test_a_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("text")
    with pytest.raises(InputError, match="no Parquet"):
        import_parquet(tmp_path / "no.parquet", tmp_path / "x")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not exported from a collection"):
        import_parquet(tmp_path / "other.parquet", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_migration_changes_the_space_and_nothing_else(folder: Path) -> None:
    reader = Collection.open(folder, OLD)
    before = [(d, reader.chunks_of(d.id)) for d in reader.documents()]
    migration = Migration(folder, NEW)
    assert migration.run() == 120
    reader.upsert([Document("late", "latecomer")])
    reader.delete(ids=["d0"])
    sampled = migration.compare(n_samples=20)
    asked = migration.compare(["number4", "amber1 common"], old=OLD)
    assert 0 <= sampled.overlap <= 1
    assert [change.overlap for change in asked.changes] == sorted(change.overlap for change in asked.changes)
    assert len(sampled.changes) == 20
    assert all(change.query not in change.before for change in sampled.changes)
    assert {len(change.after) for change in asked.changes} == {10}
    assert reader.search("number4", 1, LEXICAL)[0].document.id == "d4"  # in use until the switch
    migration.switch()
    with pytest.raises(CollectionMismatch, match="Open it again"):
        reader.search("number4")
    with pytest.raises(CollectionMismatch):
        Collection.open(folder, OLD)
    migrated = Collection.open(folder, NEW)
    assert migrated.about.model == "new"
    assert migrated.about.dimension == 24
    assert [(d, migrated.chunks_of(d.id)) for d in migrated.documents() if d.id != "late"] == before[1:]
    for document in documents()[1:]:
        text = searchable_text(document, migrated.chunks_of(document.id)[2])
        hit = migrated.search(text, 1, SearchOptions(mode="dense"))[0]
        assert hit.document.id == document.id
    assert migrated.search("latecomer", 1)[0].document.id == "late"


def test_a_migration_goes_on_and_can_be_abandoned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sememe.collections.migrating._WINDOW_CHUNKS", 30)
    failing = FakeEmbedder("new", dimension=24, fail_after=70)
    migration = Migration(folder, failing)
    with pytest.raises(RuntimeError):
        migration.run()
    migration.close()
    with pytest.raises(CollectionMismatch, match="being migrated to new"):
        Migration(folder, FakeEmbedder("third", dimension=24))
    assert Migration(folder, NEW).run() == 60
    Migration(folder, NEW).close()
    with Collection.open(folder) as collection:
        pending = pending_migration(collection)
        assert pending is not None
        assert (pending.about.model, pending.n_done, pending.n_chunks) == ("new", 120, 120)
        assert abandon_migration(collection)
        assert pending_migration(collection) is None
        assert not abandon_migration(collection)
    assert Collection.open(folder, OLD).search("number4", 1, LEXICAL)[0].document.id == "d4"
    with pytest.raises(InputError, match="nothing to migrate"):
        Migration(folder, OLD)
    assert Migration(folder, NEW).run() == 120


def test_stats_and_compaction(folder: Path) -> None:
    collection = Collection.open(folder, OLD)
    collection.upsert([Document(f"big{i}", "x " * 20_000) for i in range(3)])
    before = collection.stats()
    assert before.recall == 1.0
    collection.delete(ids=[f"big{i}" for i in range(3)])
    collection.compact()
    after = collection.stats()
    assert (after.documents, after.chunks) == (30, 120)
    assert after.sizes.truth < before.sizes.truth / 2
    collection.rebuild()
    assert collection.search("number4", 1, LEXICAL)[0].document.id == "d4"
    np.testing.assert_array_equal(collection.store.vectors([]), np.empty((0, 16), np.float32))
