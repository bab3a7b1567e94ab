"""From needs to a shortlist, with the reason for each exclusion.

What is unknown is said: a model whose licence is unknown is left out where commercial use is needed, and says so; a
model whose list of languages is incomplete stays in, with the doubt beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from sememe.catalogue.languages import NAMES
from sememe.catalogue.schema import ENTRY_OUTPUTS, MODALITIES, TASKS, CatalogueEntry
from sememe.errors import InputError

SortKey = Literal["score", "size", "tokens", "name", "released"]


@dataclass(frozen=True)
class Needs:
    """What a model must do and may cost; None, False or empty: no matter.

    language: a code of `languages.NAMES`. licenses: any of these, letter case aside. max_params: stored parameters.
    max_memory_bytes: of the weights alone at `bytes_per_parameter` (2: bfloat16). min_tokens: length of one input.
    outputs: all of these. modality: must be among the model's.
    """

    task: str | None = None
    language: str | None = None
    licenses: tuple[str, ...] = ()
    commercial: bool = False
    max_params: float | None = None
    max_memory_bytes: float | None = None
    bytes_per_parameter: int = 2
    min_tokens: int | None = None
    modality: str | None = None
    outputs: tuple[str, ...] = ()
    runnable: bool = False

    def __post_init__(self) -> None:
        _check_word("task", self.task, TASKS)
        _check_word("modality", self.modality, MODALITIES)
        _check_word("language", self.language, NAMES)
        for output in self.outputs:
            _check_word("output", output, ENTRY_OUTPUTS)


@dataclass(frozen=True)
class Choice:
    """An entry that could serve. doubts: needs that what we know neither meets nor fails, in words."""

    entry: CatalogueEntry
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Exclusion:
    """An entry that cannot serve, with each reason in words."""

    entry: CatalogueEntry
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Shortlist:
    """choices and exclusions together are all entries, each once, in the order given."""

    choices: tuple[Choice, ...]
    exclusions: tuple[Exclusion, ...]


def shortlist(
    entries: Iterable[CatalogueEntry], needs: Needs, runs: Callable[[CatalogueEntry], bool] = lambda entry: True
) -> Shortlist:
    """Split entries by whether they meet the needs. runs: whether this version of sememe can run an entry."""
    choices, exclusions = [], []
    for entry in entries:
        reasons, doubts = _reasons(entry, needs)
        if needs.runnable and not runs(entry):
            reasons.append(f"this version does not run the {entry.family} family")
        if reasons:
            exclusions.append(Exclusion(entry, tuple(reasons)))
        else:
            choices.append(Choice(entry, tuple(doubts)))
    return Shortlist(tuple(choices), tuple(exclusions))


def sort_choices(choices: Iterable[Choice], key: SortKey, benchmark: str) -> list[Choice]:
    """Best first: highest score, smallest size, longest input, newest; what is unknown comes last.

    Equal ones keep their order.
    """

    def rank(choice: Choice) -> tuple[bool, float | str]:
        entry = choice.entry
        match key:
            case "name":
                return False, entry.short_name.lower()
            case "released":
                # Dates of different precision (2024, 2024-03, 2024-03-07): digits, newest first.
                return False, -float(entry.released.replace("-", "").ljust(8, "0"))
            case "size":
                return entry.params_m is None, entry.params_m or 0.0
            case "tokens":
                return entry.max_tokens is None, -(entry.max_tokens or 0)
            case "score":
                score = entry.score(benchmark)
                return score is None, -(score or 0.0)

    return sorted(choices, key=rank)


def _reasons(entry: CatalogueEntry, needs: Needs) -> tuple[list[str], list[str]]:
    """Why an entry does not meet the needs, and what is in doubt."""
    reasons: list[str] = []
    doubts: list[str] = []
    if needs.task and needs.task not in entry.tasks:
        reasons.append(f"made for {', '.join(entry.tasks) or 'no task by itself'}, not {needs.task}")
    if needs.modality and needs.modality not in entry.modalities:
        reasons.append(f"takes {' and '.join(entry.modalities)}, not {needs.modality}")
    if missing := [output for output in needs.outputs if output not in entry.outputs]:
        reasons.append(f"gives {', '.join(entry.outputs)}, not {', '.join(missing)}")
    if needs.licenses and (entry.license or "unknown").lower() not in {name.lower() for name in needs.licenses}:
        reasons.append(f"licence {entry.license or 'unknown'}")
    if needs.commercial and entry.commercial_use is not True:
        word = "not allowed" if entry.commercial_use is False else "unknown"
        reasons.append(f"commercial use {word} ({entry.license or 'no licence known'})")
    if needs.language:
        speaks = entry.languages.speaks(needs.language)
        if speaks is False:
            reasons.append(f"does not speak {NAMES[needs.language]}")
        elif speaks is None:
            claimed = entry.languages.notes or (f"{entry.languages.count} languages" if entry.languages.count else None)
            doubts.append(f"{NAMES[needs.language]} unknown ({claimed or 'languages not listed'})")
    doubts += [
        f"{words} from memory" for words, facts in _relied_on(entry, needs).items() if entry.is_from_memory(*facts)
    ]
    _limit("parameters", entry.params_m and entry.params_m * 1e6, needs.max_params, _in_millions, reasons, doubts)
    bytes_ = entry.weight_bytes(needs.bytes_per_parameter)
    _limit("weights", bytes_, needs.max_memory_bytes, in_bytes, reasons, doubts)
    if needs.min_tokens and entry.max_tokens is not None and entry.max_tokens < needs.min_tokens:
        reasons.append(f"reads {entry.max_tokens:,} tokens, fewer than {needs.min_tokens:,}")
    return reasons, doubts


def _relied_on(entry: CatalogueEntry, needs: Needs) -> dict[str, tuple[str, ...]]:
    """The facts that meet the needs, in words and by their names in an entry."""
    asked = {
        ("licence", "license", "commercial_use"): bool(needs.commercial or needs.licenses),
        ("languages", "languages"): needs.language is not None and entry.languages.speaks(needs.language) is True,
        ("parameters", "params_m"): needs.max_params is not None or needs.max_memory_bytes is not None,
        ("tokens", "max_tokens"): needs.min_tokens is not None,
    }
    return {words: tuple(facts) for (words, *facts), is_asked in asked.items() if is_asked}


def _limit(
    what: str,
    value: float | None,
    limit: float | None,
    words: Callable[[float], str],
    reasons: list[str],
    doubts: list[str],
) -> None:
    if limit is None:
        return
    if value is None:
        doubts.append(f"{what} unknown")
    elif value > limit:
        reasons.append(f"{what} {words(value)}, more than {words(limit)}")


def _in_millions(parameters: float) -> str:
    return f"{parameters / 1e6:,.4g} M"


def in_bytes(size_bytes: float) -> str:
    """Bytes in the unit that reads best; powers of 1000, as disks and downloads are labelled."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def _check_word(what: str, word: str | None, known: Iterable[str]) -> None:
    if word is not None and word not in known:
        raise InputError(f"No {what} {word!r}. Known: {', '.join(known)}.")
