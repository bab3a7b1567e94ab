"""What the scheduler needs of a way through a model; `lines` has them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from sememe.records import Tokens


class Line(Protocol):
    """One way through one model: how its inputs become tokens and values.

    group: inputs of equal group may share a batch. space: an equal input in an equal space has the same value.
    """

    @property
    def group(self) -> Hashable: ...

    @property
    def space(self) -> Hashable: ...

    @property
    def token_budget(self) -> int: ...

    @property
    def efficient_tokens(self) -> int:
        """Tokens of a batch from which on more of them do not make it quicker for each; it may exceed the budget."""
        ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def is_cached(self) -> bool:
        """Whether `recall` may know anything."""
        ...

    def tokenize(self, inputs: Sequence[Any]) -> Sequence[Tokens]:
        """The inputs' tokens. Raises InputError, whose message begins with the input's index."""
        ...

    def compute(self, tokens: Sequence[Tokens]) -> Sequence[Any]:
        """One value an input, of one batch."""
        ...

    def recall(self, inputs: Sequence[Any]) -> Mapping[int, Any]:
        """Values that are known already, by the input's index."""
        ...

    def remember(self, inputs: Sequence[Any], values: Sequence[Any]) -> None:
        """Keep values for `recall`."""
        ...
