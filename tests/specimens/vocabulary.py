"""A tokenizer and how a checkpoint's files present it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers import AddedToken, Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """A trained tokenizer and how its files present it.

    backend: `tokenizer.json` as text. special: role (`cls_token`, …) → token, as in special_tokens_map.json.
    config: the further entries of tokenizer_config.json. files: what lies beside it, name → text.
    """

    backend: str
    special: dict[str, str]
    config: dict[str, object]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Tokenizer:
        """A new `tokenizers.Tokenizer`, so that a caller's truncation settings reach nobody else."""
        return Tokenizer.from_str(self.backend)

    @property
    def size(self) -> int:
        """Entries, added tokens included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def id_of(self, token: str) -> int:
        """The id of one entry. Raises KeyError if there is none."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise KeyError(token)
        return int(found)


def special_tokens(tokens: Sequence[str], *, lstrip: Sequence[str] = ()) -> list[AddedToken]:
    """Added tokens as the published files mark them. lstrip: those that swallow the space before them (`<mask>`)."""
    return [AddedToken(token, special=True, normalized=False, lstrip=token in lstrip) for token in tokens]
