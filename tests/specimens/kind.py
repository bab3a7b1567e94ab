"""What a kind of specimen is, and how its folder is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from .layout import Layout, write_json, write_modules, write_tokenizer, write_weights
from .vocabularies import vocabulary
from .vocabulary import Vocabulary
from .weights import RawConfig, Weights

WriteExtras = Callable[[Path, RawConfig, Layout, "float | None", torch.Generator], None]


@dataclass(frozen=True)
class VocabularySize:
    """Stands in a kind's config for the tokenizer's number of entries, rounded up as padded tables are."""

    multiple_of: int = 1

    def resolve(self, words: Vocabulary) -> int:
        return -(-words.size // self.multiple_of) * self.multiple_of


@dataclass(frozen=True)
class TokenId:
    """Stands in a kind's config for the id of a token."""

    token: str

    def resolve(self, words: Vocabulary) -> int:
        return words.id_of(self.token)


@dataclass(frozen=True)
class Kind:
    """A family's checkpoint in small.

    config: config.json as the published files spell it. layout: the files beside it.
    weights: where its weights come from.
    extras: writes what only this kind has. width_key: the entry of config that holds H.
    """

    config: Mapping[str, object]
    layout: Layout
    weights: Weights
    extras: WriteExtras | None = None
    width_key: str = "hidden_size"

    def raw_config(self, overrides: Mapping[str, Any]) -> RawConfig:
        """config.json with these entries instead, and the tokenizer's ids and size where the kind asks for them."""
        words = vocabulary(self.layout.tokenizer)
        return {name: _resolved(value, words) for name, value in {**self.config, **overrides}.items()}

    def derive(
        self,
        *,
        layout: Mapping[str, Any] | None = None,
        weights: Weights | None = None,
        extras: WriteExtras | None = None,
        **config: object,
    ) -> Kind:
        """The same but for these entries of config.json, fields of the layout, weights and extras."""
        return replace(
            self,
            config={**self.config, **config},
            layout=replace(self.layout, **(layout or {})),
            weights=weights or self.weights,
            extras=extras or self.extras,
        )


def _resolved(value: Any, words: Vocabulary) -> Any:
    if isinstance(value, dict):
        return {name: _resolved(entry, words) for name, entry in value.items()}
    return value.resolve(words) if isinstance(value, VocabularySize | TokenId) else value


def write(kind: Kind, folder: Path, sigma: float | None, seed: int, overrides: Mapping[str, Any]) -> Path:
    """Write the checkpoint. `overrides` name fields of `Layout` or entries of config.json.

    Raises TypeError for a name that is neither.
    """
    layout_names = {entry.name for entry in fields(Layout)}
    layout = replace(kind.layout, **{k: v for k, v in overrides.items() if k in layout_names})
    for_config = {name: value for name, value in overrides.items() if name not in layout_names}
    unknown = set(for_config) - set(kind.config)
    if unknown:
        raise TypeError(f"{sorted(unknown)}: neither a field of Layout nor an entry of config.json of this kind")
    kind = replace(kind, layout=layout)
    config = kind.raw_config(for_config)

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the library's own initialisation draws from the global generator
        write_weights(folder, kind.weights.draw(config, sigma, generator), layout)
    write_json(folder / "config.json", config)
    write_tokenizer(folder, vocabulary(layout.tokenizer), layout)
    width = config[kind.width_key]
    assert isinstance(width, int)
    write_modules(folder, width, layout, generator)
    if kind.extras is not None:
        kind.extras(folder, config, layout, sigma, generator)
    return folder
