"""Static embeddings: a table and a tokenizer, in model2vec's layout and in sentence-transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .kind import Kind
from .layout import Layout, write_json, write_module_list, write_tokenizer
from .vocabularies import vocabulary
from .weights import Drawn, RawConfig, drawn

POTION = Kind(
    config={
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": "baai/bge-base-en-v1.5",
        "apply_pca": 24,
        "apply_zipf": True,
        "hidden_dim": 24,
        "seq_length": 1000000,
        "normalize": True,
    },
    layout=Layout(tokenizer="bert-uncased", model_max_length=1000000, modules=None),
    weights=Drawn(lambda config: {"embeddings": (vocabulary("bert-uncased").size, config["hidden_dim"])}),
    width_key="hidden_dim",
)
"""minishlab/potion-*: config.json, `embeddings`, and module files that sentence-transformers reads."""


def _potion_modules(folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: Any) -> None:
    names = ["StaticEmbedding", *(["Normalize"] if config["normalize"] else [])]
    write_module_list(folder, [(name, "." if i == 0 else f"{i}_{name}") for i, name in enumerate(names)], "old")
    for i in range(1, len(names)):
        (folder / f"{i}_{names[i]}").mkdir()


def _quantized_vocabulary(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    """Fewer rows than tokens: a mapping from token to row, and a weight for each token."""
    table = load_file(folder / "model.safetensors")["embeddings"]
    n_tokens, n_rows = len(table), len(table) // 3
    tensors = {
        "embeddings": table[:n_rows].clone(),
        "mapping": torch.randint(0, n_rows, (n_tokens,), generator=generator, dtype=torch.int64),
        "weights": torch.rand(n_tokens, generator=generator) + 0.1,
    }
    save_file(tensors, folder / "model.safetensors")
    _potion_modules(folder, config, layout, sigma, generator)


POTION = POTION.derive(extras=_potion_modules)
POTION_QUANTIZED = POTION.derive(extras=_quantized_vocabulary)


def _no_root(config: RawConfig) -> dict[str, tuple[int, ...]]:
    return {}


def _static_module(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    """Everything lies in `0_StaticEmbedding/`; the root has no config.json and no weights."""
    for name in ("config.json", "model.safetensors", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    (folder / "tokenizer.json").unlink()
    part = folder / "0_StaticEmbedding"
    words = vocabulary(layout.tokenizer)
    write_tokenizer(part, words, layout)
    for name in ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (part / name).unlink(missing_ok=True)
    table = drawn({"embedding.weight": (words.size, int(config["hidden_dim"]))}, sigma, generator)
    save_file(table, part / "model.safetensors")
    write_module_list(folder, [("StaticEmbedding", "0_StaticEmbedding")], layout.modules or "old")
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "3.3.0.dev0", "transformers": "4.46.3", "pytorch": "2.5.1"},
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


STATIC = Kind(
    config={"hidden_dim": 24},
    layout=Layout(tokenizer="bert-uncased", modules=None),
    weights=Drawn(_no_root),
    extras=_static_module,
    width_key="hidden_dim",
)
"""sentence-transformers/static-*-mrl-*: no transformer, no normalisation."""

KINDS = {"potion": POTION, "potion_quantized": POTION_QUANTIZED, "static": STATIC}
