"""Another library's embedding model as a `TextEmbedder`, for a collection to embed with and to know its space."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from sememe.errors import InputError
from sememe.records import Embeddings, EmbedOptions, Usage

_PLAIN = EmbedOptions()


class NamedEmbedder(ABC):
    """Dense vectors of a model that says little of itself: what it says is its name, which tells vector spaces apart."""

    revision = ""
    max_tokens = 2**31 - 1  # such libraries do not say

    def __init__(self, name: str) -> None:
        """Embeds one query, to know the width."""
        self.name = name
        self.dimension = len(self.embed_query("dimension"))

    @abstractmethod
    def embed_query(self, text: str) -> Sequence[float]:
        """The vector of a query."""

    @abstractmethod
    def embed_documents(self, texts: list[str]) -> Sequence[Sequence[float]]:
        """A vector for each text."""

    def fingerprint(self, options: EmbedOptions = _PLAIN) -> str:
        """Of name and width alone: nobody knows more of the model."""
        facts = (self.name, options.dimensions or self.dimension)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def embed(self, inputs: Sequence[str], options: EmbedOptions = _PLAIN) -> Embeddings:
        """Dense vectors. Raises InputError for another kind, and for fewer dimensions than the model gives."""
        if options.outputs != ("dense",) or options.dimensions not in (None, self.dimension):
            raise InputError(f"{self.name} gives dense vectors of {self.dimension} values only; got {options.outputs}.")
        rows = [self.embed_query(t) for t in inputs] if options.role == "query" else self.embed_documents([*inputs])
        dense = np.asarray(rows, np.float32).reshape(len(inputs), self.dimension)
        none = np.zeros(len(inputs), np.int32)
        return Embeddings(dense, None, None, none, none, Usage(n_inputs=len(inputs)), self.fingerprint(options))
