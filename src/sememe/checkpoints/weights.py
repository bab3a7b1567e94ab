"""From a checkpoint's weight files to the tensors of a family: strict both ways.

A tensor that is missing, of another shape, or left over is an error: loading JinaBERT as plain BERT "works" without
these checks and gives noise.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sememe.checkpoints.pickled import read_pickled
from sememe.checkpoints.safetensors import read_safetensors
from sememe.errors import CheckpointError
from sememe.families import Family
from sememe.ops import Parameter

logger = logging.getLogger(__name__)


def read_tensors(folder: Path, *, allow_pickle: bool = False) -> dict[str, Parameter]:
    """Every tensor in the folder's weight files: model.safetensors, its shards, or, if allowed, pytorch_model.bin.

    A pickle is read by a reader that builds tensors and nothing else. Raises CheckpointError.
    """
    index = folder / "model.safetensors.index.json"
    if (single := folder / "model.safetensors").is_file():
        return read_safetensors(single)
    if index.is_file():
        return _read_shards(folder, index)
    pickled = folder / "pytorch_model.bin"
    if pickled.is_file() and allow_pickle:
        return read_pickled(pickled)
    if pickled.is_file():
        raise CheckpointError(
            f"{folder} has pytorch_model.bin but no model.safetensors. A pickle can carry code, so it is read only when "
            "you ask for it (allow_pickle=True), and then by a reader that builds nothing but tensors."
        )
    raise CheckpointError(f"{folder} has no weights: expected model.safetensors or model.safetensors.index.json.")


def _read_shards(folder: Path, index: Path) -> dict[str, Parameter]:
    try:
        places: dict[str, str] = dict(json.loads(index.read_text("utf-8"))["weight_map"])
        shards = sorted(set(places.values()))
        if not all(isinstance(name, str) for name in shards):
            raise TypeError("a shard's name is no text")
    except (ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(f"{index} has no readable weight_map ({exc!r}).") from exc
    tensors: dict[str, Parameter] = {}
    for name in shards:
        shard = folder / name
        if shard.parent != folder or not shard.is_file():
            raise CheckpointError(f"{index} names the shard {name}, which is not in {folder}.")
        tensors |= read_safetensors(shard)
    if lacking := sorted(set(places) - set(tensors)):
        raise CheckpointError(f"{index} lists {len(lacking)} tensors that no shard has, such as {lacking[0]}.")
    return tensors


def our_names(stored: Iterable[str], family: Family) -> frozenset[str]:
    """The stored names that the family knows, under ours: also those of heads that nobody may ask for."""
    renames = [(re.compile(pattern), ours) for pattern, ours in family.RENAMES]
    return frozenset(_our_name(name, family, renames) for name in stored) - {None}  # type: ignore[return-value]


def arrange(
    stored: Mapping[str, Parameter], family: Family, shapes: Mapping[str, tuple[int, ...]], where: Path
) -> dict[str, Parameter]:
    """The tensors that `shapes` asks for, under our names.

    A tied tensor may be stored under both of its names, with the same values. Raises CheckpointError for one that is
    missing, of another shape, not of numbers, not finite, stored twice with different values, or left over.
    """
    renames = [(re.compile(pattern), ours) for pattern, ours in family.RENAMES]
    ignored = [re.compile(pattern) for pattern in family.IGNORED]
    found: dict[str, Parameter] = {}
    left_over: list[str] = []
    for name, parameter in stored.items():
        ours = _our_name(name, family, renames)
        if ours is not None and ours in shapes:
            if ours in found and not _same(found[ours], parameter):
                raise CheckpointError(f"{where}: two tensors are {ours}, and they differ; the second is {name}.")
            found[ours] = parameter
        elif not any(pattern.fullmatch(_without_prefix(name, family.PREFIXES)) for pattern in ignored):
            left_over.append(name)
    if lacking := [name for name in shapes if name not in found]:
        raise CheckpointError(_names(where, "lacks", lacking, "This is not the architecture that config.json names."))
    if left_over:
        raise CheckpointError(_names(where, "has", left_over, "Nothing would use them, so the vectors would be wrong."))
    for name, shape in shapes.items():
        check_tensor(name, found[name], shape, where)
    return found


def _same(one: Parameter, other: Parameter) -> bool:
    return one.dtype == other.dtype and np.array_equal(one.values, other.values)


def _our_name(name: str, family: Family, renames: Sequence[tuple[re.Pattern[str], str]]) -> str | None:
    bare = _without_prefix(name, family.PREFIXES)
    return next((match.expand(to) for pattern, to in renames if (match := pattern.fullmatch(bare))), None)


def _without_prefix(name: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _names(where: Path, verb: str, names: list[str], meaning: str) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    kind = "that we need" if verb == "lacks" else "left over"
    return f"{where} {verb} {len(names)} tensor{'s' * (len(names) > 1)} {kind}: {shown}. {meaning}"


def check_tensor(name: str, parameter: Parameter, shape: tuple[int, ...], where: Path) -> None:
    """Raise CheckpointError unless the tensor has this shape and holds finite numbers."""
    if parameter.shape != shape:
        raise CheckpointError(f"{where}: {name} has shape {parameter.shape}; config.json asks for {shape}.")
    if parameter.dtype == "integer":
        raise CheckpointError(f"{where}: {name} holds integers ({parameter.values.dtype}); expected floating point.")
    if not _all_finite(parameter):
        raise CheckpointError(f"{where}: {name} holds NaN or infinity. The file is damaged, or training diverged.")


def _all_finite(parameter: Parameter) -> bool:
    """Whether every value is a finite number; a sum for wide types, the exponent bits for 16-bit ones."""
    values = parameter.values
    if parameter.dtype in ("float32", "float64"):
        with np.errstate(over="ignore", invalid="ignore"):
            total = values.sum(dtype=np.float64) if values.dtype == np.float64 else values.sum()
        return bool(np.isfinite(total)) or bool(np.isfinite(values).all())
    exponent = np.uint16(0x7F80 if parameter.dtype == "bfloat16" else 0x7C00)
    bits = values.view(np.uint16).reshape(-1)
    pieces = (bits[i : i + (1 << 22)] for i in range(0, len(bits), 1 << 22))
    return not any(((piece & exponent) == exponent).any() for piece in pieces)


def stack(tensors: dict[str, Parameter], family: Family) -> dict[str, Parameter]:
    """Lay the tensors that `family.STACKED` names one below another, so that one matrix multiplication does for all."""
    tensors = dict(tensors)
    for target, parts in family.STACKED:
        for name in [name for name in tensors if name.endswith(f"{parts[0]}.weight")]:
            prefix = name.removesuffix(f"{parts[0]}.weight")
            for kind in ("weight", "bias"):
                if f"{prefix}{parts[0]}.{kind}" in tensors:
                    pieces = [tensors.pop(f"{prefix}{part}.{kind}") for part in parts]
                    tensors[f"{prefix}{target}.{kind}"] = _one_below_another(pieces)
    return tensors


def _one_below_another(pieces: Sequence[Parameter]) -> Parameter:
    """The rows of all pieces; where the pieces are stored in different types, in float32."""
    if len({piece.dtype for piece in pieces}) > 1:
        return Parameter(np.concatenate([piece.float32() for piece in pieces]), "float32")
    return Parameter(np.concatenate([piece.values for piece in pieces]), pieces[0].dtype)
