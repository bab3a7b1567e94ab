"""What `sememe index` shows on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.weights
def test_a_terminal_sees_documents_done_chunks_a_second_and_the_time_left(tmp_path: Path, minilm_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i}.txt").write_text(f"Refunds of order {i} are paid within five days.")
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    command = ["index", str(folder), "-c", str(tmp_path / "c.collection"), "--model", str(minilm_path), "--offline"]
    process = subprocess.Popen([sys.executable, "-m", "sememe", *command], stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    assert process.wait() == 0
    assert b"| 0/60 [" in shown
    assert b" chunks/s]" in shown


def _read(number: int) -> bytes:
    try:
        return os.read(number, 65_536)
    except OSError:  # the other side is closed
        return b""
