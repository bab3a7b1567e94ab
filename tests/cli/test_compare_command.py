"""`sememe compare` as people use it: kill -9 and again, reports, words for what is wrong, exit statuses."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import FakeEmbedder
from relevance import RetrievalSet, write_retrieval_set
from sememe.cli import app
from sememe.errors import InputError
from sememe.evaluation.compare import running
from sememe.evaluation.compare.models import OpenedModel
from sememe.evaluation.compare.records import Measured

PROGRAM = [sys.executable, str(Path(__file__).with_name("compare_with_fake.py")), "compare", "fake"]
WINDOW = 8
N_TEXTS = 60


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty documents and twenty questions, no two alike."""
    documents = {f"d{i}": f"town {i} river {i % 7} bridge {i % 5}" for i in range(40)}
    queries = {f"q{i}": f"where is town {i} river" for i in range(20)}
    relevance = {f"q{i}": {f"d{i}": 1} for i in range(20)}
    return write_retrieval_set(tmp_path / "towns", RetrievalSet(documents, queries, relevance))


def options(data: Path, out: Path) -> list[str]:
    return ["--data", str(data), "-o", str(out), "--json", "--dtype", "float32,binary"]


def start(data: Path, out: Path, log: Path | None = None, seconds: float = 0.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "FAKE_SECONDS": str(seconds)} | ({"FAKE_LOG": str(log)} if log else {})
    command = [*PROGRAM, *options(data, out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def _faked(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_fake(name: str, precision: str, recipe: tuple[str, ...], offline: bool) -> OpenedModel:
        return OpenedModel(
            FakeEmbedder(name, dimension=16), "float32", "asked for", "float32", "cosine", False, "MIT", True
        )

    cost = Measured(1.0, 300_000_000, 100.0, 1000.0, 0.01, 0.02, 0.03)
    defaults = {**running.run_comparison.__kwdefaults__, "open_with": open_fake, "measure_with": lambda probe: cost}
    monkeypatch.setattr(running.run_comparison, "__kwdefaults__", defaults)


@pytest.mark.slow
@pytest.mark.usefixtures("_faked")
def test_killed_it_goes_on_and_embeds_nothing_twice(tmp_path: Path, data: Path) -> None:
    """kill -9 at a random moment; only what was in the model just then may be embedded again."""
    chance, out, log = random.Random(3), tmp_path / "out", tmp_path / "log"
    process = start(data, out, log, seconds=0.05)
    wanted = chance.randint(2, 4) * WINDOW
    while len(lines(log)) < wanted and process.poll() is None:
        time.sleep(0.005)
    time.sleep(chance.random() * 0.05)
    process.kill()
    process.communicate()
    first = lines(log)
    assert wanted <= len(first) < N_TEXTS
    assert not (out / "report.json").exists()
    log.unlink()
    process = start(data, out, log)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert not set(first[:-WINDOW]) & set(lines(log)), "the last window may not have been kept"
    assert len(first) + len(lines(log)) <= N_TEXTS + WINDOW
    assert json.loads((out / "report.json").read_text()) == json.loads(printed)
    whole = CliRunner().invoke(app, ["compare", "fake", *options(data, tmp_path / "whole")])
    of_whole, of_resumed = (
        {s["name"]: s["mean"] for s in json.loads(text)["systems"]} for text in (whole.stdout, printed)
    )
    assert of_resumed == of_whole


@pytest.mark.usefixtures("_faked")
def test_documents_alone_are_compared_on_and_said_to_be_synthetic(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "docs" / f"{name}.md").write_text(
            f"# All about {name}\n\nWe like {name} a lot. They eat. They sleep."
        )
    run = CliRunner().invoke(app, ["compare", "a", "--data", str(tmp_path / "docs"), "-o", str(tmp_path / "out")])
    assert run.exit_code == 0, run.exception
    assert "SYNTHETIC" in run.stdout
    assert "SYNTHETIC" in (tmp_path / "out/report.html").read_text()


@pytest.mark.usefixtures("_faked")
def test_the_reports(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    run = CliRunner().invoke(app, ["compare", "a", "b", "--data", str(data), "-o", str(out), "--dimensions", "4,full"])
    assert run.exit_code == 0, run.output
    assert run.stdout.startswith("**Take ")
    assert f"report: {out / 'report.html'}" in run.stderr
    assert (out / "report.md").read_text() == run.stdout.removesuffix("\n")
    names = [system["name"] for system in json.loads((out / "report.json").read_text())["systems"]]
    assert {"BM25", "a float32 4 float32", "b float32 16 float32", "a float32 16 float32 + BM25"} <= set(names)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--dimensions", "64,x"], "Dimensions are '64,x'"),
        (["--dtype", "int4"], "dtype 'int4' is not one of"),
        (["--precision", "bf17"], "Precision 'bf17' is not one of"),
        (["--precision", "bf16,bfloat16"], "expected each once"),
        (["--prompt", "maybe"], "prompt 'maybe' is not one of on, off"),
        (["--price-per-hour", "0"], "expected more than 0"),
    ],
)
def test_wrong_options_get_words(tmp_path: Path, data: Path, wrong: list[str], words: str) -> None:
    run = CliRunner().invoke(app, ["compare", "a", "--data", str(data), "-o", str(tmp_path / "out"), *wrong])
    assert isinstance(run.exception, InputError)
    assert words in str(run.exception)
    assert not (tmp_path / "out").exists()
