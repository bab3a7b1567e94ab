"""Indexing from text beside embedding alone, on the same texts in turns: what chunking, words and storing cost.

    python benchmarks/indexing.py [--model all-MiniLM-L6-v2] [--scale 2] [--rounds 3] [--markdown]

The texts are `corpora.py`'s mixed ones, about 50 tokens each, scale 1 is 2,000. `Embedder.embed` gets all of them in one call;
a new collection gets the same texts as documents through `index_documents`, as `sememe index` does: chunked (each is one
chunk), embedded, analysed into words, stored, durable. Both in this process with the same model; each round begins with the
other one. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from corpora import make_corpora
from figures import Figure
from machine import load_average, this_machine
from measuring import ratio

from sememe import Embedder
from sememe.collections.documents import Document
from sememe.collections.indexing import index_documents
from sememe.collections.opening import open_to_index
from sememe.collections.reading.outline import ReadDocument
from sememe.records import EmbedOptions
from tables import markdown, plain


def index(model: Embedder, texts: list[str], folder: Path) -> None:
    """Into a new collection."""
    collection, chunker = open_to_index(folder, model)
    report = index_documents(collection, (ReadDocument(Document(f"doc-{i}", t)) for i, t in enumerate(texts)), chunker)
    collection.close()
    if (report.n_added, report.n_chunks) != (len(texts), len(texts)):
        raise RuntimeError(f"{len(texts)} texts became {report.n_added} documents of {report.n_chunks} chunks")


def measure(model: Embedder, texts: list[str], n_rounds: int) -> dict[str, list[float]]:
    """Seconds of each, one value a round."""
    seconds: dict[str, list[float]] = {"embed": [], "index": []}
    with TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
        for number in range(n_rounds):
            works: dict[str, Callable[[], object]] = {
                "embed": lambda: model.embed(texts, EmbedOptions(role="document")),
                "index": lambda folder=Path(scratch) / str(number): index(model, texts, folder),  # type: ignore[misc]
            }
            for name in sorted(works, reverse=bool(number % 2)):
                started = time.perf_counter()
                works[name]()
                seconds[name].append(time.perf_counter() - started)
            rates = ", ".join(f"{name} {len(texts) / its[-1]:,.0f} texts/s" for name, its in seconds.items())
            print(f"round {number + 1} of {n_rounds}: {rates}", file=sys.stderr, flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
    given = parser.parse_args()
    load, started = load_average(), time.time()
    model = Embedder(given.model)
    corpus = make_corpora(model, given.scale)["mixed"]
    model.embed(corpus.texts[:256])
    seconds = measure(model, corpus.texts, given.rounds)
    rates = {name: f"{len(corpus.texts) / median(its):,.0f} texts/s" for name, its in seconds.items()}
    share = Figure(
        "indexing from text, share of the bulk rate", rates["index"], rates["embed"],
        100 * ratio(seconds["embed"], seconds["index"]), " %", at_least=85,
    )  # fmt: skip
    head = [
        *this_machine().lines(),
        f"{time.strftime('%Y-%m-%d', time.gmtime(started))}, {len(corpus.texts):,} texts, {corpus.n_tokens:,} tokens, "
        f"{given.rounds} rounds, {time.time() - started:.0f} s, load average {load:.2f} before",
        f"`{shlex.join(['python', *sys.argv])}`",
    ]
    rows = [
        ["", "indexing", "`Embedder.embed`", "measured", "target", ""],
        [share.name, share.ours, share.peer, f"{share.value:.0f} %", share.target, "met" if share.met else "MISSED"],
    ]
    table = markdown(rows) if given.markdown else plain(rows)
    print("\n".join(f"- {line}" for line in head) + f"\n\n{table}")


if __name__ == "__main__":
    main()
