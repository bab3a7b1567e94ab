"""Routes that keep collections: figures, copies on the server, and files that leave it or come to it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sememe.collections.exporting import export_parquet, import_parquet
from sememe.collections.snapshots import is_snapshot, restore, take_snapshot
from sememe.errors import NotFound
from sememe.server.collections import life_bodies as bodies
from sememe.server.collections.bodies import Nothing
from sememe.server.collections.dialect import DIALECT, ONE, answer_of, delete_route, name_of, post_route
from sememe.server.collections.library import Library
from sememe.server.exchange import Claim, Given, Route, answering, get_route
from sememe.server.problems import Problem, ProblemError

PARQUET = "application/vnd.apache.parquet"
_SNAPSHOTS = "/v1/snapshots"
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,149}")


def routes(library: Library) -> list[Route]:
    """Figures, snapshots, restoring, export and import."""
    do = _Handlers(library)
    return [
        get_route(f"{ONE}/stats", DIALECT, do.stats, answer=bodies.StatsAnswer, summary="Figures of a collection"),
        post_route(f"{ONE}/snapshot", Nothing, do.snapshot, bodies.SnapshotAnswer, "Copy a collection"),
        get_route(_SNAPSHOTS, DIALECT, do.snapshots, answer=bodies.SnapshotsAnswer, summary="Copies of collections"),
        delete_route(f"{_SNAPSHOTS}/{{snapshot}}", do.delete_snapshot, None, "Delete a copy"),
        post_route(
            f"{ONE}/restore",
            bodies.SnapshotBody,
            do.restore,
            bodies.ImportAnswer,
            "Make a new collection from a copy",
            status=201,
        ),
        _export_route(do),
        _import_route(do),
    ]


def _export_route(do: _Handlers) -> Route:
    made = get_route(f"{ONE}/export", DIALECT, do.export, answer=None, summary="All of a collection as Parquet")
    return replace(made, gives_file=PARQUET)


def _import_route(do: _Handlers) -> Route:
    claims = (Claim(DIALECT, None, bodies.ImportAnswer),)
    summary = "Make a new collection from an exported file; nothing is embedded"
    endpoint = answering(DIALECT, do.import_file)
    return Route(f"{ONE}/import", endpoint, claims, summary=summary, status=201, takes_file=PARQUET)


class _Handlers:
    """One method a route. What a collection does is done on a thread."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def stats(self, request: Request) -> Response:
        def work() -> bodies.StatsAnswer:
            found = self._library.reading(name_of(request)).stats()
            return bodies.StatsAnswer(
                documents=found.documents,
                chunks=found.chunks,
                generation=found.generation,
                truth_bytes=None if found.sizes is None else found.sizes.truth,
                derived_bytes=None if found.sizes is None else found.sizes.derived,
                recall=found.recall,
            )

        return answer_of(await asyncio.to_thread(work))

    async def snapshot(self, body: Nothing, given: Given) -> Response:
        def work() -> str:
            name = name_of(given.request)
            collection = self._library.reading(name)
            made = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            folder = self._library.snapshots() / made
            try:
                take_snapshot(collection, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return made

        # Not cancelled with the client: a copy that nobody knows of would stay half made.
        return answer_of(bodies.SnapshotAnswer(snapshot=await asyncio.shield(asyncio.to_thread(work))))

    async def snapshots(self, request: Request) -> Response:
        def work() -> list[str]:
            folder = self._library.snapshots()
            return sorted(path.name for path in folder.iterdir() if is_snapshot(path)) if folder.is_dir() else []

        return answer_of(bodies.SnapshotsAnswer(snapshots=await asyncio.to_thread(work)))

    async def delete_snapshot(self, request: Request) -> Response:
        folder = self._snapshot(str(request.path_params["snapshot"]))
        await asyncio.to_thread(shutil.rmtree, folder)
        return Response(status_code=204)

    def _snapshot(self, name: str) -> Path:
        """A copy's folder. Raises NotFound, for a name that leads elsewhere too."""
        folder = self._library.snapshots() / name
        if not _SNAPSHOT.fullmatch(name) or not is_snapshot(folder):
            raise NotFound(f"There is no snapshot {name[:150]!r}. GET {_SNAPSHOTS} lists those that there are.")
        return folder

    async def restore(self, body: bodies.SnapshotBody, given: Given) -> Response:
        def work() -> bodies.ImportAnswer:
            folder = self._snapshot(body.snapshot)
            with self._library.making(name_of(given.request)) as place, restore(folder, place) as made:
                counts = made.count()
            return bodies.ImportAnswer(documents=counts.documents, chunks=counts.chunks)

        return answer_of(await asyncio.shield(asyncio.to_thread(work)), status=201)

    async def export(self, request: Request) -> Response:
        name = name_of(request)

        def work() -> Path:
            collection = self._library.reading(name)
            handle, file = tempfile.mkstemp(suffix=".parquet")
            os.close(handle)
            try:
                export_parquet(collection, Path(file))
            except BaseException:
                Path(file).unlink()
                raise
            return Path(file)

        file = await asyncio.to_thread(work)
        return FileResponse(
            file, media_type=PARQUET, filename=f"{name}.parquet", background=BackgroundTask(file.unlink)
        )

    async def import_file(self, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != PARQUET:
            raise ProblemError(
                Problem("media_type", f"The body's Content-Type is {media_type[:80] or 'none'}; expected {PARQUET}.")
            )
        raw = await request.body()

        def work() -> bodies.ImportAnswer:
            with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
                file.write(raw)
                file.flush()
                path = Path(file.name)
                with (
                    self._library.making(name_of(request)) as place,
                    import_parquet(path, place, called="The body") as made,
                ):
                    counts = made.count()
            return bodies.ImportAnswer(documents=counts.documents, chunks=counts.chunks)

        return answer_of(await asyncio.shield(asyncio.to_thread(work)), status=201)
