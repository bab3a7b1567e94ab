"""Reference hidden states of a specimen, from a route that shares nothing with `sememe.ops`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, PreTrainedModel


def reference_hidden(
    folder: Path, ids_list: Sequence[Sequence[int]], type_ids_list: Sequence[Sequence[int]] | None = None
) -> list[NDArray[np.float32]]:
    """Final hidden states (n, H) of each sequence, in float32, one sequence at a time and without padding.

    type_ids_list: the segment of each token; zeros if left out.
    """
    model = _native_model(str(folder), (Path(folder) / "config.json").stat().st_mtime_ns)
    states = []
    for i, ids in enumerate(ids_list):
        inputs = {"input_ids": torch.tensor([list(ids)])}
        if type_ids_list is not None:
            inputs["token_type_ids"] = torch.tensor([list(type_ids_list[i])])
        with torch.inference_mode():
            output = model(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]))
        states.append(output.last_hidden_state[0].float().numpy())
    return states


@lru_cache(maxsize=8)
def _native_model(folder: str, written_ns: int) -> PreTrainedModel:
    """written_ns: when the folder was written, so that a folder written anew is read anew."""
    return AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def raw_config(folder: Path) -> dict[str, object]:
    """config.json as it stands."""
    return dict(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")))
