"""What is kept between runs: vectors, window by window, and measurements. Everything is named by what decides it.

`vectors.sqlite` is an embedding cache (keys by fingerprint, number type and text); `measured/KEY.json` is a model's costs
on this machine. A killed run loses at most the window of texts that was in the model; the next one reads the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from sememe.engine.cache import EmbeddingCache
from sememe.errors import InputError
from sememe.evaluation.compare.records import Measured


class WorkFolder:
    """The folder `work` of a comparison. Raises InputError where it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self._measured = folder / "measured"
        try:
            self._measured.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise InputError(f"The folder {folder} cannot be made: {exc.strerror}.") from exc
        self.cache = EmbeddingCache(folder / "vectors.sqlite", max_bytes=200_000_000_000)

    def measured(self, facts: object) -> Measured | None:
        """A measurement that was kept for exactly these facts."""
        try:
            return Measured(**json.loads(self._file(facts).read_text("utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or of another version: it is taken anew
            return None

    def keep(self, facts: object, measured: Measured) -> None:
        """Keep a measurement; a crash leaves the whole file or none."""
        file = self._file(facts)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(asdict(measured)), "utf-8")
        part.replace(file)

    def _file(self, facts: object) -> Path:
        name = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:24]
        return self._measured / f"{name}.json"
