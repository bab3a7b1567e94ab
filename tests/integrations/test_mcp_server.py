"""Talked to with mcp's own client: in this process, over HTTP, and as a command on standard input and output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="needs the extra mcp")

import uvicorn
from mcp import Client
from mcp.types import CallToolResult, TextContent
from tests.fakes import FakeEmbedder

from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.errors import NotFound
from sememe.integrations.mcp import FETCHED_CHARACTERS, build_server

pytestmark = pytest.mark.anyio


class Shelf:
    """A library of some open collections."""

    def __init__(self, **collections: Collection) -> None:
        self.collections = collections

    def names(self) -> list[str]:
        return sorted(self.collections)

    def collection(self, name: str) -> Collection:
        if name not in self.collections:
            raise NotFound(f"There is no collection {name!r}.")
        return self.collections[name]

    bare = collection


@pytest.fixture
def animals(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "animals", FakeEmbedder()) as made:
        texts = ["the red bird", "a blue fish", "stones"]
        made.upsert(Document(f"a/{i}", text, f"title {i}", f"{i}.md", {"n": i}) for i, text in enumerate(texts))
        made.upsert([Document("long", "word " * 50_000, metadata={"n": 9})])
        yield made


@pytest.fixture
def stones(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "stones", FakeEmbedder()) as made:
        yield made


async def call(client: Client, tool: str, **arguments: object) -> dict[str, object]:
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    content = answer.content[0]
    assert isinstance(content, TextContent)
    json.loads(content.text)  # for clients that read text alone
    return answer.structured_content


async def refused(client: Client, tool: str, **arguments: object) -> str:
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert answer.is_error
    content = answer.content[0]
    assert isinstance(content, TextContent)
    return content.text


async def test_tools_say_what_they_take(animals: Collection) -> None:
    async with Client(build_server(Shelf(animals=animals), version="1")) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"list_collections", "search", "fetch"}
        assert set(tools["search"].input_schema["properties"]) == {"question", "collection", "k", "filter"}
        assert tools["search"].input_schema["required"] == ["question"]
        assert tools["fetch"].input_schema["required"] == ["id"]
        assert all(tool.description and tool.annotations and tool.annotations.read_only_hint for tool in tools.values())


async def test_search_then_fetch(animals: Collection) -> None:
    async with Client(build_server(Shelf(animals=animals), version="1")) as client:
        listed = await call(client, "list_collections")
        assert listed["result"] == [{"name": "animals", "documents": 4, "chunks": 4, "model": "fake", "language": None}]
        results = (await call(client, "search", question="a red bird", k=2))["results"]
        assert isinstance(results, list)
        assert len(results) == 2
        assert results[0] | {"score": 0} == {
            "id": "animals/a/0", "title": "title 0", "text": "the red bird", "source": "0.md", "place": None, "heading": "",
            "score": 0, "metadata": {"n": 0},
        }  # fmt: skip
        found = await call(client, "fetch", id=results[0]["id"])
        assert (found["text"], found["next_offset"], found["n_characters"]) == ("the red bird", None, 12)
        filtered = await call(client, "search", question="a red bird", filter={"n": {"in": [1, 2]}})
        assert isinstance(filtered["results"], list)
        assert {one["metadata"]["n"] for one in filtered["results"]} == {1, 2}
        assert filtered["warnings"] == []
        vain = await call(client, "search", question="a red bird", filter={"m": 1})
        assert vain == {"results": [], "warnings": ["No document has the field 'm' that the filter names."]}


async def test_a_long_document_comes_in_pieces(animals: Collection) -> None:
    async with Client(build_server(Shelf(animals=animals), version="1")) as client:
        pieces: list[str] = []
        offset: object = 0
        while offset is not None:
            piece = await call(client, "fetch", id="animals/long", offset=offset)
            pieces.append(str(piece["text"]))
            offset = piece["next_offset"]
        assert "".join(pieces) == "word " * 50_000
        assert max(map(len, pieces)) == FETCHED_CHARACTERS


async def test_errors_are_told_in_words(animals: Collection, stones: Collection) -> None:
    async with Client(build_server(Shelf(animals=animals, stones=stones), version="1")) as client:
        assert "animals, stones" in await refused(client, "search", question="x")
        assert "no collection 'plants'" in await refused(client, "search", question="x", collection="plants")
        assert "1 to 100" in await refused(client, "search", question="x", collection="animals", k=1000)
        assert "empty" in await refused(client, "search", question=" ", collection="animals")
        assert "no comparison" in await refused(
            client, "search", question="x", collection="animals", filter={"n": {"~": 1}}
        )
        assert "COLLECTION/DOCUMENT" in await refused(client, "fetch", id="x")
        assert "'nothing'" in await refused(client, "fetch", id="animals/nothing")
        assert "none at 99" in await refused(client, "fetch", id="animals/a/0", offset=99)
        assert (await call(client, "search", question="x", collection="stones"))["results"] == []


@asynccontextmanager
async def served(collection: Collection) -> AsyncIterator[str]:
    app = build_server(Shelf(animals=collection), version="1").streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await running


async def test_over_http(animals: Collection) -> None:
    async with served(animals) as address, Client(address) as client:
        results = (await call(client, "search", question="stones", k=1))["results"]
        assert isinstance(results, list)
        assert results[0]["id"] == "animals/a/2"
