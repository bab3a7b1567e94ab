"""What `encode` takes and gives, in the names of sentence-transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from sememe.engine.quantize import quantize_embeddings
from sememe.errors import InputError
from sememe.records import Embeddings, EmbedOptions, Output, OutputDtype, Role, SparseEmbeddings

Encoded = NDArray[Any] | SparseEmbeddings | list[NDArray[np.float32]]
"""What `encode` gives: dense vectors; where a model gives none, sparse ones, or a list of vectors for each input."""


class EncodeArguments(TypedDict, total=False):
    """What `encode_query` and `encode_document` take besides the inputs: the arguments of `encode`."""

    prompt_name: str | None
    prompt: str | None
    batch_size: int
    show_progress_bar: bool | None
    output_value: Literal["sentence_embedding"]
    precision: OutputDtype
    convert_to_numpy: bool
    convert_to_tensor: bool
    device: str | None
    normalize_embeddings: bool
    truncate_dim: int | None
    instruction: str | None
    examples: Sequence[tuple[str, str]]
    task: str | None


@dataclass(frozen=True)
class AskedEncode:
    """The same with the defaults of `encode`; an unknown name is a TypeError here."""

    prompt_name: str | None = None
    prompt: str | None = None
    batch_size: int = 32
    show_progress_bar: bool | None = None
    output_value: str = "sentence_embedding"
    precision: OutputDtype = "float32"
    convert_to_numpy: bool = True
    convert_to_tensor: bool = False
    device: str | None = None
    normalize_embeddings: bool = False
    truncate_dim: int | None = None
    instruction: str | None = None
    examples: Sequence[tuple[str, str]] = ()
    task: str | None = None

    def options(self, role: Role | None, outputs: tuple[Output, ...], dtype: OutputDtype) -> EmbedOptions:
        """The call as the engine takes it. A task has its own prompt, so that the role's is not asked for."""
        return EmbedOptions(
            role=None if self.task is not None else role,
            prompt_name=self.prompt_name,
            prompt=self.prompt,
            instruction=self.instruction,
            examples=tuple((query, response) for query, response in self.examples),
            task=self.task,
            dimensions=self.truncate_dim,
            normalize=True if self.normalize_embeddings else None,
            dtype=dtype,
            outputs=outputs,
        )

    def check(self, device: str) -> None:
        """Raise InputError for what `encode` does not do."""
        if self.output_value != "sentence_embedding":
            raise InputError(f"output_value is {self.output_value!r}; encode gives 'sentence_embedding'.")
        if self.device not in (None, device):
            raise InputError(f"This model computes on {device}; make another Embedder for device {self.device!r}.")

    def result(self, found: Embeddings, *, is_one: bool) -> Encoded:
        """What plain `encode` gives of the one kind that was computed. is_one: the input was a text, not a list."""
        if found.dense is not None:
            vectors = quantize_embeddings(np.asarray(found.dense, np.float32), self.precision)
            result = vectors[0] if is_one else vectors
            return as_tensor(result) if self.convert_to_tensor else result
        if self.convert_to_tensor or self.precision != "float32":
            raise InputError(
                "convert_to_tensor and precision are for dense vectors, which this model does not give; sparse ones have "
                "to_scipy()."
            )
        if found.sparse is not None:
            return found.sparse
        assert found.multi_vector is not None
        lists = [found.multi_vector[i] for i in range(len(found.multi_vector))]
        return lists[0] if is_one else lists


@contextmanager
def progress_bar(n_inputs: int, wanted: bool | None, unit: str = "text") -> Iterator[Callable[[int], None] | None]:
    """A bar over the inputs; None means where the logger `sememe` lets INFO through, as sentence-transformers does."""
    if not (logging.getLogger("sememe").isEnabledFor(logging.INFO) if wanted is None else wanted):
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_inputs, desc="embedding", unit=unit) as bar:
        yield lambda n: cast("None", bar.update(n))


def as_tensor(values: NDArray[Any]) -> Any:
    """The array as a torch tensor. Raises InputError where torch is not installed."""
    try:
        from sememe.ops import torch
    except ModuleNotFoundError as exc:
        raise InputError("convert_to_tensor needs the extra: pip install 'sememe[torch]'.") from exc
    return torch.as_tensor(values)
