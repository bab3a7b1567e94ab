"""The check that every load makes: NaN and zero never pass, a loss falls back to float32, a verdict is remembered."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import engines
import specimens
from sememe.engine import loading
from sememe.engine.loading import LoadedModel
from sememe.engine.selfcheck import TEXTS, Verdict, judge
from sememe.errors import CheckpointError
from sememe.ops import Build, Parameter, Precision, Program
from sememe.ops.openvino import OpenVinoBackend
from sememe.records import Batch

Values = np.ndarray[Any, np.dtype[np.float32]]
Spoil = Callable[[Values], Values]


def _vectors(seed: int = 0) -> Values:
    return np.random.default_rng(seed).normal(size=(5, 16)).astype(np.float32)


# ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_equal_vectors_pass() -> None:
    verdict = judge("bfloat16", _vectors(), _vectors())
    assert verdict.passed
    assert verdict.mean_cosine == pytest.approx(1)
    assert not verdict.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_no_number_fails(value: float) -> None:
    vectors = _vectors()
    vectors[3, 7] = value
    for exact in (None, _vectors()):
        verdict = judge("float32", vectors, exact)
        assert not verdict.passed
        assert "NaN" in verdict.reason


def test_a_zero_vector_fails() -> None:
    vectors = _vectors()
    vectors[2] = 0
    verdict = judge("bfloat16", vectors, _vectors())
    assert not verdict.passed
    assert verdict.reason == "a zero vector"


def test_a_loss_past_the_bound_fails_and_is_told() -> None:
    verdict = judge("bfloat16", _vectors() + 0.3 * _vectors(1), _vectors())
    assert not verdict.passed
    assert f"{verdict.mean_cosine:.4f} in the mean" in verdict.reason
    assert "0.998" in verdict.reason


def test_one_bad_vector_among_good_ones_fails() -> None:
    vectors = np.tile(_vectors(), (100, 1))
    exact = vectors.copy()
    vectors[250] = _vectors(1)[0]
    assert judge("int8", vectors, exact).mean_cosine > 0.99
    assert not judge("int8", vectors, exact).passed


def test_a_reference_that_is_broken_does_not_pass() -> None:
    exact = _vectors()
    for broken in (0, np.nan, np.inf):
        exact[1] = broken
        with np.errstate(all="raise"):
            verdict = judge("bfloat16", _vectors(), exact)
        assert not verdict.passed
        assert "float32 itself" in verdict.reason


def test_the_texts_cover_what_breaks() -> None:
    assert "" in TEXTS
    assert max(map(len, TEXTS)) > 1000
    assert any(not text.isascii() for text in TEXTS)


# ── at load ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Spoiled:
    """OpenVINO, but what it gives in a precision of `spoils` is changed."""

    name, device, has_bfloat16 = "openvino", "cpu", True

    def __init__(self, spoils: Mapping[str, Spoil]) -> None:
        self.spoils = spoils
        self.made: list[Precision] = []
        self._real = OpenVinoBackend(n_threads=1)

    def program(self, build: Build, parameters: Mapping[str, Parameter], precision: Precision) -> Program:
        self.made.append(precision)
        program = self._real.program(build, parameters, "float32")
        spoil = self.spoils.get(precision, lambda values: values)

        def run(batch: Batch) -> dict[str, Values]:
            return {name: spoil(values) for name, values in program(batch).items()}

        return run


@pytest.fixture(autouse=True)
def _nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return specimens.make("bert", tmp_path / "bert", num_hidden_layers=1)


@pytest.fixture
def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[_Spoiled], LoadedModel]:
    """Load the specimen with bfloat16 asked for, on a spoiled backend."""

    def load_with(backend: _Spoiled) -> LoadedModel:
        monkeypatch.setattr(loading, "make_backend", lambda *_: backend)
        return engines.load(folder, precision="auto")

    return load_with


def _nan(values: Values) -> Values:
    values[0, 0] = np.nan
    return values


SPOILS: dict[str, Spoil] = {
    "not a number": _nan,
    "zero": lambda values: np.concatenate([values[:1] * 0, values[1:]]),
    "loss": lambda values: values + np.random.default_rng(0).normal(size=values.shape).astype(np.float32),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_precision_that_fails_falls_back_to_float32_with_a_warning(
    name: str, load: Callable[[_Spoiled], LoadedModel], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "sememe"):
        loaded = load(_Spoiled({"bfloat16": SPOILS[name]}))
    assert loaded.precision.precision == loaded.engine.precision == loaded.verdict.precision == "float32"
    assert "bfloat16 failed the self-check" in loaded.precision.reason
    assert loaded.verdict.passed
    assert "computing in float32 instead" in caplog.text
    assert np.isfinite(engines.dense(loaded.engine, ["hello"])).all()


@pytest.mark.parametrize("name", ["not a number", "zero"])
def test_weights_that_fail_in_float32_stop_the_loading(name: str, load: Callable[[_Spoiled], LoadedModel]) -> None:
    with pytest.raises(CheckpointError, match=r"fails the self-check in float32.*weights are damaged"):
        load(_Spoiled(dict.fromkeys(("float32", "bfloat16"), SPOILS[name])))


def test_a_precision_that_passes_is_taken(load: Callable[[_Spoiled], LoadedModel]) -> None:
    loaded = load(_Spoiled({"bfloat16": lambda values: values * 1.5}))
    assert loaded.precision.precision == "bfloat16"
    assert loaded.verdict.compared
    assert loaded.verdict.mean_cosine == pytest.approx(1, abs=1e-6)


def test_a_verdict_is_remembered(load: Callable[[_Spoiled], LoadedModel]) -> None:
    """The second load compiles no float32 twin; NaN is looked for nevertheless."""
    noise: dict[str, Spoil] = {"bfloat16": lambda values: values + 0.01 * values[::-1]}
    first = _Spoiled(noise)
    verdict = load(first).verdict
    assert first.made == ["bfloat16", "float32"]
    second = _Spoiled(noise)
    assert load(second).verdict == verdict
    assert second.made == ["bfloat16"]
    third = _Spoiled({"bfloat16": _nan})
    assert load(third).precision.precision == "float32"


def test_a_failed_verdict_is_remembered_too(load: Callable[[_Spoiled], LoadedModel]) -> None:
    assert load(_Spoiled({"bfloat16": SPOILS["loss"]})).precision.precision == "float32"
    again = _Spoiled({"bfloat16": SPOILS["loss"]})
    assert load(again).precision.precision == "float32"


def test_other_weights_are_checked_anew(folder: Path, load: Callable[[_Spoiled], LoadedModel]) -> None:
    load(_Spoiled({}))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: value * 1.01 for name, value in tensors.items()}, folder / "model.safetensors")
    anew = _Spoiled({})
    load(anew)
    assert anew.made == ["bfloat16", "float32"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"precision": "bfloat16"}', '{"unknown": 1}'])
def test_a_remembered_verdict_that_cannot_be_read_is_made_anew(
    content: str, load: Callable[[_Spoiled], LoadedModel], tmp_path: Path
) -> None:
    expected = load(_Spoiled({})).verdict
    (file,) = tmp_path.glob(".cache/sememe/selfchecks/*.json")
    assert Verdict(**json.loads(file.read_text())) == expected
    file.write_text(content)
    assert load(_Spoiled({})).verdict == expected


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(
    load: Callable[[_Spoiled], LoadedModel], tmp_path: Path
) -> None:
    (tmp_path / ".cache").write_text("a file where the folder should be")
    for _ in range(2):
        backend = _Spoiled({})
        assert load(backend).verdict.passed
        assert backend.made == ["bfloat16", "float32"]


def test_a_model_too_large_for_a_twin_is_still_looked_at(
    load: Callable[[_Spoiled], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_TWIN_LIMIT_BYTES", 10)
    backend = _Spoiled({})
    verdict = load(backend).verdict
    assert verdict.passed
    assert not verdict.compared
    assert backend.made == ["bfloat16"]
    assert load(_Spoiled({"bfloat16": _nan})).precision.precision == "float32"


def test_int8_reports_its_loss(folder: Path) -> None:
    loaded = engines.load(folder, precision="int8")
    assert loaded.verdict.compared
    assert 0.95 < loaded.verdict.min_cosine <= loaded.verdict.mean_cosine <= 1
    assert loaded.verdict.mean_cosine > 0.998
