"""How fast this machine multiplies matrices of MiniLM's shapes: the limit that an encoder's speed is held against.

A chain of nothing but matrix multiplications, (T, 384) → 1152 → 384 → 384 → 1536 → 384, six times, with T = 2048:
every shape of a MiniLM layer, and one (1152 to 384) that leads back. All of them are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

N_TOKENS = 2048
WIDTHS = (384, 1152, 384, 384, 1536, 384)
N_LAYERS = 6
FLOPS = 2 * N_TOKENS * N_LAYERS * sum(a * b for a, b in pairwise(WIDTHS))


def _weights() -> list[np.ndarray]:
    """(out, in) each, scaled so that the values neither grow nor vanish along the chain."""
    random = np.random.default_rng(0)
    pairs = list(pairwise(WIDTHS)) * N_LAYERS
    return [(random.standard_normal((b, a)) / a**0.5).astype(np.float32) for a, b in pairs]


def openvino_chain(precision: str) -> Callable[[], object]:
    """One pass through the chain on the processor, `bf16` or `f32`."""
    import sememe.ops  # noqa: F401, I001  # keeps OpenVINO from sending an event when it is imported
    import openvino as ov
    import openvino.opset15 as opset

    first = opset.parameter([-1, WIDTHS[0]], np.float32)
    x = first
    for weight in _weights():
        x = opset.matmul(x, opset.constant(weight), False, True)
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    request = ov.Core().compile_model(ov.Model([x], [first]), "CPU", options).create_infer_request()
    values = np.random.default_rng(1).standard_normal((N_TOKENS, WIDTHS[0])).astype(np.float32)
    return lambda: request.infer([values], share_inputs=True, share_outputs=True)


def torch_chain(device: str, dtype: str) -> Callable[[], object]:
    """One pass through the chain on a torch device, waiting until it is done; 16 × as many tokens at once."""
    import torch

    weights = [torch.from_numpy(w).to(device, getattr(torch, dtype)) for w in _weights()]
    start = torch.randn(N_TOKENS * 16, WIDTHS[0]).to(device, getattr(torch, dtype))

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
