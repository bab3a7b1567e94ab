"""`kill -9` at random moments of indexing, changing, compacting and migrating: nothing acknowledged is lost or twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.collections.killing import MODELS, WORKS, migrate, opened, text_of

from sememe.collections.options import SearchOptions

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("n_kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_and_nothing_is_twice(tmp_path: Path, n_kills: int) -> None:
    folder, log = tmp_path / "c", tmp_path / "log"
    moments, unsure = random.Random(n_kills), dict[int, int]()
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    for kill in range(n_kills):
        before = log.stat().st_size if log.exists() else 0
        command = [sys.executable, "-m", "tests.collections.killing", str(folder), str(log), str(kill)]
        command.append(WORKS[kill % len(WORKS)])  # of twenty moments each kind of work has five
        with subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE
        ) as child:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and child.poll() is None:  # until it is at work again
                if log.exists() and log.stat().st_size > before:
                    break
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.6))
            assert child.poll() is None, child.stderr.read().decode() if child.stderr else ""
            child.send_signal(signal.SIGKILL)
            child.wait()
        check(folder, log, unsure)


def check(folder: Path, log: Path, unsure: dict[int, int]) -> None:
    """Every document has the version acknowledged last, or a later one that was being stored when a process was killed.

    unsure: those, and how many lines the log had at the kill; this one's is added.
    """
    lines = [line.split(" ") for line in log.read_text("utf-8").splitlines()]
    acknowledged = {id: (int(version), number) for number, (id, version) in enumerate(lines)}
    versions = {int(version) for _, version in lines}
    unsure[int(lines[-1][1])] = len(lines)
    collection = opened(folder)
    stored = list(collection.documents())
    assert max(Counter(one.id for one in stored).values()) == 1
    assert acknowledged.keys() <= {one.id for one in stored}
    for one in stored:
        [chunk] = collection.chunks_of(one.id)
        assert chunk.text == collection.get(one.id).text
        version = int(chunk.text.partition(" version")[2])
        last, number = acknowledged.get(one.id, (None, -1))
        assert version == last or version not in versions or unsure.get(version, -1) > number, one.id
        hits = collection.search(chunk.text, len(stored) + 5, SearchOptions(mode="dense"))
        found = Counter(hit.document.id for hit in hits)
        assert found == Counter(other.id for other in stored)
        lexical = collection.search(text_of(one.id, version), 1, SearchOptions(mode="lexical"))
        assert lexical[0].chunk.text == chunk.text
    exact = collection.embedder.embed([one.chunk.text for one in collection.store.chunks_of(stored[0].id)]).dense  # type: ignore[union-attr]
    assert exact is not None
    keys = [one.key for one in collection.store.chunks_of(stored[0].id)]
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(collection.store.vectors(keys), unit, atol=1e-6)  # of the space that it says it has
    name = collection.about.model
    collection.close()
    with_next = Path(folder)
    migrate(with_next, MODELS["two" if name == "one" else "one"])  # goes on where it stopped, or begins
