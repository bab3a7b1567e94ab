"""`sememe mteb` on mteb's own mock data: its results in its format, taken again, and words where there are no data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import specimens
from sememe.cli import app
from sememe.errors import NotFound, SememeError

mteb = pytest.importorskip("mteb")


@pytest.fixture(scope="module")
def model(specimen_folder: Path) -> str:
    return str(specimens.make("bert", specimen_folder / "mteb", sigma=0.3))


def test_results_in_mtebs_own_format(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mteb.mocks.mock_tasks import MockRetrievalTask

    monkeypatch.setattr(mteb, "get_task", lambda name: MockRetrievalTask())
    command = ["mteb", model, "-t", "MockRetrievalTask", "-o", str(tmp_path), "--json"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.exception
    (result,) = json.loads(run.stdout)
    assert result["task_name"] == "MockRetrievalTask"
    (file,) = tmp_path.rglob("MockRetrievalTask.json")
    written = mteb.TaskResult.from_disk(file)
    assert written.get_score() == pytest.approx(result["scores"]["test"][0]["main_score"])
    monkeypatch.setattr("sememe.engine.engine.Engine.embed", None)  # what is there is taken, not computed
    assert CliRunner().invoke(app, command).exit_code == 0


def test_what_cannot_be_run_gets_words(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mteb.mocks.mock_tasks import MockRetrievalTask

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the hub")

    run = CliRunner().invoke(app, ["mteb", model, "-t", "Nonsense", "-o", str(tmp_path)])
    assert isinstance(run.exception, NotFound)
    monkeypatch.setattr(mteb, "get_task", lambda name: MockRetrievalTask())
    monkeypatch.setattr(MockRetrievalTask, "load_data", unreachable)
    run = CliRunner().invoke(app, ["mteb", model, "-t", "MockRetrievalTask", "-o", str(tmp_path)])
    assert isinstance(run.exception, SememeError)
    assert "Couldn't reach the hub" in str(run.exception)
