"""`sememe rerank`: the order of some texts by a model that reads the query beside each of them."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.options import JsonOption, OfflineOption, RecipeOption, is_offline, read_recipe
from sememe.errors import InputError, NotFound

DEFAULT_RERANKER = "cross-encoder/ms-marco-MiniLM-L6-v2"


def rerank(
    query: Annotated[str, typer.Argument(help="What the texts should answer.", show_default=False)],
    file: Annotated[str, typer.Argument(help="One text a line, or .jsonl with `text`; - is standard input.")] = "-",
    model: Annotated[
        str, typer.Option("--model", "-m", help="A reranker: folder, id or short name.")
    ] = DEFAULT_RERANKER,
    recipe: RecipeOption = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", help="How many to print.", min=1)] = None,
    instruction: Annotated[str | None, typer.Option(help="For models that take one.")] = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a query with each text of a file and print the texts, best first."""
    from sememe.engine.opening import open_reranker

    said = read_recipe(recipe, [model])
    texts = list(_texts(file))
    if not texts:
        raise InputError(f"{file} holds no text to rank; expected one a line.")
    reranker = open_reranker(model, said, offline=is_offline(offline), progress=True)
    ranked = reranker.rank(query, texts, top_k, instruction=instruction)
    if as_json:
        hits = [
            {"line": hit["corpus_id"] + 1, "score": hit["score"], "text": texts[hit["corpus_id"]]} for hit in ranked
        ]
        print(json.dumps({"query": query, "n_texts": len(texts), "hits": hits}, ensure_ascii=False))
        return
    for rank, hit in enumerate(ranked, 1):
        text = textwrap.shorten(texts[hit["corpus_id"]], 200, placeholder=" …")
        print(f"{rank}. {hit['score']:.4f}  line {hit['corpus_id'] + 1}: {text}")


def _texts(file: str) -> Iterator[str]:
    """The file's texts. Raises NotFound, and InputError for a line that is not what its format says."""
    if file != "-" and not Path(file).is_file():
        raise NotFound(f"There is no file {file}.")
    try:
        lines = (sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")).splitlines()
    except UnicodeDecodeError as exc:
        raise InputError(f"{file} is not UTF-8 (byte {exc.start}).") from exc
    for number, line in enumerate(lines, 1):
        if not file.endswith((".jsonl", ".ndjson")):
            yield line
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as exc:
            raise InputError(f"{file}:{number} is not a JSON object with `text`.") from exc
        if not isinstance(text, str):
            raise InputError(f"{file}:{number}: `text` is {type(text).__name__}; expected a string.")
        yield text
