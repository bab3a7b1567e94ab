"""The line as a whole: order, duplicates, limits, prompts, cuts, the cache, threads, and what goes wrong in between."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engines
import specimens
from engines import Vectors
from sememe.engine import pipeline
from sememe.engine.engine import Engine
from sememe.engine.quantize import quantize_embeddings, value_ranges
from sememe.errors import CheckpointError, InputError
from sememe.ops import Program
from sememe.records import Batch, EmbedOptions
from sememe.samples import calibration_texts

PROMPTS = {"query": "query: ", "passage": "passage: ", "sts": "same? "}
WORDS = " ".join(specimens.CORPUS).split()
PLAIN = EmbedOptions()


def _texts(n: int, seed: int = 0, longest: int = 40) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)]


@pytest.fixture(scope="module")
def folder(specimen_folder: Path) -> Path:
    return specimens.make("bert", specimen_folder / "engine", sigma=0.3, num_hidden_layers=1, prompts=PROMPTS)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    """With a small budget, so that a few texts make several batches."""
    made = engines.engine(folder, token_budget=64)
    yield made
    made.close()


class _Recorder:
    """An engine's programs, with what goes through them written down, and stopped where the test says."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[Batch] = []
        self.before: Callable[[Batch], None] = lambda batch: None
        self.after: Callable[[Vectors], Vectors] = lambda vectors: vectors
        programs = engine.program

        def program(*arguments: Any) -> Program:
            real = programs(*arguments)

            def run(batch: Batch) -> dict[str, Vectors]:
                self.batches.append(batch)
                self.before(batch)
                return {name: self.after(values) for name, values in real(batch).items()}

            return run

        monkeypatch.setattr(engine, "program", program)


@pytest.fixture
def recorder(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> _Recorder:
    return _Recorder(engine, monkeypatch)


# ── order and number ─────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(data=st.data())
def test_order_and_neighbours_do_not_matter(engine: Engine, data: st.DataObject) -> None:
    pool = [*_texts(30), "", "a", specimens.HARD_INPUTS[-1]]
    picks = data.draw(st.lists(st.integers(0, len(pool) - 1), max_size=40))
    alone = {i: engines.dense(engine, [pool[i]])[0] for i in set(picks)}
    together = engines.dense(engine, [pool[i] for i in picks])
    assert together.shape == (len(picks), 36)
    for row, i in zip(together, picks, strict=True):
        np.testing.assert_allclose(row, alone[i], atol=1e-6)


def test_many_windows_come_back_in_the_callers_order(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenizing ahead and two batches at once, many times over."""
    texts = _texts(300, seed=1)
    expected = engines.dense(engine, texts)
    monkeypatch.setattr(pipeline, "_WINDOW_CHARACTERS", 500)
    np.testing.assert_allclose(engines.dense(engine, texts), expected, atol=1e-6)
    backwards = engines.dense(engine, texts[::-1])
    np.testing.assert_allclose(backwards[::-1], expected, atol=1e-6)


def test_a_text_that_stands_twice_is_computed_once(engine: Engine, recorder: _Recorder) -> None:
    result = engine.embed(["same", "other", "same", "same"], PLAIN)
    assert sum(batch.n_sequences for batch in recorder.batches) == 2
    assert result.usage.n_inputs == 4
    assert result.n_tokens.tolist() == [result.n_tokens[0], result.n_tokens[1], *[result.n_tokens[0]] * 2]
    assert result.usage.n_tokens == result.n_tokens.sum()
    np.testing.assert_array_equal(result.dense[0], result.dense[2])  # type: ignore[index]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "binary", "ubinary"])
def test_no_inputs_give_no_rows(engine: Engine, dtype: Any) -> None:
    result = engine.embed([], EmbedOptions(dtype=dtype))
    assert result.dense is not None
    assert result.dense.shape == (0, 5 if "binary" in dtype else 36)
    assert (result.usage.n_inputs, result.usage.n_tokens, len(result.n_tokens)) == (0, 0, 0)
    assert result.fingerprint == engine.fingerprint(EmbedOptions(dtype=dtype))


def test_one_text_and_the_empty_text(engine: Engine) -> None:
    for text in ("hello", "", " ", "\n"):
        result = engine.embed([text], PLAIN)
        assert np.linalg.norm(result.dense) == pytest.approx(1, abs=1e-6)  # type: ignore[arg-type]
        assert result.usage.n_inputs == 1


def test_the_budget_holds_in_every_batch(engine: Engine, recorder: _Recorder) -> None:
    engine.embed(_texts(100), PLAIN)
    assert len(recorder.batches) > 10
    assert all(batch.n_sequences == 1 or batch.n_tokens <= 64 for batch in recorder.batches)


def test_progress_counts_every_different_input_once(engine: Engine) -> None:
    done: list[int] = []
    texts = _texts(60)
    engine.embed(texts + texts[:10], PLAIN, on_progress=done.append)
    assert sum(done) == len(set(texts))


# ── what goes wrong in between ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [RuntimeError("the device is gone"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_an_error_in_a_batch_comes_out_and_leaves_the_engine_usable(
    error: BaseException, engine: Engine, recorder: _Recorder
) -> None:
    texts = _texts(100)
    expected = engines.dense(engine, texts)
    recorder.batches.clear()

    def stop(batch: Batch) -> None:
        if len(recorder.batches) == 5:
            raise error

    recorder.before = stop
    with pytest.raises(type(error)):
        engine.embed(texts, PLAIN)
    assert len(recorder.batches) < 12  # what had not begun never did
    recorder.before = lambda batch: None
    np.testing.assert_allclose(engines.dense(engine, texts), expected, atol=1e-6)


def test_ctrl_c_between_batches_leaves_the_engine_usable(engine: Engine) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.embed(_texts(100), PLAIN, on_progress=interrupted)
    assert len(engines.dense(engine, _texts(100))) == 100


def test_no_value_that_is_no_number_ever_leaves(engine: Engine, recorder: _Recorder) -> None:
    def spoil(vectors: Vectors) -> Vectors:
        vectors[-1, 3] = np.nan
        return vectors

    recorder.after = spoil
    with pytest.raises(CheckpointError, match=r"NaN or infinity.*nothing was returned.*precision='float32'"):
        engine.embed(["a", "b"], PLAIN)


def test_threads_at_once_get_their_own_answers(engine: Engine) -> None:
    pools = [_texts(n, seed=n) for n in range(1, 33)]
    expected = [engines.dense(engine, texts) for texts in pools]
    with ThreadPoolExecutor(8) as threads:
        for got, wanted in zip(threads.map(lambda texts: engines.dense(engine, texts), pools), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("one text", "list of texts"),
        (["a", 3], "Input 1 is int"),
        ([None], "Input 0 is NoneType"),
        ([b"bytes"], "Input 0 is bytes"),
        (["fine", "lone \ud800 surrogate"], "Input 1 is not valid Unicode"),
    ],
    ids=str,
)
def test_inputs_that_are_no_texts_are_named(inputs: Any, message: str, engine: Engine) -> None:
    with pytest.raises(InputError, match=message):
        engine.embed(inputs, PLAIN)


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_truncation_cuts_off_is_counted(engine: Engine) -> None:
    whole = " ".join(WORDS[:20])
    long = " ".join(WORDS[:40])
    limit = engine.checkpoint.max_tokens
    result = engine.embed([whole, long, "a"], replace(PLAIN, max_tokens=limit))
    n_long = len(engine.checkpoint.tokenizer.encode([long], max_tokens=10_000)[0])
    assert result.n_tokens[1] == limit
    assert result.n_dropped.tolist()[1:] == [n_long - limit, 0]
    assert result.usage.n_truncated == (result.n_dropped > 0).sum()
    assert result.usage.n_dropped_tokens == result.n_dropped.sum()


def test_a_cut_text_is_the_text_cut(engine: Engine) -> None:
    long = " ".join(["refund"] * 500)
    limit = engine.checkpoint.max_tokens
    short = " ".join(["refund"] * (limit - 2))
    assert len(engine.tokenize([short], PLAIN)[0]) == limit
    np.testing.assert_allclose(engines.dense(engine, [long]), engines.dense(engine, [short]), atol=1e-6)


def test_truncate_false_refuses_and_computes_nothing(engine: Engine, recorder: _Recorder) -> None:
    with pytest.raises(InputError, match=r"Input 1 has .* tokens; this model reads at most 32.*truncate=True"):
        engine.embed(["short", " ".join(WORDS[:300])], EmbedOptions(truncate=False))
    assert not recorder.batches
    engine.embed(["short"], EmbedOptions(truncate=False))


@pytest.mark.parametrize("max_tokens", [0, -1, 33])
def test_a_limit_beyond_the_model_is_refused(max_tokens: int, engine: Engine) -> None:
    with pytest.raises(InputError, match=rf"max_tokens is {max_tokens}; this model reads 1 to 32"):
        engine.embed(["a"], EmbedOptions(max_tokens=max_tokens))


def test_a_limit_below_the_special_tokens_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="special tokens"):
        engine.embed(["a"], EmbedOptions(max_tokens=2))


def test_a_hundred_megabytes_of_text_are_one_window(engine: Engine) -> None:
    result = engine.embed(["refund " * 2_000_000], PLAIN)
    assert result.n_tokens.tolist() == [32]
    assert result.n_dropped[0] > 1_000_000
    assert result.usage.seconds < 5


# ── prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prompts_by_role_by_name_and_as_text(engine: Engine) -> None:
    plain = {name: engines.dense(engine, [text + "refund"]) for name, text in (*PROMPTS.items(), ("none", ""))}
    for options, name in (
        ({"role": "query"}, "query"),
        ({"role": "document"}, "passage"),
        ({"prompt_name": "sts"}, "sts"),
        ({"prompt": "same? "}, "sts"),
        ({"prompt": ""}, "none"),
        ({}, "none"),
    ):
        np.testing.assert_allclose(
            engines.dense(engine, ["refund"], options), plain[name], atol=1e-6, err_msg=str(options)
        )


def test_a_default_prompt_applies_by_itself(folder: Path) -> None:
    engine = engines.engine(folder, default_prompt_name="sts")
    np.testing.assert_allclose(
        engines.dense(engine, ["a"]), engines.dense(engine, ["a"], {"prompt_name": "sts"}), atol=1e-6
    )
    np.testing.assert_allclose(
        engines.dense(engine, ["same? a"], {"prompt": ""}), engines.dense(engine, ["a"]), atol=1e-6
    )


def test_an_unknown_prompt_name_lists_those_there_are(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"'web' is not one of this model's; it has 'query', 'passage', 'sts'"):
        engine.embed(["a"], EmbedOptions(prompt_name="web"))


@pytest.mark.parametrize(
    "options",
    [{"role": "query", "prompt": "same? "}, {"role": "query", "prompt_name": "sts"}, {"prompt": "same? "}],
    ids=str,
)
def test_a_prompt_given_goes_before_the_roles(options: Any, engine: Engine) -> None:
    expected = engines.dense(engine, ["a"], {"prompt_name": "sts"})
    np.testing.assert_array_equal(engines.dense(engine, ["a"], options), expected)
    assert engine.fingerprint(EmbedOptions(**options)) == engine.fingerprint(EmbedOptions(prompt_name="sts"))


def test_two_prompts_at_once_are_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="prompt_name or prompt, not both"):
        engine.embed(["a"], EmbedOptions(prompt="x", prompt_name="sts"))


# ── cut, normalise, types ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dimensions", [1, 8, 36])
def test_a_cut_is_normalised_again(dimensions: int, engine: Engine) -> None:
    full = engines.dense(engine, _texts(5))
    got = engines.dense(engine, _texts(5), {"dimensions": dimensions})
    expected = full[:, :dimensions] / np.linalg.norm(full[:, :dimensions], axis=1, keepdims=True)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_normalize_may_be_asked_for_or_left_out(engine: Engine) -> None:
    raw = engines.dense(engine, _texts(5), {"normalize": False})
    assert abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.01
    unit = engines.dense(engine, _texts(5), {"normalize": True})
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)
    np.testing.assert_array_equal(unit, engines.dense(engine, _texts(5)))


@pytest.mark.parametrize("dimensions", [0, -3, 37])
def test_dimensions_beyond_the_model_are_refused(dimensions: int, engine: Engine) -> None:
    with pytest.raises(InputError, match=rf"{dimensions} dimensions were asked for; this model has 36"):
        engine.embed(["a"], EmbedOptions(dimensions=dimensions))


def test_a_cut_that_nobody_trained_for_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = engines.engine(folder)
    with caplog.at_level(logging.WARNING, "sememe"):
        for _ in range(3):
            engine.embed(["a"], EmbedOptions(dimensions=7))
    assert caplog.text.count("vectors cut to 7 of 36") == 1


def test_steps_of_int8_do_not_depend_on_the_call(engine: Engine) -> None:
    """Value ranges come from the texts that ship with the package, so vectors of two calls can be compared."""
    texts = _texts(20)
    together = engines.dense(engine, texts, {"dtype": "int8"})
    alone = np.concatenate([engines.dense(engine, [text], {"dtype": "int8"}) for text in texts])
    ranges = value_ranges(engines.dense(engine, calibration_texts()))
    expected = quantize_embeddings(engines.dense(engine, texts), "int8", ranges)
    assert together.dtype == expected.dtype == np.int8
    for got in (together, alone):
        assert np.abs(got.astype(int) - expected).max() <= 1


def test_bits_are_signs(engine: Engine) -> None:
    texts = _texts(5)
    exact = engines.dense(engine, texts)
    np.testing.assert_array_equal(engines.dense(engine, texts, {"dtype": "ubinary"}), np.packbits(exact > 0, axis=1))


def test_outputs_that_the_model_lacks_are_refused(engine: Engine) -> None:
    for outputs in (("sparse",), ("dense", "multi_vector"), ()):
        with pytest.raises(InputError, match="This model gives dense"):
            engine.embed(["a"], EmbedOptions(outputs=outputs))  # type: ignore[arg-type]


# ── the fingerprint ──────────────────────────────────────────────────────────────────────────────────────────────────

CHANGES_THE_SPACE: list[dict[str, Any]] = [
    {"prompt": "other: "},
    {"prompt_name": "sts"},
    {"dimensions": 8},
    {"normalize": False},
    {"dtype": "int8"},
    {"dtype": "binary"},
]
SAME_SPACE: list[dict[str, Any]] = [
    {"prompt": ""},
    {"dimensions": 36},
    {"normalize": True},
    {"max_tokens": 10},
    {"truncate": False},
]


def test_the_fingerprint_changes_with_what_changes_the_space(engine: Engine) -> None:
    seen = [engine.fingerprint(EmbedOptions(**change)) for change in ({}, *CHANGES_THE_SPACE)]
    assert len(set(seen)) == len(seen)
    assert all(len(name) == 16 and set(name) <= set("0123456789abcdef") for name in seen)


@pytest.mark.parametrize("change", SAME_SPACE, ids=str)
def test_the_fingerprint_does_not_change_with_what_does_not(change: dict[str, Any], engine: Engine) -> None:
    assert engine.fingerprint(EmbedOptions(**change)) == engine.fingerprint(PLAIN)


def test_queries_and_documents_share_a_space(engine: Engine) -> None:
    query, document = (engine.fingerprint(EmbedOptions(role=role)) for role in ("query", "document"))  # type: ignore[arg-type]
    assert query == document != engine.fingerprint(PLAIN)


def test_the_fingerprint_is_of_the_model_and_not_of_the_machine(folder: Path, tmp_path: Path) -> None:
    here = engines.engine(folder).fingerprint(PLAIN)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in folder.rglob("*"):
        if file.is_file():
            (elsewhere / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (elsewhere / file.relative_to(folder)).write_bytes(file.read_bytes())
    assert engines.engine(elsewhere, backend="torch").fingerprint(PLAIN) == here
    assert engines.engine(folder, precision="int8").fingerprint(PLAIN) == here
    assert engines.engine(folder, pooling="cls").fingerprint(PLAIN) != here
    assert engines.engine(folder, prompts={"query": "q"}).fingerprint(EmbedOptions(role="query")) != engines.engine(
        folder
    ).fingerprint(EmbedOptions(role="query"))
    other = specimens.make("bert", tmp_path / "other", sigma=0.3, num_hidden_layers=1, prompts=PROMPTS, seed=1)
    assert engines.engine(other).fingerprint(PLAIN) != here


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cached(folder: Path, tmp_path: Path) -> Iterator[Engine]:
    made = engines.engine(folder, cache=tmp_path / "cache.sqlite")
    yield made
    made.close()


def test_a_cached_text_is_not_computed_again(cached: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = _Recorder(cached, monkeypatch)
    texts = [*_texts(10), " ".join(WORDS[:200])]
    first = cached.embed(texts, PLAIN)
    recorder.batches.clear()
    second = cached.embed([*texts, "new", texts[0]], PLAIN)
    assert sum(batch.n_sequences for batch in recorder.batches) == 1
    assert second.usage.n_cached == 12
    np.testing.assert_array_equal(second.dense[:11], first.dense)  # type: ignore[index]
    np.testing.assert_array_equal(second.n_tokens[:11], first.n_tokens)
    np.testing.assert_array_equal(second.n_dropped[:11], first.n_dropped)
    assert first.usage.n_cached == 0


def test_cuts_and_types_come_from_one_cached_vector(cached: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    cached.embed(["a", "b"], PLAIN)
    recorder = _Recorder(cached, monkeypatch)
    for options in ({"dimensions": 8}, {"normalize": False}, {"dtype": "binary"}, {"dtype": "float16"}):
        assert cached.embed(["a", "b"], EmbedOptions(**options)).usage.n_cached == 2
    assert not recorder.batches


def test_what_decides_a_vector_is_part_of_its_key(cached: Engine, folder: Path, tmp_path: Path) -> None:
    cached.embed(["a"], PLAIN)
    for options in ({"prompt": "x"}, {"role": "query"}, {"max_tokens": 5}):
        assert cached.embed(["a"], EmbedOptions(**options)).usage.n_cached == 0, options  # type: ignore[arg-type]
    for changes in ({"pooling": "cls"}, {"precision": "int8"}):
        other = engines.engine(folder, cache=tmp_path / "cache.sqlite", **changes)
        assert other.embed(["a"], PLAIN).usage.n_cached == 0, changes
        other.close()


def test_a_cached_text_that_was_cut_is_still_refused(cached: Engine) -> None:
    long = " ".join(WORDS[:200])
    cached.embed([long, "short"], PLAIN)
    with pytest.raises(InputError, match="truncate=True"):
        cached.embed([long], EmbedOptions(truncate=False))
    assert cached.embed(["short"], EmbedOptions(truncate=False)).usage.n_cached == 1


_FORK = """
import os, sys
from pathlib import Path
import numpy as np
from sememe import Embedder
model = Embedder(sys.argv[1], precision="float32", n_threads=1, token_budget=64, embedding_cache=sys.argv[2])
texts = [f"text number {i}" for i in range(60)]
expected = model.encode(texts)
child = os.fork()
got = model.encode(texts + [f"another {os.getpid()} {i}" for i in range(60)])[:60]
if child == 0:
    os._exit(0 if np.abs(got - expected).max() < 1e-6 else 3)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), np.abs(got - expected).max() < 1e-6)
"""


def test_a_child_process_embeds_too(folder: Path, tmp_path: Path) -> None:
    """Threads and database connections do not survive a fork, which servers and data loaders make."""
    command = [sys.executable, "-c", _FORK, str(folder), str(tmp_path / "cache.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["0", "True"], done.stderr
