"""JSON files of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} is not valid JSON ({exc}).") from exc
    if not isinstance(raw, kind):
        raise CheckpointError(f"{path} holds {type(raw).__name__}; expected {kind.__name__}.")
    return raw


def read_size(raw: Mapping[str, Any], key: str, path: Path) -> int:
    """A width or count that a file must have. Raises CheckpointError where it is missing or no whole number above 0."""
    value = raw.get(key)
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{path}: {key} is {value!r}; expected a whole number above 0.")
    return value


@dataclass(frozen=True)
class ModuleEntry:
    """One module of modules.json. type: as it stands there; kind: its last part. path: of its folder, "" for the top."""

    type: str
    path: str

    @property
    def kind(self) -> str:
        return self.type.rsplit(".", 1)[-1]


def read_module_list(folder: Path) -> list[ModuleEntry]:
    """The modules in their order, none where there is no modules.json. Raises CheckpointError."""
    path = folder / "modules.json"
    listed = read_json(path, kind=list)
    try:
        modules = [ModuleEntry(str(m["type"]), str(m["path"])) for m in sorted(listed, key=lambda m: int(m["idx"]))]
    except (KeyError, TypeError, ValueError) as exc:
        raise CheckpointError(f"{path}: a module lacks its idx, path or type ({exc!r}).") from exc
    for module in modules:
        if PurePosixPath(module.path).is_absolute() or ".." in PurePosixPath(module.path).parts:
            raise CheckpointError(f"{path}: the module folder {module.path} lies outside of the checkpoint.")
    return modules
