"""What is asked of PostgreSQL to find chunks: statements with their parameters, each giving chunks' rows with scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sememe.collections.about import About
from sememe.collections.filters import Filter, Kind
from sememe.collections.stores import pgvector_schema as schema
from sememe.collections.stores.pgvector_filters import COLUMNS, INDEXED_CHARACTERS, Parameter, condition, stored_text
from sememe.lexical.bm25 import K1, B
from sememe.records import SparseEmbeddings

_BM25_PARTS = f"""
    asked AS (SELECT * FROM unnest(%s::bigint[], %s::int[]) AS a(word, times)),
    common AS (SELECT a.word, count(*) AS df FROM asked a JOIN words w ON w.word = a.word GROUP BY a.word),
    parts AS (
        SELECT w.chunk, w.word, a.times * ln(1 + (n_chunks - df + 0.5) / (df + 0.5)) * w.times
            / (w.times + {K1} * (1 - {B} + {B} * c.n_words / greatest(about.n_words::float8 / n_chunks, 1e-9))) AS part
        FROM asked a JOIN common USING (word) JOIN words w USING (word) JOIN chunks c ON c.row = w.chunk, about)
"""


@dataclass(frozen=True)
class Asked:
    """A statement and what stands for its marks."""

    sql: str
    parameters: Sequence[object]


def count_up_to(n: int, where: Filter) -> Asked:
    """How many chunks the filter lets through, n at most."""
    allowed, parameters = _allowed(where)
    return Asked(f"SELECT count(*) FROM (SELECT 1 FROM chunks WHERE {allowed} LIMIT {n}) s", parameters)


def holding(field: str, kind: Kind) -> Asked:
    """A row if some document's field is of that kind, else none."""
    key = stored_text(field)
    of_key = f"left(key, {INDEXED_CHARACTERS}) = %s AND key = %s"
    sql = f"SELECT 1 FROM fields WHERE {of_key} AND {COLUMNS[kind]} IS NOT NULL LIMIT 1"
    return Asked(sql, [key[:INDEXED_CHARACTERS], key])


def nearest_by_index(vector: str, k: int, where: Filter | None, about: About) -> Asked:
    """The k nearest to a vector with their distances, in the order of the index."""
    allowed, parameters = _allowed(where)
    distance = _distance(about)
    sql = f"SELECT row, {distance} AS distance FROM chunks WHERE {allowed} ORDER BY {distance} LIMIT %s"
    return Asked(sql, [vector, *parameters, vector, k])


def nearest_of_all(vector: str, k: int, where: Filter | None, about: About) -> Asked:
    """The same by looking at every vector that the filter lets through."""
    allowed, parameters = _allowed(where)
    few = f"SELECT row, dense FROM chunks WHERE {allowed}"
    sql = f"WITH few AS MATERIALIZED ({few}) SELECT row, {_distance(about)} AS distance FROM few"
    return Asked(f"{sql} ORDER BY distance, row LIMIT %s", [*parameters, vector, k])


def largest_dot_products(query: SparseEmbeddings, k: int, where: Filter | None) -> Asked:
    """The k best by their sparse vectors. query: of one row."""
    weights = query.weights(0)
    allowed, parameters = _allowed(where)
    sql = f"""SELECT w.chunk, sum(w.weight * a.weight) AS score
        FROM unnest(%s::bigint[], %s::float8[]) AS a(term, weight) JOIN weights w USING (term)
        WHERE w.chunk IN (SELECT row FROM chunks WHERE {allowed})
        GROUP BY w.chunk ORDER BY score DESC, w.chunk LIMIT %s"""
    return Asked(sql, [list(weights), list(weights.values()), *parameters, k])


def best_by_words(words: Sequence[str], k: int, where: Filter | None) -> Asked:
    """The k best by BM25."""
    allowed, parameters = _allowed(where)
    sql = f"""WITH {_BM25_PARTS} SELECT chunk, sum(part) AS score FROM parts
        WHERE chunk IN (SELECT row FROM chunks WHERE {allowed}) GROUP BY chunk ORDER BY score DESC, chunk LIMIT %s"""
    return Asked(sql, [*_counted(words), *parameters, k])


def parts_by_word(words: Sequence[str], keys: Sequence[int]) -> Asked:
    """Chunk, number of the word, and what that adds to the chunk's BM25."""
    sql = f"WITH {_BM25_PARTS} SELECT chunk, word, part FROM parts WHERE chunk = ANY(%s)"
    return Asked(sql, [*_counted(words), list(keys)])


def with_lists(where: Filter | None, candidates: Sequence[int] | None) -> Asked:
    """Rows of the chunks that have a list of vectors, among the candidates or all."""
    allowed, parameters = _allowed(where)
    among = "" if candidates is None else "AND row = ANY(%s)"
    given = [] if candidates is None else [[int(key) for key in candidates]]
    sql = f"SELECT row FROM chunks WHERE lists IS NOT NULL AND {allowed} {among} ORDER BY row"
    return Asked(sql, [*parameters, *given])


def _allowed(where: Filter | None) -> tuple[str, list[Parameter]]:
    """A condition on `chunks`."""
    if where is None:
        return "true", []
    parameters: list[Parameter] = []
    return f"document IN (SELECT d.row FROM documents d WHERE {condition(where, parameters)})", parameters


def _distance(about: About) -> str:
    operator, _ = schema.OPERATORS[about.options.similarity]
    return f"dense {operator} %s::{schema.dense_type(about)}"


def _counted(words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers of the words, and how often each is asked for."""
    counted = Counter(map(schema.word_number, words))
    return list(counted), list(counted.values())
