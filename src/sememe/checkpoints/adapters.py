"""Low-rank adapters that lie beside a model as PEFT writes them: a folder for each, with its settings and its tensors.

The folders lie in the checkpoint's own (jina v3, converted) or in its `adapters/` (jina v5).

Source of the format: PEFT 0.21, `LoraConfig` and `save_pretrained`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sememe.checkpoints.json_files import read_json
from sememe.checkpoints.safetensors import read_safetensors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.ops import Parameter

_SETTINGS, _TENSORS = "adapter_config.json", "adapter_model.safetensors"
_KNOWN_KEYS = frozenset(("peft_type", "r", "lora_alpha", "target_modules", "bias"))
# Names, places, how training began, and how large were the groups of a variant that is switched by another key.
_NO_CONSEQUENCE = frozenset(
    "auto_mapping base_model_name_or_path revision task_type inference_mode init_lora_weights lora_dropout peft_version "
    "megatron_core qalora_group_size".split()
)


def read_settings(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Of each adapter in a checkpoint's folder, by its own folder's path in it, `r` and `lora_alpha` among them.

    Raises CheckpointError, and UnsupportedCheckpoint for anything but plain LoRA.
    """
    found = sorted([*folder.glob(f"*/{_SETTINGS}"), *folder.glob(f"adapters/*/{_SETTINGS}")])
    settings = {path.parent.relative_to(folder).as_posix(): read_json(path) for path in found}
    for name, lora in settings.items():
        where = f"{name}/{_SETTINGS}"
        for key, computed in (("peft_type", "LORA"), ("bias", "none")):
            if lora.get(key, computed) != computed:
                raise UnsupportedCheckpoint(where, key, got=lora[key], expected=repr(computed))
        # The variants of LoRA are keys of their own, and off is null, false or empty.
        variants = sorted(key for key, value in lora.items() if value and key not in _KNOWN_KEYS | _NO_CONSEQUENCE)
        if variants:
            raise UnsupportedCheckpoint(where, "keys", got=", ".join(variants), expected="LoRA without them")
        if not (isinstance(lora.get("r"), int) and lora["r"] > 0 and isinstance(lora.get("lora_alpha"), int | float)):
            raise CheckpointError(f"{folder / where} lacks r and lora_alpha, the rank and scale of its adapter.")
    return settings


def read_tensors(folder: Path, names: Iterable[str]) -> dict[str, Parameter]:
    """The factors of these adapters, as `NAME/tensor`. Raises CheckpointError."""
    found: dict[str, Parameter] = {}
    for name in names:
        path = folder / name / _TENSORS
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; {_SETTINGS} beside it tells of an adapter.")
        found |= {f"{name}/{tensor}": parameter for tensor, parameter in read_safetensors(path).items()}
    return found
