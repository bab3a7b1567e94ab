"""What is asked: requests of several lengths and batch sizes, from a user's file or made."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError, NotFound
from sememe.samples import passages

# Share of requests with so many texts, and share of texts with about so many words: questions, sentences, passages.
_BATCH_SIZES = ((1, 0.8), (4, 0.1), (16, 0.07), (64, 0.03))
_WORDS = ((8, 0.5), (30, 0.3), (120, 0.2))


@dataclass(frozen=True)
class Mix:
    """requests: the texts of each, used in turn. source: where they are from, in words.

    numbered: whether a number before each text makes every one differ, so that no cache answers.
    """

    requests: tuple[tuple[str, ...], ...]
    source: str
    numbered: bool

    def stream(self, seed: int) -> Iterator[tuple[str, ...]]:
        """Requests without end, shuffled anew each time they are through."""
        rng, n = random.Random(seed), 0
        while True:
            for request in rng.sample(self.requests, len(self.requests)):
                yield tuple(f"{n + i} {text}" for i, text in enumerate(request)) if self.numbered else request
                n += len(request)


def built_in_mix(seed: int, batch_sizes: Sequence[int] = ()) -> Mix:
    """Texts of the shipped corpus, cut to lengths of questions, sentences and passages; 512 requests.

    batch_sizes: with equal shares; none takes 80 % of 1, 10 % of 4, 7 % of 16 and 3 % of 64.
    """
    rng = random.Random(seed)
    words = [word for passage in passages() for word in passage.text.split()]
    sizes, shares = (list(batch_sizes), [1.0] * len(batch_sizes)) if batch_sizes else _columns(_BATCH_SIZES)
    lengths, weights = _columns(_WORDS)

    def text() -> str:
        length = max(1, round(rng.choices(lengths, weights)[0] * rng.uniform(0.6, 1.4)))
        start = rng.randrange(len(words) - length)
        return " ".join(words[start : start + length])

    requests = tuple(tuple(text() for _ in range(rng.choices(sizes, shares)[0])) for _ in range(512))
    return Mix(requests, "built-in mix of 5 to 170 words", numbered=True)


def read_mix(file: Path, seed: int, batch_sizes: Sequence[int] = ()) -> Mix:
    """Requests from a file: a text a line, or JSON lines with `text`, or with `texts` or `input` for a whole request.

    Lines of one text are put together by `batch_sizes`, in equal shares; without it each is a request.
    Raises NotFound, InputError.
    """
    if not file.is_file():
        raise NotFound(f"There is no file {file} to take requests from.")
    try:
        lines = file.read_text("utf-8").splitlines()
    except UnicodeDecodeError as exc:
        raise InputError(f"{file} is not UTF-8 (byte {exc.start}).") from exc
    is_json = file.suffix in (".jsonl", ".ndjson")
    rows = [
        _request(file, number, line) if is_json else (line,) for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not rows:
        raise InputError(f"{file} holds no text; expected one a line.")
    if batch_sizes:
        rows = list(_grouped([text for row in rows for text in row], batch_sizes, random.Random(seed)))
    return Mix(tuple(rows), str(file), numbered=False)


def _request(file: Path, number: int, line: str) -> tuple[str, ...]:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise InputError(f"{file}:{number} is not JSON: {exc}.") from exc
    found = next((row[key] for key in ("text", "texts", "input") if key in row), None) if isinstance(row, dict) else row
    texts = (found,) if isinstance(found, str) else tuple(found) if isinstance(found, list) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{file}:{number}: expected `text` (a string), or `texts` or `input` (a list of strings).")
    return texts


def _grouped(texts: list[str], sizes: Sequence[int], rng: random.Random) -> Iterator[tuple[str, ...]]:
    start = 0
    while start < len(texts):
        size = rng.choice(list(sizes))
        yield tuple(texts[start : start + size])
        start += size


def _columns(shares: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [size for size, _ in shares], [share for _, share in shares]
