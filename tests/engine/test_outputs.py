"""Several kinds of embeddings from one pass, through the public interface; widths, licences, and what they cost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
import specimens
from reference import bge_m3
from sememe import Embedder
from sememe.engine.engine import Engine
from sememe.errors import InputError
from sememe.ops import Program
from sememe.records import OUTPUTS, Batch, Embeddings, EmbedOptions, SparseEmbeddings

TEXTS = ["How do refunds work?", "the dog and the fox " * 30, "", "東京は日本の首都です。", "the dog"]


@pytest.fixture(scope="module")
def folder(specimen_folder: Path) -> Path:
    return specimens.make("bge_m3", specimen_folder / "m3", sigma=0.3)


@pytest.fixture(scope="module")
def m3(folder: Path) -> Embedder:
    return Embedder(folder, like="BAAI/bge-m3", precision="float32", allow_pickle=True)


def _count_calls(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """The batches that go through the engine's programs from now on."""
    batches: list[Batch] = []
    real: Callable[..., Program] = engine.program

    def program(*arguments: Any) -> Program:
        made = real(*arguments)

        def run(batch: Batch) -> Any:
            batches.append(batch)
            return made(batch)

        return run

    monkeypatch.setattr(engine, "program", program)
    return batches


# ── one pass ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_three_kinds_come_from_one_pass(m3: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert m3.outputs == OUTPUTS
    batches = _count_calls(m3.loaded.engine, monkeypatch)
    found = m3.encode(TEXTS, outputs=OUTPUTS)
    assert sum(batch.n_sequences for batch in batches) == len(TEXTS)
    assert isinstance(found, Embeddings)
    assert found.dense is not None
    assert found.sparse is not None
    assert found.multi_vector is not None
    assert found.dense.shape == (5, 36)
    assert len(found.sparse) == len(found.multi_vector) == 5
    assert found.n_tokens.tolist() == [len(t) for t in m3.tokenize(TEXTS)]
    assert [len(found.multi_vector[i]) for i in range(5)] == (found.n_tokens - 1).tolist()


def test_each_kind_is_the_same_alone_and_with_others(m3: Embedder) -> None:
    whole = m3.encode(TEXTS, outputs=OUTPUTS)
    np.testing.assert_allclose(m3.encode(TEXTS), whole.dense, atol=1e-6)
    sparse = m3.encode(TEXTS, outputs=("sparse",))
    assert sparse.dense is None
    assert sparse.multi_vector is None
    assert sparse.sparse is not None
    assert whole.sparse is not None
    np.testing.assert_allclose(sparse.sparse.to_scipy().toarray(), whole.sparse.to_scipy().toarray(), atol=1e-6)
    names = {m3.fingerprint(EmbedOptions(outputs=outputs)) for outputs in (OUTPUTS, ("dense",), ("sparse",))}  # type: ignore[arg-type]
    assert len(names) == 1


def test_one_program_serves_fewer_outputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second program would hold the model's memory once more."""
    loaded = engines.load(folder, like="BAAI/bge-m3", allow_pickle=True)
    made: list[Any] = []
    real = loaded.backend.program
    monkeypatch.setattr(loaded.backend, "program", lambda *arguments: made.append(1) or real(*arguments))  # type: ignore[func-returns-value]
    for outputs in (("dense",), OUTPUTS, ("sparse",), ("dense",), ("multi_vector", "dense"), OUTPUTS):
        found = loaded.engine.embed(TEXTS, EmbedOptions(outputs=outputs))  # type: ignore[arg-type]
        assert (found.dense is None, found.sparse is None) == ("dense" not in outputs, "sparse" not in outputs)
    assert len(made) == 1  # dense alone was made for the self-check


def test_order_and_repeats_hold_for_every_kind(m3: Embedder) -> None:
    whole = m3.encode(TEXTS, outputs=OUTPUTS)
    order = [3, 0, 0, 4, 2, 1, 3]
    again = m3.encode([TEXTS[i] for i in order], outputs=OUTPUTS)
    assert whole.sparse is not None
    assert whole.multi_vector is not None
    assert again.sparse is not None
    assert again.multi_vector is not None
    for place, i in enumerate(order):
        assert again.sparse.weights(place) == pytest.approx(whole.sparse.weights(i), abs=1e-6)
        np.testing.assert_allclose(again.multi_vector[place], whole.multi_vector[i], atol=2e-6)


def test_no_inputs_give_empty_values_of_every_kind(m3: Embedder) -> None:
    found = m3.encode([], outputs=OUTPUTS)
    assert found.dense is not None
    assert found.sparse is not None
    assert found.multi_vector is not None
    assert found.dense.shape == (0, 36)
    assert found.sparse.to_scipy().shape == (0, found.sparse.n_columns)
    assert found.multi_vector.vectors.shape == (0, 36)
    assert len(found.sparse) == len(found.multi_vector) == 0


def test_dense_alone_may_be_cut_in_the_record_too(m3: Embedder) -> None:
    found = m3.encode(TEXTS, outputs=OUTPUTS, truncate_dim=8, precision="int8")
    assert found.dense is not None
    assert found.dense.shape == (5, 8)
    assert found.dense.dtype == np.int8
    with pytest.raises(InputError, match="Only dense vectors can be cut"):
        m3.encode(TEXTS, outputs=("sparse",), truncate_dim=8)
    with pytest.raises(InputError, match="one kind"):
        m3.encode(TEXTS, outputs=OUTPUTS, convert_to_tensor=True)  # type: ignore[call-overload]


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("weights", [None, (0.4, 0.2, 0.4), (1.0, 0.3, 1.0)], ids=str)
def test_the_weighted_score_is_flag_embeddings(m3: Embedder, weights: Any) -> None:
    queries, documents = m3.encode(TEXTS[:2], outputs=OUTPUTS), m3.encode(TEXTS, outputs=OUTPUTS)
    named = None if weights is None else dict(zip(OUTPUTS, weights, strict=True))
    scores = m3.similarity(queries, documents, weights=named)
    for i in range(2):
        for j in range(5):
            assert queries.dense is not None
            assert queries.sparse is not None
            assert queries.multi_vector is not None
            assert documents.dense is not None
            assert documents.sparse is not None
            assert documents.multi_vector is not None
            expected = bge_m3.hybrid_score(
                float(queries.dense[i] @ documents.dense[j]),  # type: ignore[operator]
                bge_m3.sparse_score(queries.sparse.weights(i), documents.sparse.weights(j)),
                bge_m3.multi_vector_score(queries.multi_vector[i], documents.multi_vector[j]),
                weights or (1, 1, 1),
            )
            assert scores[i, j] == pytest.approx(expected, abs=1e-4)


def test_each_kind_has_its_own_similarity(m3: Embedder) -> None:
    found = m3.encode(TEXTS, outputs=OUTPUTS)
    assert found.sparse is not None
    assert found.multi_vector is not None
    mean = m3.similarity(found.multi_vector, found.multi_vector)
    np.testing.assert_allclose(mean.diagonal(), 1, atol=1e-5)
    table = found.sparse.to_scipy()
    np.testing.assert_allclose(m3.similarity(found.sparse, found.sparse), (table @ table.T).toarray(), atol=1e-4)
    np.testing.assert_allclose(m3.similarity_pairwise(found.sparse, found.sparse).shape, (5,))


# ── plain encode of models without dense vectors ─────────────────────────────────────────────────────────────────────


def test_a_sparse_model_gives_sparse_vectors(tmp_path: Path) -> None:
    model = Embedder(specimens.make("splade", tmp_path, sigma=0.3))
    one, several = model.encode_query("a dog"), model.encode_document(TEXTS)
    assert isinstance(one, SparseEmbeddings)
    assert isinstance(several, SparseEmbeddings)
    assert (len(one), len(several)) == (1, 5)
    assert model.similarity(one, several).shape == (1, 5)
    assert (model.outputs, model.similarity_fn_name, model.dimension) == (("sparse",), "dot", one.n_columns)
    with pytest.raises(InputError, match="This model gives sparse; dense was asked for"):
        model.embed(["a"])


# ── widths and licences ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_width_that_nobody_trained_for_warns_or_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = specimens.make("bert", tmp_path)
    with caplog.at_level(logging.WARNING, "sememe"):
        Embedder(folder, truncate_dim=8)
    assert "nobody says it was trained for fewer" in caplog.text
    strict = Embedder(folder, untrained_dims="error")
    assert strict.encode(["a"]).shape == (1, 36)
    with pytest.raises(InputError, match=r"8 of 36 dimensions were asked for; nobody says"):
        strict.encode(["a"], truncate_dim=8)
    with pytest.raises(InputError, match="8 of 36"):
        Embedder(folder, truncate_dim=8, untrained_dims="error")


def test_a_trained_width_is_neither(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = specimens.make("qwen3", tmp_path / "qwen3")
    with caplog.at_level(logging.WARNING, "sememe"):
        model = Embedder(folder, like="Qwen/Qwen3-Embedding-0.6B", untrained_dims="error")
        assert model.encode(["a"], truncate_dim=32).shape == (1, 32)  # any width from 32 up
    assert not caplog.records
    with pytest.raises(InputError, match="it was trained for 32 and more"):
        model.encode(["a"], truncate_dim=31)


def test_a_non_commercial_licence_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = specimens.make("splade_bare", tmp_path)
    with caplog.at_level(logging.WARNING, "sememe"):
        model = Embedder(folder, like="naver/splade-v3")
        for _ in range(3):
            model.encode(["a"])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "naver/splade-v3" in said[0]
    assert "NON-COMMERCIAL" in said[0]
    assert "CC-BY-NC-SA-4.0" in said[0]
