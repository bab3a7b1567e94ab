"""Checkpoints of published shapes with random weights: the tests' specimens at full size, and texts to embed with them.

Speed does not depend on what the weights say (but for a router's choices, which random weights spread evenly).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from corpora import MEAN_TOKENS, SPREAD, WordStream

import specimens
from sememe import Embedder


@dataclass(frozen=True)
class Shape:
    """kind: the specimen. config: entries of config.json and fields of the layout, at their published sizes.

    like: the catalogue's entry that says how the folder is used, where its files do not (its heads are pickles).
    matrices: multiply-adds of the linears that a token passes, from `sizes`.
    """

    kind: str
    config: Mapping[str, object]
    matrices: Callable[[Mapping[str, int]], int]
    like: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def flops_per_token(self) -> int:
        """Attention's own two products, which grow with the length, are left out."""
        return 2 * self.matrices(self.sizes)

    def arguments(self) -> str:
        """What `Embedder` is given besides the folder."""
        return "" if self.like is None else f", like={self.like!r}, allow_pickle=True"


def _encoder(s: Mapping[str, int]) -> int:
    return s["layers"] * (4 * s["h"] ** 2 + 2 * s["h"] * s["f"])


def _decoder(s: Mapping[str, int]) -> int:
    heads = s["h"] * s["d"] * (2 * s["heads"] + 2 * s["kv_heads"])
    return s["layers"] * (heads + 3 * s["h"] * s["f"])


def _bert(n_layers: int, width: int, n_heads: int, inner: int) -> dict[str, object]:
    return {
        "num_hidden_layers": n_layers,
        "hidden_size": width,
        "num_attention_heads": n_heads,
        "intermediate_size": inner,
    }


# Nomic v2 MoE at its published size: in every second layer a token passes 2 of 8 experts, each as wide as a plain layer.
_NOMIC = {"layers": 12, "h": 768, "f": 3072}

SHAPES: dict[str, Shape] = {
    "qwen3-0.6b": Shape(
        "qwen3",
        {
            **_bert(28, 1024, 16, 3072),
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151669,
            "max_position_embeddings": 8192,
            "max_seq_length": 8192,
            "dtype": "bfloat16",
        },
        _decoder,
        sizes={"layers": 28, "h": 1024, "f": 3072, "d": 128, "heads": 16, "kv_heads": 8},
    ),
    "bge-base": Shape(
        "bge_en",
        {**_bert(12, 768, 12, 3072), "vocab_size": 30522, "max_position_embeddings": 512, "max_seq_length": 512},
        _encoder,
        sizes={"layers": 12, "h": 768, "f": 3072},
    ),
    "bge-m3": Shape(
        "bge_m3",
        {
            **_bert(24, 1024, 16, 4096),
            "vocab_size": 250002,
            "max_position_embeddings": 8194,
            "max_seq_length": 8192,
            "weights_file": "model.safetensors",
        },
        _encoder,
        like="BAAI/bge-m3",
        sizes={"layers": 24, "h": 1024, "f": 4096},
    ),
    "nomic-moe": Shape(
        "nomic_moe",
        {
            "n_layer": 12,
            "n_embd": 768,
            "n_head": 12,
            "n_inner": 3072,
            "num_experts": 8,
            "n_positions": 2048,
            "vocab_size": 250048,
            "max_seq_length": 512,
        },
        lambda s: s["layers"] * 4 * s["h"] ** 2 + s["layers"] // 2 * (2 + 4) * s["h"] * s["f"],
        sizes=_NOMIC,
    ),
    # 1.5 times the width in every layer is what a token passes there in the mean of one and of two.
    "dense like nomic-moe": Shape(
        "bge_en",
        {**_bert(12, 768, 12, 4608), "vocab_size": 250048, "max_position_embeddings": 2048, "max_seq_length": 512},
        _encoder,
        sizes={"layers": 12, "h": 768, "f": 4608},
    ),
}


def write(name: str, folder: Path) -> Path:
    """The checkpoint's folder."""
    shape = SHAPES[name]
    return specimens.make(shape.kind, folder, **shape.config)


def weights_bytes(folder: Path) -> int:
    """Of the weights as stored."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def texts(folder: Path, name: str, n_tokens: int, length: int | None = None) -> tuple[list[str], int]:
    """Texts of about so many tokens in all, and how many they are. length: of each; None is log-normal about 50."""
    # The first load, which compares the precision with float32 and is not counted; its verdict is remembered.
    model = Embedder(str(folder), like=SHAPES[name].like, allow_pickle=True)
    stream = WordStream(model)
    draw = np.random.default_rng(0)
    made: list[str] = []
    at = total = 0
    while total < n_tokens:
        drawn = length or int(np.rint(draw.lognormal(np.log(MEAN_TOKENS) - SPREAD**2 / 2, SPREAD)))
        text, at = stream.text(at, min(max(drawn, stream.n_special + 2), model.max_tokens))
        made.append(text)
        total += drawn
    return made, sum(len(tokens) for tokens in model.tokenize(made))


def main() -> None:
    """In a process of its own, so that the driver stays small: `shapes.py NAME FOLDER N_TOKENS LENGTH`."""
    name, folder, n_tokens, length = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if not (folder / "config.json").exists():
        write(name, folder)
    made, total = texts(folder, name, n_tokens, length or None)
    shape, size = SHAPES[name], weights_bytes(folder)
    facts = {"flops_per_token": shape.flops_per_token, "arguments": shape.arguments()}
    print(json.dumps({"texts": made, "n_tokens": total, "weights_bytes": size, **facts}))


if __name__ == "__main__":
    main()
