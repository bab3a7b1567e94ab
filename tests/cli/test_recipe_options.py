"""`--recipe`: a folder whose files do not say how it is used goes through every command that opens a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import specimens
from relevance import RetrievalSet, write_retrieval_set
from sememe.cli import app
from sememe.errors import CheckpointError, InputError

COMMANDS = (
    *"embed index search rerank serve mcp evaluate mteb compare robustness load doctor".split(),
    "collections migrate",
)


@pytest.fixture(scope="module")
def bare(specimen_folder: Path) -> str:
    return str(specimens.make("bert", specimen_folder / "bare-cli", modules=None, sigma=0.3))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    texts = ["the dog", "the fox", "a cat sleeps", "birds"]
    documents = {f"d{i}": text for i, text in enumerate(texts)}
    queries = {f"q{i}": text for i, text in enumerate(texts[:3])}
    relevance = {f"q{i}": {f"d{i}": 1} for i in range(3)}
    return write_retrieval_set(tmp_path / "pets", RetrievalSet(documents, queries, relevance))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_opens_a_model_takes_it(command: str) -> None:
    run = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=200)
    assert run.exit_code == 0
    assert "--recipe" in run.stdout


def test_a_bare_folder_is_embedded_indexed_searched_and_evaluated(
    bare: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMEME_COLLECTIONS", str(tmp_path / "collections"))
    (tmp_path / "texts.txt").write_text("the dog\nthe fox\n")
    texts, out = str(tmp_path / "texts.txt"), str(tmp_path / "v.npy")
    without = CliRunner().invoke(app, ["embed", texts, "-m", bare, "-o", out])
    assert isinstance(without.exception, CheckpointError)
    said = ["--recipe", "pooling=mean", "--recipe", "query=find: "]
    model = ["-m", bare, *said]
    for command in (
        ["embed", texts, *model, "-o", out],
        ["index", texts, "-c", "pets", *model],
        ["search", "-c", "pets", "the dog", *said],
        ["search", texts, "the dog", *model],
        ["robustness", bare, *said, "--data", str(data), "--change", "upper case"],
    ):
        run = CliRunner().invoke(app, command)
        assert run.exit_code == 0, (command, run.exception)
    scores = []
    for words in (said, said[:2]):
        run = CliRunner().invoke(app, ["evaluate", bare, *words, "--data", str(data), "--json", "--resamples", "0"])
        (result,) = json.loads(run.stdout)
        scores.append(result["fingerprint"])
    assert scores[0] != scores[1], "the prompt for queries is part of the space"


def test_what_it_does_not_fit_is_refused(bare: str, data: Path) -> None:
    for command, words in (
        (
            ["evaluate", "http://localhost:9", "--data", str(data), "--recipe", "pooling=mean"],
            "for a model on this machine",
        ),
        (["load", "http://localhost:9", "--recipe", "pooling=mean"], "for a MODEL that is served"),
        (["compare", bare, "b", "--data", str(data), "--recipe", "pooling=mean"], "does not say which"),
        (["serve", "a", "--recipe", "b:pooling=mean", "--show-config"], "about b, which is not among a"),
    ):
        run = CliRunner().invoke(app, command)
        assert isinstance(run.exception, InputError), command
        assert words in str(run.exception)


def test_the_servers_options_show_whom_it_is_about() -> None:
    run = CliRunner().invoke(app, ["serve", "a", "--recipe", "pooling=mean", "--show-config"])
    assert '["a:pooling=mean"]  (command line)' in run.stdout
