"""A line of the scheduler without a model: a word is a token, the value is the text with its batch's size."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from sememe.errors import InputError
from sememe.records import Tokens


class FakeLine:
    """gate: computing waits until it is set. fails: texts whose batch fails, and with what. seconds_per_token: how slow."""

    max_tokens = 64
    is_cached = False

    def __init__(
        self,
        *,
        group: Hashable = "g",
        space: Hashable = "s",
        token_budget: int = 64,
        seconds_per_token: float = 0.0,
        fails: Mapping[str, BaseException] | None = None,
    ) -> None:
        self.group, self.space, self.token_budget, self.efficient_tokens = group, space, token_budget, token_budget
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        self.computed: list[str] = []
        self.cache: dict[str, Any] = {}
        self.threads: set[int] = set()
        self._seconds_per_token, self._fails = seconds_per_token, fails or {}
        self._by_ids: dict[tuple[int, ...], str] = {}

    def tokenize(self, inputs: Sequence[str]) -> list[Tokens]:
        found = []
        self.threads.add(threading.get_ident())
        for i, text in enumerate(inputs):
            if "tokenizer dies" in text:
                raise SystemExit
            n = len(text.split())
            if n > self.max_tokens:
                raise InputError(f"Input {i} has {n} tokens; at most {self.max_tokens}. Shorten it.")
            ids = np.array([hash(word) % 2**31 for word in text.split()], np.int32)
            self._by_ids[tuple(ids.tolist())] = text
            found.append(Tokens(ids, np.zeros(n, np.int32)))
        return found

    def compute(self, tokens: Sequence[Tokens]) -> list[str]:
        self.threads.add(threading.get_ident())
        self.gate.wait(10)
        texts = [self._by_ids[tuple(t.ids.tolist())] for t in tokens]
        self.batches.append([len(t) for t in tokens])
        self.computed += texts
        for text in texts:
            if text in self._fails:
                raise self._fails[text]
        time.sleep(self._seconds_per_token * sum(map(len, tokens)))
        return [f"value of {text}" for text in texts]

    def recall(self, inputs: Sequence[str]) -> dict[int, Any]:
        return {i: self.cache[text] for i, text in enumerate(inputs) if text in self.cache}

    def remember(self, inputs: Sequence[str], values: Sequence[Any]) -> None:
        pass
