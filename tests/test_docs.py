"""The documents say what is true: their code runs, their commands, options, targets and links are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

import sememe
from sememe.catalogue import Catalogue
from sememe.cli import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("benchmarks/*.md"))
# In messages an argument stands in capitals.
_COMMAND = re.compile(r"`(sememe [a-z][^`]*)`")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOT_COMMAND = typer.main.get_command(app)


def _blocks(path: Path, language: str) -> list[str]:
    return [body for tag, body in _FENCE.findall(path.read_text("utf-8")) if tag == language]


def _commands(path: Path) -> Iterator[str]:
    """Every `sememe …` of a file: between backticks, and at the beginning of a line of a block without a language."""
    text = path.read_text("utf-8")
    yield from _COMMAND.findall(text)
    if path.suffix == ".md":
        for block in _blocks(path, ""):
            yield from (re.split(r" {3,}|\s+#", line)[0] for line in block.splitlines() if line.startswith("sememe "))


def _refusal(command: str) -> str | None:
    """Why the command line does not have this command, None if it does. Arguments are not looked at."""
    words = shlex.split(command)[1:]
    here: TyperCommand | TyperGroup = ROOT_COMMAND
    if words and words[0] in ("-h", "--help", "--version", "-v", "--verbose"):
        return None
    while isinstance(here, TyperGroup) and words and not words[0].startswith("-"):
        if words[0] not in here.commands:
            return f"no command {words[0]!r}; there are {', '.join(here.commands)}"
        here = here.commands[words.pop(0)]
    known = {name for parameter in here.params for name in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
    unknown = asked - known - {"-h", "--help", "-o"}
    return f"no option {', '.join(sorted(unknown))}" if unknown else None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(path: Path) -> None:
    wrong = {command: why for command in _commands(path) if (why := _refusal(command))}
    assert not wrong


def test_the_readmes_names_come_from_the_package() -> None:
    """What it writes as `Name(…)` or `Name.method(…)`, without an import beside it, is one of `sememe`'s own."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(_FENCE, "", (ROOT / "README.md").read_text("utf-8")))
    names = {name for span in spans for name in re.findall(r"(?<![\w.])([A-Z]\w*[a-z]\w*)(?:\.\w+)?\(", span)}
    assert {"Reranker", "EmbedOptions", "Collection", "Client"} <= names
    assert names <= set(sememe.__all__)


def test_commands_in_messages_exist() -> None:
    """The remedy that an error names must be one."""
    files = sorted((ROOT / "src/sememe").rglob("*.py"))
    wrong = {
        f"{path.relative_to(ROOT)}: {command}": why
        for path in files
        for command in _commands(path)
        if "{" not in command and (why := _refusal(command))
    }
    assert not wrong


def test_options_in_messages_exist() -> None:
    known = {name for command in _all_commands() for p in command.params for name in (*p.opts, *p.secondary_opts)}
    wrong = []
    for path in sorted((ROOT / "src/sememe").rglob("*.py")):
        for option in re.findall(r"(?<!var)\((?:[^()]*, )?(--[a-z][a-z-]+)\)", path.read_text("utf-8")):
            if option not in known:
                wrong.append(f"{path.relative_to(ROOT)} names {option}")
    assert not wrong


def _all_commands(group: TyperGroup = ROOT_COMMAND) -> Iterator[TyperCommand | TyperGroup]:
    for command in group.commands.values():
        yield command
        if isinstance(command, TyperGroup):
            yield from _all_commands(command)


def test_every_command_and_option_has_help() -> None:
    for command in _all_commands():
        assert command.help, f"sememe {command.name} has no help"
        for parameter in command.params:
            described = getattr(parameter, "help", None)
            assert described, f"sememe {command.name}: {parameter.name} has no help"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        named = {
            word
            for line in re.findall(r"^make ([a-z -]+?)(?:\s+#|$)", path.read_text("utf-8"), re.MULTILINE)
            for word in line.split()
        }
        named |= set(re.findall(r"`make ([a-z-]+)`", path.read_text("utf-8")))
        assert named <= targets, path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_in_documents_exist(path: Path) -> None:
    """`engine/engine.py` may be said for src/sememe/engine/engine.py; `x.py` and `test_x.py` stand for any family's."""
    named = re.findall(
        r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml|toml|txt)|[\w-]+\.(?:yaml|toml))`", path.read_text("utf-8")
    )
    places = (ROOT, ROOT / "src/sememe", path.parent)
    there = [
        name
        for name in named
        if any((place / name).exists() for place in places) or name.endswith(("/x.py", "/test_x.py"))
    ]
    assert named == there


def test_the_number_of_checkpoints_is_true() -> None:
    entries = len(Catalogue.read().entries)
    for path in DOCUMENTS:
        for number in re.findall(r"catalogue of (\d+)", path.read_text("utf-8")):
            assert int(number) == entries, path.name


@pytest.mark.weights
@pytest.mark.parametrize("block", _blocks(ROOT / "README.md", "python"))
def test_the_readmes_code_runs(
    block: str, minilm_path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = block.replace('"all-MiniLM-L6-v2"', repr(str(minilm_path)))
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    if "print(" in code:
        assert capsys.readouterr().out
