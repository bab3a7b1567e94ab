"""Every output format gives back what the embedder gave, with the columns that went along and what the vectors are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import N_COLUMNS, FakeEmbedder
from sememe.errors import InputError
from sememe.records import OUTPUT_DTYPES, Embeddings, EmbedOptions, Output, OutputDtype
from sememe.tables.job import PreparedJob
from sememe.tables.options import EmbedJob, Keep, ReadOptions
from sememe.tables.running import run_job

EVERYTHING: tuple[Output, ...] = ("dense", "sparse", "multi_vector")
TEXTS = ["", "one", "two words", "a " * 40, "日本 語", "\u2028 \x0b"]
SPACE = {
    "model": "fake",
    "revision": "fake-1",
    "dtype": "float32",
    "dimension": 8,
    "outputs": list(EVERYTHING),
    "n_columns": N_COLUMNS,
}


def embed(
    source: Path,
    out: Path,
    *,
    outputs: tuple[Output, ...] = EVERYTHING,
    keep: Keep = "all",
    column: str = "embedding",
) -> None:
    job = EmbedJob((str(source),), out, EmbedOptions(outputs=outputs), ReadOptions(keep=keep), column)
    run_job(PreparedJob(job), FakeEmbedder(), lambda progress: None)


def expected(texts: list[str], outputs: tuple[Output, ...] = EVERYTHING, dtype: OutputDtype = "float32") -> Embeddings:
    return FakeEmbedder().embed(texts, EmbedOptions(outputs=outputs, dtype=dtype))


def table_of(path: Path) -> pa.Table:
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    return pq.ParquetFile(path).read(use_threads=False)  # threads of pyarrow 26 may abort the process at its end


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.parquet"
    table = pa.table({"key": pa.array(range(len(TEXTS)), pa.int32()), "text": TEXTS, "tags": [["a"], [], None] * 2})
    pq.write_table(table, path)
    return path


def assert_is(table: pa.Table, answer: Embeddings) -> None:
    """The table's columns of embeddings hold this answer."""
    rows = table.to_pydict()
    assert answer.dense is not None
    assert answer.sparse is not None
    assert answer.multi_vector is not None
    np.testing.assert_array_equal(np.array(rows["embedding"], np.float32), answer.dense)
    assert rows["embedding_n_tokens"] == answer.n_tokens.tolist()
    assert rows["embedding_n_dropped"] == answer.n_dropped.tolist()
    for row, sparse in enumerate(rows["embedding_sparse"]):
        part = slice(*answer.sparse.indptr[row : row + 2])
        assert sparse == {
            "indices": answer.sparse.indices[part].tolist(),
            "values": answer.sparse.values[part].tolist(),
        }
    for row, vectors in enumerate(rows["embedding_multi_vector"]):
        part = slice(*answer.multi_vector.offsets[row : row + 2])
        np.testing.assert_array_equal(np.array(vectors, np.float32), answer.multi_vector.vectors[part])


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow"])
def test_tables_keep_their_columns_and_gain_the_vectors(source: Path, tmp_path: Path, name: str) -> None:
    embed(source, tmp_path / name)
    table = table_of(tmp_path / name)
    assert (
        table.select(["key", "text", "tags"])
        .cast(pq.read_schema(source))
        .equals(pq.ParquetFile(source).read(use_threads=False))
    )
    assert table.schema.field("embedding").type.list_size == 8
    assert table.schema.field("embedding").type.value_type == pa.float32()
    assert_is(table, expected(TEXTS))
    fingerprint = FakeEmbedder().fingerprint(EmbedOptions(outputs=EVERYTHING))
    assert json.loads(table.schema.metadata[b"sememe.embedding"]) == {**SPACE, "fingerprint": fingerprint}


def test_json_lines_are_the_rows_with_the_vectors_to_the_last_bit(source: Path, tmp_path: Path) -> None:
    embed(source, tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().split("\n")[:-1]]
    table = pa.Table.from_pylist(rows)
    assert table.column("text").to_pylist() == TEXTS
    assert table.column("tags").to_pylist() == [["a"], [], None] * 2
    assert_is(table, expected(TEXTS))
    beside = json.loads((tmp_path / "out.jsonl.json").read_text())
    assert beside["file"] == "out.jsonl"
    assert beside["n_rows"] == len(TEXTS)
    assert SPACE.items() <= beside.items()


def test_npz_has_everything_and_scipy_reads_its_sparse_vectors(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("\n".join(json.dumps({"_id": f"d{n}é", "text": text}) for n, text in enumerate(TEXTS)))
    embed(source, tmp_path / "out.npz")
    answer = expected(TEXTS)
    assert answer.sparse is not None
    assert answer.multi_vector is not None
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["embeddings"], answer.dense)
        np.testing.assert_array_equal(found["multi_vectors"], answer.multi_vector.vectors)
        np.testing.assert_array_equal(found["multi_offsets"], answer.multi_vector.offsets)
        np.testing.assert_array_equal(found["n_tokens"], answer.n_tokens)
        assert found["ids"].tolist() == [f"d{n}é" for n in range(len(TEXTS))]
        assert {name: found[name].tolist() for name in SPACE} == SPACE
    sparse = scipy.sparse.load_npz(tmp_path / "out.npz")
    assert sparse.shape == (len(TEXTS), N_COLUMNS)
    np.testing.assert_array_equal(sparse.indices, answer.sparse.indices)
    np.testing.assert_array_equal(sparse.data, answer.sparse.values)


@pytest.mark.parametrize("dtype", OUTPUT_DTYPES)
@pytest.mark.parametrize("name", ["out.npy", "out.npz", "out.parquet", "out.arrow", "out.jsonl"])
def test_every_type_of_values_in_every_format(source: Path, tmp_path: Path, name: str, dtype: OutputDtype) -> None:
    out = tmp_path / name
    run_job(PreparedJob(EmbedJob((str(source),), out, EmbedOptions(dtype=dtype))), FakeEmbedder(), lambda p: None)
    dense = expected(TEXTS, ("dense",), dtype).dense
    assert dense is not None
    if name == "out.jsonl":
        found = np.array([json.loads(line)["embedding"] for line in out.read_text().split("\n")[:-1]], dense.dtype)
    elif name.startswith("out.np"):
        loaded = np.load(out)
        found = loaded if name == "out.npy" else loaded["embeddings"]
    else:
        column = table_of(out).column("embedding").combine_chunks()
        found = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    assert found.dtype == dense.dtype
    np.testing.assert_array_equal(found, dense)


@settings(max_examples=25)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=150),
    name=st.sampled_from(["out.parquet", "out.arrow", "out.jsonl"]),
)
def test_any_text_goes_along_unchanged(texts: list[str], name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("round")
    source = folder / "in.jsonl"
    source.write_text("\n".join(json.dumps({"text": text, "n": n}) for n, text in enumerate(texts)))
    embed(source, folder / name)
    if name == "out.jsonl":
        rows = [json.loads(line) for line in (folder / name).read_text().split("\n")[:-1]]
        assert [(row["text"], row["n"]) for row in rows] == [(text, n) for n, text in enumerate(texts)]
        return
    table = table_of(folder / name)
    assert table.num_rows == len(texts)
    if texts:
        assert table.select(["text", "n"]).to_pydict() == {"text": texts, "n": list(range(len(texts)))}
        assert_is(table, expected(texts))


@pytest.mark.parametrize("name", ["out.npy", "out.npz", "out.parquet", "out.arrow", "out.jsonl"])
@pytest.mark.parametrize("source_name", ["in.txt", "in.jsonl", "in.csv", "in.parquet"])
def test_no_rows_give_a_valid_empty_file_of_the_right_width(tmp_path: Path, name: str, source_name: str) -> None:
    source, out = tmp_path / source_name, tmp_path / name
    source.write_text("id,text\n" if source_name == "in.csv" else "")
    if source_name == "in.parquet":
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), source)
    embed(source, out, outputs=("dense",) if name == "out.npy" else EVERYTHING)
    match out.suffix:
        case ".npy":
            assert np.load(out).shape == (0, 8)
        case ".npz":
            assert np.load(out)["embeddings"].shape == (0, 8)
            assert np.load(out)["multi_vectors"].shape == (0, 8)
            assert scipy.sparse.load_npz(out).shape == (0, N_COLUMNS)
        case ".jsonl":
            assert out.read_bytes() == b""
        case _:
            table = table_of(out)
            assert table.num_rows == 0
            assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32()), 8)


def test_json_fields_become_columns_of_the_type_that_fits_all_rows(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    records: list[dict[str, object]] = [
        {
            "text": "a",
            "int": 1,
            "float": 1,
            "mixed": 1,
            "long": 2**60,
            "nested": {"x": [1]},
            "flag": True,
            "none": None,
        },
        {"text": "b", "int": -5, "float": 2.5, "mixed": "two", "long": 1, "later": "here", "flag": None, "none": None},
        {"text": "c", "huge": 10**30, "off": 2**60, "int": None},
        {"text": "d", "huge": 1, "off": 0.5},
    ]
    source.write_text("\n".join(map(json.dumps, records)))
    embed(source, tmp_path / "out.parquet", outputs=("dense",))
    table = table_of(tmp_path / "out.parquet")
    kinds = {field.name: str(field.type) for field in table.schema if not field.name.startswith("embedding")}
    assert kinds == {
        "text": "string", "int": "int64", "float": "double", "mixed": "string", "long": "int64", "nested": "string",
        "flag": "bool", "later": "string", "none": "string", "huge": "string", "off": "string",
    }  # fmt: skip
    rows = table.to_pydict()
    assert rows["float"] == [1.0, 2.5, None, None]
    assert rows["mixed"] == ["1", '"two"', None, None]
    assert rows["nested"] == ['{"x": [1]}', None, None, None]
    assert rows["huge"] == [None, None, str(10**30), "1"]
    assert rows["off"] == [None, None, str(2**60), "0.5"]
    assert table.schema.field("mixed").metadata == {b"sememe": b"JSON text"}
    assert table.schema.field("text").metadata is None


def test_json_lines_keep_the_record_as_it_was_written(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text":"a","n":1.50,"é":"\\u00e9"}  \n{"text": "b"}\n')
    embed(source, tmp_path / "out.jsonl", outputs=("dense",))
    first = (tmp_path / "out.jsonl").read_text().split("\n")[0]
    assert first.startswith(
        '{"text":"a","n":1.50,"é":"\\u00e9", "embedding_n_tokens": 3, "embedding_n_dropped": 0, "emb'
    )


def test_columns_that_json_has_no_values_for(tmp_path: Path) -> None:
    moment = pa.array([1_600_000_000_123_456_789, None], pa.timestamp("ns"))
    table = {"text": ["a", "b"], "at": moment, "x": [float("nan"), 0.5], "deep": [{"y": [float("inf")]}, None]}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    embed(tmp_path / "in.parquet", tmp_path / "out.jsonl", outputs=("dense",))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["at"], row["x"], row["deep"]) for row in rows] == [
        ("2020-09-13 12:26:40.123456789", None, {"y": [None]}),
        (None, 0.5, None),
    ]
    pq.write_table(pa.table({"text": ["a"], "image": [{"bytes": b"\xff"}]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"Column 'image' holds .*, which JSON cannot. Write .parquet"):
        embed(tmp_path / "in.parquet", tmp_path / "out2.jsonl")
    embed(tmp_path / "in.parquet", tmp_path / "out2.jsonl", keep="none")


def test_vectors_of_a_second_model_stand_beside_the_first(source: Path, tmp_path: Path) -> None:
    embed(source, tmp_path / "one.parquet", outputs=("dense",))
    with pytest.raises(InputError, match=r"already has 'embedding', .*--embedding-column"):
        embed(tmp_path / "one.parquet", tmp_path / "two.parquet", outputs=("dense",))
    embed(tmp_path / "one.parquet", tmp_path / "two.parquet", outputs=("dense",), column="second")
    schema = pq.read_schema(tmp_path / "two.parquet")
    assert {"embedding", "second", "second_n_tokens"} <= set(schema.names)
    assert {b"sememe.embedding", b"sememe.second"} <= set(schema.metadata)


def test_row_groups_are_large_though_windows_are_small(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("x\n" * 70_000)
    embed(tmp_path / "in.txt", tmp_path / "out.parquet", outputs=("dense",))
    file = pq.read_metadata(tmp_path / "out.parquet")
    assert file.num_row_groups == 2
    assert file.row_group(0).num_rows >= 65_536
