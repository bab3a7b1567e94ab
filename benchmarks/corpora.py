"""Texts to measure with, cut from the passages that ship with sememe: the same ones on every machine.

Four corpora: `mixed`, lengths log-normal with a mean of about 50 tokens, as chunks, titles and messages mix; `even`, 50
tokens each; `uniform`, every text as long as the model reads, but at most 256 tokens; `queries`, 8 tokens each. No two
texts of a corpus are equal, so nobody gains by computing a text once.

Run as a program it writes them as JSON, together with the folder of the model, so that the measuring process
itself loads no library and stays small.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sememe import Embedder
from sememe.samples import passages

MEAN_TOKENS = 50
SPREAD = 0.7  # sigma of the log-normal lengths: one text in six has over 80 tokens, one in six under 20
UNIFORM_TOKENS = 256
QUERY_TOKENS = 8
# A word that is one token in every vocabulary we know: fills a text up to the length it should have.
FILLER = "a"


@dataclass(frozen=True)
class Corpus:
    """texts: what is embedded. n_tokens: in all, special tokens included, as the model sees them."""

    texts: list[str]
    n_tokens: int


class WordStream:
    """The passages' words one after another, round and round, each with its number of tokens."""

    def __init__(self, model: Embedder) -> None:
        self.words = " ".join(document.text for document in passages()).split()
        self.n_special = len(model.tokenize([""])[0])
        self.n_tokens = [len(tokens) - self.n_special for tokens in model.tokenize(self.words)]

    def text(self, start: int, n_tokens: int) -> tuple[str, int]:
        """A text of `n_tokens` from the word at `start` on, special tokens counted, and the word after it."""
        left, at, words = n_tokens - self.n_special, start, []
        while left > 0:
            word, cost = self.words[at % len(self.words)], self.n_tokens[at % len(self.words)]
            at += 1
            if cost <= left:
                words.append(word)
                left -= cost
            else:
                words.extend([FILLER] * left)
                left = 0
        return " ".join(words), at


def make_corpora(model: Embedder, scale: float) -> dict[str, Corpus]:
    """The corpora; scale 1 is 2,000 mixed texts, 1,000 even ones, 256 uniform ones and 2,000 queries."""
    stream, limit = WordStream(model), model.max_tokens
    random = np.random.default_rng(0)
    drawn = random.lognormal(np.log(MEAN_TOKENS) - SPREAD**2 / 2, SPREAD, round(2000 * scale))
    lengths = {
        "mixed": np.clip(np.rint(drawn), stream.n_special + 2, min(limit, 256)).astype(int).tolist(),
        "even": [min(limit, MEAN_TOKENS)] * round(1000 * scale),
        "uniform": [min(limit, UNIFORM_TOKENS)] * max(8, round(256 * scale)),
        # There are only so many places in the passages where a query can begin.
        "queries": [QUERY_TOKENS] * min(round(2000 * scale), len(stream.words) // 2),
    }
    return {name: _corpus(model, stream, wanted) for name, wanted in lengths.items()}


def _corpus(model: Embedder, stream: WordStream, lengths: list[int]) -> Corpus:
    texts: dict[str, None] = {}
    at = 0
    for n_tokens in lengths:
        text, after = stream.text(at, n_tokens)
        while text in texts:  # the stream came round to where it had begun
            at += 1
            text, after = stream.text(at, n_tokens)
        texts[text] = None
        at = after
    chosen = list(texts)
    return Corpus(chosen, sum(len(tokens) for tokens in model.tokenize(chosen)))


def _matrix_flops_per_token(folder: Path) -> int:
    """Of the linears of a BERT-like encoder; attention's own two products, which grow with the length, left out."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    h, f, n_layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    return int(2 * n_layers * (3 * h * h + h * h + 2 * h * f))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = Embedder(given.model)
    folder = model.loaded.found.path
    made = {
        "folder": str(folder),
        "flops_per_token": _matrix_flops_per_token(folder),
        "corpora": {name: asdict(corpus) for name, corpus in make_corpora(model, given.scale).items()},
    }
    given.out.write_text(json.dumps(made), "utf-8")


if __name__ == "__main__":
    main()
