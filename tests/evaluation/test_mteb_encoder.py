"""Our models in mteb: its mock run over every type of task that takes text."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from fakes import FakeEmbedder
from sememe.evaluation.mteb_encoder import MtebEncoder


@pytest.fixture(scope="module")
def mteb() -> Any:
    """Imported by these tests alone: it takes seconds."""
    return pytest.importorskip("mteb")


@pytest.mark.slow
def test_mock_run_passes_every_task_type(mteb: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = mteb.mock_run(MtebEncoder(FakeEmbedder()))
    ran = {name: status for name, status in found.items() if status is not None}
    failed = {name: str(status) for name, status in ran.items() if type(status).__name__ == "TaskError"}
    assert not failed
    assert found.all_passed
    assert len(ran) > 20


def test_roles_reach_the_model(mteb: Any) -> None:
    seen = []

    class Seeing(FakeEmbedder):
        def embed(self, inputs, options):  # type: ignore[no-untyped-def, override]
            seen.append(options.role)
            return super().embed(inputs, options)

    encoder = MtebEncoder(Seeing())
    batches = [{"text": ["a", "b"]}, {"text": ["c"]}]
    for prompt_type in (mteb.types.PromptType.query, mteb.types.PromptType.document, None):
        rows = encoder.encode(
            batches, task_metadata=None, hf_split="test", hf_subset="default", prompt_type=prompt_type
        )
        assert rows.shape == (3, 8)
        assert rows.dtype == np.float32
    assert seen == ["query", "document", None]
    assert encoder.mteb_model_meta.name == "sememe/fake"
