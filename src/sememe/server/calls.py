"""What is asked of the service and what it answers: the records between a dialect and the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.engine.reranker import ScoreActivation
from sememe.records import Embeddings, EmbedOptions, TruncationSide
from sememe.server.call_times import CallTimes
from sememe.server.waiting import Lane


@dataclass(frozen=True)
class Conditions:
    """What a request says besides its inputs, on every route, in headers.

    if_fingerprint: refuse to answer with vectors of another space. timeout_seconds: after which nobody wants the
    answer. lane: None decides by the number of inputs.
    """

    if_fingerprint: str | None = None
    timeout_seconds: float | None = None
    lane: Lane | None = None


_NO_CONDITIONS = Conditions()
_AS_THE_CHECKPOINT_SAYS = EmbedOptions()


@dataclass(frozen=True)
class EmbedCall:
    """Inputs to embed. model: None is the server's first embedder."""

    inputs: Sequence[str]
    options: EmbedOptions = _AS_THE_CHECKPOINT_SAYS
    model: str | None = None
    conditions: Conditions = _NO_CONDITIONS


@dataclass(frozen=True)
class ScoreCall:
    """Pairs, or single texts for a classifier, to score.

    activation: None is the model's own. truncate: False refuses what is too long; side: where it loses tokens else.
    """

    pairs: Sequence[tuple[str, str]] | Sequence[str]
    model: str | None = None
    activation: ScoreActivation | None = None
    instruction: str | None = None
    truncate: bool = True
    side: TruncationSide = "right"
    conditions: Conditions = _NO_CONDITIONS


@dataclass(frozen=True)
class Embedded:
    """The answer to an EmbedCall, the model that gave it, and where the time went. prompt: what stood around each text."""

    model: str
    embeddings: Embeddings
    times: CallTimes
    prompt: str = ""


@dataclass(frozen=True)
class Scored:
    """(N, labels) scores, what was read, and where the time went."""

    model: str
    scores: NDArray[np.float32]
    n_tokens: int
    n_dropped: NDArray[np.int32]
    times: CallTimes

    def ranked(self, top_n: int | None = None) -> list[tuple[int, float]]:
        """(index, score), best first; equal scores in the order given."""
        order = np.argsort(-self.scores[:, 0], kind="stable")[:top_n]
        return [(int(i), float(self.scores[i, 0])) for i in order]
