"""JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sememe.errors import CheckpointError


def read_json(path: Path, *, required: bool = False, kind: type = dict) -> Any:
    """The file's content, an empty `kind` where there is no file. Raises CheckpointError for anything else."""
    if not path.is_file():
        if required:
            raise CheckpointError(f"{path} is missing; modules.json names it.")
        return kind()
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError as exc:
        raise CheckpointError(f"{path} is not valid JSON ({exc}).") from exc
    if not isinstance(raw, kind):
        raise CheckpointError(f"{path} holds {type(raw).__name__}; expected {kind.__name__}.")
    return raw
