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
        family = None if self._pid is None else _Family(self._pid)
        before = None if family is None else family.used()
        at_before = time.monotonic()
        while not self._ended.wait(_EVERY_SECONDS):
            now, at = None if family is None else family.used(), time.monotonic()
            gpu = _gpu() if self._has_gpu else (None, None)
            # A child that ended took its seconds with it: no figure rather than one below 0.
            cores = (
                (now[0] - before[0]) / (at - at_before) if now and before and now[0] >= before[0] and now[1] else None
            )
            self.moments.append(Moment(self._seconds(), cores, now[1] if now and now[1] else None, *gpu))
            before, at_before = now, at


class _Family:
    """A process and its descendants. They are looked for when any process has begun since: reading all of /proc costs
    milliseconds, which the server would not have.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._members, self._newest = pid, {pid}, ""

    def used(self) -> tuple[float, int]:
        """Seconds of processor time and resident bytes; 0 of one that is gone."""
        # The last field of loadavg, proc(5): the id given last.
        if (newest := (_PROC / "loadavg").read_text().split()[-1]) != self._newest:
            self._members, self._newest = _descendants(self._pid), newest
        ticks, pages = 0, 0
        for one in self._members:
            if stat := _stat(one):
                ticks += int(stat[11]) + int(stat[12])
            with suppress(OSError):
                pages += int((_PROC / str(one) / "statm").read_text().split()[1])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int) -> set[int]:
    """With the process itself."""
    stats = {int(process.name): _stat(int(process.name)) for process in _PROC.glob("[0-9]*")}
    parents = {one: int(stat[1]) for one, stat in stats.items() if stat}
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def _stat(pid: int) -> list[str]:
    """Fields of proc(5) from the third on, for the name in parentheses may hold spaces; parent, user and system time are
    1, 11 and 12 here. Empty of a process that has just ended.
    """
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _gpu() -> tuple[float | None, int | None]:
    """Percent of the busiest GPU's time, and the memory in use on all of them."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, check=True, timeout=5).stdout.splitlines()
        rows = [line.split(",") for line in lines if line.strip()]
        return max(float(percent) for percent, _ in rows), sum(int(mebibytes) for _, mebibytes in rows) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None, None
