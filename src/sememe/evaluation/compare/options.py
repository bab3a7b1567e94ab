"""What is compared, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from sememe.errors import InputError
from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.datasets.options import DataOptions

StoredDtype = Literal["float32", "float16", "int8", "binary", "binary-rescore"]
"""How an index keeps vectors.

int8: 256 steps between the smallest and largest value of each dimension, on both sides. binary: signs on both sides,
ordered by Hamming distance. binary-rescore: the 100 nearest by Hamming distance, ordered anew by the float32 query's dot
product with the document's signs; the index is as small, and no float document is kept. Source: Yamada, Asai &
Hajishirzi 2021, section 3.
"""
STORED_DTYPES: tuple[StoredDtype, ...] = get_args(StoredDtype)
N_RESCORED = 100


@dataclass(frozen=True)
class CompareOptions:
    """models × precisions × prompts are embedded; dimensions × dtypes are cuts of the same vectors.

    recipe: words about the models, each with its model's name (`engine.opening`). dimensions: None is full width; a
    width that a model does not have is left out, and said. baselines: BM25, and its fusion with each embedding at full
    width, on retrieval tasks. language: of BM25's stemmer, ISO 639-1. price_per_hour:
    of the machine, in any currency. tolerance: what the recommended system may lose to the best, in units of the
    metric. n_probe: texts that speed is measured with. folder: where reports and everything kept for another run go.
    """

    models: tuple[str, ...]
    data: tuple[Path, ...]
    folder: Path
    recipe: tuple[str, ...] = ()
    dimensions: tuple[int | None, ...] = (None,)
    dtypes: tuple[StoredDtype, ...] = ("float32",)
    precisions: tuple[str, ...] = ("auto",)
    prompts: tuple[bool, ...] = (True,)
    baselines: bool = True
    language: str | None = None
    read: DataOptions = field(default_factory=DataOptions)
    price_per_hour: float | None = None
    currency: str = "$"
    tolerance: float = 0.02
    bootstrap: BootstrapOptions = field(default_factory=BootstrapOptions)
    n_permutations: int = 10_000
    alpha: float = 0.05
    n_probe: int = 256
    window: int = 256
    n_shown_queries: int = 5
    offline: bool = False

    def __post_init__(self) -> None:
        if not self.models or not self.data:
            raise InputError("A comparison needs a model and data (--data).")
        for name in ("models", "data", "dimensions", "dtypes", "precisions", "prompts"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise InputError(f"{name} are {', '.join(map(str, values)) or 'missing'}; expected each once.")
        if unknown := [dtype for dtype in self.dtypes if dtype not in STORED_DTYPES]:
            raise InputError(f"dtype {unknown[0]!r} is not one of {', '.join(STORED_DTYPES)}.")
        if any(width is not None and width < 1 for width in self.dimensions):
            raise InputError("Dimensions are whole numbers from 1.")
        if self.price_per_hour is not None and not self.price_per_hour > 0:
            raise InputError(f"The machine's price is {self.price_per_hour} an hour; expected more than 0.")
        if self.tolerance < 0 or self.n_permutations < 100 or not 0 < self.alpha < 1:
            raise InputError("Expected a tolerance of 0 or more, 100 permutations or more, and alpha between 0 and 1.")
