"""The operations as torch tensors, computed at once, with autograd.

On CUDA in half precision, attention is torch's own varlen kernel: no padding. Elsewhere a plain loop over sequences;
also the second opinion that tests compare the graph backend with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from sememe.errors import InputError
from sememe.ops import Activation, Alibi, Build, Module, Parameter, Precision, RelativeBias, Rotary, SumKind, Weights
from sememe.ops.rotary import rotary_frequencies
from sememe.ops.torch_attention import attend
from sememe.records import Batch

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


class TorchBatch:
    """A batch as tensors on one device. cu_seqlens: (B+1,) int32; bounds: the same as Python numbers."""

    def __init__(self, batch: Batch, device: str) -> None:
        def tensor(values: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)

        self.token_ids = tensor(batch.token_ids)
        self.type_ids = tensor(batch.type_ids)
        self.positions = tensor(batch.positions)
        self.cu_seqlens = tensor(batch.cu_seqlens)
        self.bounds: list[int] = batch.cu_seqlens.tolist()
        # (start, first pooled token, end) of each sequence
        self.pool_bounds: list[tuple[int, int, int]] = [
            (start, min(start + skipped, end - 1), end)
            for start, end, skipped in zip(self.bounds, self.bounds[1:], batch.n_prompt.tolist(), strict=False)
        ]
        self.longest = int(batch.lengths.max())
        self.n_unseen: list[int] | None = None if batch.n_unseen is None else batch.n_unseen.tolist()

    def sequences(self) -> Iterator[tuple[slice, slice]]:
        """Where each sequence lies in (T,), and the part of it that the others attend to."""
        n_unseen = self.n_unseen or [0] * (len(self.bounds) - 1)
        for start, end, unseen in zip(self.bounds, self.bounds[1:], n_unseen, strict=False):
            yield slice(start, end), slice(start, end - unseen)


class TorchOps:
    """`Ops` on tensors."""

    def embedding(self, table: Module[Tensor], ids: Tensor) -> Tensor:
        return F.embedding(ids.long(), table.weight)

    def linear(self, x: Tensor, module: Module[Tensor]) -> Tensor:
        return F.linear(x, module.weight, module.bias)

    def scale(self, x: Tensor, factor: float) -> Tensor:
        return x * factor

    def layer_norm(self, x: Tensor, module: Module[Tensor] | None, eps: float) -> Tensor:
        weight, bias = (None, None) if module is None else (module.weight, module.bias)
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def rms_norm(self, x: Tensor, module: Module[Tensor], eps: float, *, plus_one: bool = False) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        if plus_one:  # Gemma multiplies before it casts back; the others after.
            return (normed * (1 + module.weight.float())).to(x.dtype)
        return module.weight * normed.to(x.dtype)

    def activation(self, x: Tensor, kind: Activation) -> Tensor:
        return _ACTIVATIONS[kind](x)

    def experts(
        self,
        x: Tensor,
        router: Module[Tensor],
        up: Module[Tensor],
        down: Module[Tensor],
        *,
        n_experts: int,
        top_k: int,
        activation: Activation,
    ) -> Tensor:
        shares, chosen = F.softmax(F.linear(x, router.weight).float(), -1).topk(top_k, -1)  # (T, top_k)
        y = torch.zeros_like(x) if down.bias is None else down.bias.expand(x.shape).clone()
        pairs = zip(up.weight.chunk(n_experts), down.weight.chunk(n_experts), strict=True)
        for e, (up_e, down_e) in enumerate(pairs):
            token, place = torch.where(chosen == e)
            out = _ACTIVATIONS[activation](F.linear(x[token], up_e)) @ down_e
            y.index_add_(0, token, out * shares[token, place, None].to(x.dtype))
        return y

    def log1p(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def rows(self, table: Module[Tensor], indices: Sequence[int]) -> Tensor:
        return table.weight[list(indices)]

    def split(self, x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        return list(x.split(list(sizes), dim=-1))

    def heads(self, x: Tensor, n_heads: int) -> Tensor:
        return x.unflatten(-1, (n_heads, -1))

    def merge_heads(self, x: Tensor) -> Tensor:
        return x.flatten(-2)

    def rotary(self, x: Tensor, rotary: Rotary, batch: TorchBatch) -> Tensor:
        frequencies = torch.from_numpy(rotary_frequencies(rotary, np.diff(batch.bounds))).to(x.device)
        angles = (batch.positions.float()[:, None] * frequencies)[:, None]  # (T, 1, rotated / 2)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        rotated = 2 * len(rotary.inverse_frequencies)
        part, rest = x[..., :rotated], x[..., rotated:]
        if rotary.interleaved:
            x1, x2 = part[..., 0::2], part[..., 1::2]
            turned = torch.stack([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1).flatten(-2)
        else:
            x1, x2 = part.chunk(2, -1)
            turned = torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1)
        return torch.cat([turned, rest], -1)

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        batch: TorchBatch,
        *,
        scale: float | None = None,
        causal: bool = False,
        window: tuple[int, int] | None = None,
        bias: RelativeBias[Tensor] | Alibi | None = None,
        softcap: float | None = None,
    ) -> Tensor:
        scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        left, right = (None, None) if window is None else window
        right = 0 if causal else right
        is_plain = bias is None and softcap is None and batch.n_unseen is None
        if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16) and is_plain:
            from torch.nn.attention.varlen import varlen_attn

            reach = (-1 if left is None else left, -1 if right is None else right)
            out = varlen_attn(
                q, k, v, batch.cu_seqlens, batch.cu_seqlens, batch.longest, batch.longest,
                scale=scale, window_size=reach, enable_gqa=q.shape[1] != k.shape[1],
            )  # fmt: skip
            assert isinstance(out, Tensor)
            return out
        return torch.cat(
            [
                attend(q[span], k[seen], v[seen], left, right, scale=scale, bias=bias, softcap=softcap)
                for span, seen in batch.sequences()
            ]
        )

    def latent_attention(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # (1, heads, T or M, d)
        return F.scaled_dot_product_attention(q, k, v, scale=scale)[0].transpose(0, 1)

    def sum_pool(self, x: Tensor, batch: TorchBatch, kind: SumKind) -> Tensor:
        rows = []
        for start, first, end in batch.pool_bounds:
            part, n = x[first:end].float(), end - first
            if kind == "weighted":  # by the place in the whole sequence, a left-out prompt included
                weights = torch.arange(first - start + 1, end - start + 1, device=x.device, dtype=torch.float32)
                rows.append((part * (weights / weights.sum())[:, None]).sum(0))
            else:
                rows.append(part.sum(0) / {"sum": 1, "mean": n, "sqrt_len": math.sqrt(n)}[kind])
        return torch.stack(rows)

    def max_pool(self, x: Tensor, batch: TorchBatch) -> Tensor:
        return torch.stack([x[first:end].float().amax(0) for _, first, end in batch.pool_bounds])

    def pick(self, x: Tensor, batch: TorchBatch, which: Literal["first", "last"]) -> Tensor:
        rows = [first if which == "first" else end - 1 for _, first, end in batch.pool_bounds]
        return x[rows]

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(pieces), -1)


def tensors(parameters: Mapping[str, Parameter], device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """The parameters as tensors of one dtype on one device."""

    def tensor(parameter: Parameter) -> Tensor:
        made = torch.from_numpy(np.asarray(parameter.values))
        if parameter.dtype == "bfloat16":
            made = made.view(torch.bfloat16)
        return made.to(device, dtype)

    return {name: tensor(parameter) for name, parameter in parameters.items()}


def cuda_is_available() -> bool:
    """Whether torch sees a CUDA device here."""
    return torch.cuda.is_available()


def as_tensor(values: NDArray[Any]) -> Tensor:
    """The array as a tensor on the processor, sharing its memory."""
    return torch.from_numpy(np.ascontiguousarray(values))


class TorchProgram:
    """A function with its weights on one device, called without recording gradients."""

    def __init__(self, build: Build, weights: Weights[Tensor], device: str) -> None:
        self._build, self._weights, self._device = build, weights, device

    def __call__(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        ops: Any = TorchOps()  # narrower than the protocol in its arrays, which mypy cannot see through
        with torch.inference_mode():
            outputs = self._build(ops, self._weights, TorchBatch(batch, self._device))
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}


class TorchBackend:
    """Torch on `cpu`, `cuda`, `cuda:1`, … n_threads: 0 leaves torch's own setting."""

    name = "torch"

    def __init__(self, *, device: str = "cpu", n_threads: int = 0) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(
                f"Device {device!r} was asked for, but torch {torch.__version__} sees no CUDA device here."
            )
        self.device = device
        if n_threads:
            torch.set_num_threads(n_threads)

    def program(
        self,
        build: Build,
        parameters: Mapping[str, Parameter],
        precision: Precision,
    ) -> TorchProgram:
        if precision == "int8":
            raise InputError("Precision int8 runs on the openvino backend. Choose bfloat16 or float32 for torch.")
        return TorchProgram(build, Weights(tensors(parameters, self.device, _DTYPES[precision])), self.device)

    @property
    def has_bfloat16(self) -> bool:
        """Whether the device computes bfloat16 natively."""
        if self.device.startswith("cuda"):
            return torch.cuda.is_bf16_supported(including_emulation=False)
        return "avx512_bf16" in torch.backends.cpu.get_cpu_capability().lower()
