from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.load.serving import Behaviour, server

from sememe.errors import InputError
from sememe.evaluation.load.address import read_address
from sememe.evaluation.load.asking import first_model
from sememe.evaluation.load.dialects import OpenAiDialect
from sememe.evaluation.load.loops import arrivals
from sememe.evaluation.load.mix import Mix
from sememe.evaluation.load.options import Level, LoadOptions, Loop, read_levels
from sememe.evaluation.load.records import LoadResult
from sememe.evaluation.load.report import lines, to_html, to_json
from sememe.evaluation.load.running import ServerUnreachable, run_load
from sememe.evaluation.load.watching import Watcher, _Family, listening_process

MIX = Mix((*((f"text {'x' * i}",) for i in range(9)), ("one", "two")), "a test", numbered=True)


def run(url: str, options: LoadOptions) -> LoadResult:
    dialect = OpenAiDialect("served")
    address = read_address(url, dialect.path)
    return run_load(address, dialect, first_model(address), MIX, options, pid=os.getpid())


def test_closed_loop_counts_every_request_and_checks_vectors() -> None:
    options = LoadOptions(levels=read_levels("closed", "1,1..4"), stage_seconds=0.4, check_every=2)
    with server(Behaviour()) as url:
        found = run(url, options)
    one, ramp = found.stages
    assert one.level == "1 client"
    assert ramp.level == "1..4 clients"
    assert one.ok == one.requests > 0
    assert not found.interrupted
    assert found.checks.n_vectors > 0
    assert found.checks.min_cosine == pytest.approx(1)
    assert found.model == "served"
    assert json.loads(json.dumps(to_json(found)))["stages"][0]["ok"] == one.ok
    assert "<svg" in to_html(found)
    assert any("smallest cosine" in line for line in lines(found))


def test_the_gpu_is_watched_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '10, 100'\necho '35, 200'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with server(Behaviour()) as url:
        found = run(url, LoadOptions(levels=read_levels("closed", "1"), stage_seconds=1.2))
    first = found.moments[0]
    assert (first.gpu_percent, first.gpu_memory_bytes) == (35.0, 300 * 2**20)
    assert any(line.startswith("GPU: 35 % on average, 35 % and 315 MB at most") for line in lines(found))
    assert "The GPU, all its processes" in to_html(found)


@pytest.mark.parametrize(
    ("says", "reason"), [(None, "there is no nvidia-smi here"), ("failed", "nvidia-smi tells nothing")]
)
def test_why_no_gpu_is_known_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, reason: str
) -> None:
    if says is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with server(Behaviour()) as url:
        found = run(url, LoadOptions(levels=read_levels("closed", "1"), stage_seconds=0.6))
    assert f"GPU: not known, since {reason}." in lines(found)
    assert to_json(found)["gpu_unknown"] == reason
    assert "The GPU" not in to_html(found)


def test_anothers_machine_has_not_this_ones_gpu() -> None:
    with Watcher(None, lambda: 0.0, is_here=False) as watcher:
        assert watcher.gpu_unknown == "the server is not on this machine"


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_stage_ends_after_so_many_requests(loop: Loop) -> None:
    with server(Behaviour()) as url:
        found = run(url, LoadOptions(levels=read_levels(loop, "4,500"), stage_seconds=0.5, max_requests=7, n_checked=0))
    assert found.stages[-1].requests == 7
    assert all(stage.requests <= 7 for stage in found.stages)


def test_a_stall_delays_everything_that_was_to_come() -> None:
    """The point of an open loop: with one request stalled, those due meanwhile count from when they were due."""
    options = LoadOptions(levels=read_levels("open", "100"), stage_seconds=0.8, n_checked=1, max_connections=64)
    with server(Behaviour(stall_at=20, stall_seconds=0.5)) as url:
        found = run(url, options)
    slow = [request for request in found.requests if request.seconds > 0.1]
    assert len(slow) > 20
    assert found.stages[0].good < found.stages[0].ok or found.options.objective_seconds > 0.5


def test_waiting_for_a_connection_counts() -> None:
    options = LoadOptions(levels=read_levels("open", "100"), stage_seconds=0.5, n_checked=1, max_connections=1)
    with server(Behaviour(stall_at=5, stall_seconds=0.4)) as url:
        found = run(url, options)
    assert max(request.sent - request.intended for request in found.requests) > 0.1
    assert found.stages[0].longest > 0.1


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (Behaviour(after=20, status=429), "status 429"),
        (Behaviour(after=20, closes=True), "connection closed"),
        (Behaviour(after=20, turned=True), "wrong vectors"),
    ],
)
def test_errors_are_counted_by_kind(behaviour: Behaviour, kind: str) -> None:
    options = LoadOptions(levels=read_levels("closed", "2"), stage_seconds=0.3, check_every=2)
    with server(behaviour) as url:
        found = run(url, options)
    stage = found.stages[0]
    assert set(stage.errors) == {kind}
    assert stage.ok + sum(stage.errors.values()) == stage.requests
    assert any(kind in line for line in lines(found))


@pytest.mark.parametrize(("loop", "level"), [("closed", "3"), ("open", "200")])
def test_ctrl_c_ends_the_run_with_what_there_is(loop: Loop, level: str) -> None:
    """In a process of its own: one of pytest-xdist's ended by the signal in two whole runs, and in none of this file."""
    code = f"import sys; sys.path[:0] = {sys.path!r}; from {__name__} import interrupted; interrupted(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, loop, level], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def interrupted(loop: Loop, level: str) -> None:
    options = LoadOptions(levels=read_levels(loop, f"{level},{level}"), stage_seconds=60, n_checked=2)
    with server(Behaviour(interrupt_at=20)) as url:
        found = run(url, options)
    assert found.interrupted
    assert found.n_unfinished >= 1
    assert len(found.requests) >= 10
    assert {request.stage for request in found.requests} == {0}
    assert "Interrupted" in "\n".join(lines(found))


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_mistake_in_the_generator_ends_the_run(loop: Loop) -> None:
    """And is raised: what is called by the event loop has no caller to raise to, and the run would never end."""

    class Mistaken(OpenAiDialect):
        n = 0

        def vectors(self, body: bytes) -> NDArray[np.float32]:
            self.n += 1
            if self.n > 5:
                raise ZeroDivisionError
            return super().vectors(body)

    dialect = Mistaken("served")
    options = LoadOptions(levels=read_levels(loop, "4"), stage_seconds=60, n_checked=2, check_every=1)
    with server(Behaviour()) as url, pytest.raises(ZeroDivisionError):
        run_load(read_address(url, dialect.path), dialect, "served", MIX, options)


def test_arrivals_are_the_same_whatever_the_server_does() -> None:
    sent = []
    for behaviour in (Behaviour(), Behaviour(stall_at=10, stall_seconds=0.2)):
        with server(behaviour) as url:
            found = run(url, LoadOptions(levels=read_levels("open", "100"), stage_seconds=0.4, n_checked=2))
        sent.append(np.array([request.intended for request in found.requests]))
        assert all(request.sent >= request.intended for request in found.requests)
    gaps = [np.diff(moments) for moments in sent]
    np.testing.assert_allclose(gaps[0], gaps[1], atol=1e-9)


def test_no_server_is_said_in_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerUnreachable, match="No answer"):
        run(f"http://127.0.0.1:{port}", LoadOptions())


def test_a_server_that_refuses_at_rest_is_said_with_its_words() -> None:
    with server(Behaviour(after=0, status=401)) as url, pytest.raises(ServerUnreachable, match=r"401: .*too much"):
        run(url, LoadOptions())


def test_the_listening_process_is_found() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert listening_process(listening.getsockname()[1]) in (os.getpid(), None)


def test_a_child_that_begins_later_belongs_to_the_server_too() -> None:
    family = _Family(os.getpid())
    family.used()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        family.used()
        assert {os.getpid(), child.pid} <= family._members
        child.communicate(b"\n")


def test_arrivals_are_poisson_at_the_rate() -> None:
    moments = np.array(list(arrivals(Level("open", 200, 200), 50, random.Random(0))))
    gaps = np.diff(moments)
    assert len(moments) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # exponential


@pytest.mark.parametrize(("first", "last", "half"), [(10, 190, 0.275), (190, 10, 0.725)])
def test_a_ramp_grows_evenly(first: float, last: float, half: float) -> None:
    moments = np.array(list(arrivals(Level("open", first, last), 100, random.Random(1))))
    assert len(moments) == pytest.approx(10_000, rel=0.05)
    assert (moments < 50).mean() == pytest.approx(half, abs=0.02)
    assert (np.diff(moments) >= 0).all()


@pytest.mark.parametrize("text", ["", "0", "1.5", "a", "4..", "1,,2"])
def test_levels_that_are_none(text: str) -> None:
    with pytest.raises(InputError):
        read_levels("closed", text)


def test_numbered_requests_never_repeat() -> None:
    stream = MIX.stream(0)
    texts = [text for _ in range(50) for text in next(stream)]
    assert len(set(texts)) == len(texts)
