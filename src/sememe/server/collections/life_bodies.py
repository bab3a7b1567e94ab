"""Bodies of the routes that keep collections: figures, copies, a move to another model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from sememe.server.asked import Text
from sememe.server.collections.bodies import Body


class SnapshotBody(Body):
    """The copy that a collection is made from."""

    snapshot: Text


class MigrationBody(Body):
    """model: of this server, whose space is built. queries: to compare with; none asks with stored chunks."""

    model: Text
    queries: list[Text] = Field(default=[], max_length=1000)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class StatsAnswer(BaseModel):
    """What a collection holds. Bytes on disk of the store and of what is derived from it, and recall@10 of the first
    pass of dense search on a sample; null where a database keeps it."""

    documents: int
    chunks: int
    generation: int
    truth_bytes: int | None
    derived_bytes: int | None
    recall: float | None


class SnapshotAnswer(BaseModel):
    """The name of the copy, which stands among the server's own files."""

    snapshot: str


class SnapshotsAnswer(BaseModel):
    """Every copy there is."""

    snapshots: list[str]


class ImportAnswer(BaseModel):
    """What the new collection has."""

    documents: int
    chunks: int


class QueryChangeAnswer(BaseModel):
    """One query in both spaces: its text, or the id of the chunk that was asked with; ids of chunks, best first."""

    query: str
    overlap: float
    before: list[str]
    after: list[str]


class MigrationAnswer(BaseModel):
    """How far a migration is.

    state: none (nothing was begun), running, ready (to be switched to), failed (`error` says why) or interrupted; the last
    two go on where they were when it is begun again. overlap: of the ten nearest, when it is ready and there are dense
    vectors. changes: the queries that change most, first.
    """

    state: Literal["none", "running", "ready", "failed", "interrupted"]
    model: str | None = None
    n_done: int = 0
    n_chunks: int = 0
    error: str | None = None
    overlap: float | None = None
    changes: list[QueryChangeAnswer] = []
