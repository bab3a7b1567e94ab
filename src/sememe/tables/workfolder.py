"""The work folder of a job, `OUT.partial/`: what has been embedded and not yet been put together.

    lock            held (flock) by the process that works on the job
    job.json        what the job is; written before the first shard, removed first when the job is done
    000000000000.arrow, …   one shard for each window, named by the rows before it
    assembled       the output while it is being written
    assembled.json  which file the finished output is, and the job's report; written before the rename

Every file but the lock is written under another name, flushed to the disk and renamed: it is whole or not there.
POSIX only (flock).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import pyarrow as pa

from sememe.errors import SememeError

_SHARD_KEY = b"sememe.shard"
_UNFINISHED = ".tmp"
_START_DIGITS = 12


@dataclass(frozen=True)
class Shard:
    """The embeddings of one window, on disk. digest: as `Window` has it. Counts are of its rows."""

    start: int
    n_rows: int
    digest: str
    n_tokens: int
    n_dropped: int
    n_truncated: int
    n_empty: int


class WorkFolder:
    """Use as a context manager: it is locked inside. Raises SememeError if another process works on the same output."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(out.name + ".partial")
        self.assembled = self.path / "assembled"
        self._job, self._finished = self.path / "job.json", self.path / "assembled.json"
        self._lock: int | None = None

    def __enter__(self) -> WorkFolder:
        while self._lock is None:
            try:
                self.path.mkdir(exist_ok=True)
            except FileExistsError as exc:
                raise SememeError(f"{self.path} is in the way: the job needs a folder of that name.") from exc
            self._lock = self._try_lock()
        for leftover in [*self.path.glob("*" + _UNFINISHED), self.assembled]:
            leftover.unlink(missing_ok=True)
        if not self._job.exists():
            self.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._job.exists():
            self._remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def describe(self, job: dict[str, object]) -> None:
        """Say what the job is; before the first shard."""
        write_json(self._job, job)

    def description(self) -> dict[str, object] | None:
        """What the unfinished job in this folder is; None if there is none."""
        return _read_json(self._job)

    def add(self, shard: Shard, rows: pa.Table) -> None:
        """Write one shard. It counts when this returns, whatever happens then."""
        schema = rows.schema.with_metadata({_SHARD_KEY: json.dumps(asdict(shard)).encode()})
        with (
            durable_file(self.path / f"{shard.start:0{_START_DIGITS}}.arrow") as file,
            pa.ipc.new_file(file, schema) as writer,
        ):
            writer.write_table(rows)

    def shards(self) -> list[Shard]:
        """The shards that there are, in the order of their rows. Raises SememeError for a damaged folder."""
        shards: list[Shard] = []
        for path in self._shard_paths():
            try:
                with pa.memory_map(str(path)) as source:
                    shard = Shard(**json.loads(pa.ipc.open_file(source).schema.metadata[_SHARD_KEY]))
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as exc:
                raise self._damaged(f"{path.name}: {exc}") from exc
            if shard.start != (shards[-1].start + shards[-1].n_rows if shards else 0):
                raise self._damaged(f"no rows before row {shard.start:,}")
            shards.append(shard)
        return shards

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each shard, mapped, one shard at a time."""
        for path in self._shard_paths():
            with pa.memory_map(str(path)) as source:
                yield pa.ipc.open_file(source).read_all().replace_schema_metadata(None)

    def publish(self, report: dict[str, object]) -> None:
        """Make the assembled file the output, in one step, and remove the folder's contents."""
        status = self.assembled.stat()
        write_json(self._finished, {"inode": status.st_ino, "size": status.st_size, "report": report})
        self.assembled.replace(self.out)
        _sync_folder(self.out.parent)
        self.clear()

    def finished_report(self) -> dict[str, object] | None:
        """The report of a job that was killed after its output was in place; None if it is not."""
        finished = _read_json(self._finished)
        if finished is None or not self.out.exists():
            return None
        status = self.out.stat()
        if (finished["inode"], finished["size"]) != (status.st_ino, status.st_size):
            return None
        report = finished["report"]
        assert isinstance(report, dict)
        return report

    def clear(self) -> None:
        """Remove everything but the lock; the description first, because without it the rest counts for nothing."""
        self._job.unlink(missing_ok=True)
        for path in [self._finished, self.assembled, *self._shard_paths(), *self.path.glob("*" + _UNFINISHED)]:
            path.unlink(missing_ok=True)

    def _remove(self) -> None:
        self.clear()
        (self.path / "lock").unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except OSError:
            return  # another process has begun here, or somebody keeps files of their own here

    def _try_lock(self) -> int | None:
        """Lock the folder. None if the folder went away in the meantime."""
        lock = self.path / "lock"
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            owner = os.read(handle, 20).decode() or "unknown"
            os.close(handle)
            raise SememeError(
                f"Another process (number {owner}) is writing {self.out}. Wait for it, or choose another output."
            ) from exc
        try:
            still_there = lock.stat().st_ino == os.fstat(handle).st_ino
        except FileNotFoundError:
            still_there = False
        if not still_there:
            os.close(handle)
            return None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        return handle

    def _shard_paths(self) -> list[Path]:
        return sorted(self.path.glob("[0-9]" * _START_DIGITS + ".arrow"))

    def _damaged(self, what: str) -> SememeError:
        return SememeError(f"{self.path} is damaged ({what}). Pass --overwrite to begin anew, or remove the folder.")


@contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is there under its name, whole and flushed to the disk, once the block is left well."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)  # on a full disk its room is needed
        raise


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder, so that a rename outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: dict[str, object]) -> None:
    """Write a JSON object as a durable file."""
    with durable_file(path) as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())


def _read_json(path: Path) -> dict[str, object] | None:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    assert isinstance(value, dict)
    return value
