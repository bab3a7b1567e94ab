"""What a kind of specimen is, and how its folder is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from .layout import Layout, Tensors, write_json, write_modules, write_tokenizer, write_weights
from .vocabularies import vocabulary
from .weights import seeded

RawConfig = dict[str, object]
MakeTensors = Callable[[RawConfig, "float | None", torch.Generator], Tensors]
WriteExtras = Callable[[Path, RawConfig, Layout, "float | None", torch.Generator], None]

VOCABULARY_SIZE = "<size of the tokenizer>"
"""Stands in a kind's `vocab_size`; replaced by the tokenizer's number of entries."""


@dataclass(frozen=True)
class Kind:
    """A family's checkpoint in small.

    config: config.json as the published files spell it. layout: the files beside it.
    tensors: draws the weights, by their on-disk names, from config, sigma and a generator.
    extras: writes what only this kind has. width_key: the entry of config that holds H.
    """

    config: Mapping[str, object]
    layout: Layout
    tensors: MakeTensors
    extras: WriteExtras | None = None
    width_key: str = "hidden_size"

    def derive(self, layout: Mapping[str, object] | None = None, **config: object) -> Kind:
        """The same with other entries of config.json and of the layout."""
        return replace(self, config={**self.config, **config}, layout=replace(self.layout, **(layout or {})))


def write(kind: Kind, folder: Path, sigma: float | None, seed: int, overrides: Mapping[str, object]) -> Path:
    """Write the checkpoint. `overrides` name fields of `Layout` or entries of config.json; None removes an entry.

    Raises TypeError for a name that is neither.
    """
    layout_names = {entry.name for entry in fields(Layout)}
    layout = replace(kind.layout, **{k: v for k, v in overrides.items() if k in layout_names})
    for_config = {name: value for name, value in overrides.items() if name not in layout_names}
    unknown = set(for_config) - set(kind.config)
    if unknown:
        raise TypeError(f"{sorted(unknown)}: neither a field of Layout nor an entry of config.json of this kind")
    words = vocabulary(layout.tokenizer)
    config = {**kind.config, **for_config}
    config = {name: words.size if value == VOCABULARY_SIZE else value for name, value in config.items()}

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = seeded(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the library's own initialisation draws from the global generator
        write_weights(folder, kind.tensors(config, sigma, generator), layout)
    write_json(folder / "config.json", config)
    write_tokenizer(folder, words, layout)
    width = config[kind.width_key]
    assert isinstance(width, int)
    write_modules(folder, width, layout, generator)
    if kind.extras is not None:
        kind.extras(folder, config, layout, sigma, generator)
    return folder
