"""What lies beside the weights in a checkpoint's folder: tokenizer, module files, prompts, shards.

Two spellings of the module files are in circulation: "old" (sentence-transformers before 6: `models.X` types, seven
booleans for the pooling) and "new" (from 6.0: long paths, `pooling_mode`, `embedding_dimension`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from .vocabulary import Vocabulary
from .weights import Tensors

Spelling = Literal["old", "new"]

POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Pooling name → its boolean in an old `1_Pooling/config.json`. The first four exist since the first files."""

_TYPES: dict[Spelling, dict[str, str]] = {
    "old": {
        **{
            name: f"sentence_transformers.models.{name}"
            for name in ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "StaticEmbedding", "Router")
        },
        "MLMTransformer": "sentence_transformers.sparse_encoder.models.MLMTransformer",
        "SpladePooling": "sentence_transformers.sparse_encoder.models.SpladePooling",
        "PyLateDense": "pylate.models.Dense.Dense",
    },
    "new": {
        "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
        "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        "Dense": "sentence_transformers.base.modules.dense.Dense",
        "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
        "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
        "StaticEmbedding": "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding",
        "Router": "sentence_transformers.base.modules.router.Router",
        "SpladePooling": "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
        "MultiVectorMask": "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask",
        "LogitScore": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
    },
}
"""Module → its type in modules.json, for each spelling. `PyLateDense` is PyLate's own."""


@dataclass(frozen=True)
class Dense:
    """One Dense module. activation: a torch class path, as its config.json spells it."""

    out_features: int
    bias: bool = True
    activation: str = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class Layout:
    """How a checkpoint's folder is laid out. Every field may be overridden in `make`.

    tokenizer: name of a vocabulary. model_max_length: entry of tokenizer_config.json.
    modules: spelling of modules.json and of the files it names; None: a bare transformer without them.
    pooling: one mode, or several to be joined. `include_prompt` is written only where it is False, or "new".
    dense, layer_norm, normalize: the modules after pooling, in this order.
    transformer_type: the type of module 0, where it is not the library's own (`custom_st.Transformer`).
    sentence_bert_config: False leaves that file out, as some published models do.
    prompts, default_prompt_name, similarity: of config_sentence_transformers.json.
    dtype: of the stored weights. weights_file: "model.safetensors" or "pytorch_model.bin". shards: number of files.
    prefix: put before every tensor's name. layer_norm_names: "gamma/beta" renames as old files do.
    """

    tokenizer: str
    model_max_length: int | None = None
    modules: Spelling | None = "old"
    pooling: str | tuple[str, ...] = "mean"
    include_prompt: bool = True
    dense: tuple[Dense, ...] = ()
    layer_norm: bool = False
    normalize: bool = True
    transformer_type: str | None = None
    sentence_bert_config: bool = True
    max_seq_length: int | None = None
    do_lower_case: bool = False
    prompts: Mapping[str, str] | None = None
    default_prompt_name: str | None = None
    similarity: str | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    weights_file: Literal["model.safetensors", "pytorch_model.bin"] = "model.safetensors"
    shards: int = 1
    prefix: str = ""
    layer_norm_names: Literal["weight/bias", "gamma/beta"] = "weight/bias"

    @property
    def pooling_modes(self) -> tuple[str, ...]:
        return (self.pooling,) if isinstance(self.pooling, str) else tuple(self.pooling)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, indented, and the folder for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def write_tokenizer(folder: Path, vocabulary: Vocabulary, layout: Layout) -> None:
    """`tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, and `vocab.txt` where the kind has one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(vocabulary.backend, encoding="utf-8")
    config = {**vocabulary.special, **vocabulary.config}
    if layout.model_max_length is not None:
        config["model_max_length"] = layout.model_max_length
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", vocabulary.special)
    for name, text in vocabulary.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_weights(folder: Path, tensors: Tensors, layout: Layout) -> None:
    """The weight files, cast, prefixed and renamed as `layout` says; with an index when there are several."""
    dtype = getattr(torch, layout.dtype)
    stored = {
        layout.prefix + _old_norm_name(name, layout): (value.to(dtype) if value.is_floating_point() else value)
        for name, value in tensors.items()
    }
    stored = {name: value.contiguous().clone() for name, value in stored.items()}
    if layout.shards == 1:
        _save(folder / layout.weights_file, stored)
        return
    stem, suffix = layout.weights_file.rsplit(".", 1)
    names = list(stored)
    weight_map = {}
    for shard in range(layout.shards):
        file = f"{stem}-{shard + 1:05d}-of-{layout.shards:05d}.{suffix}"
        part = names[shard :: layout.shards]
        _save(folder / file, {name: stored[name] for name in part})
        weight_map.update(dict.fromkeys(part, file))
    total = sum(value.numel() * value.element_size() for value in stored.values())
    write_json(
        folder / f"{layout.weights_file}.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
    )


def _old_norm_name(name: str, layout: Layout) -> str:
    if layout.layer_norm_names == "gamma/beta" and "LayerNorm." in name:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    return name


def _save(path: Path, tensors: Tensors) -> None:
    if path.suffix == ".bin":
        torch.save(tensors, path)
    else:
        save_file(tensors, path, metadata={"format": "pt"})


def write_module_list(folder: Path, modules: Sequence[tuple[str, str]], spelling: Spelling) -> None:
    """modules.json from (module, path) pairs."""
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": _TYPES[spelling][name]}
        for i, (name, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)


def write_modules(folder: Path, hidden_width: int, layout: Layout, generator: torch.Generator) -> None:
    """modules.json and the files it names; nothing if `layout.modules` is None."""
    if layout.modules is None:
        return
    writer = _ModuleWriter(folder, layout, generator)
    writer.transformer()
    width = writer.pooling(hidden_width)
    for dense in layout.dense:
        width = writer.dense(width, dense)
    if layout.layer_norm:
        writer.layer_norm(width)
    if layout.normalize:
        writer.normalize()
    writer.finish()


class _ModuleWriter:
    """Writes the modules one after another; holds the list that becomes modules.json."""

    def __init__(self, folder: Path, layout: Layout, generator: torch.Generator) -> None:
        assert layout.modules is not None
        self._folder, self._layout, self._generator = folder, layout, generator
        self._types = _TYPES[layout.modules]
        self._new = layout.modules == "new"
        self._modules: list[dict[str, object]] = []

    def _add(self, name: str, *, path: str | None = None, type_: str | None = None) -> Path:
        index = len(self._modules)
        path = f"{index}_{name}" if path is None else path
        self._modules.append({"idx": index, "name": str(index), "path": path, "type": type_ or self._types[name]})
        return self._folder / path

    def transformer(self) -> None:
        layout = self._layout
        self._add("Transformer", path="", type_=layout.transformer_type)
        if not layout.sentence_bert_config:
            return
        settings: dict[str, object] = {"max_seq_length": layout.max_seq_length, "do_lower_case": layout.do_lower_case}
        if self._new:
            settings = {
                **({} if layout.max_seq_length is None else {"max_seq_length": layout.max_seq_length}),
                "transformer_task": "feature-extraction",
                "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
                "module_output_name": "token_embeddings",
            }
        write_json(self._folder / "sentence_bert_config.json", settings)

    def pooling(self, width: int) -> int:
        modes = self._layout.pooling_modes
        unknown = set(modes) - set(POOLING_FLAGS)
        if unknown:
            raise ValueError(f"no such pooling: {sorted(unknown)}; known: {sorted(POOLING_FLAGS)}")
        config: dict[str, object]
        if self._new:
            config = {
                "embedding_dimension": width,
                "pooling_mode": modes[0] if len(modes) == 1 else list(modes),
                "include_prompt": self._layout.include_prompt,
            }
        else:
            # Files from before 2.3 know four modes only; a file that needs more carries all of them.
            n_flags = 4 if set(modes) <= set(list(POOLING_FLAGS)[:4]) and self._layout.include_prompt else 6
            config = {"word_embedding_dimension": width}
            config |= {flag: mode in modes for mode, flag in list(POOLING_FLAGS.items())[:n_flags]}
            if n_flags == 6:
                config["include_prompt"] = self._layout.include_prompt
        write_json(self._add("Pooling") / "config.json", config)
        return width * len(modes)

    def dense(self, width: int, dense: Dense) -> int:
        path = self._add("Dense")
        config: dict[str, object] = {
            "in_features": width,
            "out_features": dense.out_features,
            "bias": dense.bias,
            "activation_function": dense.activation,
        }
        if self._new:
            config |= {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
        write_json(path / "config.json", config)
        tensors = {"linear.weight": torch.randn(dense.out_features, width, generator=self._generator) * width**-0.5}
        if dense.bias:
            tensors["linear.bias"] = torch.randn(dense.out_features, generator=self._generator) * 0.1
        _save(path / self._layout.weights_file, tensors)
        return dense.out_features

    def layer_norm(self, width: int) -> None:
        path = self._add("LayerNorm")
        write_json(path / "config.json", {"dimension": width})
        noise = torch.randn(2, width, generator=self._generator) * 0.1
        _save(path / self._layout.weights_file, {"norm.weight": 1 + noise[0], "norm.bias": noise[1]})

    def normalize(self) -> None:
        path = self._add("Normalize")
        if self._new:
            names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            write_json(path / "config.json", names)
        else:
            path.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        layout = self._layout
        write_json(self._folder / "modules.json", self._modules)
        config: dict[str, object] = {
            "__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
        }
        if self._new:
            config["__version__"] = {"sentence_transformers": "6.2.0", "transformers": "5.23.0", "pytorch": "2.13.0"}
            config["model_type"] = "SentenceTransformer"
        if self._new or layout.prompts is not None or layout.similarity is not None:
            config["prompts"] = dict(layout.prompts or {})
            config["default_prompt_name"] = layout.default_prompt_name
            config["similarity_fn_name"] = layout.similarity or ("cosine" if self._new else None)
        write_json(self._folder / "config_sentence_transformers.json", config)
