"""Names of precisions and backends, and what `auto` becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sememe.engine.precision import make_backend, read_backend, read_precision, resolve_precision
from sememe.errors import InputError
from sememe.ops.torch import cuda_is_available


@dataclass
class _Backend:
    name: str = "openvino"
    device: str = "cpu"
    has_bfloat16: bool = True

    def program(self, *_: Any) -> Any:
        raise AssertionError


def test_auto_is_bfloat16_where_it_is_native() -> None:
    assert resolve_precision("auto", _Backend()).precision == "bfloat16"
    slow = resolve_precision("auto", _Backend(has_bfloat16=False))
    assert slow.precision == "float32"
    assert "no native bfloat16" in slow.reason


@pytest.mark.parametrize("choice", ["float32", "bfloat16", "int8"])
def test_what_is_asked_for_is_taken(choice: Any) -> None:
    resolved = resolve_precision(choice, _Backend())
    assert (resolved.precision, resolved.reason) == (choice, "asked for")


def test_bfloat16_that_is_not_computed_is_not_claimed(caplog: pytest.LogCaptureFixture) -> None:
    """OpenVINO takes the hint and computes float32 on a processor without it."""
    resolved = resolve_precision("bfloat16", _Backend(has_bfloat16=False))
    assert resolved.precision == "float32"
    assert "bfloat16 was asked for, but the cpu has no native bfloat16" in resolved.reason
    assert "float32 is computed instead" in caplog.text
    assert (
        resolve_precision("bfloat16", _Backend("torch", has_bfloat16=False)).precision == "bfloat16"
    )  # slow, but true


def test_float16_runs_on_torch_only() -> None:
    assert resolve_precision("float16", _Backend("torch")).precision == "float16"
    with pytest.raises(InputError, match=r"float16 runs on the torch backend"):
        resolve_precision("float16", _Backend())


def test_names_and_short_names() -> None:
    assert [read_precision(n) for n in ("auto", "fp32", "f32", "bf16", "fp16", "int8")] == [
        "auto",
        "float32",
        "float32",
        "bfloat16",
        "float16",
        "int8",
    ]
    with pytest.raises(InputError, match=r"'fp8' is not one of auto, float32"):
        read_precision("fp8")
    assert read_backend("torch") == "torch"
    with pytest.raises(InputError, match=r"'onnx' is not one of auto, openvino, torch"):
        read_backend("onnx")


def test_the_processor_is_openvinos_unless_torch_is_asked_for() -> None:
    assert make_backend("auto", "cpu", 1).name == "openvino"
    assert make_backend("auto", "auto", 1).name == "openvino"
    assert make_backend("torch", "cpu", 1).name == "torch"


def test_openvino_on_a_graphics_card_is_a_contradiction() -> None:
    with pytest.raises(InputError, match=r"openvino backend computes on the processor; device 'cuda'"):
        make_backend("openvino", "cuda", 0)


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a CUDA device")
def test_a_cuda_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="sees no CUDA device"):
        make_backend("auto", "cuda", 0)


@pytest.mark.parametrize("device", ["gpu", "tpu", "cuda:x", "cuda:", "", "CPU:0"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"is not one of auto, cpu, cuda, cuda:N"):
        make_backend("auto", device, 0)
