"""Options that several commands share, and the environment: the only place that reads it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sememe.catalogue import DEFAULT_MODEL

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A folder, an id on the hub, or a short name (`sememe models`).")
]
BackendOption = Annotated[str, typer.Option(help="auto, openvino or torch.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Let no call leave this machine.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

__all__ = ["DEFAULT_MODEL", "is_offline"]


def is_offline(offline: bool) -> bool:
    """Whether no call may leave: by the option, or by SEMEME_OFFLINE or HF_HUB_OFFLINE."""
    names = ("SEMEME_OFFLINE", "HF_HUB_OFFLINE")
    return offline or any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)
