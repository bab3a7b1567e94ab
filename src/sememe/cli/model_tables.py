"""How `sememe models` looks: tables on a terminal, tab-separated lines when piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sememe.catalogue.entries import Legend
from sememe.catalogue.languages import NAMES
from sememe.catalogue.licences import licence_in_words
from sememe.catalogue.schema import CatalogueEntry, Languages
from sememe.catalogue.shortlist import Choice, Shortlist, in_bytes

# From this width on models go by their full id.
_WIDE = 116
_GAP = 2
# The widest that a cell of words may be before it wraps, or of a name before it is cut.
_NAME_WIDTH, _SHORT_NAME_WIDTH, _WORDS_WIDTH = 50, 36, 18
_STYLES = {"commercial use allowed": "", "NON-COMMERCIAL": "bold red", "unknown": "yellow"}
_BYTES_OF_BFLOAT16 = 2
# What nobody has verified: behind a figure on a terminal, a column of its own where a program reads.
_FROM_MEMORY = "*"

# Lines of `show`, and the names of their facts in an entry.
_FACTS = {
    "licence": ("license", "commercial_use"),
    "may be cut to": ("matryoshka",),
    "reads": ("max_tokens",),
    "parameters": ("params_m",),
    "weights": ("params_m",),
    "languages": ("languages",),
    "pooling": ("recipe.pooling",),
    "normalised": ("recipe.normalize",),
    "family": ("architecture",),
    "released": ("released",),
}

Runs = Callable[[CatalogueEntry], bool]


@dataclass(frozen=True)
class _Column:
    """A column of the list. rank: the lower, the longer it stays where room is short. widest: limit of a cell."""

    heading: str
    cell: Callable[[Choice], str | Text]
    rank: int
    right: bool = False
    widest: int = 100

    def width(self, choices: Sequence[Choice]) -> int:
        """Characters that the column takes, 0 if it is empty."""
        cells = max(len(str(self.cell(choice))) for choice in choices)
        return min(max(cells, len(self.heading)), self.widest) if cells else 0


def print_shortlist(found: Shortlist, *, benchmark: str, runs: Runs, why: bool) -> None:
    """The choices, and the exclusions if asked for; a sentence with the counts goes to standard error."""
    exclusions = found.exclusions if why else ()
    if sys.stdout.isatty():
        console = Console()
        if found.choices:
            columns = _columns("score", benchmark, runs, room=console.width)
            console.print(_table(found.choices, columns, console.width))
        for left in exclusions:
            console.print(Text.assemble((left.entry.id, "dim"), "  ", "; ".join(left.reasons)))
    else:
        columns = [column for column in _columns(benchmark, benchmark, runs, room=_WIDE) if column.heading]
        _print_rows([[*(column.heading for column in columns), "from memory"]])
        _print_rows(
            [
                *(str(column.cell(choice)).replace(_FROM_MEMORY, "") for column in columns),
                _memories(choice.entry, benchmark),
            ]
            for choice in found.choices
        )
        _print_rows([f"left out: {left.entry.id}", *left.reasons] for left in exclusions)
    hints = [f"scores: {benchmark}"]
    if found.exclusions and not why:
        hints.append("--why tells why the others are left out")
    if any(choice.doubts for choice in found.choices):
        hints.append("?: a need that may not be met, told in full by --json")
    if sys.stdout.isatty() and any(_has_star(choice.entry, benchmark) for choice in found.choices):
        hints.append(f"{_FROM_MEMORY}: from memory, not verified")
    n_all = len(found.choices) + len(found.exclusions)
    print(f"{len(found.choices)} of {n_all} models; {'; '.join(hints)}", file=sys.stderr)


def print_entry(entry: CatalogueEntry, legend: Legend, *, runs: bool) -> None:
    """Everything about one entry, a line for each fact."""
    facts = list(_facts(entry, legend, runs=runs))
    if not sys.stdout.isatty():
        _print_rows([name, text.replace("\n", "; ")] for name, text in facts)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, Text(text, style=_STYLES[licence_in_words(entry).verdict] if name == "licence" else ""))
    Console().print(table)


def _columns(score_heading: str, benchmark: str, runs: Runs, *, room: int) -> list[_Column]:
    wide = room >= _WIDE
    # However narrow, there is room beside the name for what forbids a business to use the model.
    name_width = _NAME_WIDTH if wide else min(_SHORT_NAME_WIDTH, room - len("NON-COMMERCIAL") - 2 * _GAP)

    def name(choice: Choice) -> Text:
        text = choice.entry.id if wide else choice.entry.short_name
        return Text(text, style="" if runs(choice.entry) else "dim")

    def doubt(choice: Choice) -> str:
        return "?" if choice.doubts else ""

    def score(choice: Choice) -> str:
        result = choice.entry.result_on(benchmark)
        return "–" if result is None else f"{result.value:.2f}{_FROM_MEMORY if result.unverified else ''}"

    def used_by_business(choice: Choice) -> Text:
        verdict = licence_in_words(choice.entry).verdict
        said = {"NON-COMMERCIAL": "NON-COMMERCIAL", "unknown": "unknown"}.get(verdict, "yes")
        return Text(marked(said, choice, "commercial_use"), _STYLES[verdict])

    def marked(text: str, choice: Choice, *facts: str) -> str:
        return f"{text}{_FROM_MEMORY}" if choice.entry.is_from_memory(*facts) else text

    return [
        _Column("model", name, rank=0, widest=name_width),
        _Column("", doubt, rank=2),
        _Column("runs", lambda choice: "yes" if runs(choice.entry) else "no", rank=11),
        _Column("params", lambda choice: marked(_params(choice.entry), choice, "params_m"), rank=3, right=True),
        _Column("bf16", lambda choice: marked(_memory(choice.entry), choice, "params_m"), rank=9, right=True),
        _Column("dim", lambda choice: _or_dash(choice.entry.dimension), rank=7, right=True),
        _Column(
            "tokens", lambda choice: marked(_or_dash(choice.entry.max_tokens), choice, "max_tokens"), rank=6, right=True
        ),
        _Column("outputs", lambda choice: ", ".join(choice.entry.outputs), rank=12, widest=_WORDS_WIDTH),
        _Column("languages", lambda choice: marked(_languages(choice.entry.languages), choice, "languages"), rank=8),
        _Column("licence", lambda choice: marked(choice.entry.license or "unknown", choice, "license"), rank=10),
        _Column("business", used_by_business, rank=1),
        _Column(score_heading, score, rank=4, right=True),
        _Column("in doubt", lambda choice: "; ".join(choice.doubts), rank=5, widest=_WORDS_WIDTH),
    ]


def _table(choices: Sequence[Choice], columns: Sequence[_Column], room: int) -> Table:
    """As many of the columns as there is room for, the important ones first."""
    shown: list[_Column] = []
    for column in sorted(columns, key=lambda column: column.rank):
        width = column.width(choices)
        if width and (not shown or width + _GAP <= room):
            shown.append(column)
            room -= width + _GAP
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in (column for column in columns if column in shown):
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            width=column.width(choices),
            overflow="ellipsis" if column.rank == 0 else "fold",
        )
    for choice in choices:
        table.add_row(*(column.cell(choice) for column in columns if column in shown))
    return table


def _facts(entry: CatalogueEntry, legend: Legend, *, runs: bool) -> Iterator[tuple[str, str]]:
    """Name and text of each fact that is known, in the order in which a reader wants them."""
    recipe = entry.recipe
    facts: list[tuple[str, str | None]] = [
        ("id", entry.id),
        ("also called", ", ".join(name for name in entry.names if name != entry.id)),
        ("licence", licence_in_words(entry).text),
        ("runs", "yes" if runs else "not yet: this version has no such family or output"),
        ("made for", ", ".join(entry.tasks) or "no task by itself"),
        ("takes", ", ".join(entry.modalities)),
        ("gives", ", ".join(entry.outputs)),
        ("dimension", None if entry.dimension is None else str(entry.dimension)),
        ("may be cut to", None if entry.matryoshka is None else str(entry.matryoshka)),
        ("reads", None if entry.max_tokens is None else f"{entry.max_tokens:,} tokens"),
        ("parameters", None if entry.params_m is None else _params(entry)),
        ("used for a token", f"{entry.active_params_m:.3g}M parameters" if entry.active_params_m else None),
        ("weights", _weights(entry)),
        ("languages", _all_languages(entry.languages)),
        ("pooling", " ".join(filter(None, (recipe.pooling, recipe.pooling_notes)))),
        ("normalised", None if recipe.normalize is None else "yes" if recipe.normalize else "no"),
        *((f"prompt {name}", repr(text) if text else "none") for name, text in recipe.prompts.items()),
        *((f"template {name}", repr(text)) for name, text in recipe.templates.items()),
        *((f"marker {name}", text) for name, text in recipe.markers.items()),
        ("task by default", recipe.task),
        ("ends every input", recipe.append_eos),
        ("family", f"{entry.family} ({entry.architecture})"),
        ("released", entry.released),
        *(
            (score.benchmark, _score_note(score.value, score.how, score.notes, score.unverified))
            for score in entry.scores
        ),
        ("notes", entry.notes),
        ("on the hub", None if entry.on_hub else "no"),
        ("wheel", f"{entry.wheel.package} {entry.wheel.version}" if entry.wheel else None),
        *((f"sha256 {name}", digest) for name, digest in entry.files.items()),
        ("sources", "\n".join(legend.sources[source] for source in entry.sources)),
        ("from memory", ", ".join(sorted(entry.unverified))),
    ]
    return ((name, _told(entry, name, text)) for name, text in facts if text)


def _told(entry: CatalogueEntry, name: str, text: str) -> str:
    """The fact, with the remark that nobody has verified it where that is so."""
    facts = _FACTS.get(name)
    return f"{text} (from memory)" if facts and entry.is_from_memory(*facts) else text


def _has_star(entry: CatalogueEntry, benchmark: str) -> bool:
    result = entry.result_on(benchmark)
    listed = ("params_m", "max_tokens", "languages", "license", "commercial_use")
    return entry.is_from_memory(*listed) or (result is not None and result.unverified)


def _memories(entry: CatalogueEntry, benchmark: str) -> str:
    result = entry.result_on(benchmark)
    score = [benchmark] if result is not None and result.unverified else []
    return ", ".join([*sorted(entry.unverified), *score])


def _params(entry: CatalogueEntry) -> str:
    if entry.params_m is None:
        return "–"
    return f"{entry.params_m / 1e3:.2g}B" if entry.params_m >= 1e3 else f"{entry.params_m:.3g}M"


def _memory(entry: CatalogueEntry) -> str:
    size = entry.weight_bytes(_BYTES_OF_BFLOAT16)
    return "–" if size is None else in_bytes(size)


def _weights(entry: CatalogueEntry) -> str | None:
    sizes = {name: entry.weight_bytes(n_bytes) for name, n_bytes in (("float32", 4), ("bfloat16", 2), ("int8", 1))}
    return ", ".join(f"{in_bytes(size)} in {name}" for name, size in sizes.items() if size is not None) or None


def _languages(languages: Languages) -> str:
    if languages.complete and 0 < len(languages.codes) <= 2:
        return ", ".join(languages.codes)
    if languages.complete:
        return str(len(languages.codes)) if languages.codes else "none"
    if languages.count:
        return f"about {languages.count}"
    return f"{', '.join(languages.codes)}, …" if languages.codes else "unknown"


def _all_languages(languages: Languages) -> str:
    names = ", ".join(NAMES[code] for code in languages.codes)
    if languages.complete:
        return names or "none"
    claimed = languages.notes or (f"{languages.count} languages" if languages.count else "unknown")
    return f"{claimed}; among them {names}" if names else f"{claimed}; which ones is not listed"


def _score_note(value: float, how: str | None, notes: str | None, unverified: bool) -> str:
    remarks = [text for text in (how, notes, "from memory" if unverified else None) if text]
    return f"{value:g} ({', '.join(remarks)})" if remarks else f"{value:g}"


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)


def _print_rows(rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        print("\t".join(row))
