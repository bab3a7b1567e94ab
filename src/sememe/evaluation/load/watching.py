"""What the server's process uses while it is asked: processor, memory, and the GPU where there is one.

Read from Linux's /proc and from nvidia-smi; where there is neither, nothing is known, nothing is guessed, and it is said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sememe.evaluation.load.records import Moment

_EVERY_SECONDS = 0.5
_LISTENS = "0A"
_PROC = Path("/proc")


def listening_process(port: int) -> int | None:
    """The id of the process that listens on this port of this machine; None where it cannot be seen."""
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (_PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = [line.split() for line in lines]
        inodes |= {f[9] for f in fields if f[3] == _LISTENS and int(f[1].rpartition(":")[2], 16) == port}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in _PROC.glob("[0-9]*") if wanted else ():
        try:
            if any(str(link.readlink()) in wanted for link in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # another user's process, or one that has just ended
            continue
    return None


class Watcher:
    """Takes a moment twice a second, in a thread of its own. pid: None watches the GPU alone.

    seconds: gives the run's time. is_here: whether the server is on this machine, whose GPU says nothing of another's.
    """

    def __init__(self, pid: int | None, seconds: Callable[[], float], *, is_here: bool) -> None:
        self._pid, self._seconds = pid, seconds
        self._is_here, self._has_gpu = is_here, is_here and shutil.which("nvidia-smi") is not None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.moments: list[Moment] = []

    def __enter__(self) -> Watcher:
        if self._pid is not None or self._has_gpu:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def gpu_unknown(self) -> str:
        """Why no moment knows a GPU, "" where one does."""
        if not self._is_here:
            return "the server is not on this machine"
        if not self._has_gpu:
            return "there is no nvidia-smi here"
        return "" if any(m.gpu_percent is not None for m in self.moments) else "nvidia-smi tells nothing"

    def _watch(self) -> None:
        before = None if self._pid is None else _used(self._pid)
        at_before = time.monotonic()
        while not self._ended.wait(_EVERY_SECONDS):
            now, at = None if self._pid is None else _used(self._pid), time.monotonic()
            gpu = _gpu() if self._has_gpu else (None, None)
            # A child that ended took its seconds with it: no figure rather than one below 0.
            cores = (
                (now[0] - before[0]) / (at - at_before) if now and before and now[0] >= before[0] and now[1] else None
            )
            self.moments.append(Moment(self._seconds(), cores, now[1] if now and now[1] else None, *gpu))
            before, at_before = now, at


def _used(pid: int) -> tuple[float, int]:
    """Seconds of processor time and resident bytes of a process and its descendants; 0 of one that is gone."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for file in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # The name in parentheses may hold spaces; parent, user and system time are fields 4, 14 and 15 of proc(5).
            fields = file.read_text().rpartition(")")[2].split()
            parents[int(file.parent.name)] = int(fields[1])
            ticks[int(file.parent.name)] = int(fields[11]) + int(fields[12])
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    size = 0
    for one in family:
        with suppress(OSError):
            size += int((_PROC / str(one) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return sum(ticks.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK"), size


def _gpu() -> tuple[float | None, int | None]:
    """Percent of the busiest GPU's time, and the memory in use on all of them."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, check=True, timeout=5).stdout.splitlines()
        rows = [line.split(",") for line in lines if line.strip()]
        return max(float(percent) for percent, _ in rows), sum(int(mebibytes) for _, mebibytes in rows) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None, None
