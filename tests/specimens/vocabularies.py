"""Tiny tokenizers of the real kinds, trained once per process on `texts.CORPUS`.

Each kind gives the files that a published checkpoint of that kind carries: `tokenizer.json`,
`tokenizer_config.json`, `special_tokens_map.json` and, for WordPiece, `vocab.txt`. The same in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from . import byte_level, sentencepieces, wordpiece
from .vocabulary import Vocabulary

_KINDS: dict[str, Callable[[], Vocabulary]] = {**wordpiece.KINDS, **byte_level.KINDS, **sentencepieces.KINDS}


@cache
def vocabulary(name: str) -> Vocabulary:
    """The tokenizer of that kind, trained on first use. Raises KeyError for an unknown name."""
    return _KINDS[name]()
