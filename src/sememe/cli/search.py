"""`sememe search`: ask a folder of text, in one command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.options import DEFAULT_MODEL, JsonOption, ModelOption, OfflineOption, is_offline


def search(
    path: Annotated[Path, typer.Argument(help="A file, or a folder of them.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What to look for, in your own words.", show_default=False)],
    model: ModelOption = DEFAULT_MODEL,
    limit: Annotated[int, typer.Option("--limit", "-k", help="How many passages.", min=1)] = 5,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Embed the passages of a file or folder in memory and print the ones nearest to a question."""
    from tqdm import tqdm

    from sememe.cli.passage_text import place_of, shown
    from sememe.collections.chunking.chunker import Chunker
    from sememe.collections.chunking.counting import TokenCounter
    from sememe.collections.chunking.options import ChunkOptions
    from sememe.collections.nearest import nearest
    from sememe.collections.passages import read_passages
    from sememe.collections.reading.options import ReadOptions
    from sememe.engine.embedder import Embedder

    embedder = Embedder(model, offline=is_offline(offline))
    passages = read_passages(
        path,
        Chunker(ChunkOptions(), TokenCounter(embedder)),
        ReadOptions(),
        on_skipped=lambda skipped: print(f"left out {skipped.source}: {skipped.reason}", file=sys.stderr),
    )
    texts = [passage.model_input for passage in passages]
    # disable=None: on a terminal only
    with tqdm(total=len(texts), unit="passage", desc=f"embedding {path}", disable=None, leave=False) as bar:
        hits = nearest(embedder, texts, [question], limit, on_progress=bar.update)[0]
    found = [(hit.score, passages[hit.index]) for hit in hits]
    if as_json:
        rows = [
            {
                "score": score,
                "source": p.document.source,
                "place": None if p.chunk.place is None else vars(p.chunk.place),
                "heading": p.chunk.heading,
                "text": p.chunk.text,
            }
            for score, p in found
        ]
        print(json.dumps({"question": question, "n_passages": len(passages), "hits": rows}, ensure_ascii=False))
        return
    for rank, (score, passage) in enumerate(found, 1):
        print(f"{rank}. {score:.3f}  {place_of(passage.document, passage.chunk)}")
        print(shown(passage.chunk.text))
