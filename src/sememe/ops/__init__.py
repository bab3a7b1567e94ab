"""The operations that architectures are written in, and the values they take.

A family computes with an `Ops`; a backend (`ops/openvino.py`, `ops/torch.py`) is one implementation of it.
For OpenVINO an `Array` is a node of a graph that is built once; for torch it is a tensor, computed at once.
Arrays understand `+`, `-` and `*` with each other, on both; a number multiplies by `scale`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sememe.records import Batch

# OpenVINO's package sends an event to its maker whenever it is imported, unless its telemetry is not there: so it is not, in
# this process. Here, because whoever imports one of this package's backends has imported this first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it is an ImportError


class Arithmetic(Protocol):
    """What the arrays of either backend understand, with each other. (A graph node takes a Python number as float64.)"""

    def __add__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...
    def __mul__(self, other: Any, /) -> Self: ...


# A graph node or a tensor.
Array = TypeVar("Array", bound=Arithmetic)
SomeArray = TypeVar("SomeArray", covariant=True)

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "tanh", "sigmoid", "identity"]
StoredDtype = Literal["float32", "float16", "bfloat16", "float64", "integer"]
SumKind = Literal["sum", "mean", "sqrt_len", "weighted"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]


@dataclass(frozen=True)
class Parameter:
    """One tensor of a checkpoint, in the bits it is stored in.

    values: as numpy has them; for bfloat16, which it lacks, the bits as uint16. `integer` tensors (position ids and other
    buffers) are read so that their names can be accounted for; no architecture computes with them.
    """

    values: NDArray[Any]
    dtype: StoredDtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def float32(self) -> NDArray[np.float32]:
        """The values as float32 (a view where they already are)."""
        if self.dtype == "bfloat16":
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        return self.values.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Module(Generic[Array]):
    """The tensors of one named piece of a model: (out, in) and (out,) of a linear, (H,) and (H,) of a norm."""

    weight: Array
    bias: Array | None


class Weights(Generic[Array]):
    """Tensors by name, handed out as modules: `weights["layer.0.mlp.up"]` has the `.weight` and `.bias` of that name."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def __getitem__(self, name: str) -> Module[Array]:
        full = self._prefix + name
        return Module(self._tensors[f"{full}.weight"], self._tensors.get(f"{full}.bias"))

    def __contains__(self, name: str) -> bool:
        return f"{self._prefix}{name}.weight" in self._tensors

    def bias(self, name: str) -> Array:
        """A bias whose weight is tied to another module's."""
        return self._tensors[f"{self._prefix}{name}.bias"]

    def layers(self, name: str, n_layers: int) -> Iterator[Weights[Array]]:
        """The weights below `name.0`, `name.1`, …"""
        for i in range(n_layers):
            yield Weights(self._tensors, f"{self._prefix}{name}.{i}.")


@dataclass(frozen=True)
class RelativeBias(Generic[Array]):
    """A learned score bias by the distance key − query, in T5's buckets.

    table: (n_buckets, heads). Source: Raffel et al. 2020, section 2.1; bucket rule of transformers 5.23
    `T5Attention._relative_position_bucket`, bidirectional.
    """

    table: Module[Array]
    n_buckets: int = 32
    max_distance: int = 128


@dataclass(frozen=True)
class Alibi:
    """A fixed score bias −slope·|key − query|. slopes: one a head. Source: Press et al. 2022; symmetric as in JinaBERT."""

    slopes: tuple[float, ...]


@dataclass(frozen=True)
class Rotary:
    """Rotary positions: angle = position · inverse_frequencies[j].

    inverse_frequencies: (rotated / 2,) float32; components of a head past `rotated` are left as they are.
    interleaved: pairs (2k, 2k+1) instead of (j, j + rotated/2). max_position: positions that may occur.
    by_length: the frequencies of a sequence of n tokens, where they depend on n; None where they do not.
    Source: Su et al. 2021, section 3.4; halves as in GPT-NeoX.
    """

    inverse_frequencies: NDArray[np.float32]
    max_position: int
    interleaved: bool = False
    by_length: Callable[[int], NDArray[np.float32]] | None = None


class BatchView(Protocol[SomeArray]):
    """A `Batch` as the backend's arrays: (T,) token ids, segment ids, and positions."""

    @property
    def token_ids(self) -> SomeArray: ...
    @property
    def type_ids(self) -> SomeArray: ...
    @property
    def positions(self) -> SomeArray: ...


class Ops(Protocol[Array]):
    """What a family or a head may compute. T tokens of a batch lie end to end; nothing here sees padding."""

    def embedding(self, table: Module[Array], ids: Array) -> Array:
        """Rows of `table` (V, H) at `ids` (T,): (T, H)."""
        ...

    def linear(self, x: Array, module: Module[Array]) -> Array:
        """x · weightᵀ + bias: (…, in) to (…, out)."""
        ...

    def scale(self, x: Array, factor: float) -> Array:
        """x · factor."""
        ...

    def layer_norm(self, x: Array, module: Module[Array] | None, eps: float) -> Array:
        """(x − mean) / sqrt(var + eps) · weight + bias over the last axis, biased variance, in float32.

        module: None for no weight and no bias. Source: Ba et al. 2016.
        """
        ...

    def rms_norm(self, x: Array, module: Module[Array], eps: float, *, plus_one: bool = False) -> Array:
        """x / sqrt(mean(x²) + eps) · weight over the last axis, in float32; plus_one: · (1 + weight), as Gemma does."""
        ...

    def activation(self, x: Array, kind: Activation) -> Array:
        """The named function of each value. `gelu` is the exact one (erf)."""
        ...

    def experts(
        self,
        x: Array,
        router: Module[Array],
        up: Module[Array],
        down: Module[Array],
        *,
        n_experts: int,
        top_k: int,
        activation: Activation,
    ) -> Array:
        """A mixture of experts over (T, H): Σ p_e · activation(x · up_eᵀ) · down_e + down.bias, e the `top_k` likeliest.

        p = softmax(x · routerᵀ) in float32 over all experts; the chosen ones' shares are not scaled to sum to 1.
        router: (n_experts, H). up, down: (n_experts · F, H), expert e in rows e·F to (e + 1)·F; `down` is multiplied as it
        is, not transposed. Only the chosen experts are computed. Source: Shazeer et al. 2017, section 2; without noise.
        """
        ...

    def log1p(self, x: Array) -> Array:
        """log(1 + x) of each value."""
        ...

    def rows(self, table: Module[Array], indices: Sequence[int]) -> Array:
        """Those rows of a (V, H) table: (len(indices), H)."""
        ...

    def split(self, x: Array, sizes: Sequence[int]) -> list[Array]:
        """Cut the last axis into pieces of these sizes."""
        ...

    def heads(self, x: Array, n_heads: int) -> Array:
        """(T, n_heads · d) to (T, n_heads, d)."""
        ...

    def merge_heads(self, x: Array) -> Array:
        """(T, n_heads, d) to (T, n_heads · d)."""
        ...

    def rotary(self, x: Array, rotary: Rotary, batch: BatchView[Array]) -> Array:
        """Turn (T, n_heads, d) by each token's position; angles in float32."""
        ...

    def attention(
        self,
        q: Array,
        k: Array,
        v: Array,
        batch: BatchView[Array],
        *,
        scale: float | None = None,
        causal: bool = False,
        window: tuple[int, int] | None = None,
        bias: RelativeBias[Array] | Alibi | None = None,
        softcap: float | None = None,
    ) -> Array:
        """softmax(q·kᵀ·scale + bias)·v inside each sequence: (T, heads, d).

        q: (T, heads, d). k, v: (T, kv_heads, d); each serves heads / kv_heads consecutive heads of q.
        scale: None is 1/sqrt(d). window=(left, right) counts tokens besides the token itself.
        softcap: scaled products s become softcap · tanh(s / softcap); families with a bias have none, so never both.
        Source: Vaswani et al. 2017, section 3.2; grouped heads: Ainslie et al. 2023; softcap: Gemma 2, section 2.
        """
        ...

    def latent_attention(self, q: Array, k: Array, v: Array, scale: float) -> Array:
        """softmax(q·kᵀ·scale)·v of every token over the same M keys: (T, heads, d).

        q: (T, heads, d). k, v: (M, heads, d), learned and not of the batch. Source: Lee et al. 2024, section 3.1.
        """
        ...

    def sum_pool(self, x: Array, batch: BatchView[Array], kind: SumKind) -> Array:
        """(T, H) to (B, H): a weighted sum over each sequence's tokens, in float32, the prompt's tokens left out.

        sum: 1 each; mean: 1/n each; sqrt_len: 1/sqrt(n) each; weighted: 1, 2, …, n over their sum.
        Source: Reimers & Gurevych 2019, section 3; weighted: Muennighoff 2022, section 3.1.
        """
        ...

    def max_pool(self, x: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (B, H): the largest value over each sequence's tokens, the prompt's left out."""
        ...

    def pick(self, x: Array, batch: BatchView[Array], which: Literal["first", "last"]) -> Array:
        """(T, H) to (B, H): the first or the last token of each sequence, the prompt's left out."""
        ...

    def concatenate(self, pieces: Sequence[Array]) -> Array:
        """Join along the last axis."""
        ...


Build = Callable[[Ops[Any], Weights[Any], BatchView[Any]], dict[str, Any]]
"""What a program computes: named outputs from a batch, written against the operations."""


class Program(Protocol):
    """A `Build` made ready for one backend and precision. May be called from several threads at once."""

    def __call__(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """The function's outputs for this batch, float32."""
        ...


class Backend(Protocol):
    """One implementation of the operations, on one device."""

    name: str
    device: str

    @property
    def has_bfloat16(self) -> bool:
        """Whether the device computes bfloat16 natively."""
        ...

    def program(self, build: Build, parameters: Mapping[str, Parameter], precision: Precision) -> Program:
        """Make `build` ready to run with these parameters."""
        ...
