"""`sememe embed` as people use it: options, messages, exit statuses, Ctrl-C and kill -9."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from fakes import FakeEmbedder
from sememe.cli import app
from sememe.errors import InputError
from sememe.tables.running import n_kept_rows

PROGRAM = [sys.executable, str(Path(__file__).with_name("embed_with_fake.py")), "embed"]
N_ROWS = 3000


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """Puts the fake in the place of `Embedder`; how it was made."""
    calls: list[tuple[str, dict[str, object]]] = []

    def make(name: str, **options: object) -> FakeEmbedder:
        calls.append((name, options))
        return FakeEmbedder(name)

    monkeypatch.setattr("sememe.engine.opening.Embedder", make)
    return calls


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"text number {n}\n" for n in range(N_ROWS)))
    return path


def embed(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["embed", *map(str, arguments)])


def start(
    *arguments: object, log: Path | None = None, seconds: float = 0.0, **streams: object
) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    environment = {**os.environ, "FAKE_LOG": str(log or os.devnull), "FAKE_SECONDS": str(seconds)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], env=environment, text=True, **streams)  # type: ignore[call-overload,no-any-return]


def n_lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def wait_for_rows(process: subprocess.Popen[str], log: Path, n_rows: int) -> None:
    """Wait until the process has begun to embed so many rows, or has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and n_lines(log) < n_rows:
        assert time.monotonic() < deadline
        time.sleep(0.002)


# ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_option_reaches_the_embedder(
    tmp_path: Path, source: Path, made: list[tuple[str, dict[str, object]]]
) -> None:
    out = tmp_path / "out.parquet"
    options = [
        "--model",
        "tiny",
        "--prompt",
        "query:",
        "--dimensions",
        "4",
        "--normalize",
        "--max-tokens",
        "9",
        "--truncate",
    ]
    kinds = ["--output", "dense", "--output", "multi-vector", "--output", "sparse"]
    place = ["--backend", "torch", "--precision", "float32", "--device", "cpu", "--offline"]
    recipe = ["--recipe", "pooling=cls", "--recipe", "like=BAAI/bge-m3", "--recipe", "tiny:query=ask: "]
    result = embed(source, "-o", out, *options, *kinds, *place, *recipe, "--embedding-column", "v", "--json")
    assert result.exit_code == 0, result.output
    ((name, given),) = made
    place_given = {key: given[key] for key in ("device", "backend", "precision", "offline", "pooling", "like")}
    assert name == "tiny"
    assert place_given == {
        "device": "cpu",
        "backend": "torch",
        "precision": "float32",
        "offline": True,
        "pooling": "cls",
        "like": "BAAI/bge-m3",
    }
    assert given["prompts"] == {"query": "ask: "}
    report = json.loads(result.stdout)
    assert report["n_rows"] == N_ROWS
    assert report["n_tokens"] == 5 * N_ROWS
    assert report["n_dropped_tokens"] == 0
    assert report["outputs"] == ["dense", "multi_vector", "sparse"]
    assert report["dimension"] == 4
    assert report["fingerprint"]
    assert report["texts_per_second"] > 0
    assert report["tokens_per_second"] == pytest.approx(5 * report["texts_per_second"])
    names = pq.read_schema(out).names
    assert names == ["text", "v_n_tokens", "v_n_dropped", "v", "v_multi_vector", "v_sparse"]


def test_messages_say_what_was_done_and_what_to_know(tmp_path: Path, made: list[tuple[str, dict[str, object]]]) -> None:
    (tmp_path / "in.csv").write_text("key,content\n1,\n2,some words\n3," + "word " * 20 + "\n")
    result = embed(tmp_path / "in.csv", "-o", tmp_path / "out.npz", "--dtype", "int8", "--id-column", "key")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"3 rows → {tmp_path / 'out.npz'} (dense, 8 × int8, " in result.stderr
    assert "3 embedded in" in result.stderr
    assert "texts/s" in result.stderr
    assert "tokens/s. Model sentence-transformers/all-MiniLM-L6-v2, space " in result.stderr
    assert "Texts are from column content." in result.stderr
    assert "1 rows are empty" in result.stderr
    assert "1 rows are too long for the model: 6 tokens at their ends were not read." in result.stderr
    assert np.load(tmp_path / "out.npz")["ids"].tolist() == ["1", "2", "3"]
    quiet = embed(tmp_path / "in.csv", "-o", tmp_path / "quiet.npz", "--quiet")
    assert quiet.output == ""


def test_an_empty_file_gives_an_empty_output_and_a_message(
    tmp_path: Path, made: list[tuple[str, dict[str, object]]]
) -> None:
    (tmp_path / "in.txt").write_text("")
    result = embed(tmp_path / "in.txt", "-o", tmp_path / "out.npy")
    assert result.exit_code == 0
    assert "no rows: the output is empty, but valid" in result.stderr
    assert np.load(tmp_path / "out.npy").shape == (0, 8)


def test_inputs_are_checked_before_the_model_is_loaded(
    tmp_path: Path, made: list[tuple[str, dict[str, object]]]
) -> None:
    result = embed(tmp_path / "none.txt", "-o", tmp_path / "out.npy")
    assert isinstance(result.exception, InputError)
    assert made == []


@pytest.mark.parametrize("arguments", [["in.txt"], ["-o", "out.npy"], ["in.txt", "-o", "o.npy", "--dtype", "int7"]])
def test_wrong_usage_has_status_2(arguments: list[str]) -> None:
    assert embed(*arguments).exit_code == 2


# ── as a process ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_is_one_message_and_a_status(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out.npy").write_text("")
    process = start(source, "-o", tmp_path / "out.npy")
    _, messages = process.communicate(timeout=60)
    assert process.returncode not in (0, -6)
    assert "out.npy exists" in messages
    assert "Traceback" not in messages


def test_standard_input_is_read_as_lines_or_as_said(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    process = start("-", "-o", out, "--json", stdin=subprocess.PIPE)
    printed, messages = process.communicate("one\n\nthree\n", timeout=60)
    assert process.returncode == 0, messages
    assert json.loads(printed)["n_rows"] == 3
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == ["one", "", "three"]
    record = '{"id": 1, "text": "one"}\n'
    process = start("-", "-o", out, "--overwrite", stdin=subprocess.PIPE)
    assert "looks like JSON lines. Pass --format jsonl" in process.communicate(record, timeout=60)[1]
    process = start("-", "-o", out, "--overwrite", "--format", "jsonl", stdin=subprocess.PIPE)
    assert process.communicate(record, timeout=60)[1].count("1 rows →") == 1
    assert json.loads(out.read_text())["id"] == 1


@pytest.mark.usefixtures("made")
def test_the_bar_is_on_a_terminal_only(tmp_path: Path, source: Path) -> None:
    assert "\r" not in embed(source, "-o", tmp_path / "a.npy").stderr
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = start(source, "-o", tmp_path / "b.npy", seconds=0.05, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # the process has closed its end
            break
    os.close(ours)
    assert process.wait(60) == 0
    for part in ("3000/3000", "texts/s", "tokens/s", "00:0"):
        assert part in shown.decode()


@pytest.mark.usefixtures("made")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, source: Path) -> None:
    out, log = tmp_path / "out.npy", tmp_path / "log"
    process = start(source, "-o", out, "--window", 64, log=log, seconds=0.05)
    wait_for_rows(process, log, 640)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in messages
    n_kept = n_kept_rows(out)
    assert n_kept >= 512
    assert f"Interrupted. {n_kept:,} rows are kept in {out}.partial; run the same command again" in messages
    assert f"Going on: {n_kept:,} rows are kept" in embed(source, "-o", out, "--window", 64).stderr
    assert len(np.load(out)) == N_ROWS


def test_ctrl_c_ends_a_job_that_waits_for_standard_input(tmp_path: Path) -> None:
    process = start("-", "-o", tmp_path / "out.npy", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("one\ntwo\n")
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not (tmp_path / "out.npy.partial" / "job.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert process.stderr is not None
    assert process.stderr.read() == "Interrupted, before any row was done.\n"
    process.stdin.close()


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(("name", "seed"), [pytest.param("out.npy", 1, marks=pytest.mark.slow), ("out.parquet", 2)])
def test_killed_at_any_moment_nothing_is_lost_or_done_twice(tmp_path: Path, source: Path, name: str, seed: int) -> None:
    """kill -9, at random moments, until the job is done; the output is that of a job left in peace."""
    chance = random.Random(seed)
    out, whole = tmp_path / name, tmp_path / f"whole.{name}"
    assert embed(source, "-o", whole, "--window", 64).exit_code == 0
    texts = source.read_text().splitlines()
    n_runs = 0
    while not out.exists():
        n_kept, log = n_kept_rows(out), tmp_path / f"log {n_runs}"
        process = start(source, "-o", out, "--window", 64, log=log, seconds=0.01)
        wait_for_rows(process, log, chance.randint(1, 900))
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.communicate()
        embedded = log.read_text().splitlines() if log.exists() else []
        assert embedded == texts[n_kept : n_kept + len(embedded)], "in order, from the first row that is missing"
        assert n_kept <= n_kept_rows(out) <= n_kept + len(embedded) or out.exists()
        n_runs += 1
    embed(source, "-o", out, "--window", 64)  # if it was killed behind the rename: removes the work folder
    assert n_runs >= 3
    assert out.read_bytes() == whole.read_bytes()
    assert not Path(f"{out}.partial").exists()
