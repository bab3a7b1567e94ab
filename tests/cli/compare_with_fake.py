"""`sememe compare` with the fake embedder: a program of its own, which test_compare_command.py kills.

FAKE_SECONDS: how long a call of the embedder takes. FAKE_LOG: a file that gets every text it embeds. Windows of 8 texts.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes import FakeEmbedder
from sememe.cli import main
from sememe.evaluation.compare import running
from sememe.evaluation.compare.embedding import Say
from sememe.evaluation.compare.measuring import Probe
from sememe.evaluation.compare.models import OpenedModel
from sememe.evaluation.compare.options import CompareOptions
from sememe.evaluation.compare.records import Comparison, Measured
from sememe.evaluation.compare.running import ReadData

compare = running.run_comparison


def open_fake(name: str, precision: str, recipe: tuple[str, ...], offline: bool) -> OpenedModel:
    """In place of `open_model`."""
    seconds = float(os.environ.get("FAKE_SECONDS", "0"))
    log = Path(os.environ["FAKE_LOG"]) if "FAKE_LOG" in os.environ else None
    embedder = FakeEmbedder(name, dimension=16, seconds_per_call=seconds, log=log)
    return OpenedModel(embedder, "float32", "asked for", "float32", "cosine", False, "MIT", True)


def measure_fake(probe: Probe) -> Measured:
    """In place of `measure_in_child`."""
    return Measured(1.0, 300_000_000, 100.0, 1000.0, 0.01, 0.02, 0.03)


def compare_fakes(options: CompareOptions, *, read_with: ReadData, say: Say) -> Comparison:
    """In place of `run_comparison`."""
    return compare(
        replace(options, window=8), read_with=read_with, open_with=open_fake, measure_with=measure_fake, say=say
    )


running.run_comparison = compare_fakes  # type: ignore[assignment]
if __name__ == "__main__":
    main()
