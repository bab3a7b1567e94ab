"""`sememe embed` with the fake embedder: a program of its own, which test_embed.py interrupts and kills.

FAKE_SECONDS: how long a call of the embedder takes. FAKE_LOG: a file that gets every text it embeds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import sememe.engine.opening
from fakes import FakeEmbedder
from sememe.cli import main


def make(name: str, **options: object) -> FakeEmbedder:
    """In place of `Embedder`."""
    seconds = float(os.environ.get("FAKE_SECONDS", "0"))
    return FakeEmbedder(name, seconds_per_call=seconds, log=Path(os.environ["FAKE_LOG"]))


sememe.engine.opening.Embedder = make  # type: ignore[assignment,misc]
main()
