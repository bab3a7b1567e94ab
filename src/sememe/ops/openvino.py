"""The operations as nodes of an OpenVINO graph, built straight from a checkpoint's tensors.

Linears and norms run on (T, H); only attention and pooling gather to (B, L, …) with maps that numpy makes on the host,
and scatter back. Measured on a 2-core Zen 4 in bfloat16: 72 % of the pure matrix-multiply rate for all-MiniLM-L6-v2, 83 % for
base and large shapes.
"""

from __future__ import annotations

import math
import os
import queue
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import openvino as ov
import openvino.opset15 as opset
from numpy.typing import NDArray

from sememe.ops import Activation, Alibi, Build, Module, Parameter, Precision, RelativeBias, Rotary, SumKind, Weights
from sememe.ops.few_shapes import filled_up
from sememe.ops.mapped_memory import give_back, given_back_meanwhile, n_mapped_bytes
from sememe.ops.openvino_attention import GraphAttention
from sememe.ops.openvino_experts import mixture
from sememe.ops.openvino_feeds import Feed, GraphBatch, Node
from sememe.ops.rotary import rotary_frequencies
from sememe.records import Batch

# The library makes kernels for each new shape of a batch and keeps them: in bfloat16 600 ragged batches of all-MiniLM-L6-v2
# took 275 MB to 679 MB. With room for so many it stops below 400 MB, and batches of shapes that were seen lately still find
# theirs (with room for 64, a short text of ever another length took 1.5 ms longer).
_KERNELS_KEPT = 256
# There are two caches; oneDNN's reads its size from the environment when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KERNELS_KEPT))

# Kernels for a number of tokens that was not there before take 3 ms, whatever the number: as long as so many multiply-adds. So
# the tokens of a batch are filled up to the next of few numbers, by at most as many tokens as cost no more than that.
_NEW_SHAPE = 650e6

# Mapped weights of so many bytes are given back to the system once the library has its own copy.
_WORTH_GIVING_BACK = 100_000_000
_ZERO = np.zeros(1, np.int32)
_ONE_TOKEN = Batch(_ZERO, _ZERO, _ZERO, np.array([0, 1], np.int32), _ZERO)

# Weights that int8 leaves as they are: tables that are looked up; adapters and routers, whose few rows save nothing, and
# choices would flip; and two products with int8 weights that crash the plugin (2026.4): (in, out) with scales along `in`, and
# that with a constant, here of learned latents.
_STAYS_FLOAT = re.compile(
    r"embeddings\..*|(.*\.)?(router|adapter_down|adapter_up|experts\.down)\.weight|latent\.attention\.key_value\.weight"
)

# Marks a conversion as the unpacking of a stored weight, to be done while the weight is repacked.
# Source: OpenVINO, `transformations/rt_info/decompression.hpp`.
_DECOMPRESSION = "decompression_0"

_KINDS: dict[str, str] = {"gelu": "erf", "gelu_tanh": "tanh"}


def _axis(*axes: int) -> Node:
    return opset.constant(np.array(axes, np.int64))


def _scalar_axis(axis: int) -> Node:
    return opset.constant(np.int64(axis))


class OpenVinoOps:
    """`Ops` by graph nodes. Made for one graph: what several layers share (masks, angles) is built once."""

    def __init__(self) -> None:
        self._shared: dict[object, Node] = {}
        self._attention = GraphAttention()

    def _once(self, key: object, make: Callable[[], Node]) -> Node:
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def embedding(self, table: Module[Node], ids: Node) -> Node:
        return opset.gather(table.weight, ids, _scalar_axis(0))

    def linear(self, x: Node, module: Module[Node]) -> Node:
        y = opset.matmul(x, module.weight, False, True)
        return y if module.bias is None else opset.add(y, module.bias)

    def scale(self, x: Node, factor: float) -> Node:
        return opset.multiply(x, np.float32(factor))

    def layer_norm(self, x: Node, module: Module[Node] | None, eps: float) -> Node:
        y = opset.mvn(x, _axis(-1), True, eps, "inside_sqrt")
        if module is None:
            return y
        y = opset.multiply(y, module.weight)
        return y if module.bias is None else opset.add(y, module.bias)

    def rms_norm(self, x: Node, module: Module[Node], eps: float, *, plus_one: bool = False) -> Node:
        weight = opset.add(module.weight, np.float32(1)) if plus_one else module.weight
        square = opset.reduce_mean(opset.power(x, np.float32(2)), _axis(-1), True)
        return opset.multiply(opset.divide(x, opset.sqrt(opset.add(square, np.float32(eps)))), weight)

    def activation(self, x: Node, kind: Activation) -> Node:
        if kind in _KINDS:
            return opset.gelu(x, _KINDS[kind])
        if kind == "quick_gelu":
            return opset.multiply(x, opset.sigmoid(opset.multiply(x, np.float32(1.702))))
        if kind == "silu":
            return opset.swish(x)
        if kind == "identity":
            return x
        return {"relu": opset.relu, "tanh": opset.tanh, "sigmoid": opset.sigmoid}[kind](x)

    def experts(
        self,
        x: Node,
        router: Module[Node],
        up: Module[Node],
        down: Module[Node],
        *,
        n_experts: int,
        top_k: int,
        activation: Activation,
    ) -> Node:
        def act(values: Node) -> Node:
            return self.activation(values, activation)

        return mixture(x, router, up, down, n_experts, top_k, act)

    def log1p(self, x: Node) -> Node:
        return opset.log(opset.add(x, np.float32(1)))

    def rows(self, table: Module[Node], indices: Sequence[int]) -> Node:
        return opset.gather(table.weight, opset.constant(np.array(indices, np.int32)), _scalar_axis(0))

    def split(self, x: Node, sizes: Sequence[int]) -> list[Node]:
        outputs = opset.variadic_split(x, _scalar_axis(-1), np.array(sizes, np.int64)).outputs()
        # An output of a node with several does no arithmetic; a conversion to its own type does, and is compiled away.
        return [opset.convert(output, np.float32) for output in outputs]

    def heads(self, x: Node, n_heads: int) -> Node:
        return opset.reshape(x, np.array([0, n_heads, -1], np.int64), True)

    def merge_heads(self, x: Node) -> Node:
        return opset.reshape(x, np.array([0, -1], np.int64), True)

    def rotary(self, x: Node, rotary: Rotary, batch: GraphBatch) -> Node:
        cos, sin = (self._angles(rotary, batch, function) for function in (np.cos, np.sin))  # (T, 1, rotated / 2)
        half = len(rotary.inverse_frequencies)
        width = x.get_output_partial_shape(0)[2].get_length()
        x1, x2, rest = self._halves(x, half, width, rotary.interleaved)
        turned = [x1 * cos - x2 * sin, x2 * cos + x1 * sin]
        if rotary.interleaved:
            pairs = opset.concat([opset.unsqueeze(t, _axis(-1)) for t in turned], -1)
            turned = [opset.reshape(pairs, np.array([0, 0, -1], np.int64), True)]
        return opset.concat([*turned, *rest], -1)

    def _halves(self, x: Node, half: int, width: int, interleaved: bool) -> tuple[Node, Node, list[Node]]:
        rest: list[Node] = []
        if 2 * half < width:
            x, *rest = self.split(x, (2 * half, width - 2 * half))
        if interleaved:
            pairs = opset.reshape(x, np.array([0, 0, half, 2], np.int64), True)
            x1, x2 = (opset.squeeze(p, _axis(-1)) for p in opset.split(pairs, _scalar_axis(-1), 2).outputs())
        else:
            x1, x2 = self.split(x, (half, half))
        return x1, x2, rest

    def _angles(self, rotary: Rotary, batch: GraphBatch, function: np.ufunc) -> Node:
        """cos or sin of each token's angles, read from a table: a position of a few thousand is no bfloat16 number."""

        def make() -> Node:
            if rotary.by_length is not None:  # no table holds every length: the host makes each batch's rows
                name = f"rotary_{function.__name__}_{len(batch.inputs)}"
                width = len(rotary.inverse_frequencies)
                return batch.fed(name, Feed([-1, 1, width], np.float32, feed, is_per_token=True))
            position = np.arange(rotary.max_position, dtype=np.float32)[:, None]
            table = function(position * rotary.inverse_frequencies[None])  # (max_position, rotated / 2)
            rows = opset.gather(opset.constant(table), batch.positions, _scalar_axis(0))
            return opset.unsqueeze(rows, _axis(1))

        def feed(batch: Batch) -> NDArray[np.float32]:
            rows = function(batch.positions.astype(np.float32)[:, None] * rotary_frequencies(rotary, batch.lengths))
            return np.asarray(rows[:, None], np.float32)

        return self._once((function.__name__, rotary.max_position, rotary.inverse_frequencies.tobytes()), make)

    def attention(
        self,
        q: Node,
        k: Node,
        v: Node,
        batch: GraphBatch,
        *,
        scale: float | None = None,
        causal: bool = False,
        window: tuple[int, int] | None = None,
        bias: RelativeBias[Node] | Alibi | None = None,
        softcap: float | None = None,
    ) -> Node:
        scale = 1 / math.sqrt(q.get_output_partial_shape(0)[2].get_length()) if scale is None else scale
        return self._attention(q, k, v, batch, scale=scale, causal=causal, window=window, bias=bias, softcap=softcap)

    def latent_attention(self, q: Node, k: Node, v: Node, scale: float) -> Node:
        q, k, v = (opset.transpose(x, np.array([1, 0, 2])) for x in (q, k, v))  # (heads, T or M, d)
        scores = opset.matmul(self.scale(q, scale), k, False, True)
        return opset.transpose(opset.matmul(opset.softmax(scores, -1), v, False, False), np.array([1, 0, 2]))

    def sum_pool(self, x: Node, batch: GraphBatch, kind: SumKind) -> Node:
        rows = opset.gather(x, batch.input("gather"), _scalar_axis(0))  # (B, L, H)
        return opset.reduce_sum(opset.multiply(rows, batch.input(f"pool_{kind}")), _axis(1), False)

    def max_pool(self, x: Node, batch: GraphBatch) -> Node:
        rows = opset.gather(x, batch.input("gather"), _scalar_axis(0))
        return opset.reduce_max(opset.add(rows, batch.input("pool_max")), _axis(1), False)

    def pick(self, x: Node, batch: GraphBatch, which: Literal["first", "last"]) -> Node:
        return opset.gather(x, batch.input(which), _scalar_axis(0))

    def concatenate(self, pieces: Sequence[Node]) -> Node:
        return opset.concat(list(pieces), -1)


def _largest_step(parameters: Mapping[str, Parameter]) -> int:
    """Tokens that a batch may be filled up by, a power of two: 32 for all-MiniLM-L6-v2, 4 for a base model, none for 0.6B."""
    n = sum(
        p.values.size for name, p in parameters.items() if p.values.ndim == 2 and not name.startswith("embeddings.")
    )
    return 2 ** int(math.log2(max(1.0, _NEW_SHAPE / max(n, 1))))


class OpenVinoProgram:
    """A compiled graph. Calls from several threads each take an infer request of their own."""

    def __init__(
        self,
        compiled: ov.CompiledModel,
        feeds: Sequence[Feed],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter],
    ) -> None:
        self._compiled = compiled
        self._largest_step = _largest_step(parameters)
        # The graph's constants lie in the parameters' own memory, which the library does not hold for all types.
        self._parameters = parameters
        self._feeds = tuple(feeds)
        self._outputs = tuple(outputs)
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()

    def __call__(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        # The tensors are views of these arrays, so the arrays must last until the request is done.
        n_rows = filled_up(batch.n_tokens, self._largest_step)
        arrays = [feed(batch, n_rows) for feed in self._feeds]
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            # Tensors are set here one by one: `infer(list)` looks at all of the request's tensors first (0.2 ms).
            for i, array in enumerate(arrays):
                request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))
            request.infer(share_outputs=True)
            # Of what has a row for each token, the batch's own; there are never fewer tokens than sequences.
            own = slice(batch.n_tokens)
            return {name: request.get_output_tensor(i).data[own].copy() for i, name in enumerate(self._outputs)}
        finally:
            self._idle.put(request)


class OpenVinoBackend:
    """OpenVINO on the processor. n_threads: 0 takes the library's own choice, the physical cores."""

    name = "openvino"

    def __init__(self, *, device: str = "cpu", n_threads: int = 0) -> None:
        self.device = device
        self._n_threads = n_threads
        self._core = ov.Core()

    def program(
        self,
        build: Build,
        parameters: Mapping[str, Parameter],
        precision: Precision,
    ) -> OpenVinoProgram:
        ops: Any = OpenVinoOps()  # narrower than the protocol in its arrays, which mypy cannot see through
        batch = GraphBatch()
        constants = _Constants(parameters, int8=precision == "int8")
        outputs = build(ops, Weights(constants), batch)
        names = list(outputs)
        # A result is float32 whatever the precision inside.
        results = [opset.result(outputs[name]) for name in names]
        model = ov.Model(results, list(batch.inputs.values()), "sememe")
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT,
            # Always set: OpenVINO takes bfloat16 by itself where the processor has it.
            "INFERENCE_PRECISION_HINT": "bf16" if precision in ("bfloat16", "int8") and self.has_bfloat16 else "f32",
        }
        if self._n_threads:
            options["INFERENCE_NUM_THREADS"] = self._n_threads
        if precision == "int8":
            options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 64
        if n_mapped_bytes(parameters.values()) < _WORTH_GIVING_BACK:
            return OpenVinoProgram(self._core.compile_model(model, "CPU", options), batch.feeds, names, parameters)
        give_back(parameters.values())  # what checking the weights has read
        program = OpenVinoProgram(self._core.compile_model(model, "CPU", options), batch.feeds, names, parameters)
        with given_back_meanwhile(parameters.values()):
            program(_ONE_TOKEN)  # weights are repacked in the first call
        return program

    @property
    def has_bfloat16(self) -> bool:
        """Whether the plugin would compute bfloat16 natively here."""
        return "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _Constants(Mapping[str, Node]):
    """Parameters as constants of the graph, made when a family asks for them, without copying their bytes."""

    def __init__(self, parameters: Mapping[str, Parameter], *, int8: bool) -> None:
        self._parameters = parameters
        self._int8 = int8
        self._made: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        if name not in self._made:
            self._made[name] = self._constant(name, self._parameters[name])
        return self._made[name]

    def __iter__(self) -> Any:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def _constant(self, name: str, parameter: Parameter) -> Node:
        values = parameter.values
        if self._int8 and values.ndim == 2 and not _STAYS_FLOAT.fullmatch(name):
            return _int8_constant(parameter.float32())
        bits = ov.Tensor(values, values.shape, ov.Type.bf16) if parameter.dtype == "bfloat16" else values
        constant = opset.constant(bits, shared_memory=True)
        if parameter.dtype == "float32":
            return constant
        wide = opset.convert(constant, np.float32)
        if parameter.dtype != "float64":
            # Else the plugin works the conversion out beforehand, and keeps twice the bytes for good.
            wide.get_rt_info()[_DECOMPRESSION] = ""
        return wide


def _int8_constant(weight: NDArray[np.float32]) -> Node:
    """(out, in) as int8 with one scale an output channel; the plugin quantises the activations as it goes."""
    scale = np.maximum(np.abs(weight).max(1, keepdims=True), 1e-12) / 127
    rounded = np.rint(weight / scale).astype(np.int8)
    return opset.multiply(opset.convert(opset.constant(rounded), np.float32), opset.constant(scale.astype(np.float32)))
