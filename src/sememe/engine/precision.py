"""Which numbers a model is computed in, and why."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Literal

from sememe.errors import InputError
from sememe.ops import Backend, Precision

logger = logging.getLogger(__name__)

PrecisionChoice = Literal["auto", "float32", "bfloat16", "float16", "int8"]
BackendChoice = Literal["auto", "openvino", "torch"]

PRECISION_CHOICES: tuple[PrecisionChoice, ...] = ("auto", "float32", "bfloat16", "float16", "int8")
BACKEND_CHOICES: tuple[BackendChoice, ...] = ("auto", "openvino", "torch")
_SHORT: dict[str, PrecisionChoice] = {"fp32": "float32", "f32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Resolved:
    """A precision and the reason for it, in words."""

    precision: Precision
    reason: str


def read_precision(name: str) -> PrecisionChoice:
    """A precision by its name or its usual short form. Raises InputError."""
    choice = _SHORT.get(name, name)
    for known in PRECISION_CHOICES:
        if choice == known:
            return known
    raise InputError(f"Precision {name!r} is not one of {', '.join(PRECISION_CHOICES)}.")


def read_backend(name: str) -> BackendChoice:
    """A backend by its name. Raises InputError."""
    for known in BACKEND_CHOICES:
        if name == known:
            return known
    raise InputError(f"Backend {name!r} is not one of {', '.join(BACKEND_CHOICES)}.")


def resolve_precision(choice: PrecisionChoice, backend: Backend) -> Resolved:
    """`auto` becomes bfloat16 where the processor has it natively, float32 elsewhere; int8 only when asked for.

    OpenVINO computes float32 where the processor cannot do the bfloat16 that was asked for; the answer says so.
    """
    if choice == "auto":
        if backend.has_bfloat16:
            return Resolved("bfloat16", f"the {backend.device} computes bfloat16 natively")
        return Resolved("float32", f"the {backend.device} has no native bfloat16")
    if choice == "float16" and backend.name == "openvino":
        raise InputError("Precision float16 runs on the torch backend. Choose bfloat16, float32 or int8 for openvino.")
    if choice == "bfloat16" and backend.name == "openvino" and not backend.has_bfloat16:
        reason = f"bfloat16 was asked for, but the {backend.device} has no native bfloat16"
        logger.warning("%s: float32 is computed instead", reason)
        return Resolved("float32", reason)
    return Resolved(choice, "asked for")


def make_backend(choice: BackendChoice, device: str, n_threads: int) -> Backend:
    """The backend for a device: `auto` is torch for a CUDA device, OpenVINO for the processor.

    device: `auto`, `cpu`, `cuda`, `cuda:N`. Raises InputError where the two contradict each other or torch is missing.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise InputError(f"Device {device!r} is not one of auto, cpu, cuda, cuda:N.")
    if device == "auto":
        device = "cuda" if choice == "torch" and _torch_sees_cuda() else "cpu"
    if choice == "openvino" and device != "cpu":
        raise InputError(f"The openvino backend computes on the processor; device {device!r} needs backend torch.")
    if choice == "torch" or device != "cpu":
        return _torch_backend(device, n_threads)
    from sememe.ops.openvino import OpenVinoBackend

    return OpenVinoBackend(device=device, n_threads=n_threads)


def _torch_backend(device: str, n_threads: int) -> Backend:
    try:
        from sememe.ops.torch import TorchBackend
    except ModuleNotFoundError as exc:
        raise InputError("Backend torch needs the extra: pip install 'sememe[torch]'.") from exc
    return TorchBackend(device=device, n_threads=n_threads)


def _torch_sees_cuda() -> bool:
    try:
        from sememe.ops.torch import cuda_is_available
    except ModuleNotFoundError:
        return False
    return cuda_is_available()
