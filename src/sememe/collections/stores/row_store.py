"""A collection on a store of rows (`rows.Rows`), as vector databases are: Milvus, Qdrant.

What it promises less than the protocol: a change of several documents is made one document after another, and a reader may
see one of them half changed; there are no snapshots and no lock between writers of the same document; BM25 is the database's
own; explanations have no parts by word. A change that was cut short is complete when it is made again: keys are made
from ids, chunks are written before the document that counts them, and deleted before it. Another space is built in a table
beside (`row_spaces`); a change that another process makes in the moment of the switch may be lost with the old table.
"""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.embedded.codec import VectorCodec, codec_of
from sememe.collections.embedded.writing import check_upsert
from sememe.collections.filters import Filter, Kind, matches
from sememe.collections.next_space import NextSpace
from sememe.collections.other_vectors import OtherVectors, sparse_of, unpack_list, unpack_lists
from sememe.collections.store import Counts, EmbeddedDocument, Scored, StoredChunk, StoredDocument
from sememe.collections.stores.numbers import ALWAYS, All, Condition, Test, condition, number_of, numbers_of, of_kind
from sememe.collections.stores.row_records import (
    FIRST,
    KIND,
    KINDS,
    OWNER,
    POSITION,
    Blob,
    blob_rows,
    chunk_key,
    head_rows,
    piece_key,
    rows_of,
)
from sememe.collections.stores.row_spaces import SPACES, RowNextSpace, Spaces, begin_next, read_spaces
from sememe.collections.stores.rows import Found, Row, Rows
from sememe.errors import CollectionMismatch, InputError, NotFound, RemoteError, SememeError
from sememe.records import SparseEmbeddings
from sememe.similarity import maxsim

_MOST_ASKED = 16_000  # what Milvus gives at once
_AT_ONCE = 200
# One record a document.
_HEADS = (Test(KIND, "=", KINDS["head"]), Test(FIRST, "=", 1))


class RowStore:
    """A `VectorStore` over rows."""

    def __init__(self, rows: Rows, about: About, name: str) -> None:
        """name: of the collection."""
        self.about, self._rows, self._name = about, rows, name
        self._space = None if rows.table == name else rows.table
        self._codec = codec_of(about)
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One thread at a time; no snapshot."""
        with self._lock:
            try:
                yield
            except RemoteError:
                raise
            except SememeError as exc:  # perhaps the table of the vectors has gone
                self._spaces(exc)
                raise

    def _spaces(self, cause: SememeError | None = None) -> Spaces:
        """Raises CollectionMismatch where the collection has moved to another model since it was opened."""
        spaces = read_spaces(self._rows.records([SPACES]).get(SPACES), self._name)
        if About.from_json(spaces.now.about, f"the collection {self._name!r}") != self.about:
            raise CollectionMismatch(
                f"The collection {self._name} was migrated to another model since it was opened, from {self.about.model}. "
                "Open it again."
            ) from cause
        return spaces

    def next_space(self) -> NextSpace | None:
        spaces = self._spaces()
        return None if spaces.following is None else RowNextSpace(self._rows, self._name, spaces)

    def begin_next(self, about: About) -> NextSpace:
        with self._lock:
            return begin_next(self._rows, self._name, about)

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
            found.append(StoredChunk(key, chunk, replace(document, text=texts.get(record["owner"], ""))))
        return found

    def chunks_of(self, document_id: str) -> list[StoredChunk]:
        owner = number_of(document_id)
        _, _, n_chunks = self._head(document_id)
        return self.chunks([chunk_key(owner, i) for i in range(n_chunks)], with_text=True)

    def documents(self, where: Filter | None = None) -> Iterator[StoredDocument]:
        rough = All((*_HEADS, ALWAYS if where is None else condition(where)))
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
        return replace(document, text=self._texts("text", [owner])[owner])

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

    def kinds_of(self, field: str) -> frozenset[Kind]:
        return frozenset(kind for kind in get_args(Kind) if self._rows.count(All((*_HEADS, of_kind(field, kind)))))

    def count(self) -> Counts:
        n = self._rows.count(All(_HEADS))
        state = self._texts("state", [0])
        return Counts(n, self._rows.count_vectors(), int(state.get(0, "0")))

    def _head(self, document_id: str) -> tuple[Document, str, int]:
        found = self._heads([number_of(document_id)]).get(number_of(document_id))
        if found is None:
            raise NotFound(f"There is no document {document_id!r} in the collection {self._name!r}.")
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
        space = self._space if kind == "lists" else None
        first = {piece_key(kind, name, 0, space): name for name in names}
        got = {first[key]: json.loads(record) for key, record in self._rows.records(list(first)).items()}
        more = [piece_key(kind, name, i, space) for name, record in got.items() for i in range(1, record["pieces"])]
        rest = self._rows.records(more) if more else {}
        found = {}
        for name, record in got.items():
            others = (json.loads(rest[piece_key(kind, name, i, space)])["text"] for i in range(1, record["pieces"]))
            found[name] = zlib.decompress(base64.b64decode("".join([record["text"], *others])))
        return found

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def upsert(self, documents: Sequence[EmbeddedDocument]) -> None:
        check_upsert(documents)
        made = [rows_of(one, self._codec, self._space) for one in documents]
        with self._lock:
            self._begin_change([number_of(one.document.id) for one in documents])
            before = self._heads([number_of(one.document.id) for one in documents])
            for owner in before:
                self._rows.delete(All((Test(OWNER, "=", owner), Test(KIND, ">=", KINDS["text"]))))
            self._rows.put_vectors([row for rows, _ in made for row in rows])
            for one in documents:
                owner, n = number_of(one.document.id), len(one.chunks)
                if owner in before and before[owner][2] > n:
                    self._rows.delete_vectors(All((Test(OWNER, "=", owner), Test(POSITION, ">=", n))))
            self._rows.put_records([piece for _, pieces in made for piece in pieces])
            heads = (head_rows(one.document, one.document.content_hash, len(one.chunks)) for one in documents)
            self._rows.put_records([row for rows in heads for row in rows])
            if documents:
                self._changed()

    def describe(self, documents: Sequence[Document]) -> None:
        with self._lock:
            self._begin_change([number_of(document.id) for document in documents])
            for document in documents:
                _, content_hash, n_chunks = self._head(document.id)
                owner = number_of(document.id)
                numbers = numbers_of(document) | {OWNER: owner}
                keys = [chunk_key(owner, i) for i in range(n_chunks)]
                records = self._rows.vector_records(keys)
                self._rows.renumber([Row(key, records[key], numbers | {POSITION: i}) for i, key in enumerate(keys)])
                self._rows.put_records(head_rows(document, content_hash, n_chunks))
            self._changed()

    def delete(self, ids: Sequence[str]) -> int:
        with self._lock:
            there = self._heads([number_of(id) for id in dict.fromkeys(ids)])
            self._begin_change(there)
            for owner in there:
                self._rows.delete_vectors(Test(OWNER, "=", owner))
                self._rows.delete(Test(OWNER, "=", owner))
            if there:
                self._changed()
            return len(there)

    def delete_where(self, where: Filter) -> int:
        with self._lock:
            return self.delete([one.id for one in self.documents(where)])

    def _begin_change(self, owners: Iterable[int]) -> None:
        """Refuse it where the space is another by now; what another space has of these documents is to be made anew."""
        spaces = self._spaces()
        if spaces.following is not None:
            following = RowNextSpace(self._rows, self._name, spaces)
            for owner in owners:
                following.rows.delete_vectors(Test(OWNER, "=", owner))

    def _changed(self) -> None:
        state = self._texts("state", [0])
        self._rows.put_records(blob_rows("state", 0, -1, str(int(state.get(0, "0")) + 1).encode(), {}))

    def _need_codec(self) -> VectorCodec:
        if self._codec is None:
            raise InputError(f"The collection {self._name!r} keeps no dense vectors.")
        return self._codec
