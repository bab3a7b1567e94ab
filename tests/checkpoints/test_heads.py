"""Pooling and what follows it, through the whole line, against sentence-transformers on the same folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from sentence_transformers import SentenceTransformer

import engines
import specimens
from sememe.checkpoints.recipe import PoolingMode
from sememe.engine.precision import BackendChoice

MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "",
    "refund",
    "How do I get a refund for an order that never arrived at my address? " * 4,  # longer than the window
    "Быстрая коричневая лиса, 我们在北京, 😀",
]
PROMPT = "Represent this sentence: "


def _check(folder: Path, backend: BackendChoice, prompt: str | None = None) -> None:
    model = SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(TEXTS, prompt=prompt, batch_size=2)
    got = engines.dense(engines.engine(folder, backend=backend), TEXTS, {"prompt": prompt})
    off = engines.distance(got, expected)
    assert off <= 5e-6, f"{backend}: {off:.1e} of the largest value"


@pytest.mark.parametrize("backend", ["openvino", "torch"])
@pytest.mark.parametrize("mode", MODES)
def test_every_pooling_with_and_without_a_prompt(mode: PoolingMode, backend: BackendChoice, tmp_path: Path) -> None:
    options: dict[str, Any] = {"pooling": mode, "sigma": 0.3, "normalize": False, "num_hidden_layers": 1}
    folder = specimens.make("bert", tmp_path / "in", **options)
    _check(folder, backend)
    _check(folder, backend, PROMPT)
    left_out = specimens.make("bert", tmp_path / "out", include_prompt=False, **options)
    _check(left_out, backend)
    _check(left_out, backend, PROMPT)


@pytest.mark.parametrize("backend", ["openvino", "torch"])
@pytest.mark.parametrize("modes", [("cls", "mean"), ("mean", "max", "lasttoken"), MODES], ids=len)
def test_several_modes_are_joined(modes: tuple[PoolingMode, ...], backend: BackendChoice, tmp_path: Path) -> None:
    folder = specimens.make(
        "bert", tmp_path, pooling=modes, modules="new", include_prompt=False, sigma=0.3, num_hidden_layers=1
    )
    _check(folder, backend)
    _check(folder, backend, PROMPT)


ACTIVATIONS = (
    "linear.Identity",
    "activation.Tanh",
    "activation.ReLU",
    "activation.GELU",
    "activation.Sigmoid",
    "activation.SiLU",
)


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_modules_after_pooling(backend: BackendChoice, tmp_path: Path) -> None:
    dense = tuple(
        specimens.Dense(20 + i, bias=i % 2 == 0, activation=f"torch.nn.modules.{activation}")
        for i, activation in enumerate(ACTIVATIONS)
    )
    for layer_norm in (False, True):
        folder = specimens.make(
            "bert", tmp_path / str(layer_norm), dense=dense, layer_norm=layer_norm, sigma=0.3, num_hidden_layers=1
        )
        _check(folder, backend)


def test_lower_casing_that_only_the_module_file_asks_for(tmp_path: Path) -> None:
    folder = specimens.make("bert", tmp_path, tokenizer="bert-cased", do_lower_case=True, num_hidden_layers=1)
    _check(folder, "openvino")


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "distilbert", "mpnet"])
def test_other_families_through_the_whole_line(kind: str, tmp_path: Path) -> None:
    folder = specimens.make(kind, tmp_path)
    _check(folder, "openvino")
    _check(folder, "openvino", PROMPT)


def test_a_window_of_a_prompt_alone(tmp_path: Path) -> None:
    """A prompt as long as the window leaves nothing to pool but the last token; the reference divides by zero there."""
    folder = specimens.make("bert", tmp_path, include_prompt=False, max_seq_length=8, num_hidden_layers=1)
    got = engines.dense(engines.engine(folder), TEXTS, {"prompt": PROMPT * 4})
    assert abs((got**2).sum(1) - 1).max() < 1e-5
