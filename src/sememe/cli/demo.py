"""`sememe demo`: the main job on a small corpus that ships with the package."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.options import DEFAULT_MODEL, JsonOption, ModelOption, OfflineOption, is_offline


def demo(
    model: ModelOption = DEFAULT_MODEL,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", "-k", help="Passages for each question.", min=1)] = 2,
) -> None:
    """Embed the shipped passages, answer three questions over them, and say what to try next."""
    from sememe.collections.nearest import nearest
    from sememe.engine.embedder import Embedder
    from sememe.samples import QUESTIONS, passages

    started = time.perf_counter()
    embedder = Embedder(model, offline=is_offline(offline), progress=sys.stderr.isatty())
    load_seconds = time.perf_counter() - started
    documents = passages()
    texts = [document.text for document in documents]
    embedded = embedder.embed(texts)
    usage, loaded = embedded.usage, embedder.loaded
    answers = dict(zip(QUESTIONS, nearest(embedder, texts, QUESTIONS, limit), strict=True))
    facts = {
        "model": loaded.found.name,
        "revision": loaded.found.revision,
        "source": loaded.found.source,
        "backend": loaded.backend.name,
        "precision": loaded.precision.precision,
        "precision_reason": loaded.precision.reason,
        "cosine_to_float32": round(loaded.verdict.mean_cosine, 6),
        "dimension": embedder.dimension,
        "load_seconds": round(load_seconds, 2),
        "n_passages": len(texts),
        "n_tokens": usage.n_tokens,
        "texts_per_second": round(len(texts) / usage.seconds, 1),
        "tokens_per_second": round(usage.n_tokens / usage.seconds),
        "fingerprint": embedded.fingerprint,
    }
    if as_json:
        hits = {
            question: [{"id": documents[hit.index].id, "score": hit.score, "text": texts[hit.index]} for hit in found]
            for question, found in answers.items()
        }
        print(json.dumps({**facts, "answers": hits}, ensure_ascii=False))
        return
    print(f"{facts['model']} ({facts['source']}, {facts['revision']}): {embedder.dimension} dimensions")
    print(
        f"{facts['backend']} in {facts['precision']} ({facts['precision_reason']}; self-check: cosine to float32 "
        f"{loaded.verdict.mean_cosine:.5f}), loaded in {load_seconds:.2f} s"
    )
    print(
        f"{len(texts)} passages, {usage.n_tokens:,} tokens embedded in {usage.seconds:.2f} s: "
        f"{facts['texts_per_second']:,} texts/s, {facts['tokens_per_second']:,} tokens/s"
    )
    for question, found in answers.items():
        print(f"\n{question}")
        for hit in found:
            print(f"  {hit.score:.3f}  {documents[hit.index].id}")
            print(
                textwrap.indent(
                    textwrap.fill(textwrap.shorten(texts[hit.index], 240, placeholder=" …"), 96), "         "
                )
            )
    print("\nNext:")
    print(f'  sememe search {_somewhere()} "your own question"')
    print("  sememe embed texts.txt -o vectors.npy")
    print("  sememe models --task retrieval --language en --commercial")


def _somewhere() -> str:
    """A file or folder here that `sememe search` can read."""
    return next((name for name in ("README.md", "docs", "src") if Path(name).exists()), "FOLDER")
