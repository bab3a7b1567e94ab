"""How fast this machine multiplies matrices of a model's shapes: the limit that a model's speed is held against.

A chain of nothing but matrix multiplications; for MiniLM (T, 384) → 1152 → 384 → 384 → 1536 → 384, six times, with
T = 2048: every shape of a MiniLM layer, and one (1152 to 384) that leads back. All of them are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

N_TOKENS = 2048


@dataclass(frozen=True)
class Shapes:
    """widths: of the values between the multiplications of one layer, which ends as wide as it begins."""

    widths: tuple[int, ...]
    n_layers: int

    def flops(self, n_tokens: int) -> int:
        """Of one pass."""
        return 2 * n_tokens * self.n_layers * sum(a * b for a, b in pairwise(self.widths))

    def weights(self) -> list[np.ndarray]:
        """(out, in) each, scaled so that the values neither grow nor vanish along the chain."""
        random = np.random.default_rng(0)
        pairs = list(pairwise(self.widths)) * self.n_layers
        return [(random.standard_normal((b, a)) / a**0.5).astype(np.float32) for a, b in pairs]


MINILM = Shapes((384, 1152, 384, 384, 1536, 384), 6)


def openvino_chain(shapes: Shapes, precision: str) -> Callable[[], object]:
    """One pass through the chain on the processor, `bf16` or `f32`."""
    import openvino as ov
    import openvino.opset15 as opset

    first = opset.parameter([-1, shapes.widths[0]], np.float32)
    x = first
    for weight in shapes.weights():
        x = opset.matmul(x, opset.constant(weight), False, True)
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    request = ov.Core().compile_model(ov.Model([x], [first]), "CPU", options).create_infer_request()
    values = np.random.default_rng(1).standard_normal((N_TOKENS, shapes.widths[0])).astype(np.float32)
    return lambda: request.infer([values], share_inputs=True, share_outputs=True)


def torch_chain(shapes: Shapes, device: str, dtype: str, n_tokens: int) -> Callable[[], object]:
    """One pass through the chain on a torch device, waiting until it is done."""
    import torch

    weights = [torch.from_numpy(w).to(device, getattr(torch, dtype)) for w in shapes.weights()]
    start = torch.randn(n_tokens, shapes.widths[0]).to(device, getattr(torch, dtype))

    def run() -> None:
        with torch.inference_mode():
            x = start
            for weight in weights:
                x = torch.nn.functional.linear(x, weight)
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return run


def rate(chain: Callable[[], object], flops: int, seconds: float) -> float:
    """FLOP/s of the chain: the median pass of about so many seconds."""
    chain()
    passes: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(passes) < 3:
        started = time.perf_counter()
        chain()
        passes.append(time.perf_counter() - started)
    return flops / float(np.median(passes))
