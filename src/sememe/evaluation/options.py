"""How an evaluation is done; every default stands here."""

from __future__ import annotations

from dataclasses import dataclass, field

from sememe.errors import InputError
from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.metrics.ranking import CUTS, MAIN_CUT
from sememe.records import EmbedOptions, SimilarityName


@dataclass(frozen=True)
class VectorOptions:
    """How a task's texts are embedded.

    embed: dimensions, dtype, instruction and so on; the role is each side's own. prompts: False leaves the model's
    prompts away. window: texts for the model at once, which progress and interruption go by. computed_in: what decides
    the vectors besides the fingerprint, such as the precision; part of a cache's keys. similarity: how two are compared.
    """

    embed: EmbedOptions = field(default_factory=EmbedOptions)
    prompts: bool = True
    window: int = 4096
    computed_in: str = ""
    similarity: SimilarityName = "cosine"


@dataclass(frozen=True)
class EvaluationOptions:
    """cuts: k of the ranking metrics; 10 is always among them. n_found: documents kept for each query in the result.

    n_neighbours: of kNN classification. seed: of clustering. n_per_label, n_rounds: learn from so many texts of each
    label, so many times, as mteb does; None learns from all, once.
    """

    vectors: VectorOptions = field(default_factory=VectorOptions)
    bootstrap: BootstrapOptions = field(default_factory=BootstrapOptions)
    cuts: tuple[int, ...] = CUTS
    n_found: int = 10
    n_neighbours: int = 5
    n_per_label: int | None = None
    n_rounds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.cuts or any(cut < 1 for cut in self.cuts):
            raise InputError(f"k is {', '.join(map(str, self.cuts)) or 'missing'}; expected whole numbers from 1.")
        if self.n_neighbours < 1:
            raise InputError(f"{self.n_neighbours} neighbours were asked for; expected 1 or more.")

    @property
    def all_cuts(self) -> tuple[int, ...]:
        """Ascending, with the cut of the main metric."""
        return tuple(sorted({*self.cuts, MAIN_CUT}))
