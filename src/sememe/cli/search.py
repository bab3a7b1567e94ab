"""`sememe search`: ask a folder of text in one command, or a lasting collection."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sememe.cli.collection_options import FolderOption, existing_place
from sememe.cli.options import DEFAULT_MODEL, JsonOption, OfflineOption, RecipeOption, is_offline, read_recipe
from sememe.collections.options import Fusion, Mode, ParentKind, Retriever, SearchOptions
from sememe.errors import InputError

if TYPE_CHECKING:
    from sememe.collections.hits import Hit


def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[PATH] QUESTION",
            help="A file or folder and a question; with --collection only the question.",
            show_default=False,
        ),
    ],
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", help="Ask this collection (`sememe index`).", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model.", show_default=f"the collection's own, else {DEFAULT_MODEL}"),
    ] = None,
    recipe: RecipeOption = None,
    limit: Annotated[int, typer.Option("--limit", "-k", help="How many passages.", min=1)] = 5,
    where: Annotated[
        str | None, typer.Option(metavar="JSON", help='Only documents like this: {"kind": "pdf"}.', show_default=False)
    ] = None,
    mode: Annotated[Mode, typer.Option(help="By meaning, by words, or both.")] = SearchOptions.mode,
    rerank: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A reranker that reads the best again.", show_default=False)
    ] = None,
    n_rerank: Annotated[
        int, typer.Option(min=1, help="How many of the best the reranker reads.")
    ] = SearchOptions.n_rerank,
    fusion: Annotated[Fusion, typer.Option(help="How the retrievers' lists become one.")] = SearchOptions.fusion,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RETRIEVER=NUMBER",
            help="Of dense, lexical, sparse or multi_vector in the fusion; several times.",
            show_default="1",
        ),
    ] = None,
    rrf_k: Annotated[
        float, typer.Option("--rrf-k", min=0, help="Of reciprocal rank fusion; larger: the tops count less.")
    ] = SearchOptions.rrf_k,
    n_candidates: Annotated[
        int, typer.Option(min=1, help="How many each retriever hands on.")
    ] = SearchOptions.n_candidates,
    group: Annotated[
        bool, typer.Option("--group-by-document", "--group", help="Only a document's best passage.")
    ] = False,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out hits below this score.", show_default=False)
    ] = None,
    mmr: Annotated[
        float | None, typer.Option(min=0, max=1, help="Diversity: 1 is relevance alone.", show_default=False)
    ] = None,
    parent: Annotated[
        ParentKind, typer.Option(help="Show the text around a passage: its section or page, or the whole document.")
    ] = SearchOptions.parent,
    like: Annotated[
        bool, typer.Option("--more-like", help="The question is a document's id or file: what is nearest to it?")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say which words and which retriever.")] = False,
    collections_dir: FolderOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the passages nearest to a question: of a file or folder, read into memory, or of a collection."""
    from sememe.cli.passage_text import hit_row, place_of, said_why, shown, whole

    if len(words) != (1 if collection else 2):
        raise InputError("Give a path and a question, or -c NAME and a question. Quote a question of several words.")
    if not words[-1].strip():
        raise InputError("The question is empty.")
    options = SearchOptions(
        mode=mode,
        n_candidates=n_candidates,
        fusion=fusion,
        weights=_weights(weight or ()),
        rrf_k=rrf_k,
        mmr=mmr,
        group_by_document=group,
        min_score=min_score,
        n_rerank=n_rerank,
        explain=explain,
        parent=parent,
    )
    if collection is None:
        if (where, rerank) != (None, None) or like or options != SearchOptions():
            raise InputError(
                "Only --limit, --model and --recipe go without a collection (-c NAME); make one with `sememe index`."
            )
        hits, n_passages = _of_folder(
            Path(words[0]), words[1], limit, model or DEFAULT_MODEL, recipe, is_offline(offline)
        )
    else:
        place = existing_place(collection, collections_dir)
        if like:
            if rerank is not None or replace(options, explain=False) != SearchOptions():
                raise InputError(
                    "--more-like compares vectors of documents: of the options it takes --where and --limit."
                )
            hits, n_passages = _like(place, words[0], limit, where)
        else:
            hits, n_passages = _of_collection(
                place, words[0], limit, options, where, model, rerank, recipe, is_offline(offline)
            )
    if as_json:
        rows = [hit_row(hit) for hit in hits]
        print(json.dumps({"question": words[-1], "n_passages": n_passages, "hits": rows}, ensure_ascii=False))
        return
    for rank, hit in enumerate(hits, 1):
        print(f"{rank}. {hit.score:.3f}  {place_of(hit.document, hit.chunk)}")
        if explain:
            print(said_why(hit))
        print(shown(hit.chunk.text) if hit.parent is None else whole(hit.parent.text))
    if not hits:
        print("nothing found", file=sys.stderr)


def _of_collection(
    place: Path | str,
    question: str,
    limit: int,
    options: SearchOptions,
    where: str | None,
    model: str | None,
    reranker: str | None,
    recipe: list[str] | None,
    offline: bool,
) -> tuple[list[Hit], int]:
    from sememe.collections.collection import Collection
    from sememe.engine.opening import open_embedder, open_reranker

    with Collection.open(place) as stored:
        about = stored.about
        name = model or about.model
        said = read_recipe(recipe, [name], [reranker] if reranker else [])
        judge = open_reranker(reranker, said, offline=offline) if reranker else None

        def rerank(query: str, texts: Sequence[str]) -> list[float]:
            assert judge is not None
            return [float(score) for score in judge.predict([(query, text) for text in texts])]

        if options.mode != "lexical" and about.options.outputs:
            stored.use_embedder(open_embedder(name, said, offline=offline))
        hits = stored.search(question, limit, options, where=read_filter(where), rerank=rerank if judge else None)
        n_passages = stored.count().chunks
    return hits, n_passages


def _like(place: Path | str, document_id: str, limit: int, where: str | None) -> tuple[list[Hit], int]:
    from sememe.collections.collection import Collection

    with Collection.open(place) as stored:
        # A document of a file has its whole path for an id; hits are shown with the path that leads there from here.
        path = Path(document_id).absolute()
        if path.exists() and not stored.stored([document_id]):
            document_id = str(path)
        return stored.more_like(document_id, limit, where=read_filter(where)), stored.count().chunks


def _weights(given: Sequence[str]) -> tuple[tuple[Retriever, float], ...]:
    """`dense=0.7` and so on. Raises InputError."""
    found: dict[Retriever, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)  # type: ignore[index]  # `SearchOptions` knows the names
        except ValueError:
            raise InputError(f"--weight {text!r} is not of the form RETRIEVER=NUMBER, such as dense=0.7.") from None
    return tuple(found.items())


def read_filter(text: str | None) -> dict[str, object] | None:
    """A filter as JSON. Raises InputError for what is no JSON object; what it may say, the collection knows."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise InputError(
            f'--where {text[:100]} is no JSON: {exc}. Expected for example \'{{"kind": "pdf"}}\'.'
        ) from exc
    if not isinstance(found, dict):
        raise InputError(f'--where {text[:100]} is no JSON object. Expected for example \'{{"kind": "pdf"}}\'.')
    return found


def _of_folder(
    path: Path, question: str, limit: int, model: str, recipe: list[str] | None, offline: bool
) -> tuple[list[Hit], int]:
    """The nearest passages of files that are read into memory."""
    from tqdm import tqdm

    from sememe.collections.chunking.chunker import Chunker
    from sememe.collections.chunking.counting import TokenCounter
    from sememe.collections.chunking.options import ChunkOptions
    from sememe.collections.hits import Hit
    from sememe.collections.nearest import nearest
    from sememe.collections.passages import read_passages
    from sememe.collections.reading.files import check_paths
    from sememe.collections.reading.options import ReadOptions
    from sememe.engine.opening import open_embedder

    said = read_recipe(recipe, [model])
    check_paths([path])
    embedder = open_embedder(model, said, offline=offline)
    passages = read_passages(
        path,
        Chunker(ChunkOptions(), TokenCounter(embedder)),
        ReadOptions(),
        on_skipped=lambda skipped: print(f"left out {skipped.source}: {skipped.reason}", file=sys.stderr),
    )
    texts = [passage.model_input for passage in passages]
    # disable=None: on a terminal only
    with tqdm(total=len(texts), unit="passage", desc=f"embedding {path}", disable=None, leave=False) as bar:
        found = nearest(embedder, texts, [question], limit, on_progress=bar.update)[0]
    return [Hit(passages[n.index].chunk, passages[n.index].document, n.score, ()) for n in found], len(passages)
