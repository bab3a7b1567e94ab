"""The embedding cache as an engine asks it: by texts and options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sememe.checkpoints import Checkpoint
from sememe.engine.cache import CachedEmbedding, EmbeddingCache
from sememe.engine.space import computed_space
from sememe.ops import Precision
from sememe.records import EmbedOptions


class CachedTexts:
    """What one checkpoint gave for texts, of calls for dense vectors alone; without a cache nothing is known, nothing kept."""

    def __init__(self, cache: EmbeddingCache | None, checkpoint: Checkpoint, precision: Precision) -> None:
        """precision: what the programs compute in; it is part of the keys."""
        self._cache, self._checkpoint, self._precision = cache, checkpoint, precision

    @property
    def is_there(self) -> bool:
        """Whether there is a cache."""
        return self._cache is not None

    def read(self, texts: Sequence[str], options: EmbedOptions) -> dict[int, CachedEmbedding]:
        """What is known, by the text's index. A text that was cut counts only where cutting is allowed."""
        if self._cache is None or options.outputs != ("dense",):
            return {}
        keys = self._keys(texts, options)
        known = self._cache.read(keys)
        return {i: known[k] for i, k in enumerate(keys) if k in known and (options.truncate or not known[k].n_dropped)}

    def write(self, texts: Sequence[str], found: Iterable[CachedEmbedding], options: EmbedOptions) -> None:
        """Keep what was computed for these texts."""
        if self._cache is None or not texts or options.outputs != ("dense",):
            return
        self._cache.write(list(zip(self._keys(texts, options), found, strict=True)))

    def _keys(self, texts: Sequence[str], options: EmbedOptions) -> list[bytes]:
        space = computed_space(self._checkpoint, options, self._precision)
        return [EmbeddingCache.key(space, text) for text in texts]
