"""Milvus as the store of a collection: a cluster, or Milvus Lite in a file for trials.

Written against pymilvus 3.0 and milvus-lite 3.2; needs the extra `milvus`. Dense vectors are float32, searched with Milvus's own
choice of index on a server, and one by one in Milvus Lite, whose graph index loses three of four hits under a filter of 1 %
(measured). Words are searched by Milvus's own BM25 function over their hashes, whose scores are k1 + 1 times ours; Milvus
Lite counts words among what the filter lets through alone, so that its scores change with the filter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.stores.numbers import ALWAYS, Absent, All, AnyOf, Condition, Test
from sememe.collections.stores.row_spaces import SPACES, Space, Spaces, read_spaces
from sememe.collections.stores.row_store import RowStore
from sememe.collections.stores.rows import RECORD_BYTES, Found, Row, Rows, VectorRow
from sememe.errors import InputError, NotFound, RemoteError, SememeError
from sememe.lexical.bm25 import K1, B

if TYPE_CHECKING:
    from pymilvus import MilvusClient

_AT_ONCE = 256
_MOST = 16_384
_WORD_DIGITS = 12
_WORDS_BYTES = 65_535
# Milvus takes no sparse vector without a term: an empty one has this, which no vocabulary reaches and nobody asks for.
_NO_TERM = 2**32 - 2
_METRICS = {"cosine": "COSINE", "dot": "IP", "euclidean": "L2"}

Given = TypeVar("Given")


def create(client: MilvusClient, name: str, about: About) -> RowStore:
    """Begin a collection. Raises InputError where one of this name is already, and for what Milvus does not keep here."""
    from pymilvus import DataType

    if about.options.dtype != "float32":
        raise InputError(f"Milvus keeps dense vectors in float32 here; got dtype {about.options.dtype!r}.")
    with _translated():
        if client.has_collection(_records_of(name)):
            raise InputError(f"Milvus has a collection {name!r} already. Open it, delete it, or take another name.")
        records, indexes = _schema(client), client.prepare_index_params()
        records.add_field("unused", DataType.FLOAT_VECTOR, dim=2)  # Milvus wants a vector in every row
        indexes.add_index("unused", index_type="FLAT", metric_type="L2")
        client.create_collection(_records_of(name), schema=records, index_params=indexes, consistency_level="Strong")
    rows = MilvusRows(client, _records_of(name), name, about)
    rows.make_vectors()
    rows.put_records([Spaces(Space(about.to_json(), name)).row()])
    return RowStore(rows, about, name)


def open_store(client: MilvusClient, name: str) -> RowStore:
    """Open what is stored. Raises NotFound."""
    spaces = _spaces(client, name)
    if spaces is None:
        raise NotFound(f"Milvus has no collection {name!r}.")
    about = About.from_json(spaces.now.about, f"the collection {name!r}")
    with _translated():
        for space in (spaces.now, spaces.following):
            if space is not None:
                client.load_collection(space.table)
    return RowStore(MilvusRows(client, _records_of(name), spaces.now.table, about), about, name)


def drop(client: MilvusClient, name: str) -> None:
    """Delete the collection; no error where there is none."""
    spaces = _spaces(client, name)
    if spaces is not None:
        with _translated():
            for space in (spaces.now, spaces.following):
                if space is not None:
                    client.drop_collection(space.table)
            client.drop_collection(_records_of(name))


def _spaces(client: MilvusClient, name: str) -> Spaces | None:
    with _translated():
        if not client.has_collection(_records_of(name)):
            return None
        client.load_collection(_records_of(name))
        found = client.get(_records_of(name), ids=[SPACES], output_fields=["record"])
    return read_spaces(found[0]["record"] if found else None, name)


def connect(address: str, *, key: str | None = None) -> MilvusClient:
    """A client: of a server by its http(s) address, of Milvus Lite by a file ending in .db. Raises SememeError."""
    try:
        from pymilvus import MilvusClient
    except ImportError as exc:
        raise InputError("Milvus needs the extra milvus: pip install 'sememe[milvus]'.") from exc
    from pymilvus.exceptions import MilvusException

    try:
        return MilvusClient(address, token=key or "")
    except MilvusException as exc:
        raise RemoteError(f"Milvus cannot be reached: {exc}. Check the address and that the server runs.") from exc


def _schema(client: MilvusClient) -> Any:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("record", DataType.VARCHAR, max_length=RECORD_BYTES)
    schema.add_field("numbers", DataType.JSON)
    return schema


def _is_lite(client: MilvusClient) -> bool:
    return "lite" in str(client.get_server_version()).lower()


def _records_of(name: str) -> str:
    return f"{name}_records"


class MilvusRows:
    """`Rows` in two collections of Milvus."""

    def __init__(self, client: MilvusClient, records: str, name: str, about: About) -> None:
        """records, name: of the two collections. about: which vectors there are, and how they are compared."""
        self._client, self._records, self._name, self._about = client, records, name, about

    @property
    def table(self) -> str:
        return self._name

    def beside(self, table: str, about: About) -> MilvusRows:
        return MilvusRows(self._client, self._records, table, about)

    def make_vectors(self) -> None:
        from pymilvus import DataType, Function, FunctionType

        self.drop_vectors()
        with _translated():
            chunks, indexes = _schema(self._client), self._client.prepare_index_params()
            width = self._about.dimension if "dense" in self._about.options.outputs else 2
            chunks.add_field("dense", DataType.FLOAT_VECTOR, dim=width)
            kind = "FLAT" if _is_lite(self._client) else "AUTOINDEX"
            indexes.add_index("dense", index_type=kind, metric_type=_METRICS[self._about.options.similarity])
            chunks.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
            indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            chunks.add_field(
                "words",
                DataType.VARCHAR,
                max_length=_WORDS_BYTES,
                enable_analyzer=True,
                analyzer_params={"tokenizer": "standard"},
            )
            chunks.add_field("bm25", DataType.SPARSE_FLOAT_VECTOR)
            chunks.add_function(
                Function(
                    name="bm25",
                    function_type=FunctionType.BM25,
                    input_field_names=["words"],
                    output_field_names=["bm25"],
                )
            )
            settings = {"bm25_k1": K1, "bm25_b": B}
            indexes.add_index("bm25", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=settings)
            self._client.create_collection(self._name, schema=chunks, index_params=indexes, consistency_level="Strong")

    def drop_vectors(self) -> None:
        with _translated():
            self._client.drop_collection(self._name)

    def copy_vectors(
        self,
        keys: Sequence[int],
        to: Rows,
        dense: Mapping[int, NDArray[np.float32]],
        sparse: Mapping[int, Mapping[int, float]],
    ) -> None:
        assert isinstance(to, MilvusRows)
        fields = ["key", "record", "numbers", "words"]
        for stored in self._stored(self._name, keys, fields):
            made = []
            for row in stored:
                key = int(row["key"])
                values = dense[key].tolist() if key in dense else [0.0, 0.0]
                found = {"dense": values, "sparse": _terms(sparse.get(key))}
                made.append({field: row[field] for field in fields} | found)
            if made:
                self._put(to._name, made)

    def close(self) -> None:
        with _translated():
            self._client.close()

    def put_records(self, rows: Sequence[Row]) -> None:
        self._put(self._records, [{**_facts(row), "unused": [0.0, 0.0]} for row in rows])

    def put_vectors(self, rows: Sequence[VectorRow]) -> None:
        self._put(self._name, [self._values(one) for one in rows])

    def _values(self, one: VectorRow) -> dict[str, object]:
        words = " ".join(map(_word_text, one.words or ()))
        if len(words) > _WORDS_BYTES:
            raise InputError(
                f"A chunk has {len(one.words or ()):,} words; Milvus takes {_WORDS_BYTES // (_WORD_DIGITS + 1):,}."
            )
        dense = [0.0, 0.0] if one.dense is None else one.dense.tolist()
        return {**_facts(one.row), "dense": dense, "sparse": _terms(one.sparse), "words": words}

    def _put(self, table: str, rows: Sequence[Mapping[str, object]]) -> None:
        for some in _parts(rows):
            with _translated():
                self._client.upsert(table, list(some))

    def renumber(self, rows: Sequence[Row]) -> None:
        for some in _parts(rows):
            with _translated():
                fields = ["key", "dense", "sparse", "words"]
                stored = {
                    row["key"]: row
                    for row in self._client.get(self._name, ids=[r.key for r in some], output_fields=fields)
                }
            self._put(self._name, [{**stored[row.key], **_facts(row)} for row in some])

    def records(self, keys: Sequence[int]) -> dict[int, str]:
        return self._get(self._records, keys)

    def vector_records(self, keys: Sequence[int]) -> dict[int, str]:
        return self._get(self._name, keys)

    def _get(self, table: str, keys: Sequence[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        for rows in self._stored(table, keys, ["key", "record"]):
            found |= {int(row["key"]): row["record"] for row in rows}
        return found

    def _stored(self, table: str, keys: Sequence[int], fields: list[str]) -> Iterator[list[dict[str, Any]]]:
        """The rows of these keys with these fields, some at a time."""
        for some in _parts(keys):
            with _translated():
                rows = self._client.get(table, ids=list(some), output_fields=fields)
            yield rows

    def scan(self, where: Condition) -> Iterator[str]:
        return (record for _, record in self._scan(self._records, where))

    def scan_vectors(self, where: Condition) -> Iterator[tuple[int, str]]:
        return self._scan(self._name, where)

    def _scan(self, table: str, where: Condition) -> Iterator[tuple[int, str]]:
        with _translated():
            pages = self._client.query_iterator(
                table, filter=_expression(where), output_fields=["key", "record"], batch_size=_AT_ONCE
            )
            try:
                while page := pages.next():
                    yield from ((int(row["key"]), row["record"]) for row in page)
            finally:
                pages.close()

    def delete(self, where: Condition) -> None:
        self._delete(self._records, where)

    def delete_vectors(self, where: Condition) -> None:
        self._delete(self._name, where)

    def _delete(self, table: str, where: Condition) -> None:
        with _translated():
            self._client.delete(table, filter=_expression(where))

    def count(self, where: Condition) -> int:
        return self._count(self._records, where)

    def count_vectors(self) -> int:
        return self._count(self._name, ALWAYS)

    def _count(self, table: str, where: Condition) -> int:
        with _translated():
            return int(self._client.query(table, filter=_expression(where), output_fields=["count(*)"])[0]["count(*)"])

    def dense(self, query: NDArray[np.float32], k: int, where: Condition) -> list[Found]:
        found = self._search("dense", query.tolist(), k, where)
        if self._about.options.similarity == "euclidean":  # Milvus gives the square
            return [Found(one.key, -float(np.sqrt(max(one.score, 0)))) for one in found]
        return found

    def sparse(self, query: Mapping[int, float], k: int, where: Condition) -> list[Found]:
        if not query:
            return []
        return [one for one in self._search("sparse", dict(query), k, where) if one.score > 0]

    def lexical(self, words: Sequence[str], k: int, where: Condition) -> list[Found]:
        found = self._search("bm25", " ".join(map(_word_text, words)), k, where)
        return [Found(one.key, abs(one.score)) for one in found if one.score]  # Milvus Lite gives it a minus

    def _search(self, field: str, query: object, k: int, where: Condition) -> list[Found]:
        with _translated():
            answer = self._client.search(
                self._name,
                data=[query],
                anns_field=field,
                limit=min(k, _MOST),
                filter=_expression(where),
                output_fields=["key"],
            )
        return [Found(int(hit["key"] if "key" in hit else hit["id"]), float(hit["distance"])) for hit in answer[0]]

    def vectors(self, keys: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        found: dict[int, NDArray[np.float32]] = {}
        for rows in self._stored(self._name, keys, ["key", "dense"]):
            found |= {int(row["key"]): np.asarray(row["dense"], np.float32) for row in rows}
        return found

    def sparse_vectors(self, keys: Sequence[int]) -> dict[int, Mapping[int, float]]:
        found: dict[int, Mapping[int, float]] = {}
        for rows in self._stored(self._name, keys, ["key", "sparse"]):
            for row in rows:
                found[int(row["key"])] = {term: weight for term, weight in row["sparse"].items() if term != _NO_TERM}
        return found


def _parts(items: Sequence[Given]) -> Iterator[Sequence[Given]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def _facts(row: Row) -> dict[str, object]:
    return {"key": row.key, "record": row.record, "numbers": dict(row.numbers)}


def _terms(weights: Mapping[int, float] | None) -> dict[int, float]:
    return dict(weights) if weights else {_NO_TERM: 1.0}


def _word_text(word: str) -> str:
    """48 bits as hexadecimal digits, which Milvus's tokenizer leaves whole."""
    return hashlib.blake2b(word.encode(), digest_size=_WORD_DIGITS // 2).hexdigest()


def _expression(where: Condition) -> str:
    """In Milvus's language; made of our own names and of numbers."""
    match where:
        case All(parts):
            return f"({' and '.join(map(_expression, parts))})" if parts else f"key > {SPACES}"
        case AnyOf(parts):
            return f"({' or '.join(map(_expression, parts))})" if parts else "key < 0"
        case Absent(name):
            return f'(not (exists numbers["{name}"]))'
        case Test(name, sign, number):
            return f'numbers["{name}"] {"==" if sign == "=" else sign} {number!r}'


@contextmanager
def _translated() -> Iterator[None]:
    """The client's errors as ours."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as exc:
        raise SememeError(f"Milvus did not do what was asked: {exc}") from exc
