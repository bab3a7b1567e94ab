"""What a store does for a collection that moves to another model: a second vector space, built beside the one in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.errors import CollectionMismatch
from sememe.records import Embeddings


class NextSpace(Protocol):
    """A space that was begun. Chunks keep their keys and their words; only vectors are made anew.

    A chunk that is stored or changed meanwhile is one that is still missing; one that is deleted is left behind. Nobody who
    searches sees anything of it before `switch`.
    """

    @property
    def about(self) -> About:
        """What the collection will say of itself."""
        ...

    def n_done(self) -> int:
        """How many chunks it has vectors of."""
        ...

    def missing(self, among: Sequence[int] | None = None) -> list[int]:
        """Keys of the chunks that it has no vectors of yet, in order; of all, or of those given."""
        ...

    def put(self, keys: Sequence[int], vectors: Embeddings) -> None:
        """Keep vectors of these chunks, a row each. Raises InputError for ones that do not fit or are not finite."""
        ...

    def shared(self) -> list[int]:
        """Keys of chunks that both spaces have dense vectors of, in order."""
        ...

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        """(K, D) dense vectors of the new space."""
        ...

    def nearest(self, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]) -> list[list[int]]:
        """Keys of the k nearest of all chunks to each query (Q, D) in the new space, best first.

        leave_out: for each query a key that is not counted; 0 is nobody's.
        """
        ...

    def nearest_now(self, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]) -> list[list[int]]:
        """The same in the space that is in use."""
        ...

    def switch(self) -> bool:
        """Make it the collection's space in one step, and drop the old one; False, and nothing, where chunks are missing.

        Stores that are open raise CollectionMismatch from then on: they are of the old space.
        """
        ...

    def abandon(self) -> None:
        """Forget it; the collection stays as it was."""
        ...


def check_goes_on(found: About, about: About, name: str) -> None:
    """Raise CollectionMismatch unless the space that was begun for the collection of that name is the one to be built."""
    if found.fingerprint != about.fingerprint:
        raise CollectionMismatch(
            f"The collection {name} is being migrated to {found.model}. Finish that, or abandon it first."
        )
