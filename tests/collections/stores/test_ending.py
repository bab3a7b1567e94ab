"""The tests' PostgreSQL ends with them; a process that sleeps stands for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PROGRAM = """
import os, signal, sys
from pathlib import Path
from ending import ending_with_us

with ending_with_us(Path(sys.argv[1])):
    os.kill(os.getpid(), int(sys.argv[2]))
"""


def _hear_quit() -> None:
    """PostgreSQL hears SIGQUIT always; `sleep` would not where the tests run in the background of a shell."""
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [0, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_run_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    folder, log = tmp_path / "server", tmp_path / "server.log"
    (folder / "data").mkdir(parents=True)
    log.touch()
    server = subprocess.Popen(["sleep", "60"], preexec_fn=_hear_quit)
    (folder / "data/postmaster.pid").write_text(f"{server.pid}\n{folder}\n")
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), str(number)], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL
    )
    assert run.returncode == -number
    assert server.wait(30) == -signal.SIGQUIT
    deadline = time.monotonic() + 30
    while folder.exists() or log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
