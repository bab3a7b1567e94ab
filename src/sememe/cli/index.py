"""`sememe index`: files into a lasting collection."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sememe.cli.collection_options import CollectionOption, FolderOption, called, collection_place
from sememe.cli.options import (
    DEFAULT_MODEL,
    DeviceOption,
    JsonOption,
    OfflineOption,
    PrecisionOption,
    RecipeOption,
    is_offline,
    read_outputs,
    read_recipe,
)
from sememe.collections.chunking.options import By, ChunkOptions
from sememe.collections.options import CollectionOptions, Metric, StoredDtype
from sememe.collections.reading.options import Columns, Kind, ReadOptions

if TYPE_CHECKING:
    from sememe.collections.indexing import IndexReport, Progress
    from sememe.collections.sources import Removed

_SHOWN = 20


def index(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", help="Files and folders; - is standard input.", show_default=False),
    ],
    collection: CollectionOption,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model.", show_default=f"the collection's own, else {DEFAULT_MODEL}"),
    ] = None,
    recipe: RecipeOption = None,
    chunk: Annotated[
        By | None, typer.Option(help="What becomes a chunk.", show_default="tokens: as much as fits")
    ] = None,
    chunk_size: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a chunk at most.", show_default="256, or the model's window")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Tokens that neighbours share.", show_default="an eighth of the size")
    ] = None,
    late: Annotated[
        bool, typer.Option("--late", help="Late chunking: one pass over a document, pooled for each chunk.")
    ] = False,
    language: Annotated[
        str | None, typer.Option(help="Language of the words (en, de, …), for stems.", show_default="any")
    ] = CollectionOptions.language,
    dtype: Annotated[
        StoredDtype, typer.Option(help="Type of the stored vectors of a new collection.")
    ] = CollectionOptions.dtype,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Keep the first so many values of a vector.")] = None,
    first_pass: Annotated[
        int | None,
        typer.Option(
            "--first-pass-dimensions",
            min=1,
            help="A search's first pass reads so many values; the best are scored in full.",
        ),
    ] = CollectionOptions.first_pass_dimensions,
    similarity: Annotated[
        Metric, typer.Option(help="Of the dense vectors of a new collection.")
    ] = CollectionOptions.similarity,
    outputs: Annotated[
        str | None,
        typer.Option(
            help="Kinds of vectors that a new collection keeps: dense, sparse, multi_vector; with commas.",
            show_default="dense",
        ),
    ] = None,
    lexical: Annotated[
        bool, typer.Option("--lexical/--no-lexical", help="Keep the words of a new collection, for BM25.")
    ] = CollectionOptions.lexical,
    include: Annotated[
        list[str] | None, typer.Option(help="Only files that this glob fits; may be given several times.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files or folders that this glob fits; may be given several times.")
    ] = None,
    remove_excluded: Annotated[
        bool,
        typer.Option(
            "--remove-excluded",
            help="Also remove what is stored of files that are there and that --include, --exclude or --hidden pass over.",
        ),
    ] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Also names that begin with a dot.")] = ReadOptions.hidden,
    max_bytes: Annotated[int, typer.Option(min=1, help="Leave out larger files.")] = ReadOptions.max_bytes,
    encoding: Annotated[str, typer.Option(help="Of text without a byte order mark.")] = ReadOptions.encoding,
    kind: Annotated[
        Kind | None, typer.Option(help="What files named one by one are.", show_default="by the ending; text for -")
    ] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Where texts of tables stand; several are joined.", show_default="text, sentence, content, …"
        ),
    ] = None,
    title_column: Annotated[str | None, typer.Option(help="Where titles stand.", show_default="title")] = None,
    id_column: Annotated[str | None, typer.Option(help="Where ids stand.", show_default="id, _id, …")] = None,
    collections_dir: FolderOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Bring a collection up to date with files: only what changed is embedded, and what has vanished is removed.

    What was stored of files that are still there and that --include, --exclude or --hidden pass over this time stays.
    Columns of CSV and TSV become numbers and truth values where all of a file's values are; an empty cell is no value.
    Interrupted and run again, it goes on where it was.
    """
    from sememe.collections.indexing import index_documents, index_paths
    from sememe.collections.opening import open_to_index
    from sememe.collections.reading.files import check_paths
    from sememe.collections.reading.streams import read_stream
    from sememe.engine.opening import open_embedder

    read = ReadOptions(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        hidden=hidden,
        max_bytes=max_bytes,
        encoding=encoding,
        kind=kind,
        columns=Columns(text=tuple(text_column or ()), title=title_column, id=id_column),
    )
    files = [Path(path) for path in paths if path != "-"]
    check_paths(files)
    place = collection_place(collection, collections_dir)
    is_plain = (chunk, chunk_size, overlap, late) == (None, None, None, False)
    chunking = None if is_plain else ChunkOptions(chunk or ChunkOptions.by, chunk_size, overlap, late)
    kept = CollectionOptions(
        outputs=read_outputs(outputs) or CollectionOptions.outputs,
        lexical=lexical,
        language=language,
        similarity=similarity,
        dtype=dtype,
        dimensions=dimensions,
        first_pass_dimensions=first_pass,
    )
    name = model or model_of(place) or DEFAULT_MODEL
    said = read_recipe(recipe, [name])
    try:
        embedder = open_embedder(name, said, device=device, precision=precision, offline=is_offline(offline))
        made, chunker = open_to_index(
            place, embedder, chunking=chunking, options=None if kept == CollectionOptions() else kept
        )
        total = None if "-" in paths or quiet or not sys.stderr.isatty() else _n_documents(files, read)
        with made, _bar(quiet, total) as show:
            reports = []
            if files:
                reports.append(
                    index_paths(made, files, chunker, read, remove_excluded=remove_excluded, on_progress=show)
                )
            if "-" in paths:
                given = read_stream(sys.stdin.buffer, read)
                reports.append(index_documents(made, given, chunker, on_progress=show))
            count = made.count()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        raise typer.Exit(130) from None
    report = sum_of(reports)
    if not quiet:
        _say(report, count.documents, count.chunks, called(place, collection))
    if as_json:
        print(json.dumps({**asdict(report), "n_documents": count.documents, "n_stored_chunks": count.chunks}))


def model_of(place: Path | str) -> str | None:
    """The model that a collection was made with, None where there is no collection."""
    from sememe.collections.collection import Collection
    from sememe.errors import NotFound

    try:
        with Collection.open(place) as collection:
            return collection.about.model
    except NotFound:
        return None


def sum_of(reports: list[IndexReport]) -> IndexReport:
    """Several runs as one."""
    total = reports[0]
    for report in reports[1:]:
        total = total.plus(report)
    return total


def _n_documents(files: list[Path], read: ReadOptions) -> int | None:
    """How many there are below these paths; None where tables have as many as they have rows."""
    from sememe.collections.reading.files import FoundFile, find_files
    from sememe.collections.reading.options import TABLES

    kinds = [found.kind for found in find_files(files, read) if isinstance(found, FoundFile)]
    return None if set(TABLES).intersection(kinds) else len(kinds)


@contextmanager
def _bar(quiet: bool, total: int | None) -> Iterator[Progress]:
    """Documents done, chunks/s and the time left, on a terminal only. total: of the documents, None where nobody knows."""
    from tqdm import tqdm

    with tqdm(
        total=total, unit=" documents", desc="indexing", disable=quiet or None, leave=False, dynamic_ncols=True
    ) as bar:

        def show(report: IndexReport) -> None:
            n_documents = report.n_added + report.n_changed + report.n_described + report.n_unchanged
            rate = report.n_chunks / max(report.seconds, 1e-9)
            bar.set_postfix_str(f"{report.n_chunks:,} chunks, {rate:,.0f} chunks/s", refresh=False)
            bar.update(max(0, n_documents - bar.n))

        yield show


def _say(report: IndexReport, n_documents: int, n_chunks: int, name: str) -> None:
    _say_some([f"left out {skipped.source}: {skipped.reason}" for skipped in report.skipped], "left out")
    _say_some([_removal(removed) for removed in report.removed], "removed")
    if report.n_cut_titles:
        print(
            f"{report.n_cut_titles:,} documents have a title or heading that is too long to be embedded whole before each "
            "chunk: its beginning is",
            file=sys.stderr,
        )
    if not (report.n_added or report.n_changed or report.n_described or report.n_unchanged or report.skipped):
        print("found nothing to index: no file here is of a kind that is read, or none holds text", file=sys.stderr)
    n_described = f", {report.n_described:,} described anew" if report.n_described else ""
    n_excluded = ""
    if report.n_excluded:
        n_excluded = (
            f", {report.n_excluded:,} kept of files that are there and passed over (--remove-excluded removes them)"
        )
    rate = f" ({report.n_chunks / report.seconds:,.0f} a second)" if report.n_chunks else ""
    print(
        f"{report.n_added:,} new, {report.n_changed:,} changed, {report.n_unchanged:,} unchanged{n_described}, "
        f"{report.n_removed:,} removed{n_excluded}; {report.n_chunks:,} chunks embedded in {report.seconds:.1f} s{rate}. "
        f"{name} has {n_documents:,} documents, {n_chunks:,} chunks.",
        file=sys.stderr,
    )


def _say_some(lines: list[str], what: str) -> None:
    for line in lines[:_SHOWN]:
        print(line, file=sys.stderr)
    if (more := len(lines) - _SHOWN) > 0:
        print(f"{what} {more:,} more (--json lists all)", file=sys.stderr)


def _removal(removed: Removed) -> str:
    n_documents = "" if removed.n_documents == 1 else f"{removed.n_documents:,} documents of "
    return f"removed {n_documents}{removed.source}: {removed.reason}"
