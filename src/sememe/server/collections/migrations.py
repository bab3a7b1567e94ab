"""Moves of collections to other served models: each on a thread of its own, watched and ended by requests."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from sememe.collections.migrating import Comparison, Migration, abandon_migration, pending_migration
from sememe.errors import CollectionMismatch, InputError, Overloaded
from sememe.records import TextEmbedder
from sememe.server.collections import life_bodies as bodies
from sememe.server.collections.bodies import Nothing
from sememe.server.collections.dialect import DIALECT, ONE, answer_of, delete_route, name_of, post_route
from sememe.server.collections.library import Library
from sememe.server.collections.served_embedder import ServedEmbedder
from sememe.server.exchange import Given, Route, get_route
from sememe.server.problems import problem_of

logger = logging.getLogger(__name__)

_PATH = f"{ONE}/migration"
_SHOWN_CHANGES = 20


class _Stopped(Exception):
    """Somebody asked the thread to end; what it has stored stays."""


@dataclass
class _Job:
    """One that this process runs, or has run. place: a folder or an address. error: in words, when it failed; compared:
    when it is ready."""

    place: Path | str
    model: str
    migration: Migration
    embedder: ServedEmbedder
    thread: threading.Thread | None = None
    is_stopping: bool = False
    error: str | None = None
    compared: Comparison | None = None


class Migrations:
    """At most one a collection. Called from threads."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()

    def start(self, name: str, model: str, queries: Sequence[str]) -> bodies.MigrationAnswer:
        """Begin, or go on with what was interrupted.

        Raises NotFound, CollectionMismatch while one to another model is under way, InputError.
        """
        place, collection = self._library.place(name), self._library.reading(name)
        if queries:
            try:
                self._library.bring_model(name)
            except CollectionMismatch as exc:
                raise InputError(
                    "Queries are asked of both models, and the collection's own is not served here. Leave `queries` out, "
                    "or serve that model too."
                ) from exc
        old = collection.embedder
        with self._lock:
            running = self._jobs.get(name)
            if running is not None and running.thread is not None and running.thread.is_alive():
                if running.model == model:
                    return self.state(name)
                raise Overloaded(
                    f"{name} is being migrated to {running.model}. Wait for it, or DELETE {_PATH} first.",
                    retry_after_seconds=10.0,
                )
            if running is not None:
                running.migration.close()
            embedder = self._library.embedder(model)
            # A folder is opened beside the requests, that they need not wait; a database as it is, which may let itself be
            # opened only once.
            opened = collection if isinstance(place, str) else None
            job = _Job(place, model, Migration(place, embedder, opened=opened), embedder)
            job.thread = threading.Thread(target=_run, args=(job, queries, old), name=f"migrate-{name}", daemon=True)
            self._jobs[name] = job
            job.thread.start()
        return self.state(name)

    def state(self, name: str) -> bodies.MigrationAnswer:
        """How far it is, also of one that another process began. Raises NotFound, InputError."""
        pending, job = pending_migration(self._library.reading(name)), self._jobs.get(name)
        if pending is None:
            return bodies.MigrationAnswer(state="none")
        answer = bodies.MigrationAnswer(
            state="interrupted",
            model=self._library.called(pending.about),
            n_done=pending.n_done,
            n_chunks=pending.n_chunks,
        )
        if job is None or job.place != self._library.place(name):
            return answer
        if job.compared is not None:
            changes = [
                bodies.QueryChangeAnswer(
                    query=one.query, overlap=one.overlap, before=list(one.before), after=list(one.after)
                )
                for one in job.compared.changes[:_SHOWN_CHANGES]
            ]
            return answer.model_copy(update={"state": "ready", "overlap": job.compared.overlap, "changes": changes})
        if job.error is not None:
            return answer.model_copy(update={"state": "failed", "error": job.error})
        return answer.model_copy(update={"state": "running"}) if job.thread and job.thread.is_alive() else answer

    def switch(self, name: str) -> None:
        """Make the new space the collection's. Raises InputError unless it is ready."""
        state = self.state(name)
        if state.state != "ready":
            raise InputError(
                f"The migration of {name} is not ready: {state.state}. POST {_PATH} begins it or goes on; GET it to see "
                "how far it is."
            )
        with self._lock:
            job = self._jobs.pop(name)
        job.migration.switch()
        self._library.forget(name)

    def abandon(self, name: str) -> None:
        """Stop, and forget what was built. Nothing happens where nothing was begun."""
        collection = self._library.reading(name)
        with self._lock:
            job = self._jobs.pop(name, None)
        if job is not None:
            _end(job)
        abandon_migration(collection)

    def close(self) -> None:
        """End the threads, each after its transaction; what they have stored stays."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            _end(job)


def _run(job: _Job, queries: Sequence[str], old: TextEmbedder | None) -> None:
    def stop_if_asked(n_chunks: int) -> None:
        if job.is_stopping:
            raise _Stopped

    try:
        with job.embedder.held():
            job.migration.run(stop_if_asked)
        job.compared = job.migration.compare(queries, old=old)
    except _Stopped:
        logger.info("a migration was stopped")
    except Exception as error:  # the thread's end: what happened is the migration's state
        problem = problem_of(error)
        if problem.kind == "internal":
            logger.error("a migration failed", exc_info=error)
        else:
            logger.warning("a migration failed: %s", error)
        job.error = problem.message


def _end(job: _Job) -> None:
    job.is_stopping = True
    if job.thread is not None:
        job.thread.join()
    job.migration.close()


def routes(migrations: Migrations) -> list[Route]:
    """Begin, watch, switch, abandon."""

    async def start(body: bodies.MigrationBody, given: Given) -> Response:
        name = name_of(given.request)
        return answer_of(await asyncio.to_thread(migrations.start, name, body.model, body.queries), status=202)

    async def state(request: Request) -> Response:
        return answer_of(await asyncio.to_thread(migrations.state, name_of(request)))

    async def switch(body: Nothing, given: Given) -> Response:
        name = name_of(given.request)
        await asyncio.shield(asyncio.to_thread(migrations.switch, name))
        return answer_of(await asyncio.to_thread(migrations.state, name))

    async def abandon(request: Request) -> Response:
        await asyncio.shield(asyncio.to_thread(migrations.abandon, name_of(request)))
        return Response(status_code=204)

    answer = bodies.MigrationAnswer
    return [
        post_route(_PATH, bodies.MigrationBody, start, answer, "Build another model's space, or go on", status=202),
        get_route(_PATH, DIALECT, state, answer=answer, summary="How far a migration is"),
        post_route(f"{_PATH}/switch", Nothing, switch, answer, "Make the new space the collection's"),
        delete_route(_PATH, abandon, None, "Stop, and forget the new space"),
    ]
