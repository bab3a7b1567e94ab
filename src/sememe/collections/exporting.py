"""A collection as one Parquet file, and back: vectors, texts and metadata, from which any index can be built.

One row a chunk, a document's chunks one after the other; the document's own columns stand in its first row. A document
without chunks has one row whose position is null. The file's metadata carries what the collection says of itself, the
fingerprint of its vector space among it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sememe.collections.about import About
from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.opening import exists
from sememe.collections.store import EmbeddedDocument
from sememe.collections.stores.places import create_store, is_address, shown
from sememe.errors import InputError, Overloaded
from sememe.records import MultiVectorEmbeddings, SparseEmbeddings, TextEmbedder

_ABOUT = b"sememe.collection"
_FINGERPRINT = b"sememe.fingerprint"
_ROWS_A_GROUP = 2_048


def export_parquet(collection: Collection, path: Path) -> int:
    """Write all of one state of the collection; gives how many chunks. The file is there when it is whole.

    Raises Overloaded where a store that has no snapshots was written meanwhile.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = collection.about
    schema = _schema(about)
    temporary = path.with_name(f"{path.name}.part")
    n_chunks = 0
    try:
        with collection.store.reading(), pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            before = collection.count()
            for rows in _groups(collection):
                n_chunks += sum(row.get("position") is not None for row in rows)
                writer.write_table(pa.Table.from_pylist(rows, schema))
            if collection.count() != before:
                raise Overloaded(
                    "The collection was written while it was read, and its store has no snapshots: nothing was exported. "
                    "Export it while nobody writes.",
                    retry_after_seconds=1.0,
                )
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    return n_chunks


def _groups(collection: Collection) -> Iterator[list[dict[str, object]]]:
    rows: list[dict[str, object]] = []
    for document in collection.documents():
        rows += _rows_of(collection, document.id)
        if len(rows) >= _ROWS_A_GROUP:
            yield rows
            rows = []
    if rows:
        yield rows


def import_parquet(
    path: Path, place: Path | str, embedder: TextEmbedder | None = None, *, called: str | None = None
) -> Collection:
    """A new collection from an exported file, in a folder or at an address, with the vectors as they are.

    called: what messages call the file, None is its path. An import that was ended goes on where it was. Raises InputError
    for a file that is none of ours and where another collection is already, CollectionMismatch for an embedder of another
    space.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    called = str(path) if called is None else called
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as exc:
        raise InputError(f"{called} is no Parquet file ({exc}).") from exc
    said = (file.schema_arrow.metadata or {}).get(_ABOUT)
    if said is None:
        raise InputError(f"{called} was not exported from a collection. Index its texts instead, or embed the file.")
    about = About.from_json(said.decode(), called)
    collection = _begun(place, about, file, embedder)
    try:
        some: list[EmbeddedDocument] = []
        n_chunks = 0
        for document in _documents(_file_rows(file), about):
            some.append(document)
            n_chunks += max(1, len(document.chunks))
            if n_chunks >= _ROWS_A_GROUP:
                _put_missing(collection, some)
                some, n_chunks = [], 0
        _put_missing(collection, some)
    except BaseException:
        collection.close()
        raise
    return collection


def _begun(place: Path | str, about: About, file: Any, embedder: TextEmbedder | None) -> Collection:
    """The collection that an import fills: a new one, or the one that the same import began."""
    if not exists(place):
        if is_address(str(place)):
            return Collection(create_store(str(place), about), about, embedder)
        return Collection(EmbeddedStore.create(Path(place), about), about, embedder)
    collection = Collection.open(place, embedder)
    ids = set(file.read(["id"]).column("id").to_pylist())
    if collection.about != about or any(stored.id not in ids for stored in collection.documents()):
        collection.close()
        raise InputError(f"{shown(place)} holds another collection already. Delete it first, or choose another name.")
    return collection


def _put_missing(collection: Collection, documents: list[EmbeddedDocument]) -> None:
    """Store those that are not stored yet. Raises InputError where one has changed since an import began."""
    stored = {one.id: one.content_hash for one in collection.stored([one.document.id for one in documents])}
    new = [one for one in documents if one.document.id not in stored]
    for one in documents:
        if stored.get(one.document.id, one.document.content_hash) != one.document.content_hash:
            raise InputError(
                f"The collection has another text of document {one.document.id!r} than the file. Delete the collection "
                "first, or choose another name."
            )
    if new:
        collection.upsert_embedded(new, fingerprint=collection.about.fingerprint)


def _schema(about: About) -> Any:
    import pyarrow as pa

    strings = ("id", "title", "source", "metadata", "document_text")
    fields = [pa.field(name, pa.large_string() if name == "document_text" else pa.string()) for name in strings]
    fields += [pa.field(name, pa.int64()) for name in ("position", "start", "end")]
    fields += [pa.field("unit", pa.string()), pa.field("first", pa.int64()), pa.field("last", pa.int64())]
    fields += [pa.field("heading", pa.string()), pa.field("text", pa.large_string())]
    if "dense" in about.options.outputs:
        fields.append(pa.field("vector", pa.list_(pa.float32(), about.dimension)))
    if "sparse" in about.options.outputs:
        fields.append(pa.field("sparse_indices", pa.list_(pa.int32())))
        fields.append(pa.field("sparse_values", pa.list_(pa.float32())))
    if "multi_vector" in about.options.outputs:
        fields.append(pa.field("multi_vector", pa.list_(pa.list_(pa.float32()))))
    return pa.schema(fields, {_ABOUT: about.to_json().encode(), _FINGERPRINT: about.fingerprint.encode()})


def _rows_of(collection: Collection, document_id: str) -> list[dict[str, object]]:
    document = collection.get(document_id)
    first = {
        "title": document.title,
        "source": document.source,
        "metadata": json.dumps(dict(document.metadata), ensure_ascii=False),
        "document_text": document.text,
    }
    stored = collection.store.chunks_of(document_id)
    keys = [one.key for one in stored]
    kept = collection.about.options.outputs
    dense = collection.store.vectors(keys) if "dense" in kept and keys else None
    others = collection.store.other_vectors(keys) if {"sparse", "multi_vector"} & set(kept) and keys else None
    rows: list[dict[str, object]] = []
    for i, one in enumerate(stored):
        chunk = one.chunk
        row: dict[str, object] = {"id": document_id, "position": chunk.position, "start": chunk.start, "end": chunk.end}
        row |= {"heading": chunk.heading, "text": chunk.text}
        if chunk.place:
            row |= {"unit": chunk.place.unit, "first": chunk.place.first, "last": chunk.place.last}
        if dense is not None:
            row["vector"] = dense[i]
        if others is not None and others.sparse is not None:
            span = slice(others.sparse.indptr[i], others.sparse.indptr[i + 1])
            row |= {"sparse_indices": others.sparse.indices[span], "sparse_values": others.sparse.values[span]}
        if others is not None and others.multi_vector is not None:
            row["multi_vector"] = others.multi_vector[i].tolist()
        rows.append(row)
    rows = rows or [{"id": document_id}]
    rows[0] |= first
    return rows


def _file_rows(file: Any) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_ROWS_A_GROUP):
        yield from batch.to_pylist()


def _documents(rows: Iterator[dict[str, Any]], about: About) -> Iterator[EmbeddedDocument]:
    some: list[dict[str, Any]] = []
    for row in rows:
        if some and row["id"] != some[0]["id"]:
            yield _document(some, about)
            some = []
        some.append(row)
    if some:
        yield _document(some, about)


def _document(rows: list[dict[str, Any]], about: About) -> EmbeddedDocument:
    try:
        return _read_document(rows, about)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:  # columns or values that an export does not write
        raise InputError(
            f"The rows of document {rows[0].get('id')!r} are not as an export writes them: {exc}."
        ) from exc


def _read_document(rows: list[dict[str, Any]], about: About) -> EmbeddedDocument:
    first = rows[0]
    if first["document_text"] is None:
        raise InputError(f"The rows of document {first['id']!r} do not stand together: the file was reordered.")
    metadata = json.loads(first["metadata"])
    document = Document(first["id"], first["document_text"], first["title"], first["source"], metadata)
    rows = [row for row in rows if row["position"] is not None]
    chunks = tuple(_chunk(row) for row in rows)
    kept = about.options.outputs
    dense = (
        np.array([row["vector"] for row in rows], np.float32).reshape(-1, about.dimension) if "dense" in kept else None
    )
    return EmbeddedDocument(
        document,
        chunks,
        dense,
        _sparse(rows) if "sparse" in kept else None,
        _lists(rows) if "multi_vector" in kept else None,
    )


def _chunk(row: dict[str, Any]) -> Chunk:
    place = Place(row["unit"], row["first"], row["last"]) if row["unit"] else None
    return Chunk(row["id"], row["position"], row["text"], row["start"], row["end"], place, row["heading"])


def _sparse(rows: list[dict[str, Any]]) -> SparseEmbeddings:
    counts = [len(row["sparse_indices"]) for row in rows]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = np.array([index for row in rows for index in row["sparse_indices"]], np.int32)
    values = np.array([value for row in rows for value in row["sparse_values"]], np.float32)
    return SparseEmbeddings(indptr, indices, values, int(indices.max(initial=-1)) + 1)


def _lists(rows: list[dict[str, Any]]) -> MultiVectorEmbeddings:
    arrays = [np.array(row["multi_vector"], np.float32) for row in rows]
    width = next((array.shape[1] for array in arrays if array.size), 0)
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int64)
    vectors = [array.reshape(-1, width) for array in arrays]
    return MultiVectorEmbeddings(np.concatenate([np.empty((0, width), np.float32), *vectors]), offsets)
