"""A collection in each store moves to another model: the same steps, and nothing half done is seen."""

from __future__ import annotations

import pytest
from tests.collections.stores.conftest import Place

from fakes import FakeEmbedder
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.embedding import describe_collection
from sememe.collections.migrating import Migration, abandon_migration, pending_migration
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.errors import CollectionMismatch, InputError

OLD, NEW = FakeEmbedder("old", dimension=32), FakeEmbedder("new", dimension=24)
LEXICAL, DENSE = SearchOptions(mode="lexical"), SearchOptions(mode="dense")
WORDS = "amber birch cedar daisy ember frost grape hazel iris jade".split()


def _documents(n: int = 20) -> list[Document]:
    return [Document(f"d{i}", f"{WORDS[i % 10]} number{i} common", metadata={"n": i}) for i in range(n)]


def _made(place: Place, outputs: tuple[str, ...] = ("dense", "sparse")) -> Collection:
    about = describe_collection(OLD, CollectionOptions(outputs=outputs), "whole")  # type: ignore[arg-type]
    collection = Collection(place.create(about), about, OLD)
    collection.upsert(_documents())
    return collection


def _opened(place: Place, embedder: FakeEmbedder) -> Collection:
    store = place.open()
    return Collection(store, store.about, embedder)  # type: ignore[attr-defined]  # every store has it


def test_the_new_space_is_built_beside_the_old_and_switched_to(place: Place) -> None:
    collection = _made(place)
    before = [(d, collection.chunks_of(d.id)) for d in collection.documents()]
    migration = Migration("there", NEW, opened=collection)
    assert migration.run() == 20
    collection.upsert([Document("late", "latecomer"), Document("d3", "other words now", metadata={"n": 3})])
    collection.delete(ids=["d0"])
    collection.upsert([Document("d4", f"{WORDS[4]} number4 common", metadata={"n": 400})])
    pending = pending_migration(collection)
    assert pending is not None
    assert (pending.about.model, pending.about.dimension) == ("new", 24)
    assert pending.n_chunks == 20
    migration.run()
    asked = migration.compare(["number5", "amber common"], old=OLD)
    sampled = migration.compare(n_samples=5)
    assert [change.overlap for change in asked.changes] == sorted(change.overlap for change in asked.changes)
    assert {len(change.after) for change in asked.changes} == {10}
    assert all(change.query not in (*change.before, *change.after) for change in sampled.changes)
    assert len(sampled.changes) == 5
    assert collection.search("number5", 1, DENSE)[0].document.id == "d5"  # in use until the switch
    migration.switch()
    with pytest.raises(CollectionMismatch, match="Open it again"):
        collection.search("number5", 1, DENSE)
    with pytest.raises(CollectionMismatch, match="Open it again"):
        collection.upsert([Document("lost", "would be lost")])
    collection.close()
    with pytest.raises(CollectionMismatch, match="vectors of new"):
        _opened(place, OLD)
    moved = _opened(place, NEW)
    assert (moved.about.model, moved.about.dimension) == ("new", 24)
    assert pending_migration(moved) is None
    kept = [(d, moved.chunks_of(d.id)) for d in moved.documents() if d.id not in ("late", "d3", "d4")]
    assert kept == [one for one in before if one[0].id not in ("d0", "d3", "d4")]
    for question, expected in (("number7", "d7"), ("latecomer", "late"), ("other words now", "d3")):
        for mode in (DENSE, LEXICAL, SearchOptions(mode="sparse")):
            assert moved.search(question, 1, mode)[0].document.id == expected
    assert [hit.document.id for hit in moved.search("number4", 3, DENSE, where={"n": {">": 100}})] == ["d4"]
    assert moved.count().chunks == 20
    back = Migration("there", OLD, opened=moved)
    back.run()
    back.switch()
    moved.close()
    again = _opened(place, OLD)
    assert again.search("number7", 1, DENSE)[0].document.id == "d7"
    again.close()


def test_it_goes_on_and_can_be_abandoned(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sememe.collections.migrating._WINDOW_CHUNKS", 5)
    collection = _made(place, ("dense",))
    failing = FakeEmbedder("new", dimension=24, fail_after=12)
    with pytest.raises(RuntimeError):
        Migration("there", failing, opened=collection).run()
    collection.close()
    collection = _opened(place, OLD)
    with pytest.raises(CollectionMismatch, match="being migrated to new"):
        Migration("there", FakeEmbedder("third", dimension=24), opened=collection)
    assert Migration("there", NEW, opened=collection).run() == 10
    assert abandon_migration(collection)
    assert not abandon_migration(collection)
    assert collection.search("number4", 1, DENSE)[0].document.id == "d4"
    with pytest.raises(InputError, match="nothing to migrate"):
        Migration("there", OLD, opened=collection)
    assert Migration("there", NEW, opened=collection).run() == 20
    collection.close()


def test_lists_of_vectors_and_collections_without_dense_ones(place: Place) -> None:
    lists = SearchOptions(mode="multi_vector")
    collection = _made(place, ("sparse", "multi_vector"))
    migration = Migration("there", NEW, opened=collection)
    migration.run()
    assert collection.search("number7", 1, lists)[0].document.id == "d7"
    assert migration.compare().overlap is None
    collection.upsert([Document("d8", "something else entirely")])
    migration.switch()
    for embedder, following in ((NEW, OLD), (OLD, NEW)):  # back, and forth again
        collection.close()
        collection = _opened(place, embedder)
        assert collection.search("number7", 1, lists)[0].document.id == "d7"
        assert collection.search("something else entirely", 1, lists)[0].document.id == "d8"
        keys = [stored.key for stored in collection.store.chunks_of("d7")]
        found = collection.store.other_vectors(keys).multi_vector
        assert found is not None
        assert found[0].shape[1] == embedder.dimension
        migration = Migration("there", following, opened=collection)
        migration.run()
        migration.switch()
    collection.close()
