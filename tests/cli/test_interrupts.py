"""Ctrl-C at any moment of a command: one line, status 130, no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import specimens

# Says when it has begun: before that the interpreter itself answers.
_PROGRAM = "import sememe.__main__ as entry; print('begun', flush=True); entry.main()"
# A command in the middle of which an interrupt meets a callback, where Python drops what is raised.
_LOSING = """
import os, signal, sys, time, weakref
import sememe.__main__ as entry
from sememe.cli import app

class Thing:
    pass

@app.command()
def wait() -> None:
    thing = Thing()
    watch = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing
    time.sleep(100)  # longer than the test waits: the interrupt must wake it

sys.argv = ["sememe", "wait"]
entry.main()
"""
_MOMENTS = (0.02, 0.2, 0.4, 0.6, 0.9, 1.2, 1.5, 2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, specimen_folder: Path) -> Path:
    made = tmp_path_factory.mktemp("interrupted")
    specimens.make("bert", made / "model", sigma=0.3)
    texts = [f"town {i} lies on river {i % 7}" for i in range(20_000)]
    (made / "texts.txt").write_text("\n".join(texts))
    sts = [{"sentence1": text, "sentence2": f"{text} and a bridge", "score": i % 5} for i, text in enumerate(texts)]
    (made / "sts").mkdir()
    (made / "sts/test.jsonl").write_text("\n".join(map(json.dumps, sts)))
    (made / "rows.jsonl").write_text("\n".join(json.dumps({"id": str(i), "text": t}) for i, t in enumerate(texts)))
    return made


def test_an_interrupt_that_python_drops_comes_again() -> None:
    """As at the end of every import, whose callback drops the module's lock."""
    done = subprocess.run([sys.executable, "-c", _LOSING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["index", "embed", "search", "evaluate", "compare"])
def test_an_interrupt_is_one_line_whenever_it_comes(command: str, folder: Path, tmp_path: Path) -> None:
    model = str(folder / "model")
    arguments = {
        "index": ["rows.jsonl", "-c", "c", "-m", model, "--collections-dir", str(tmp_path)],
        "embed": ["texts.txt", "-o", str(tmp_path / "out.npy"), "-m", model],
        "search": ["rows.jsonl", "which river", "-m", model],
        "evaluate": [model, "--data", "sts"],
        "compare": [model, "--data", "sts", "-o", str(tmp_path / "compared")],
    }[command]
    n_interrupted = 0
    for moment in _MOMENTS:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, command, *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(moment)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:  # it was done before
            (tmp_path / "out.npy").unlink(missing_ok=True)  # else the next is refused
            continue
        n_interrupted += 1
        assert process.returncode == 130, (moment, process.returncode, err)
        assert "Traceback" not in err, moment
        assert err.strip().rpartition("\n")[2].lower().startswith("interrupted"), (moment, err)
    assert n_interrupted >= 2
