"""One writer at a time: a lock file that says who holds it, and that the system releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sememe.errors import Overloaded

_POLL_SECONDS = 0.02


@contextmanager
def writer_lock(path: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the lock inside. Raises Overloaded, which names the holder, when another process keeps it for so long."""
    with path.open("a+", encoding="utf-8") as file:
        _acquire(file.fileno(), path, wait_seconds)
        try:
            file.truncate(0)
            file.write(_who())
            file.flush()
            yield
        finally:
            file.truncate(0)
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)


def _acquire(handle: int, path: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Overloaded(
                    f"The collection {path.parent.name} is being written by {_holder(path)}. It was waited for "
                    f"{wait_seconds:g} s; try again when it is done, or end it: nothing it has acknowledged is lost.",
                    retry_after_seconds=max(wait_seconds, 1.0),
                ) from None
            time.sleep(_POLL_SECONDS)


def _who() -> str:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]]) if sys.argv else "python"
    return json.dumps(
        {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "command": command[:80],
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text("utf-8"))
        return f"process {found['process']} on {found['host']} ({found['command']}), since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just been taken
        return "another process"
