"""Qdrant as the store of a collection: a server, or the client's own local mode for trials.

Written against qdrant-client 1.20; needs the extra `qdrant`. Dense vectors are float32 and searched with Qdrant's HNSW (its
local mode: exactly); sparse vectors and words with its inverted index. Words are 32 bits each there, and their lengths are
related to `_MEAN_WORDS`, since Qdrant keeps no mean: BM25 orders nearly as the embedded store does.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.stores.numbers import All, Condition, Test
from sememe.collections.stores.qdrant_filters import filter_of
from sememe.collections.stores.row_spaces import SPACES, Space, Spaces, read_spaces
from sememe.collections.stores.row_store import RowStore
from sememe.collections.stores.rows import Found, Row, Rows, VectorRow
from sememe.errors import InputError, NotFound, RemoteError, SememeError
from sememe.lexical.bm25 import K1, B

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

logger = logging.getLogger(__name__)

_MEAN_WORDS = 128
_AT_ONCE = 256
_DISTANCES = {"cosine": "Cosine", "dot": "Dot", "euclidean": "Euclid"}

Given = TypeVar("Given")


def create(client: QdrantClient, name: str, about: About) -> RowStore:
    """Begin a collection. Raises InputError where one of this name is already, and for what Qdrant does not keep here."""
    if about.options.dtype != "float32":
        raise InputError(f"Qdrant keeps dense vectors in float32 here; got dtype {about.options.dtype!r}.")
    with _translated():
        if client.collection_exists(_records_of(name)):
            raise InputError(f"Qdrant has a collection {name!r} already. Open it, delete it, or take another name.")
        client.create_collection(_records_of(name), vectors_config={})
    rows = QdrantRows(client, _records_of(name), name, about)
    rows.make_vectors()
    rows.put_records([Spaces(Space(about.to_json(), name)).row()])
    return RowStore(rows, about, name)


def open_store(client: QdrantClient, name: str) -> RowStore:
    """Open what is stored. Raises NotFound."""
    spaces = _spaces(client, name)
    if spaces is None:
        raise NotFound(f"Qdrant has no collection {name!r}.")
    about = About.from_json(spaces.now.about, f"the collection {name!r}")
    return RowStore(QdrantRows(client, _records_of(name), spaces.now.table, about), about, name)


def drop(client: QdrantClient, name: str) -> None:
    """Delete the collection; no error where there is none."""
    spaces = _spaces(client, name)
    if spaces is not None:
        with _translated():
            for space in (spaces.now, spaces.following):
                if space is not None:
                    client.delete_collection(space.table)
            client.delete_collection(_records_of(name))


def _spaces(client: QdrantClient, name: str) -> Spaces | None:
    with _translated():
        if not client.collection_exists(_records_of(name)):
            return None
        found = client.retrieve(_records_of(name), [SPACES])
    return read_spaces(_record_of(found[0]) if found else None, name)


def connect(address: str, *, key: str | None = None) -> QdrantClient:
    """A client: of a server by its http(s) address, of local mode by a folder. Raises SememeError."""
    try:
        from qdrant_client import QdrantClient
    except ImportError as exc:
        raise InputError("Qdrant needs the extra qdrant: pip install 'sememe[qdrant]'.") from exc
    with _translated():
        if address.startswith(("http://", "https://")):
            if key and address.startswith("http://"):
                logger.warning("Qdrant's key goes over a connection that is not encrypted; qdrants:// encrypts it")
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # the client's own word for the same
                return QdrantClient(url=address, api_key=key, check_compatibility=False)
        return QdrantClient(path=address)


def _records_of(name: str) -> str:
    return f"{name}_records"


class QdrantRows:
    """`Rows` in two collections of Qdrant."""

    def __init__(self, client: QdrantClient, records: str, name: str, about: About) -> None:
        """records, name: of the two collections. about: which vectors there are, and how they are compared."""
        self._client, self._records, self._name, self._about = client, records, name, about

    @property
    def table(self) -> str:
        return self._name

    def beside(self, table: str, about: About) -> QdrantRows:
        return QdrantRows(self._client, self._records, table, about)

    def make_vectors(self) -> None:
        from qdrant_client import models

        dense = {}
        if "dense" in self._about.options.outputs:
            distance = models.Distance(_DISTANCES[self._about.options.similarity])
            dense["dense"] = models.VectorParams(size=self._about.dimension, distance=distance)
        sparse = {
            "sparse": models.SparseVectorParams(),
            "words": models.SparseVectorParams(modifier=models.Modifier.IDF),
        }
        self.drop_vectors()
        with _translated():
            self._client.create_collection(self._name, vectors_config=dense, sparse_vectors_config=sparse)

    def drop_vectors(self) -> None:
        with _translated():
            self._client.delete_collection(self._name)

    def copy_vectors(
        self,
        keys: Sequence[int],
        to: Rows,
        dense: Mapping[int, NDArray[np.float32]],
        sparse: Mapping[int, Mapping[int, float]],
    ) -> None:
        from qdrant_client import models

        assert isinstance(to, QdrantRows)
        for some in _parts(keys):
            with _translated():
                stored = self._client.retrieve(self._name, list(some), with_payload=True, with_vectors=["words"])
            points = []
            for point in stored:
                key = int(point.id)
                vectors = dict(point.vector) if isinstance(point.vector, dict) else {}
                if key in dense:
                    vectors["dense"] = dense[key].tolist()
                if sparse.get(key):
                    vectors["sparse"] = _sparse_vector(sparse[key])
                points.append(models.PointStruct(id=key, vector=vectors, payload=point.payload))  # type: ignore[arg-type]
            if points:
                with _translated():
                    self._client.upsert(to._name, points, wait=True)

    def close(self) -> None:
        with _translated():
            self._client.close()

    def put_records(self, rows: Sequence[Row]) -> None:
        from qdrant_client import models

        for some in _parts(rows):
            points = [models.PointStruct(id=row.key, vector={}, payload=_payload(row)) for row in some]
            with _translated():
                self._client.upsert(self._records, points, wait=True)

    def put_vectors(self, rows: Sequence[VectorRow]) -> None:
        from qdrant_client import models

        for some in _parts(rows):
            points = [
                models.PointStruct(id=one.row.key, vector=_vectors(one), payload=_payload(one.row)) for one in some
            ]
            with _translated():
                self._client.upsert(self._name, points, wait=True)

    def renumber(self, rows: Sequence[Row]) -> None:
        with _translated():
            for row in rows:
                self._client.overwrite_payload(self._name, payload=_payload(row), points=[row.key], wait=True)

    def records(self, keys: Sequence[int]) -> dict[int, str]:
        return self._get(self._records, keys)

    def vector_records(self, keys: Sequence[int]) -> dict[int, str]:
        return self._get(self._name, keys)

    def _get(self, table: str, keys: Sequence[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        for some in _parts(keys):
            with _translated():
                points = self._client.retrieve(table, list(some), with_payload=["record", "about"])
            found |= {int(point.id): _record_of(point) for point in points}
        return found

    def scan(self, where: Condition) -> Iterator[str]:
        return (record for _, record in self._scan(self._records, All((Test("owner", ">=", 0), where))))

    def scan_vectors(self, where: Condition) -> Iterator[tuple[int, str]]:
        return self._scan(self._name, where)

    def _scan(self, table: str, where: Condition) -> Iterator[tuple[int, str]]:
        offset: models.ExtendedPointId | None = None
        while True:
            with _translated():
                points, offset = self._client.scroll(
                    table,
                    filter_of(where),
                    limit=_AT_ONCE,
                    offset=offset,
                    with_payload=["record"],  # type: ignore[arg-type]
                )
            yield from ((int(point.id), point.payload["record"]) for point in points if point.payload)
            if offset is None:
                return

    def delete(self, where: Condition) -> None:
        self._delete(self._records, where)

    def delete_vectors(self, where: Condition) -> None:
        self._delete(self._name, where)

    def _delete(self, table: str, where: Condition) -> None:
        from qdrant_client import models

        chosen = filter_of(where)
        assert chosen is not None, "that would be everything"
        with _translated():
            self._client.delete(table, models.FilterSelector(filter=chosen), wait=True)

    def count(self, where: Condition) -> int:
        with _translated():
            return self._client.count(self._records, filter_of(where), exact=True).count

    def count_vectors(self) -> int:
        with _translated():
            return self._client.count(self._name, exact=True).count

    def dense(self, query: NDArray[np.float32], k: int, where: Condition) -> list[Found]:
        found = self._query("dense", query.tolist(), k, where)
        if self._about.options.similarity == "euclidean":
            return [Found(one.key, -one.score) for one in found]
        return found

    def sparse(self, query: Mapping[int, float], k: int, where: Condition) -> list[Found]:

        if not query:
            return []
        return [one for one in self._query("sparse", _sparse_vector(query), k, where) if one.score > 0]

    def lexical(self, words: Sequence[str], k: int, where: Condition) -> list[Found]:
        from qdrant_client import models

        counted = Counter(map(_word_number, words))
        vector = models.SparseVector(indices=list(counted), values=[float(n) for n in counted.values()])
        return [one for one in self._query("words", vector, k, where) if one.score > 0]

    def _query(self, using: str, query: list[float] | models.SparseVector, k: int, where: Condition) -> list[Found]:
        with _translated():
            answer = self._client.query_points(
                self._name, query=query, using=using, query_filter=filter_of(where), limit=k, with_payload=False
            )
        return [Found(int(point.id), float(point.score)) for point in answer.points]

    def vectors(self, keys: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        found = {}
        for some in _parts(keys):
            with _translated():
                points = self._client.retrieve(self._name, list(some), with_payload=False, with_vectors=["dense"])
            for point in points:
                assert isinstance(point.vector, dict)
                found[int(point.id)] = np.asarray(point.vector["dense"], np.float32)
        return found

    def sparse_vectors(self, keys: Sequence[int]) -> dict[int, Mapping[int, float]]:
        from qdrant_client import models

        found: dict[int, Mapping[int, float]] = {}
        for some in _parts(keys):
            with _translated():
                points = self._client.retrieve(self._name, list(some), with_payload=False, with_vectors=["sparse"])
            for point in points:
                vector = point.vector.get("sparse") if isinstance(point.vector, dict) else None
                assert vector is None or isinstance(vector, models.SparseVector)
                found[int(point.id)] = {} if vector is None else dict(zip(vector.indices, vector.values, strict=True))
        return found


def _parts(items: Sequence[Given]) -> Iterator[Sequence[Given]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def _sparse_vector(weights: Mapping[int, float]) -> models.SparseVector:
    from qdrant_client import models

    return models.SparseVector(indices=list(weights), values=list(weights.values()))


def _record_of(point: models.Record) -> str:
    payload = point.payload or {}
    return str(payload.get("record") or payload["about"])  # about: row 0 as it was before collections could migrate


def _payload(row: Row) -> dict[str, object]:
    return {"record": row.record, **row.numbers}


def _vectors(one: VectorRow) -> models.VectorStruct:
    from qdrant_client import models

    found: dict[str, models.Vector] = {}
    if one.dense is not None:
        found["dense"] = one.dense.tolist()
    if one.sparse:
        found["sparse"] = _sparse_vector(one.sparse)
    if one.words:
        counted = Counter(map(_word_number, one.words))
        norm = K1 * (1 - B + B * len(one.words) / _MEAN_WORDS)
        values = [times / (times + norm) for times in counted.values()]
        found["words"] = models.SparseVector(indices=list(counted), values=values)
    return found  # type: ignore[return-value]


def _word_number(word: str) -> int:
    """32 bits, as wide as Qdrant's indices: of a million words about a hundred pairs are equal."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")


@contextmanager
def _translated() -> Iterator[None]:
    """The client's errors as ours."""
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

    try:
        yield
    except ResponseHandlingException as exc:
        raise RemoteError(f"Qdrant cannot be reached: {exc}. Check the address and that the server runs.") from exc
    except ApiException as exc:
        raise SememeError(f"Qdrant did not do what was asked: {exc}") from exc
    except ValueError as exc:  # local mode's word for a collection that has gone
        raise SememeError(f"Qdrant did not do what was asked: {exc}") from exc
    except RuntimeError as exc:  # a folder of local mode that another client holds
        raise SememeError(f"Qdrant cannot be opened: {exc}") from exc
