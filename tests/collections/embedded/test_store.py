"""The embedded store: exact against numpy, whatever the order of changes, with two processes, with damage, at its limits."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sememe.collections.about import About
from sememe.collections.documents import Document, Metadata, whole_document
from sememe.collections.embedded import accelerator, dense, derived, index, state, truth
from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.filters import matches, parse_filter
from sememe.collections.options import CollectionOptions
from sememe.collections.store import EmbeddedDocument
from sememe.errors import InputError, NotFound, Overloaded, SememeError
from sememe.lexical.bm25 import BM25

D = 16
_slow_files = settings(max_examples=12)


_PLAIN = CollectionOptions()
_NOTHING: Metadata = {}


def about(options: CollectionOptions = _PLAIN, dimension: int = D) -> About:
    return About(options, "model", "1", "space", dimension, "whole", "words1", "2026-01-01T00:00:00+00:00")


def embedded(
    id: str, vector: np.ndarray | None = None, text: str = "", metadata: Metadata = _NOTHING
) -> EmbeddedDocument:
    text = text or f"text of {id}"
    if vector is None:
        vector = np.random.default_rng(abs(hash(id)) % 2**32).normal(size=D)
    document = Document(id, text, metadata=metadata)
    rows = np.asarray(vector, np.float32)[None]
    return EmbeddedDocument(document, tuple(whole_document(document)), rows, words=(tuple(text.split()),))


def made(folder: Path, options: CollectionOptions = _PLAIN, dimension: int = D) -> EmbeddedStore:
    return EmbeddedStore.create(folder, about(options, dimension))


def ids(store: EmbeddedStore, scored: list) -> list[str]:
    return [stored.document.id for stored in store.chunks([one.key for one in scored])]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is written, numbered anew and accelerated at sizes that a test can afford."""
    monkeypatch.setattr(dense, "WORTH_FROM", 300)
    monkeypatch.setattr(dense, "_FEW", 40)
    monkeypatch.setattr(state, "LEAST_TAIL", 100)
    monkeypatch.setattr(index, "LEAST_TAIL", 100)
    monkeypatch.setattr(index, "_LEAST_DEAD", 50)


def clustered(n: int, dimension: int = 32) -> np.ndarray:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, dimension))
    return (centres[generator.integers(0, 20, n)] + 0.5 * generator.normal(size=(n, dimension))).astype(np.float32)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize(
    ("dtype", "dimension"), [("float32", 32), ("float32", 30), ("float16", 32), ("int8", 30), ("binary", 30)]
)
@pytest.mark.usefixtures("small")
def test_nearest_are_numpys_with_and_without_filters(
    tmp_path: Path, similarity: str, dtype: str, dimension: int
) -> None:
    if dtype == "binary" and similarity == "euclidean":
        pytest.skip("refused")
    vectors = clustered(800, dimension)
    store = made(tmp_path / "c", CollectionOptions(similarity=similarity, dtype=dtype), dimension)  # type: ignore[arg-type]
    for start in range(0, 800, 200):
        rows = range(start, start + 200)
        store.upsert([embedded(f"{i}", vectors[i], metadata={"part": i % 100, "half": i % 2 == 0}) for i in rows])
    assert store.codec is not None
    kept = store.codec.decode(store.codec.encode(store.codec.prepared(vectors, "")))
    if accelerator.faiss_library() is not None and dtype != "binary":
        assert store._index.current().dense.accelerator is not None
    recalls = []
    for where, chosen in ((None, slice(None)), ({"part": 7}, slice(7, None, 100)), ({"half": True}, slice(0, None, 2))):
        numbers = np.arange(800)[chosen]
        for query in vectors[::97] + 0.1:
            prepared = store.codec.prepared(query[None], "")[0]
            scores = store.codec.scores(prepared, kept[numbers])
            expected = numbers[np.argsort(-scores, kind="stable")[:10]]
            found = store.dense(query, 10, parse_filter(where) if where else None)
            recalls.append(len({int(id) for id in ids(store, found)} & set(expected.tolist())) / len(expected))
            if dtype != "binary":  # whose scores have few values, and many ties
                np.testing.assert_allclose([one.score for one in found][:1], [scores.max()], rtol=1e-5, atol=1e-5)
    assert np.mean(recalls) > (0.95 if dtype == "binary" else 0.995)


def test_of_equal_vectors_the_smaller_id_is_found_wherever_they_stand(tmp_path: Path) -> None:
    """A row's product depends on where it stands among the others, by a rounding: the last of three, the last of five."""
    vectors = np.random.default_rng(1).normal(size=(50, D)).astype(np.float32)
    for n in (3, 5):
        store = made(tmp_path / str(n))
        for vector in vectors:
            store.upsert([embedded(id, vector) for id in "edcba"[-n:]])
            for query in (vector, *vectors[:10]):
                assert ids(store, store.dense(query, 1)) == ["a"]
        store.close()


@pytest.mark.usefixtures("small")
def test_without_faiss_the_answers_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(800)
    store = made(tmp_path / "c", dimension=32)
    store.upsert([embedded(f"{i}", vectors[i]) for i in range(800)])
    with_faiss = [ids(store, store.dense(query, 5)) for query in vectors[:20]]
    monkeypatch.setattr("sememe.collections.embedded.accelerator.faiss_library", lambda: None)
    without = EmbeddedStore.open(tmp_path / "c")
    assert [ids(without, without.dense(query, 5)) for query in vectors[:20]] == with_faiss


def test_a_first_pass_that_cannot_be_sure_looks_deeper() -> None:
    """Of vectors without clusters many are nearly as near as the nearest: the first candidates miss some of them."""
    vectors = np.random.default_rng(0).normal(size=(12_000, 32)).astype(np.float32)
    codec = VectorCodec("float32", 32, "cosine")
    found = dense.DenseVectors(codec, None, None, first_pass=None)
    found.add(codec.encode(codec.prepared(vectors, "")))
    found.accelerate(np.ones(12_000, bool))
    assert found.accelerator is not None
    found.accelerator.depth = 40
    most = np.arange(12_000) % 10 > 0
    first, deeper = [], []
    for query in codec.prepared(np.random.default_rng(1).normal(size=(40, 32)), ""):
        best = found.nearest_exact(query, 10, most, 10_800).slots[:10]
        first.append(np.isin(best, found.accelerator.candidates(query, 40).slots).mean())
        deeper.append(np.isin(best, found.nearest(query, 10, most, 10_800).slots).mean())
    assert np.mean(first) < 0.7
    assert np.mean(deeper) > 0.85


def test_how_deep_the_first_pass_goes_is_seen_anew_when_the_collection_has_doubled() -> None:
    vectors = np.random.default_rng(0).normal(size=(22_000, 16)).astype(np.float32)
    codec = VectorCodec("float32", 16, "cosine")
    found = dense.DenseVectors(codec, None, None, first_pass=None)
    seen = []
    for start, end in ((0, 11_000), (11_000, 21_000), (21_000, 22_000)):
        found.add(codec.encode(codec.prepared(vectors[start:end], "")))
        found.accelerate(np.ones(end, bool))
        assert found.accelerator is not None
        seen.append(found.accelerator.checked_rows)
    assert seen == [11_000, 11_000, 22_000]


def test_rows_of_a_large_file_are_those_of_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (np.arange(500 * 8) % 251).astype(np.uint8).reshape(500, 8)
    derived.append_rows(tmp_path / "rows", 0, rows)
    wanted = np.array([3, 499, 3, 0, 77])
    small = derived.MappedRows(tmp_path / "rows", 500, 8).take(wanted)
    monkeypatch.setattr(derived, "_MOST_MAPPED_BYTES", 1_000)
    large = derived.MappedRows(tmp_path / "rows", 500, 8)
    large.scanned(500)
    np.testing.assert_array_equal(large.take(wanted), rows[wanted])
    np.testing.assert_array_equal(small, rows[wanted])
    np.testing.assert_array_equal(large.rows, rows)


# ── properties ───────────────────────────────────────────────────────────────────────────────────────────────────────

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
_values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
_keys = st.sampled_from(["a", "b", "k'); DROP TABLE fields; --", "ключ", "@id", "@title"])
_sized = _values.filter(lambda value: not isinstance(value, bool))
_tests = st.one_of(
    _values,
    st.fixed_dictionaries({}, optional={"=": _values, "!=": _values, "in": st.lists(_values, max_size=4), "<": _sized,
                                        ">=": _sized, "exists": st.booleans(), "prefix": st.text(max_size=2)}).filter(bool),
).filter(lambda test: "\ud800" not in repr(test))  # fmt: skip
_filters = st.recursive(
    st.dictionaries(_keys, _tests, max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=3)}),
    ),
    max_leaves=6,
)
_metadata = st.dictionaries(st.sampled_from(["a", "b", "k'); DROP TABLE fields; --", "ключ"]), _values, max_size=3)


@_slow_files
@given(st.dictionaries(_names, _metadata, min_size=1, max_size=8), st.lists(_filters, min_size=1, max_size=6))
def test_filters_are_what_their_python_evaluation_is(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, Metadata], filters: list[dict[str, object]]
) -> None:
    store = made(tmp_path_factory.mktemp("f") / "c")
    documents = [embedded(id, text="word", metadata=metadata) for id, metadata in found.items()]
    store.upsert(documents)
    for where in filters:
        try:
            tree = parse_filter(where)
        except InputError:
            continue
        expected = sorted(one.document.id for one in documents if matches(tree, one.document))
        assert [one.id for one in store.documents(tree)] == expected
        assert sorted(ids(store, store.dense(np.ones(D, np.float32), 50, tree))) == expected
        assert sorted(ids(store, store.lexical(["word"], 50, tree))) == expected
    store.close()


_changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.sampled_from("abcdef"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(""), st.just(0)),
        st.tuples(st.just("compact"), st.just(""), st.just(0)),
        st.tuples(st.just("search"), st.just(""), st.just(0)),
    ),
    max_size=12,
)
_VERSIONS = np.random.default_rng(1).normal(size=(4, D)).astype(np.float32)


@_slow_files
@given(_changes)
def test_what_was_stored_is_found_and_what_was_deleted_is_gone(
    tmp_path_factory: pytest.TempPathFactory, changes: list
) -> None:
    """Any history of changes leaves the store that putting what is left in at once would make: scores and ties too."""
    store = made(tmp_path_factory.mktemp("h") / "c")
    left: dict[str, EmbeddedDocument] = {}
    for what, id, version in changes:
        if what == "put":
            left[id] = embedded(id, _VERSIONS[version], f"version {version} {'extra ' * version}")
            store.upsert([left[id]])
        elif what == "delete":
            assert store.delete([id]) == int(left.pop(id, None) is not None)
        elif what == "compact":
            store.compact()
        elif what == "search":
            store.dense(_VERSIONS[0], 3)
        else:
            store.close()
            store = EmbeddedStore.open(store.folder)
    fresh = made(tmp_path_factory.mktemp("g") / "c")
    fresh.upsert([left[id] for id in sorted(left, reverse=True)])
    for other in (store, EmbeddedStore.open(store.folder)):
        assert [one.id for one in other.documents()] == sorted(left)
        for k in (1, 3, 20):
            for query in _VERSIONS:
                _same(other, fresh, other.dense(query, k), fresh.dense(query, k))
            _same(
                other, fresh, other.lexical(["version", "extra", "2"], k), fresh.lexical(["version", "extra", "2"], k)
            )


def _same(one: EmbeddedStore, other: EmbeddedStore, found: list, expected: list) -> None:
    assert ids(one, found) == ids(other, expected)
    assert [scored.score for scored in found] == [scored.score for scored in expected]


def test_bm25_is_the_baselines(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{j}" for j in generator.zipf(1.5, generator.integers(1, 40)) % 50) for _ in range(200)]
    store = made(tmp_path / "c")
    store.upsert([embedded(f"{i:03}", text=text) for i, text in enumerate(texts)])
    store.delete([f"{i:03}" for i in range(150, 200)])
    judge = BM25([text.split() for text in texts[:150]])
    for query in (["w1", "w7", "w7"], ["w2"], ["w49", "w1", "never"]):
        expected = judge.search(query, 20)
        found = store.lexical(query, 20)
        np.testing.assert_allclose([one.score for one in found], expected.scores, rtol=1e-5)
    assert store.lexical(["never"], 5) == []


# ── two processes ────────────────────────────────────────────────────────────────────────────────────────────────────


def _put_in_child(folder: Path, id: str) -> None:
    store = EmbeddedStore.open(folder)
    store.upsert([embedded(id)])
    store.close()


def _hold_in_child(folder: Path, ready: object, done: object) -> None:
    with EmbeddedStore.open(folder).truth.alone():
        ready.set()  # type: ignore[attr-defined]
        done.wait(60)  # type: ignore[attr-defined]


def test_an_open_reader_sees_what_another_process_stores(tmp_path: Path) -> None:
    reader = made(tmp_path / "c")
    reader.upsert([embedded("a")])
    vector = embedded("b").dense
    assert vector is not None
    assert ids(reader, reader.dense(vector[0], 1)) == ["a"]
    spawn = multiprocessing.get_context("spawn")
    child = spawn.Process(target=_put_in_child, args=(tmp_path / "c", "b"))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    with reader.reading():
        assert reader.count().documents == 2
        found = reader.dense(vector[0], 2)
        assert len(found) == 2


def test_a_reader_sees_one_state_and_never_half_an_update(tmp_path: Path) -> None:
    reader, writer = made(tmp_path / "c"), EmbeddedStore.open(tmp_path / "c")
    writer.upsert([embedded("a"), embedded("b")])
    with reader.reading():
        before = ids(reader, reader.dense(np.ones(D, np.float32), 10))
        writer.upsert([embedded("a", np.ones(D)), embedded("c", np.ones(D))])
        writer.delete(["b"])
        assert ids(reader, reader.dense(np.ones(D, np.float32), 10)) == before
        assert reader.count().documents == 2
    assert ids(reader, reader.dense(np.ones(D, np.float32), 10)) == ["a", "c"]


@pytest.mark.usefixtures("small")
def test_a_reader_follows_an_index_that_was_written_and_numbered_anew(tmp_path: Path) -> None:
    reader, writer = made(tmp_path / "c", dimension=32), EmbeddedStore.open(tmp_path / "c")
    vectors = clustered(900)
    for start in range(0, 900, 150):
        writer.upsert([embedded(f"{i}", vectors[i]) for i in range(start, start + 150)])
        assert ids(reader, reader.dense(vectors[start], 1)) == [f"{start}"]
        newcomer = EmbeddedStore.open(tmp_path / "c")
        assert ids(newcomer, newcomer.dense(vectors[start + 1], 1)) == [f"{start + 1}"]
    epoch = reader.truth.stamp.epoch
    writer.delete([f"{i}" for i in range(600)])
    assert ids(reader, reader.dense(vectors[0], 300))[0] not in map(str, range(600))
    assert reader.truth.stamp.epoch != epoch
    assert reader.count().chunks == 300


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    store = EmbeddedStore.create(tmp_path / "c", about(), wait_seconds=0.2)
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    child = spawn.Process(target=_hold_in_child, args=(tmp_path / "c", ready, done))
    child.start()
    try:
        assert ready.wait(60)
        with pytest.raises(Overloaded, match=f"process {child.pid}"):
            store.upsert([embedded("a")])
        assert store.count().documents == 0
    finally:
        done.set()
        child.join(60)
    store.upsert([embedded("a")])
    assert store.count().documents == 1


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.full(D, np.nan), "NaN"),
        (np.full(D, np.inf), "NaN or infinite"),
        (np.zeros(D), "zero"),
        (np.ones(D + 1), "16 values"),
    ],
)
def test_vectors_that_do_not_fit_change_nothing(tmp_path: Path, vector: np.ndarray, words: str) -> None:
    store = made(tmp_path / "c")
    store.upsert([embedded("a")])
    with pytest.raises(InputError, match=f"'wrong'.*{words}"):
        store.upsert([embedded("b"), embedded("wrong", vector)])
    with pytest.raises(InputError, match="query"):
        store.dense(vector.astype(np.float32), 1)
    assert [one.id for one in store.documents()] == ["a"]
    store.upsert([embedded("b")])


def test_an_id_that_comes_twice_changes_nothing(tmp_path: Path) -> None:
    store = made(tmp_path / "c")
    with pytest.raises(InputError, match="'a' comes twice"):
        store.upsert([embedded("a"), embedded("a")])
    assert store.count().documents == 0


def test_ten_megabytes_of_metadata_come_back(tmp_path: Path) -> None:
    store = made(tmp_path / "c")
    long = "ü" * 5_000_000
    store.upsert([embedded("a", metadata={"long": long, "n": 1}), embedded("b", metadata={"long": long[1:]})])
    assert store.document("a").metadata["long"] == long
    assert [one.id for one in store.documents(parse_filter({"long": long}))] == ["a"]


@pytest.mark.parametrize(
    "hostile", ["' OR 1=1 --", "%", "_", '"; DROP TABLE documents; --', "\x00", "*", "?1", "a' UNION SELECT"]
)
def test_hostile_strings_are_only_strings(tmp_path: Path, hostile: str) -> None:
    store = made(tmp_path / "c")
    store.upsert([embedded(hostile, metadata={hostile: hostile}), embedded("other", metadata={"x": "x"})])
    for where in ({hostile: hostile}, {"@id": hostile}, {hostile: {"prefix": hostile}}, {hostile: {"in": [hostile]}}):
        assert [one.id for one in store.documents(parse_filter(where))] == [hostile]
    assert store.delete([hostile]) == 1
    assert store.count().documents == 1


def test_a_filter_of_thousands_of_parts_is_answered_or_refused(tmp_path: Path) -> None:
    store = made(tmp_path / "c")
    store.upsert([embedded("a", metadata={"n": 7})])
    many = parse_filter({"or": [{"n": i} for i in range(1_500)]})
    assert [one.id for one in store.documents(many)] == ["a"]
    too_many = parse_filter({"or": [{"n": {"in": list(range(10_000))}} for _ in range(30)]})
    with pytest.raises(InputError, match="too large"):
        list(store.documents(too_many))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("file", ["index.bin", "vectors"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "emptied"])
def test_a_damaged_index_is_made_again(
    tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = clustered(800)
    with_index = made(tmp_path / "c", dimension=32)
    with_index.upsert([embedded(f"{i}", vectors[i]) for i in range(800)])
    expected = [ids(with_index, with_index.dense(query, 5)) for query in vectors[:50]]
    with_index.close()
    [path] = (tmp_path / "c" / "derived").glob(f"{file}*")
    whole = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        for place in range(0, len(whole), 37):
            whole[place] ^= 0x55
        path.write_bytes(whole)
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    store = EmbeddedStore.open(tmp_path / "c")
    assert [ids(store, store.dense(query, 5)) for query in vectors[:50]] == expected
    if damage != "missing":
        assert "made again from the stored documents" in caplog.text or "read from the store again" in caplog.text
    store.compact()
    again = EmbeddedStore.open(tmp_path / "c")
    assert [ids(again, again.dense(query, 5)) for query in vectors[:50]] == expected


def test_a_damaged_store_says_so(tmp_path: Path) -> None:
    store = made(tmp_path / "c")
    store.upsert([embedded(f"{i}") for i in range(300)])
    store.compact()
    store.close()
    path = tmp_path / "c" / truth.TRUTH
    whole = bytearray(path.read_bytes())
    for place in range(len(whole) // 4, len(whole), 11):
        whole[place] ^= 0x77
    path.write_bytes(whole)
    opened = EmbeddedStore.open(tmp_path / "c")
    with pytest.raises(SememeError, match=r"damaged.*restore a snapshot"):
        opened.dense(np.ones(D, np.float32), 5)
    path.write_bytes(b"this is no database, it is a text" * 1000)
    with pytest.raises(SememeError, match="damaged"):
        EmbeddedStore.open(tmp_path / "c")


def test_a_collection_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "c").close()
    connection = sqlite3.connect(tmp_path / "c" / truth.TRUTH)
    newer = json.loads(about().to_json()) | {"format": 99, "something": "new"}
    connection.execute("UPDATE about SET value = ? WHERE key = 'about'", (json.dumps(newer),))
    connection.commit()
    connection.close()
    with pytest.raises(SememeError, match="newer sememe"):
        EmbeddedStore.open(tmp_path / "c")


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = made(tmp_path / "c")
    store.upsert([embedded("a")])
    with store.truth.alone() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(SememeError, match="disk is full"):
        store.upsert([embedded(f"{i}", text="long " * 10_000) for i in range(50)])
    assert [one.id for one in store.documents()] == ["a"]
    store.upsert([embedded("b")])
    assert store.count().documents == 2


_FILL_A_SMALL_DISK = """
import sys
from pathlib import Path
from sememe.errors import SememeError
from tests.collections.embedded.test_store import embedded, ids, made
store = made(Path(sys.argv[1]) / "c")
n_stored = 0
try:
    while n_stored < 1000:
        store.upsert([embedded(f"{n_stored + i}", text="long " * 2_000) for i in range(10)])
        n_stored += 10
except SememeError as exc:
    print(exc)
print(n_stored, [one.id for one in store.documents()] == sorted(map(str, range(n_stored))), store.count().documents)
print(ids(store, store.dense(embedded("7").dense[0], 1)))
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    """A file system of 4 MB in a child's own name space."""
    inside = f'mount -t tmpfs -o size=4m none {tmp_path} && PYTHONHASHSEED=0 exec {sys.executable} -c "$0" {tmp_path}'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*command, "mount -t tmpfs none /mnt"]).returncode:
        pytest.skip("needs a user who may mount a file system of its own")
    path = os.pathsep.join([str(Path(__file__).parents[3] / "src"), str(Path(__file__).parents[3])])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([*command, inside, _FILL_A_SMALL_DISK], env=environment, capture_output=True, text=True)
    message, counts, found = done.stdout.splitlines()
    assert "disk is full" in message
    n_stored, is_whole, n_counted = counts.split()
    assert (int(n_stored) > 0, is_whole, n_counted) == (True, "True", n_stored)
    assert found == "['7']"


@pytest.mark.usefixtures("small")
def test_an_index_that_cannot_be_written_costs_only_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "write_arrays", no_room)
    store = made(tmp_path / "c")
    store.upsert([embedded(f"{i}") for i in range(300)])
    assert "could not be written" in caplog.text
    vector = embedded("7").dense
    assert vector is not None
    assert ids(store, store.dense(vector[0], 1)) == ["7"]


def test_an_older_file_in_the_stores_place_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LEAST_TAIL", 10)
    monkeypatch.setattr(index, "LEAST_TAIL", 10)
    store = made(tmp_path / "c")
    store.upsert([embedded(f"{i}") for i in range(20)])
    store.compact()
    store.close()
    older = (tmp_path / "c" / truth.TRUTH).read_bytes()
    store = EmbeddedStore.open(tmp_path / "c")
    for i in range(20, 40):
        store.upsert([embedded(f"{i}")])
    store.close()
    (tmp_path / "c" / truth.TRUTH).write_bytes(older)
    store = EmbeddedStore.open(tmp_path / "c")
    assert len(store.dense(np.ones(D, np.float32), 100)) == 20


def test_a_snapshot_is_a_store_of_its_own(tmp_path: Path) -> None:
    store = made(tmp_path / "c")
    store.upsert([embedded("a")])
    store.snapshot(tmp_path / "s")
    store.upsert([embedded("b")])
    copy = EmbeddedStore.open(tmp_path / "s")
    assert [one.id for one in copy.documents()] == ["a"]
    copy.upsert([embedded("c")])
    assert [one.id for one in store.documents()] == ["a", "b"]
    with pytest.raises(InputError, match="already"):
        store.snapshot(tmp_path / "s")
    with pytest.raises(NotFound):
        EmbeddedStore.open(tmp_path / "nowhere")
