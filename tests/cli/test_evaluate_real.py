"""`sememe evaluate` with the real all-MiniLM-L6-v2 on a whole, small set: the figure, as it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sememe.cli import app

# ADI (82 documents, 35 queries), 2026-11-30, sentence-transformers 6.2.0 with pytrec_eval 0.5.10 on the same files
NDCG, LIMIT = 0.4975, 0.002


@pytest.mark.weights
def test_adi_by_the_real_model(minilm_path: Path, data_folder: Path) -> None:
    if not (data_folder / "adi").is_dir():
        pytest.skip(f"needs ADI: {data_folder / 'adi'} is not there")
    command = ["evaluate", str(minilm_path), "--recipe", "like=all-MiniLM-L6-v2", "--data", str(data_folder / "adi")]
    run = CliRunner().invoke(app, [*command, "--precision", "float32", "--resamples", "0", "--json"])
    assert run.exit_code == 0, run.exception
    (result,) = json.loads(run.stdout)
    assert result["main"] == "ndcg@10"
    by_name = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert by_name["ndcg@10"] == pytest.approx(NDCG, abs=LIMIT)
