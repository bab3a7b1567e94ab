"""`sememe models`: lists, one entry, files; for a person, for a pipe, for a machine."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import huggingface_hub
import pytest
from typer.testing import CliRunner, Result

from hub_server import HubServer, Repository
from sememe.catalogue import Catalogue
from sememe.catalogue.shortlist import Needs, shortlist
from sememe.cli import model_tables, models
from sememe.errors import CheckpointError, InputError, NotFound

CATALOGUE = Catalogue.read()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models.app, list(arguments))


def rows(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.exception
    return [line.split("\t") for line in result.stdout.splitlines()]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    files = {"config.json": b"{}", "modules.json": b"[]", "tokenizer.json": b"{}", "model.safetensors": b"w" * 5000}
    repositories = {name: Repository(dict(files)) for name in ("org/model", "jinaai/jina-embeddings-v3")}
    with HubServer(repositories).running() as running:
        monkeypatch.setattr(huggingface_hub, "HfApi", functools.partial(huggingface_hub.HfApi, endpoint=running.url))
        yield running


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int, show: Callable[[], None]) -> list[str]:
    """The lines that a terminal of this width would show, without colours."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")  # on a dumb one rich does not ask for the width
    with redirect_stdout(Terminal()) as screen:
        show()
    return re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue()).splitlines()


# ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_piped_a_line_is_a_model_and_tabs_part_the_columns() -> None:
    result = run()
    table = rows(result)
    assert table[0][0] == "model"
    assert {row[0] for row in table[1:]} == {entry.id for entry in CATALOGUE.entries}
    assert len({len(row) for row in table}) == 1
    assert all(table[0])
    assert "125 of 125 models" in result.stderr


def test_filters_and_order() -> None:
    result = run(
        "--language", "German", "--commercial", "--task", "retrieval", "--max-params", "600M", "--sort", "size"
    )
    found = [row[0] for row in rows(result)[1:]]
    assert found[0] == "intfloat/multilingual-e5-small"
    assert "BAAI/bge-m3" in found
    assert "jinaai/jina-embeddings-v3" not in found
    assert "--why tells why" in result.stderr


def test_the_best_score_comes_first_on_the_benchmark_of_the_language() -> None:
    english, german = rows(run()), rows(run("--language", "de"))
    assert (english[1][0], german[1][0]) == ("Qwen/Qwen3-Embedding-8B", "Qwen/Qwen3-Embedding-8B")
    assert "MTEB(eng, v2)" in english[0]
    assert "MTEB(Multilingual)" in german[0]


def test_why_gives_every_reason() -> None:
    table = rows(run("--commercial", "--min-tokens", "8192", "--why"))
    reasons = {row[0].removeprefix("left out: "): row[1:] for row in table if row[0].startswith("left out: ")}
    assert reasons["naver/splade-v3"] == [
        "commercial use not allowed (CC-BY-NC-SA-4.0)",
        "reads 512 tokens, fewer than 8,192",
    ]


def test_json_holds_everything() -> None:
    body = json.loads(run("--outputs", "sparse,dense", "--why", "--json").stdout)
    assert [model["id"] for model in body["models"]] == ["Alibaba-NLP/gte-multilingual-base", "BAAI/bge-m3"]
    assert len(body["models"]) + len(body["left_out"]) == 125
    bge = body["models"][1]
    assert bge["license_verdict"] == "commercial use allowed"
    assert isinstance(bge["runs"], bool)
    assert "left_out" not in json.loads(run("--json").stdout)


def test_doubt_is_told() -> None:
    body = json.loads(run("--language", "de", "--modality", "image", "--json").stdout)
    doubts = {model["id"]: model["doubts"] for model in body["models"]}
    assert doubts["jinaai/jina-clip-v2"] == ["German unknown (89 languages)"]


def test_facts_from_memory_are_marked_in_the_list_and_in_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(entry for entry in CATALOGUE.entries if "max_tokens" in entry.unverified)
    head, *table = rows(run())
    row = next(row for row in table if row[0] == entry.id)
    assert "max_tokens" in row[head.index("from memory")]
    assert row[head.index("tokens")] == str(entry.max_tokens), "a program reads a number"
    assert any(line[0] == "reads" and line[1].endswith("tokens (from memory)") for line in rows(run("show", entry.id)))
    found = shortlist([entry], Needs())
    screen = on_a_terminal(
        monkeypatch,
        160,
        lambda: model_tables.print_shortlist(found, benchmark="MTEB(eng, v2)", runs=models.runs_here, why=False),
    )
    assert f"{entry.max_tokens}*" in screen[1]


def test_nothing_found_is_an_answer() -> None:
    result = run("--task", "rerank", "--max-params", "1")
    assert len(rows(result)) == 1
    assert result.stderr.startswith("0 of 125 models")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "search"], "No task 'search'. Known: retrieval"),
        (["--language", "xx"], "Language 'xx' is none"),
        (["--max-params", "many"], "--max-params 'many' is no quantity"),
        (["--max-memory", "2 parsecs"], "--max-memory '2 parsecs' is no quantity"),
        (["--sort", "beauty"], "--sort 'beauty' is unknown; expected score"),
        (["--benchmark", "IQ"], "--benchmark 'IQ': no model has a score of it. Known: "),
        (["--language", "de", "show", "bge-m3"], "language: for the list only"),
    ],
)
def test_wrong_usage_in_words(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "value"), [("500M", 5e8), ("1.5B", 1.5e9), ("2 GB", 2e9), ("800_000", 8e5), ("64kb", 64e3), ("7", 7.0)]
)
def test_quantities(text: str, value: float) -> None:
    assert models.read_quantity(text, "--max-params") == value


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 220])
def test_a_terminals_table_fits_and_keeps_what_matters(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shortlist(CATALOGUE.entries, Needs(language="de"))

    def show() -> None:
        model_tables.print_shortlist(found, benchmark="MTEB(Multilingual)", runs=lambda entry: True, why=False)

    lines = on_a_terminal(monkeypatch, width, show)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "bge-m3" in text
    assert re.search(r"jina-embeddings-v3 .* NON-COMMERCIAL", text)
    if width >= 80:
        assert re.search(r"multilingual-e5-large-instruct +.* 63\.22", text)
    if width >= 160:
        assert re.search(r"intfloat/multilingual-e5-large-instruct .* 512 .* MIT ", text)


def test_a_terminal_shows_reasons_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shortlist(CATALOGUE.entries, Needs(task="transcription"))

    def show() -> None:
        model_tables.print_shortlist(found, benchmark="MTEB(eng, v2)", runs=lambda entry: True, why=True)

    assert "BAAI/bge-m3  made for retrieval, similarity, not transcription" in on_a_terminal(monkeypatch, 100, show)


# ── one model ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_show_tells_the_licence_in_words() -> None:
    facts = dict(rows(run("show", "jina-embeddings-v3")))
    assert facts["licence"].startswith("CC-BY-NC-4.0: ")
    assert "NON-COMMERCIAL" in facts["licence"]
    assert facts["prompt retrieval.query"] == "'Represent the query for retrieving evidence documents: '"
    assert facts["may be cut to"] == "1024, 768, 512, 256, 128, 64, 32"


def test_show_works_for_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def show() -> None:
        for entry in CATALOGUE.entries:
            model_tables.print_entry(entry, CATALOGUE.legend, runs=False)
            json.dumps(models._entry_as_json(entry))

    lines = on_a_terminal(monkeypatch, 80, show)
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("licence") and "Apache-2.0" in line for line in lines)


def test_show_of_an_unknown_model_offers_near_ones() -> None:
    result = run("show", "bge-m4")
    assert isinstance(result.exception, NotFound)
    assert "Did you mean BAAI/bge-m3?" in str(result.exception)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pull_prints_the_folder_and_path_finds_it_again(server: HubServer, tmp_path: Path) -> None:
    pulled = run("pull", "org/model", "--cache-folder", str(tmp_path))
    assert pulled.exit_code == 0, pulled.exception
    folder = Path(pulled.stdout.strip())
    assert (folder / "model.safetensors").read_bytes() == b"w" * 5000
    assert "org/model: brought from the hub" in pulled.stderr
    server.requests.clear()
    assert run("path", "org/model", "--cache-folder", str(tmp_path)).stdout == pulled.stdout
    assert "already here" in run("pull", "org/model", "--cache-folder", str(tmp_path)).stderr
    assert server.requests == []


def test_pull_refresh_replaces_a_damaged_file(server: HubServer, tmp_path: Path) -> None:
    folder = Path(run("pull", "org/model", "--cache-folder", str(tmp_path)).stdout.strip())
    (folder / "model.safetensors").resolve().write_bytes(b"x" * 5000)
    assert isinstance(run("path", "org/model", "--cache-folder", str(tmp_path)).exception, CheckpointError)
    assert run("pull", "org/model", "--refresh", "--cache-folder", str(tmp_path)).exit_code == 0
    assert run("path", "org/model", "--cache-folder", str(tmp_path)).stdout.strip() == str(folder)


def test_pulling_a_non_commercial_model_says_so(server: HubServer, tmp_path: Path) -> None:
    result = run("pull", "jina-embeddings-v3", "--cache-folder", str(tmp_path))
    assert result.exit_code == 0, result.exception
    assert "note: CC-BY-NC-4.0" in result.stderr
    assert "NON-COMMERCIAL" in result.stderr


@pytest.mark.parametrize("variable", ["SEMEME_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_by_option_or_environment(
    variable: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["pull", "org/model", "--cache-folder", str(tmp_path)]
    assert "offline" in str(run(*arguments, "--offline").exception)
    monkeypatch.setenv(variable, "1")
    assert isinstance(run(*arguments).exception, NotFound)
    assert isinstance(run(*arguments, "--refresh").exception, InputError)
    assert server.requests == []


def test_path_brings_nothing(server: HubServer, tmp_path: Path) -> None:
    result = run("path", "org/model", "--cache-folder", str(tmp_path))
    assert isinstance(result.exception, NotFound)
    assert result.stdout == ""
    assert server.requests == []
