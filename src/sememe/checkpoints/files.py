"""Which files of a checkpoint are needed, and whether a folder has them.

One rule serves the download (which files to bring), the completeness of a cached copy, and the hashes (which files
are weights), so that the three cannot disagree.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

# Copies of the weights for other runtimes, and leftovers of training.
_FOREIGN_FOLDERS = frozenset(
    ("onnx", "openvino", "coreml", "tflite", "tf", "flax", "gguf", "ggml", "mlx", "tensorrt", "original")
)
_FOREIGN_FILES = frozenset({"trainer_state.json"})
_SMALL_SUFFIXES = frozenset({".json", ".txt", ".model", ".spm", ".vocab", ".metadata"})
# BGE-M3's heads: two small pickles with one matrix each; they have no safetensors copy.
_PICKLED_HEADS = frozenset({"sparse_linear.pt", "colbert_linear.pt"})
_SHARD = re.compile(r"(model|pytorch_model)-\d{5}-of-\d{5}\.(safetensors|bin)")
_INDEX_SUFFIX = ".index.json"
_MARKS = ("config.json", "modules.json")


class NotHere(Exception):  # no failure by itself: the next source is asked
    """A source does not have the checkpoint. The message says why; the user sees it if no source has it.

    may_pass: the source could not be asked now; later it may have it.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


def needed_files(names: Iterable[str]) -> list[str]:
    """Those of a repository's or folder's files that loading may read, sorted.

    names: paths relative to the checkpoint, with slashes. Of each folder's weights one form is taken: one safetensors
    file, else its shards, else other safetensors files, else `pytorch_model.bin`; never two copies of the same.
    """
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for name in names:
        path = PurePosixPath(name)
        if not any(part.startswith((".", "checkpoint-")) or part in _FOREIGN_FOLDERS for part in path.parts):
            folders[path.parent].append(path.name)
    needed = []
    for folder, members in folders.items():
        weights = _weights_of_one_folder(members)
        small = {
            name
            for name in members
            if PurePosixPath(name).suffix in _SMALL_SUFFIXES
            and name not in _FOREIGN_FILES
            and (not name.endswith(_INDEX_SUFFIX) or _has_shards_of(name, weights))
        }
        needed += [str(folder / name) for name in small.union(weights)]
    return sorted(needed)


def weight_files(names: Iterable[str]) -> list[str]:
    """Those of the needed files that hold weights, sorted."""
    return [name for name in needed_files(names) if PurePosixPath(name).suffix in (".safetensors", ".bin", ".pt")]


def list_files(folder: Path) -> list[str]:
    """Paths of all files below a folder, relative and with slashes. A link whose target is gone is left out."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def looks_like_checkpoint(folder: Path) -> bool:
    """Whether a folder has the file that every checkpoint has."""
    return any((folder / mark).is_file() for mark in _MARKS)


def check_complete(folder: Path) -> None:
    """Raises NotHere, which names what is missing, for a folder without a configuration or without all its weights."""
    if not looks_like_checkpoint(folder):
        raise NotHere(f"{folder} has neither {' nor '.join(_MARKS)}")
    names = list_files(folder)
    weights = weight_files(names)
    if not any((folder / name).stat().st_size for name in weights):
        raise NotHere(f"{folder} has a configuration, but no weights (*.safetensors): an interrupted download?")
    for name in names:
        if name.endswith(_INDEX_SUFFIX) and name in needed_files(names):
            missing = sorted(_shards_in(folder / name) - set(list_files((folder / name).parent)))
            if missing:
                raise NotHere(f"{folder} lacks {len(missing)} of its weight files: {', '.join(missing[:3])}")


def _weights_of_one_folder(members: list[str]) -> set[str]:
    safetensors = {name for name in members if name.endswith(".safetensors")}
    shards = {name for name in members if _SHARD.fullmatch(name)}
    heads = {name for name in members if name in _PICKLED_HEADS}
    if "model.safetensors" in safetensors:
        return heads | {"model.safetensors"}
    if safetensors:
        return heads | (shards & safetensors or safetensors)
    if "pytorch_model.bin" in members:
        return heads | {"pytorch_model.bin"}
    return heads | shards


def _has_shards_of(index: str, weights: set[str]) -> bool:
    """Whether the weights taken are the shards that an index (`model.safetensors.index.json`) lists."""
    stem, suffix = index.removesuffix(_INDEX_SUFFIX).rsplit(".", 1)
    return any(name.startswith(f"{stem}-") and name.endswith(f".{suffix}") for name in weights)


def _shards_in(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as exc:
        raise NotHere(f"{index} is not a list of weight files ({exc!r})") from exc
