"""jina-embeddings-v3: XLM-RoBERTa with rotary positions, and a low-rank adapter for each task.

Paper: Sturua et al. 2024, section 4. Reference: transformers 5.23 `JinaEmbeddingsV3Model`, its adapters as PEFT adds
them. Checkpoints, at random weights: jina-embeddings-v3 as its authors publish it (one file, the adapters of all tasks
in stacks) and converted (model_type "jina_embeddings_v3", a PEFT folder a task); bodies of the same code without
adapters (jina-reranker-v2-base-multilingual). Refused: absolute positions, and variants of LoRA.

Without a task the base weights compute. `adapted` gives the weights of one task: the base weights, the same memory for
all tasks, and beside each matrix two thin ones. A product with them beside the large one costs a tenth of it at most (2
cores of Zen 4, the model's own sizes, 12 to 1,024 tokens); to add them in beforehand would take 1.2 GB more for each task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.families import low_rank
from sememe.families.low_rank import Adapter
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies, read_theta
from sememe.ops import Activation, Array, BatchView, Ops, Parameter, Rotary, Weights

MODEL_TYPES = ("xlm-roberta", "jina_embeddings_v3")

_IMPLEMENTATION = "xlm-roberta-flash-implementation"

_KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size layer_norm_eps hidden_act position_embedding_type rotary_emb_base rope_parameters pad_token_id "
    "lora_adaptations lora_rank lora_alpha peft_adapters is_decoder".split()
)
# Dropout, training, kernels, heads. The recipe knows prompts and widths.
_NO_CONSEQUENCE = frozenset(
    "attention_probs_dropout_prob hidden_dropout_prob classifier_dropout emb_pooler initializer_range bos_token_id "
    "eos_token_id load_trained_adapters lora_dropout_p lora_main_params_trainable lora_prompts "
    "output_past task_instructions tie_word_embeddings use_cache use_flash_attn use_reentrant".split()
)
# Our names of what an adapter changes; `{}` is a layer.
_IN_LAYER = ("attention.qkv", "attention.output", "mlp.up", "mlp.down")
_TABLES = ("embeddings.word", "embeddings.type")


@dataclass(frozen=True)
class Config:
    """Shapes and constants."""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    n_positions: int
    n_types: int
    eps: float
    activation: Activation
    theta: float
    padding_id: int
    adapters: tuple[Adapter, ...]

    @property
    def max_tokens(self) -> int:
        """What the authors allow: as many as XLM-R's table of positions would hold, which this model does without."""
        return self.n_positions - self.padding_id - 1

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`, with the settings of PEFT adapters by folder as `peft_adapters` (`checkpoints.adapters`).

        Raises UnsupportedCheckpoint for what we do not compute.
        """
        refuse_unless({"position_embedding_type": "rotary", **raw}, "position_embedding_type", ("rotary",))
        refuse_unless(raw, "is_decoder", (False,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        if "rotary_emb_base" in raw:
            theta = float(raw["rotary_emb_base"])
        else:
            theta = read_theta(raw["rope_parameters"], "rope_parameters")
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            n_types=raw["type_vocab_size"],
            eps=raw["layer_norm_eps"],
            activation=read_activation(raw, "hidden_act"),
            theta=theta,
            padding_id=raw["pad_token_id"],
            adapters=tuple(_read_adapters(raw)),
        )


def _read_adapters(raw: Mapping[str, Any]) -> Iterator[Adapter]:
    for place, task in enumerate(raw.get("lora_adaptations") or []):
        yield Adapter(task, raw["lora_rank"], raw["lora_alpha"] / raw["lora_rank"], place)
    for folder, lora in raw.get("peft_adapters", {}).items():
        yield Adapter(_task_of(folder), lora["r"], lora["lora_alpha"] / lora["r"], folder)


def _task_of(folder: str) -> str:
    """The task as the authors spell it: folders have `_` where they have `.` or `-`."""
    kind, _, rest = folder.partition("_")
    return folder if not rest else f"{kind}.{rest}" if kind == "retrieval" else f"{kind}-{rest}"


PREFIXES = ("roberta.", "model.")
# A matrix that an adapter may change stands under its own name or, where stacks do, under torch's for parametrizations.
_ORIGINAL = r"(?:\.parametrizations)?\.weight(?:\.original)?"
_STACK = r"\.parametrizations\.weight\.0\.lora_(A|B)"
_LAYER = r"encoder\.layers\.(\d+)\."
_PEFT_LAYER = r"(\w+)/base_model\.model\.(?:roberta\.)?layers\.(\d+)\."
_PEFT_TABLE = r"(\w+)/base_model\.model\.(?:roberta\.)?embeddings\."
RENAMES = (
    (rf"embeddings\.word_embeddings{_ORIGINAL}", "embeddings.word.weight"),
    (rf"embeddings\.token_type_embeddings{_ORIGINAL}", "embeddings.type.weight"),
    (r"emb_ln\.(weight|bias)", r"embeddings.norm.\1"),
    (rf"{_LAYER}mixer\.Wqkv{_ORIGINAL}", r"layer.\1.attention.qkv.weight"),
    (rf"{_LAYER}mixer\.Wqkv\.bias", r"layer.\1.attention.qkv.bias"),
    (rf"{_LAYER}mixer\.out_proj{_ORIGINAL}", r"layer.\1.attention.output.weight"),
    (rf"{_LAYER}mixer\.out_proj\.bias", r"layer.\1.attention.output.bias"),
    (rf"{_LAYER}norm1\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (rf"{_LAYER}mlp\.fc1{_ORIGINAL}", r"layer.\1.mlp.up.weight"),
    (rf"{_LAYER}mlp\.fc1\.bias", r"layer.\1.mlp.up.bias"),
    (rf"{_LAYER}mlp\.fc2{_ORIGINAL}", r"layer.\1.mlp.down.weight"),
    (rf"{_LAYER}mlp\.fc2\.bias", r"layer.\1.mlp.down.bias"),
    (rf"{_LAYER}norm2\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    # The factors of all tasks' adapters, stacked.
    (rf"embeddings\.word_embeddings{_STACK}", r"adapters.embeddings.word.\1"),
    (rf"embeddings\.token_type_embeddings{_STACK}", r"adapters.embeddings.type.\1"),
    (rf"{_LAYER}mixer\.Wqkv{_STACK}", r"adapters.layer.\1.attention.qkv.\2"),
    (rf"{_LAYER}mixer\.out_proj{_STACK}", r"adapters.layer.\1.attention.output.\2"),
    (rf"{_LAYER}mlp\.fc1{_STACK}", r"adapters.layer.\1.mlp.up.\2"),
    (rf"{_LAYER}mlp\.fc2{_STACK}", r"adapters.layer.\1.mlp.down.\2"),
    # The factors of one task's adapter, as PEFT writes them.
    (rf"{_PEFT_TABLE}word_embeddings\.lora_embedding_(A|B)", r"adapter.\1.embeddings.word.\2"),
    (rf"{_PEFT_TABLE}token_type_embeddings\.lora_embedding_(A|B)", r"adapter.\1.embeddings.type.\2"),
    (rf"{_PEFT_LAYER}self_attn\.q_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.query.\3"),
    (rf"{_PEFT_LAYER}self_attn\.k_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.key.\3"),
    (rf"{_PEFT_LAYER}self_attn\.v_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.value.\3"),
    (rf"{_PEFT_LAYER}self_attn\.o_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.output.\3"),
    (rf"{_PEFT_LAYER}mlp\.fc1\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.mlp.up.\3"),
    (rf"{_PEFT_LAYER}mlp\.fc2\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.mlp.down.\3"),
    # Heads.
    (r"linear\.weight", "linear.weight"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"classifier\.dense\.(weight|bias)", r"classifier_dense.\1"),
    (r"classifier\.out_proj\.(weight|bias)", r"classifier.\1"),
    (r"lm_head\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"lm_head\.layer_norm\.(weight|bias)", r"mlm.norm.\1"),
    (r"lm_head\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"lm_head\.bias", "mlm.decoder.bias"),
)
# Heads, unless one asks for its tensors; the pooler, which no task uses, may have adapters of its own.
IGNORED = (r"pooler\..*", r"\w+/base_model\.model\.(roberta\.)?pooler\..*", r"classifier\..*", r"lm_head\..*")
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    if raw.get("model_type") == "jina_embeddings_v3":
        return True
    is_flash = any(_IMPLEMENTATION in str(place) for place in (raw.get("auto_map") or {}).values())
    return raw.get("model_type") in MODEL_TYPES and (bool(raw.get("lora_adaptations")) or is_flash)


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    norms = ["embeddings.norm"]
    for name, (n_out, n_in) in _matrices(config).items():
        shapes[f"{name}.weight"] = (n_out, n_in)
        if name not in _TABLES:
            shapes[f"{name}.bias"] = (n_out,)
    for i in range(config.n_layers):
        norms += [f"layer.{i}.attention.norm", f"layer.{i}.mlp.norm"]
    for name in norms:
        shapes |= {f"{name}.weight": (h,), f"{name}.bias": (h,)}
    n_stacked = sum(isinstance(adapter.place, int) for adapter in config.adapters)
    for adapter in config.adapters:
        if isinstance(adapter.place, int):
            shapes |= _stack_shapes(config, adapter.rank, n_stacked)
        else:
            shapes |= _peft_shapes(config, adapter.rank, adapter.place)
    return shapes


def _matrices(config: Config) -> dict[str, tuple[int, int]]:
    """What an adapter may change, by our names without `.weight`: (out, in), or (rows, H) of a table."""
    h, f = config.hidden_size, config.intermediate_size
    shapes = {"embeddings.word": (config.vocab_size, h), "embeddings.type": (config.n_types, h)}
    for i in range(config.n_layers):
        sizes = ((3 * h, h), (h, h), (f, h), (h, f))
        shapes |= {f"layer.{i}.{name}": size for name, size in zip(_IN_LAYER, sizes, strict=True)}
    return shapes


def _stack_shapes(config: Config, r: int, n: int) -> dict[str, tuple[int, ...]]:
    """The factors of all tasks. For a table they lie the other way round: A has a row for each of the table's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (n_out, n_in) in _matrices(config).items():
        first, second = ((n_out, r), (r, n_in)) if name in _TABLES else ((r, n_in), (n_out, r))
        shapes |= {f"adapters.{name}.A": (n, *first), f"adapters.{name}.B": (n, *second)}
    return shapes


def _peft_shapes(config: Config, r: int, folder: str) -> dict[str, tuple[int, ...]]:
    """The factors of one task: queries, keys and values apart, and a table's as the transposed of a linear's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (n_out, n_in) in _matrices(config).items():
        at = f"adapter.{folder}.{name}"
        if name in _TABLES:
            shapes |= {f"{at}.A": (r, n_out), f"{at}.B": (n_in, r)}
        elif name.endswith(".qkv"):
            for part in ("query", "key", "value"):
                shapes |= {f"{at[:-3]}{part}.A": (r, n_in), f"{at[:-3]}{part}.B": (n_in, r)}
        else:
            shapes |= {f"{at}.A": (r, n_in), f"{at}.B": (n_out, r)}
    return shapes


def tasks(config: Config) -> tuple[str, ...]:
    """The tasks that there are adapters for."""
    return tuple(adapter.task for adapter in config.adapters)


def adapted(parameters: Mapping[str, Parameter], config: Config, task: str) -> dict[str, Parameter]:
    """The parameters of one task, for `forward`: the base's own, and the factors of each change.

    `NAME.adapter_down`: (rank, in) of a matrix, (rows, rank) of a table. `NAME.adapter_up`: (out, rank), scaled.
    Raises InputError for a task that there is no adapter for.
    """
    adapter = next((adapter for adapter in config.adapters if adapter.task == task), None)
    if adapter is None:
        known = ", ".join(map(repr, tasks(config))) or "no adapter"
        raise InputError(f"Task {task!r} is not one of this model's; it has {known}.")
    of_task = {name: p for name, p in parameters.items() if not name.startswith(("adapter.", "adapters."))}
    for name in _matrices(config):
        down, up = _factors(parameters, adapter, name)
        of_task[f"{name}.adapter_down.weight"] = down
        of_task[f"{name}.adapter_up.weight"] = Parameter(up * np.float32(adapter.scale), "float32")
    return of_task


def _factors(parameters: Mapping[str, Parameter], adapter: Adapter, name: str) -> tuple[Parameter, NDArray[np.float32]]:
    """Down and up of a change, the first as it is stored where it can be."""
    if isinstance(adapter.place, int):
        down, up = (_one(parameters[f"adapters.{name}.{factor}"], adapter.place) for factor in "AB")
        return down, np.ascontiguousarray(up.float32().T) if name in _TABLES else up.float32()
    at = f"adapter.{adapter.place}.{name}"
    if name.endswith(".qkv"):
        parts = [f"{at.removesuffix('qkv')}{part}" for part in ("query", "key", "value")]
        together = np.concatenate([parameters[f"{part}.A"].float32() for part in parts])  # (3 · rank, H)
        return Parameter(together, "float32"), _block_diagonal([parameters[f"{part}.B"].float32() for part in parts])
    down = parameters[f"{at}.A"]
    if name in _TABLES:
        down = Parameter(np.ascontiguousarray(down.values.T), down.dtype)
    return down, parameters[f"{at}.B"].float32()


def _one(stack: Parameter, place: int) -> Parameter:
    """One task's factor out of the stack, on the same memory."""
    return Parameter(stack.values[place], stack.dtype)


def _block_diagonal(blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Matrices of one shape along the diagonal: each part of the output depends on its own part of the input."""
    n, (n_out, n_in) = len(blocks), blocks[0].shape
    whole = np.zeros((n, n_out, n, n_in), np.float32)
    for i, block in enumerate(blocks):
        whole[i, :, i] = block
    return whole.reshape(n * n_out, n * n_in)


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …; not from the padding id on, as XLM-R counts."""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H), by the base weights or those that `adapted` gives."""
    h = config.hidden_size
    turn = Rotary(inverse_frequencies(config.theta, h // config.n_heads), config.n_positions)
    x = _rows(ops, weights, "embeddings.word", batch.token_ids)
    x = x + _rows(ops, weights, "embeddings.type", batch.type_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    for layer in weights.layers("layer", config.n_layers):
        qkv = ops.split(low_rank.linear(ops, layer, "attention.qkv", x), (h, h, h))
        q, k, v = (ops.heads(part, config.n_heads) for part in qkv)
        attended = ops.attention(ops.rotary(q, turn, batch), ops.rotary(k, turn, batch), v, batch)
        attended = low_rank.linear(ops, layer, "attention.output", ops.merge_heads(attended))
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        up = ops.activation(low_rank.linear(ops, layer, "mlp.up", x), config.activation)
        x = ops.layer_norm(x + low_rank.linear(ops, layer, "mlp.down", up), layer["mlp.norm"], config.eps)
    return x


def _rows(ops: Ops[Array], weights: Weights[Array], name: str, ids: Array) -> Array:
    """Rows of a table, and what the task's adapter adds to them."""
    y = ops.embedding(weights[name], ids)
    if f"{name}.adapter_down" not in weights:
        return y
    return y + ops.linear(ops.embedding(weights[f"{name}.adapter_down"], ids), weights[f"{name}.adapter_up"])
