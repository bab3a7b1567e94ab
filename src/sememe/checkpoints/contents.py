"""What there is in a checkpoint's folder, for those who read recipes and heads from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sememe.catalogue import CatalogueEntry
from sememe.checkpoints.json_files import read_json, read_module_list
from sememe.checkpoints.tokenizer import Tokenizer


@dataclass(frozen=True)
class CheckpointFiles:
    """What recipe reading looks at.

    folder: with the module files. body: the folder with config.json and the main weights, nearly always the same.
    raw: config.json. config: as its family read it. tensors: names in the main weight file, in our spelling.
    entry: the catalogue's, None for a folder that it does not know.
    """

    folder: Path
    body: Path
    raw: Mapping[str, Any]
    config: Any
    tensors: frozenset[str]
    tokenizer: Tokenizer
    entry: CatalogueEntry | None

    @property
    def architectures(self) -> tuple[str, ...]:
        """The classes that config.json names."""
        return tuple(self.raw.get("architectures") or ())

    @property
    def n_labels(self) -> int:
        """Labels of a classifier; 2 where config.json does not say, as transformers has it."""
        return len(self.raw["id2label"]) if self.raw.get("id2label") else int(self.raw.get("num_labels", 2))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of a classifier's labels, `LABEL_0` and so on where config.json has none."""
        named = self.raw.get("id2label") or {}
        return tuple(str(named.get(str(i), f"LABEL_{i}")) for i in range(self.n_labels))

    @property
    def settings(self) -> Mapping[str, Any]:
        """config_sentence_transformers.json, empty where there is none."""
        settings: Mapping[str, Any] = read_json(self.folder / "config_sentence_transformers.json")
        return settings

    @property
    def says_similarity(self) -> bool:
        """Whether a file names the similarity that the model was trained for."""
        return bool(self.settings.get("similarity_fn_name"))

    def is_class(self, ending: str) -> bool:
        """Whether config.json names a class that ends so."""
        return any(name.endswith(ending) for name in self.architectures)

    def special_ids(self, *, unknown: bool) -> tuple[int, ...]:
        """Ids of the special tokens that stand around or fill up a text, and of the unknown one if asked for."""
        special = self.tokenizer.special
        ids = {special.cls, special.eos, special.sep, special.pad, special.bos, *([special.unk] if unknown else [])}
        return tuple(sorted(token_id for token_id in ids if token_id is not None))


def body_folder(folder: Path) -> Path:
    """Where config.json and the main weights lie: the folder of the transformer module, where modules.json names one."""
    modules = read_module_list(folder)
    places = [module.path for module in modules if module.kind in ("Transformer", "MLMTransformer")]
    if not places and modules and modules[0].kind == "Router":
        router = read_json(folder / "router_config.json")
        places = [place for place, kind in (router.get("types") or {}).items() if kind.endswith("Transformer")]
    return folder / places[0] if places and (folder / places[0] / "config.json").is_file() else folder
