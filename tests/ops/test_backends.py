"""What a backend does around the operations: stored types, precisions, several batches and threads, refusals."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import operations
from operations import normal
from sememe.errors import InputError
from sememe.ops import Backend, Parameter, Program, StoredDtype
from sememe.ops.openvino import OpenVinoBackend
from sememe.ops.torch import TorchBackend, as_tensor, cuda_is_available

BACKENDS = operations.backends()
both = pytest.mark.parametrize("backend", BACKENDS, ids=[backend.name for backend in BACKENDS])


def _linear(ops: Any, weights: Any, view: Any) -> dict[str, Any]:
    return {"out": ops.linear(ops.embedding(weights["embeddings"], view.token_ids), weights["w"])}


def _stored(values: np.ndarray[Any, Any], dtype: StoredDtype) -> Parameter:
    if dtype == "bfloat16":
        return Parameter((values.view(np.uint32) >> 16).astype(np.uint16), dtype)
    return Parameter(values.astype(dtype), dtype)


@both
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_parameters_of_every_stored_type(backend: Backend, dtype: StoredDtype) -> None:
    """In float32 the stored bits decide and nothing else: no rounding on the way in."""
    batch = operations.batch([3, 2])
    stored = {"embeddings.weight": _stored(normal(5, 8), dtype), "w.weight": _stored(normal(4, 8, seed=1), dtype)}
    stored["w.bias"] = _stored(normal(4, seed=2), dtype)
    x, w, bias = (parameter.float32().astype(np.float64) for parameter in stored.values())
    got = backend.program(_linear, stored, "float32")(batch)["out"]
    assert got.dtype == np.float32
    assert operations.distance(got, x @ w.T + bias) <= operations.LIMIT


def test_float32_of_a_parameter_is_a_view() -> None:
    values = normal(3, 3)
    assert np.shares_memory(Parameter(values, "float32").float32(), values)
    np.testing.assert_array_equal(
        _stored(values, "bfloat16").float32(), torch.from_numpy(values.view(np.uint32) & 0xFFFF0000).numpy().view("f4")
    )


@both
def test_one_program_takes_batches_of_any_shape(backend: Backend) -> None:
    parameters = operations.parameters({"embeddings": normal(40, 8), "w": normal(4, 8, seed=1)})
    program = backend.program(_linear, parameters, "float32")
    everything = program(operations.batch([40]))["out"]
    for lengths in ([1], [7, 3, 1], [2] * 20, [40], [1]):
        np.testing.assert_allclose(program(operations.batch(lengths))["out"], everything[: sum(lengths)], rtol=1e-5)


@both
def test_threads_at_once_get_their_own_results(backend: Backend) -> None:
    parameters = operations.parameters({"embeddings": normal(64, 32), "w": normal(16, 32, seed=1)})
    program = backend.program(_linear, parameters, "float32")
    batches = [operations.batch([n]) for n in range(1, 65)]
    expected = [program(batch)["out"] for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            got = list(pool.map(lambda batch: program(batch)["out"], batches))
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5)


@both
def test_results_are_not_overwritten_by_the_next_call(backend: Backend) -> None:
    parameters = operations.parameters({"embeddings": normal(8, 8), "w": normal(4, 8, seed=1)})
    program = backend.program(_linear, parameters, "float32")
    first = program(operations.batch([4]))["out"]
    before = first.copy()
    program(operations.batch([8]))
    np.testing.assert_array_equal(first, before)


@both
def test_several_outputs_keep_their_names(backend: Backend) -> None:
    def build(ops: Any, weights: Any, view: Any) -> dict[str, Any]:
        x = ops.embedding(weights["x"], view.token_ids)
        return {"second": ops.scale(x, 2), "first": x, "pooled": ops.pick(x, view, "last")}

    table = normal(5, 3)
    out = backend.program(build, operations.parameters({"x": table}), "float32")(operations.batch([2, 3]))
    np.testing.assert_array_equal(out["first"], table)
    np.testing.assert_array_equal(out["second"], 2 * table)
    np.testing.assert_array_equal(out["pooled"], table[[1, 4]])


@both
def test_bfloat16_is_near_and_not_exact(backend: Backend) -> None:
    tables = {"embeddings": normal(200, 64), "w": normal(32, 64, seed=1)}
    exact = tables["embeddings"].astype(np.float64) @ tables["w"].T
    got = backend.program(_linear, operations.parameters(tables), "bfloat16")(operations.batch([200]))["out"]
    off = operations.distance(got, exact)
    # OpenVINO falls back to float32 where the processor has no bfloat16.
    assert (2e-4 if backend.has_bfloat16 or backend.name == "torch" else 0) < off < 1e-2


def test_float16_on_torch() -> None:
    tables = {"embeddings": normal(20, 64), "w": normal(32, 64, seed=1)}
    exact = tables["embeddings"].astype(np.float64) @ tables["w"].T
    got = TorchBackend().program(_linear, operations.parameters(tables), "float16")(operations.batch([20]))["out"]
    assert operations.distance(got, exact) < 2e-3


def test_int8_quantises_linears_by_channel_and_leaves_embeddings_alone() -> None:
    # Channels of very different size: one scale for all would leave nothing of the small ones.
    sizes = 10.0 ** np.linspace(-3, 3, 32)
    tables = {"embeddings": normal(100, 64), "w": (normal(32, 64, seed=1) * sizes[:, None]).astype(np.float32)}

    def build(ops: Any, weights: Any, view: Any) -> dict[str, Any]:
        x = ops.embedding(weights["embeddings"], view.token_ids)
        return {"x": ops.scale(x, 1), "out": ops.linear(x, weights["w"])}

    backend = OpenVinoBackend(n_threads=1)
    got = backend.program(build, operations.parameters(tables), "int8")(operations.batch([100]))
    assert operations.distance(got["x"], tables["embeddings"]) < 4e-3  # bfloat16's own rounding
    exact = tables["embeddings"].astype(np.float64) @ tables["w"].T
    cosines = (got["out"] * exact).sum(0) / np.linalg.norm(got["out"], axis=0) / np.linalg.norm(exact, axis=0)
    assert cosines.min() > 0.999


def test_torch_refuses_int8_and_names_the_remedy() -> None:
    with pytest.raises(InputError, match=r"int8 runs on the openvino backend.*bfloat16 or float32"):
        TorchBackend().program(_linear, {}, "int8")


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a CUDA device")
def test_a_cuda_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"'cuda:1'.*sees no CUDA device"):
        TorchBackend(device="cuda:1")


def test_as_tensor_shares_memory() -> None:
    values = normal(3)
    tensor = as_tensor(values)
    values[0] = 42
    assert tensor[0] == 42


@both
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_program_keeps_its_weights(backend: Backend, dtype: StoredDtype) -> None:
    """Weights go in without a copy; nobody else holds their memory once the checkpoint is gone."""
    batch = operations.batch([300])

    def make() -> tuple[Program, Any]:
        stored = {
            "embeddings.weight": _stored(normal(300, 64), dtype),
            "w.weight": _stored(normal(50, 64, seed=1), dtype),
        }
        program = backend.program(_linear, stored, "float32")
        return program, program(batch)["out"]

    program, expected = make()
    gc.collect()
    overwritten = [np.full((300, 64), 7, kind) for kind in (np.uint16, np.uint32) for _ in range(200)]
    np.testing.assert_array_equal(program(batch)["out"], expected)
    del overwritten
