"""How many tokens a text has for a model: exactly, and quickly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sememe.errors import InputError
from sememe.records import EmbedOptions, TextEmbedder, Tokens

_AS_DOCUMENT = EmbedOptions(role="document")
# Words whose counts are kept: a language has some hundred thousand, a corpus with typing errors more.
_KEPT_WORDS = 500_000


@runtime_checkable
class Tokenizing(Protocol):
    """An embedder that shows its tokens, as `sememe.Embedder` does."""

    def tokenize(self, inputs: Sequence[str], options: EmbedOptions = ...) -> list[Tokens]:
        """The inputs as the model sees them, prompt and special tokens included."""
        ...


class TokenCounter:
    """Counts in the tokens of one model."""

    def __init__(self, embedder: TextEmbedder) -> None:
        """Raises InputError for an embedder that does not show its tokens."""
        if not isinstance(embedder, Tokenizing):
            raise InputError(
                f"{embedder.name} does not show its tokens (it has no `tokenize`), so that chunks cannot be made to fit. "
                "Give documents that are chunked already."
            )
        self._embedder = embedder
        self._words: dict[str, int] = {}
        self.window = embedder.max_tokens
        self.n_around = self.exact([""])[0]

    def exact(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as a document's chunk: prompt and special tokens included.

        Beyond the model's window the count may be an estimate, never one within the window.
        """
        return [len(tokens) + tokens.n_dropped for tokens in self._embedder.tokenize(texts, _AS_DOCUMENT)]

    def quick(self, text: str) -> int:
        """About the tokens of a text alone: the sum over its words, which tokenizers do not join.

        A tenth of the time of `exact` when words come again. Exact for WordPiece; others may take some more for line
        ends, so whoever needs a limit checks the result.
        """
        known = self._words
        words = text.split()
        new = {word for word in words if word not in known}
        if new:
            self._learn(list(new))
            known = self._words
        return sum([known[word] for word in words])

    def learn(self, text: str) -> None:
        """Count the text's new words in one go."""
        self._learn([word for word in set(text.split()) if word not in self._words])

    def _learn(self, words: list[str]) -> None:
        if len(self._words) + len(words) > _KEPT_WORDS:
            self._words = {}
        counts = self.exact(words) if words else []
        self._words.update(zip(words, (max(1, count - self.n_around) for count in counts), strict=True))
