"""A collection on a store of rows (`rows.Rows`), as vector databases are: Milvus, Qdrant.

What it promises less than the protocol: a change of several documents is made one document after another, and a reader may
see one of them half changed; there are no snapshots and no lock between writers of the same document; BM25 is the database's
own; explanations have no parts by word. A change that was cut short is complete when it is made again: keys are made
from ids, chunks are written before the document that counts them, and deleted before it.

A document is a `head` (all but its text) and a `text`, each cut into records that the database takes.
"""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.embedded.codec import VectorCodec, codec_of
from sememe.collections.embedded.writing import check_upsert
from sememe.collections.filters import Filter, matches
from sememe.collections.other_vectors import OtherVectors, pack_list, sparse_of, unpack_list, unpack_lists
from sememe.collections.store import Counts, EmbeddedDocument, Scored, StoredChunk, StoredDocument
from sememe.collections.stores.numbers import ALWAYS, All, Condition, Test, condition, number_of, numbers_of
from sememe.collections.stores.rows import RECORD_BYTES, Found, Row, Rows, VectorRow
from sememe.errors import InputError, NotFound
from sememe.records import SparseEmbeddings
from sememe.similarity import maxsim

Blob = Literal["head", "text", "chunk", "lists", "state"]

# Names beside those of fields, which begin with k.
_OWNER, _KIND, _POSITION, _FIRST = "owner", "kind", "position", "first"
_KINDS: dict[Blob, int] = {"head": 0, "text": 1, "chunk": 2, "lists": 3, "state": 4}
_MOST_ASKED = 16_000  # what Milvus gives at once
_AT_ONCE = 200
_PIECE_CHARACTERS = RECORD_BYTES - 200


class RowStore:
    """A `VectorStore` over rows."""

    def __init__(self, rows: Rows, about: About, place: str) -> None:
        """place: how messages call it."""
        self.about, self._rows, self._place = about, rows, place
        self._codec = codec_of(about)
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One thread at a time; no snapshot."""
        with self._lock:
            yield

    def close(self) -> None:
        self._rows.close()

    # ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def dense(self, query: NDArray[np.float32], k: int, where: Filter | None = None) -> list[Scored]:
        prepared = self._need_codec().prepared(np.atleast_2d(query), "query")[0]
        return self._filtered(lambda n, rough: self._rows.dense(prepared, n, rough), k, where)

    def sparse(self, query: SparseEmbeddings, k: int, where: Filter | None = None) -> list[Scored]:
        weights = query.weights(0)
        return self._filtered(lambda n, rough: self._rows.sparse(weights, n, rough), k, where)

    def lexical(self, words: Sequence[str], k: int, where: Filter | None = None) -> list[Scored]:
        if not words:
            return []
        return self._filtered(lambda n, rough: self._rows.lexical(words, n, rough), k, where)

    def _filtered(self, ask: Callable[[int, Condition], list[Found]], k: int, where: Filter | None) -> list[Scored]:
        """The k best that the filter lets through: more are asked for until there are enough, or no more."""
        if where is None:
            return [Scored(one.key, one.score) for one in ask(min(k, _MOST_ASKED), ALWAYS)]
        rough, n = condition(where), min(k, _MOST_ASKED)
        with self._lock:
            while True:
                found = ask(n, rough)
                kept = self._let_through([one.key for one in found], where)
                passed = [Scored(one.key, one.score) for one in found if one.key in kept]
                if len(passed) >= k or len(found) < n or n == _MOST_ASKED:
                    return passed[:k]
                n = min(4 * n, _MOST_ASKED)

    def _let_through(self, keys: Sequence[int], where: Filter) -> set[int]:
        owners = {key: json.loads(record)["owner"] for key, record in self._rows.vector_records(keys).items()}
        heads = self._heads(list(set(owners.values())))
        return {key for key, owner in owners.items() if owner in heads and matches(where, heads[owner][0])}

    def multi_vector(
        self,
        query: NDArray[np.float32],
        k: int,
        where: Filter | None = None,
        *,
        candidates: Sequence[int] | None = None,
    ) -> list[Scored]:
        if query.ndim != 2 or not np.isfinite(query).all():
            raise InputError(f"A query of late interaction is (n, D) finite values; got the shape {query.shape}.")
        rough = ALWAYS if where is None else condition(where)
        keys = (
            [key for key, _ in self._rows.scan_vectors(rough)] if candidates is None else [int(c) for c in candidates]
        )
        if where is not None:
            kept = self._let_through(keys, where)
            keys = [key for key in keys if key in kept]
        found: list[Scored] = []
        for start in range(0, len(keys), _AT_ONCE):
            packed = self._blobs("lists", keys[start : start + _AT_ONCE])
            lists = [unpack_list(b, query.shape[1]) for b in packed.values()]
            scores = maxsim([query], lists)[0] if lists else []
            found += [Scored(key, float(score)) for key, score in zip(packed, scores, strict=True)]
        return sorted(found, key=lambda one: (-one.score, one.key))[:k]

    def term_weights(self, words: Sequence[str], keys: Sequence[int]) -> list[dict[str, float]]:
        """Nothing by word: the database does not say."""
        return [{} for _ in keys]

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def chunks(self, keys: Sequence[int], *, with_text: bool = False) -> list[StoredChunk]:
        wanted = [int(key) for key in keys]
        records = {key: json.loads(record) for key, record in self._rows.vector_records(wanted).items()}
        owners = list({record["owner"] for record in records.values()})
        heads = self._heads(owners)
        texts = self._texts("text", owners) if with_text else {}
        long_ones = self._texts("chunk", [key for key, record in records.items() if record["text"] is None])
        found = []
        for key in wanted:
            record = records[key]
            document = heads[record["owner"]][0]
            text = record["text"] if record["text"] is not None else long_ones[key]
            place = Place(*record["place"]) if record["place"] else None
            chunk = Chunk(
                document.id, record["position"], text, record["start"], record["end"], place, record["heading"]
            )
            found.append(StoredChunk(key, chunk, _with_text(document, texts.get(record["owner"], ""))))
        return found

    def chunks_of(self, document_id: str) -> list[StoredChunk]:
        owner = number_of(document_id)
        _, _, n_chunks = self._head(document_id)
        return self.chunks([_chunk_key(owner, i) for i in range(n_chunks)], with_text=True)

    def documents(self, where: Filter | None = None) -> Iterator[StoredDocument]:
        rough = All(
            (Test(_KIND, "=", _KINDS["head"]), Test(_FIRST, "=", 1), ALWAYS if where is None else condition(where))
        )
        owners = [json.loads(record)["owner"] for record in self._rows.scan(rough)]
        heads = self._heads(owners).values()
        kept = [head for head in heads if where is None or matches(where, head[0])]
        return (
            StoredDocument(one.id, one.source, one.title, one.metadata, content_hash, n_chunks)
            for one, content_hash, n_chunks in sorted(kept, key=lambda head: head[0].id)
        )

    def document(self, document_id: str) -> Document:
        document, _, _ = self._head(document_id)
        owner = number_of(document_id)
        return _with_text(document, self._texts("text", [owner])[owner])

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        found = self._rows.vectors([int(key) for key in keys])
        return np.array([found[int(key)] for key in keys], np.float32).reshape(-1, self._need_codec().dimension)

    def other_vectors(self, keys: Sequence[int]) -> OtherVectors:
        outputs, wanted = self.about.options.outputs, [int(key) for key in keys]
        sparse = self._rows.sparse_vectors(wanted) if "sparse" in outputs else {}
        lists = self._blobs("lists", wanted) if "multi_vector" in outputs else {}
        return OtherVectors(
            sparse_of([sparse[key] for key in wanted]) if "sparse" in outputs else None,
            unpack_lists([lists[key] for key in wanted], self.about.dimension) if "multi_vector" in outputs else None,
        )

    def count(self) -> Counts:
        n = self._rows.count(All((Test(_KIND, "=", _KINDS["head"]), Test(_FIRST, "=", 1))))
        state = self._texts("state", [0])
        return Counts(n, self._rows.count_vectors(), int(state.get(0, "0")))

    def _head(self, document_id: str) -> tuple[Document, str, int]:
        found = self._heads([number_of(document_id)]).get(number_of(document_id))
        if found is None:
            raise NotFound(f"There is no document {document_id!r} in {self._place}.")
        return found

    def _heads(self, owners: Sequence[int]) -> dict[int, tuple[Document, str, int]]:
        """Document without its text, content hash, number of chunks."""
        found = {}
        for owner, text in self._texts("head", owners).items():
            facts = json.loads(text)
            document = Document(facts["id"], "", facts["title"], facts["source"], facts["metadata"])
            found[owner] = (document, facts["content_hash"], facts["n_chunks"])
        return found

    def _texts(self, kind: Blob, names: Sequence[int]) -> dict[int, str]:
        return {name: blob.decode() for name, blob in self._blobs(kind, names).items()}

    def _blobs(self, kind: Blob, names: Sequence[int]) -> dict[int, bytes]:
        """Bytes of any length by name, those that are there."""
        first = {_piece_key(kind, name, 0): name for name in names}
        got = {first[key]: json.loads(record) for key, record in self._rows.records(list(first)).items()}
        more = [_piece_key(kind, name, i) for name, record in got.items() for i in range(1, record["pieces"])]
        rest = self._rows.records(more) if more else {}
        found = {}
        for name, record in got.items():
            others = (json.loads(rest[_piece_key(kind, name, i)])["text"] for i in range(1, record["pieces"]))
            found[name] = zlib.decompress(base64.b64decode("".join([record["text"], *others])))
        return found

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def upsert(self, documents: Sequence[EmbeddedDocument]) -> None:
        check_upsert(documents)
        made = [self._rows_of(one) for one in documents]
        with self._lock:
            before = self._heads([number_of(one.document.id) for one in documents])
            for owner in before:
                self._rows.delete(All((Test(_OWNER, "=", owner), Test(_KIND, ">=", _KINDS["text"]))))
            self._rows.put_vectors([row for rows, _ in made for row in rows])
            for one in documents:
                owner, n = number_of(one.document.id), len(one.chunks)
                if owner in before and before[owner][2] > n:
                    self._rows.delete_vectors(All((Test(_OWNER, "=", owner), Test(_POSITION, ">=", n))))
            self._rows.put_records([piece for _, pieces in made for piece in pieces])
            heads = (_head_rows(one.document, one.document.content_hash, len(one.chunks)) for one in documents)
            self._rows.put_records([row for rows in heads for row in rows])
            if documents:
                self._changed()

    def _rows_of(self, one: EmbeddedDocument) -> tuple[list[VectorRow], list[Row]]:
        """A document's chunks, and its texts and lists of vectors in pieces. Raises InputError for vectors that do not fit."""
        document, owner = one.document, number_of(one.document.id)
        numbers = numbers_of(document) | {_OWNER: owner}
        dense = None
        if one.dense is not None and self._codec is not None:
            dense = self._codec.prepared(one.dense, f"document {document.id!r}")
        rows, pieces = [], _pieces("text", owner, owner, document.text.encode(), {})
        for i, chunk in enumerate(one.chunks):
            key = _chunk_key(owner, i)
            record, is_long = _chunk_record(chunk, owner)
            if is_long:
                pieces += _pieces("chunk", key, owner, chunk.text.encode(), {})
            if one.multi_vector is not None:
                pieces += _pieces("lists", key, owner, pack_list(one.multi_vector[i]), {})
            rows.append(
                VectorRow(
                    Row(key, record, numbers | {_POSITION: i}),
                    None if dense is None else dense[i],
                    None if one.sparse is None else one.sparse.weights(i),
                    None if one.words is None else one.words[i],
                )
            )
        return rows, pieces

    def describe(self, documents: Sequence[Document]) -> None:
        with self._lock:
            for document in documents:
                _, content_hash, n_chunks = self._head(document.id)
                owner = number_of(document.id)
                numbers = numbers_of(document) | {_OWNER: owner}
                keys = [_chunk_key(owner, i) for i in range(n_chunks)]
                records = self._rows.vector_records(keys)
                self._rows.renumber([Row(key, records[key], numbers | {_POSITION: i}) for i, key in enumerate(keys)])
                self._rows.put_records(_head_rows(document, content_hash, n_chunks))
            self._changed()

    def delete(self, ids: Sequence[str]) -> int:
        with self._lock:
            there = self._heads([number_of(id) for id in dict.fromkeys(ids)])
            for owner in there:
                self._rows.delete_vectors(Test(_OWNER, "=", owner))
                self._rows.delete(Test(_OWNER, "=", owner))
            if there:
                self._changed()
            return len(there)

    def delete_where(self, where: Filter) -> int:
        with self._lock:
            return self.delete([one.id for one in self.documents(where)])

    def _changed(self) -> None:
        state = self._texts("state", [0])
        self._rows.put_records(_pieces("state", 0, -1, str(int(state.get(0, "0")) + 1).encode(), {}))

    def _need_codec(self) -> VectorCodec:
        if self._codec is None:
            raise InputError(f"{self._place} keeps no dense vectors.")
        return self._codec


def _chunk_key(owner: int, position: int) -> int:
    return number_of(f"{owner}#{position}")


def _piece_key(kind: Blob, name: int, i: int) -> int:
    return number_of(f"{kind} {name} {i}")


def _head_rows(document: Document, content_hash: str, n_chunks: int) -> list[Row]:
    """All of a document but its text."""
    owner = number_of(document.id)
    facts = {"id": document.id, "title": document.title, "source": document.source, "metadata": dict(document.metadata)}
    blob = json.dumps(facts | {"content_hash": content_hash, "n_chunks": n_chunks}).encode()
    return _pieces("head", owner, owner, blob, numbers_of(document))


def _pieces(kind: Blob, name: int, owner: int, blob: bytes, numbers: Mapping[str, int | float]) -> list[Row]:
    """Bytes as rows; the first has the numbers, and says how many there are."""
    text = base64.b64encode(zlib.compress(blob)).decode()
    cuts = [text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS)]
    rows = []
    for i, cut in enumerate(cuts):
        record = json.dumps({"owner": owner, "pieces": len(cuts), "text": cut})
        own: dict[str, int | float] = {_OWNER: owner, _KIND: _KINDS[kind], _FIRST: int(i == 0)}
        rows.append(Row(_piece_key(kind, name, i), record, own | dict(numbers if i == 0 else {})))
    return rows


def _chunk_record(chunk: Chunk, owner: int) -> tuple[str, bool]:
    """The record, and whether the text is so long that it stands elsewhere."""
    place = (chunk.place.unit, chunk.place.first, chunk.place.last) if chunk.place else None
    facts = {
        "owner": owner, "position": chunk.position, "start": chunk.start, "end": chunk.end, "place": place,
        "heading": chunk.heading,
    }  # fmt: skip
    if len(record := json.dumps(facts | {"text": chunk.text})) <= RECORD_BYTES:
        return record, False
    if len(record := json.dumps(facts | {"text": None})) > RECORD_BYTES:
        raise InputError(
            f"Chunk {chunk.id!r} has headings of {len(chunk.heading):,} characters, which this store cannot keep."
        )
    return record, True


def _with_text(document: Document, text: str) -> Document:
    return Document(document.id, text, document.title, document.source, document.metadata)
