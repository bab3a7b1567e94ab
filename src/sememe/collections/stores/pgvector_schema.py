"""A collection's tables in PostgreSQL, in a schema of its own: what they are, and how values go in and come out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Metadata, Place
from sememe.collections.store import StoredChunk
from sememe.collections.stores.pgvector_filters import INDEXED_CHARACTERS, given_text, stored_text
from sememe.errors import InputError

# Text is compared by code point: UTF-8 in bytes, which the collation C does. Ids and words may be longer than an index takes,
# so that they are found by a hash.
TABLES = """
CREATE TABLE about (about text NOT NULL, generation bigint NOT NULL, n_chunks bigint NOT NULL, n_words bigint NOT NULL);
CREATE TABLE documents (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id_hash bytea UNIQUE NOT NULL, id text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL, title text COLLATE "C" NOT NULL, text text NOT NULL, metadata text NOT NULL,
    content_hash text NOT NULL, n_chunks int NOT NULL);
CREATE TABLE fields (
    document bigint NOT NULL REFERENCES documents ON DELETE CASCADE, key text COLLATE "C" NOT NULL,
    text text COLLATE "C", number numeric, bool bool);
CREATE INDEX fields_of ON fields (document);
CREATE INDEX fields_text ON fields (left(key, {characters}), left(text, {characters}));
CREATE INDEX fields_number ON fields (left(key, {characters}), number);
CREATE SEQUENCE chunk_rows;
CREATE TABLE chunks (
    row bigint PRIMARY KEY, document bigint NOT NULL REFERENCES documents ON DELETE CASCADE, position int NOT NULL,
    first_character bigint NOT NULL, end_character bigint NOT NULL, unit text, first int, last int, heading text NOT NULL,
    text text NOT NULL, n_words int NOT NULL, dense {dense}, lists bytea, UNIQUE (document, position));
CREATE TABLE words (
    word bigint NOT NULL, chunk bigint NOT NULL REFERENCES chunks ON DELETE CASCADE, times real NOT NULL);
CREATE INDEX words_word ON words (word);
CREATE INDEX words_chunk ON words (chunk);
CREATE TABLE weights (
    term bigint NOT NULL, chunk bigint NOT NULL REFERENCES chunks ON DELETE CASCADE, weight real NOT NULL);
CREATE INDEX weights_term ON weights (term);
CREATE INDEX weights_chunk ON weights (chunk);
"""
CHUNK_COLUMNS = "c.row, c.position, c.first_character, c.end_character, c.unit, c.first, c.last, c.heading, c.text"

_TYPES = {"float32": "vector", "float16": "halfvec"}
_MOST_DIMENSIONS = 16_000
# What pgvector's HNSW takes (0.8): more is searched without an index.
MOST_INDEXED = {"float32": 2_000, "float16": 4_000}
OPERATORS = {"cosine": ("<=>", "cosine"), "dot": ("<#>", "ip"), "euclidean": ("<->", "l2")}


def tables(about: About) -> str:
    """The statements that make the tables. Raises InputError for what PostgreSQL cannot keep."""
    if about.options.dtype not in _TYPES:
        raise InputError(
            f"pgvector keeps dense vectors in float32 or float16; got dtype {about.options.dtype!r}. "
            "The embedded store keeps int8 and binary."
        )
    check_width(about)
    return TABLES.format(characters=INDEXED_CHARACTERS, dense=dense_type(about) or "text")


def check_width(about: About) -> None:
    """Raises InputError for vectors that are too wide for pgvector."""
    if about.dimension > _MOST_DIMENSIONS:
        raise InputError(f"pgvector keeps at most {_MOST_DIMENSIONS:,} values a vector; got {about.dimension:,}.")


def dense_type(about: About) -> str | None:
    """The column's type; None where the collection keeps no dense vectors."""
    return f"{_TYPES[about.options.dtype]}({about.dimension})" if "dense" in about.options.outputs else None


def hash_of(text: str) -> bytes:
    """32 bytes that stand for an id."""
    return hashlib.sha256(text.encode()).digest()


def word_number(word: str) -> int:
    """64 bits that stand for a word: among a hundred million words two are equal in one collection of 3,700."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big", signed=True)


def vector_text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it, to the last bit."""
    return str(vector.tolist())


def vector_values(texts: Sequence[str], dimension: int) -> NDArray[np.float32]:
    """(n, D) of vectors as pgvector writes them."""
    return np.array([json.loads(text) for text in texts], np.float32).reshape(-1, dimension)


def metadata_text(metadata: Metadata) -> str:
    """Metadata as JSON, NUL escaped by JSON itself."""
    return json.dumps(dict(metadata))


ChunkRow = tuple[int, int, int, int, Literal["line", "page", "row"] | None, int, int, str, str]
DocumentRow = tuple[str, str, str, str, str]


def read_chunk(row: ChunkRow, document: DocumentRow) -> StoredChunk:
    """From `CHUNK_COLUMNS` and id, source, title, metadata, text of its document."""
    key, position, start, end, unit, first, last, heading, text = row
    whole = read_document(document)
    place = Place(unit, first, last) if unit else None
    chunk = Chunk(whole.id, position, given_text(text), start, end, place, given_text(heading))
    return StoredChunk(key, chunk, whole)


def read_document(row: DocumentRow) -> Document:
    """From id, source, title, metadata, text."""
    id, source, title, metadata, text = row
    return Document(given_text(id), given_text(text), given_text(title), given_text(source), json.loads(metadata))


def document_values(document: Document) -> tuple[str, str, str]:
    """source, title, metadata as they are stored."""
    return stored_text(document.source), stored_text(document.title), metadata_text(document.metadata)
