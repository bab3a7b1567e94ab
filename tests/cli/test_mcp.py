"""`sememe mcp` as a client starts it, and its refusals."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("mcp", reason="needs the extra mcp")

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from sememe.cli import app
from sememe.cli.mcp import Shelf
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.options import CollectionOptions
from sememe.errors import InputError, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two collections of words, which need no model."""
    for name, text in (("animals", "the red bird"), ("stones", "granite")):
        with Collection.create(tmp_path / name, None, CollectionOptions(outputs=())) as made:
            made.upsert([Document("d", text, "a title", "a.md")])
    return tmp_path


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_client_starts_it_and_searches(folder: Path) -> None:
    command = ["-c", "from sememe.cli import main; main()", "mcp", "--collections-dir", str(folder)]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
    async with Client(server) as client:
        listed = await client.call_tool("list_collections", {})
        assert isinstance(listed, CallToolResult)
        assert listed.structured_content is not None
        assert [one["name"] for one in listed.structured_content["result"]] == ["animals", "stones"]
        found = await client.call_tool("search", {"question": "bird", "collection": "animals"})
        assert isinstance(found, CallToolResult)
        assert found.structured_content is not None
        assert [one["id"] for one in found.structured_content["results"]] == ["animals/d"]


def test_only_the_named_collections_are_served(folder: Path) -> None:
    shelf = Shelf(folder, only=["stones"], offline=True)
    assert shelf.names() == ["stones"]
    assert shelf.collection("stones") is shelf.collection("stones")
    with pytest.raises(NotFound, match="There are: stones"):
        shelf.collection("animals")
    assert Shelf(folder / "nothing", only=None, offline=True).names() == []


def test_what_is_not_there_is_refused(folder: Path) -> None:
    runner = CliRunner()
    given = ["mcp", "--collections-dir", str(folder), "-c"]
    assert isinstance(runner.invoke(app, [*given, "plants"]).exception, NotFound)
    assert isinstance(runner.invoke(app, [*given, "a/b"]).exception, InputError)
