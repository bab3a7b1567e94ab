"""What each choice of the analyzer is worth: nDCG@10 of BM25 on real questions.

    python benchmarks/lexical.py --data FOLDER [--only NAME…]

The folder has the sets in BEIR's layout: scifact, cranfield, cacm, cosqa, humaneval-search, jaquad, miracl-yo, xquad/LANGUAGE.
`plain` is what most tools do: lower-case runs of `\\w`, two or more characters.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from machine import this_machine  # noqa: E402
from tests.relevance import ndcg_at_10, read_retrieval_set  # noqa: E402

from sememe.lexical import BM25, Analyzer, analyze  # noqa: E402
from tables import markdown  # noqa: E402

SETS = {
    "scifact": "en", "cranfield": "en", "cacm": "en", "cosqa": "en", "humaneval-search": "en", "jaquad": "ja", "miracl-yo": "yo",
    **{f"xquad/{language}": language for language in "en ar de el es hi ro ru th tr vi zh".split()},
}  # fmt: skip
SPLITS = {"miracl-yo": "dev"}
HEADINGS = ("plain", "default", "language given", "accents kept", "identifiers whole")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    asked.add_argument("--only", nargs="*", default=list(SETS))
    given = asked.parse_args()
    rows = []
    for name in given.only:
        print(name, file=sys.stderr)
        rows.append(
            [name, *(f"{value:.4f}" for value in figures(given.data / name, SPLITS.get(name, "test"), SETS[name]))]
        )
    for line in this_machine().lines():
        print(f"- {line}")
    print(markdown([["nDCG@10", *HEADINGS], *rows]))


def figures(folder: Path, split: str, language: str) -> list[float]:
    """One for each heading."""
    data = read_retrieval_set(folder, split)
    ids = list(data.documents)

    def judged(words: Callable[[str], list[str]]) -> float:
        index = BM25([words(text) for text in data.documents.values()])
        found = {key: [ids[i] for i in index.search(words(text), 10).indices] for key, text in data.queries.items()}
        return ndcg_at_10(found, data.relevance)

    analyzers = [Analyzer(), Analyzer(language), Analyzer(fold_accents=False), Analyzer(split_identifiers=False)]
    return [judged(plain_words), *(judged(lambda text, a=analyzer: analyze(text, a)) for analyzer in analyzers)]


def plain_words(text: str) -> list[str]:
    return re.findall(r"\w\w+", text.lower())


if __name__ == "__main__":
    main()
