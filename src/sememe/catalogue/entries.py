"""The catalogue itself: look an entry up by any of its names, or take all of them.

The file is YAML for the people who edit it. Parsing all of it takes 25 ms with libyaml and 170 ms without, too much
for a program that wants one model by its name; so the text is cut at the lines that begin an entry, and only entries
whose text holds the name are parsed (under 1 ms each; `import yaml` takes the larger part).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from sememe.catalogue.schema import CatalogueEntry, read_entry
from sememe.errors import InputError, NotFound

_ENTRY = re.compile(r"^- id: +(?P<id>.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Legend:
    """What the benchmarks and the sources named in entries are."""

    benchmarks: dict[str, str]
    sources: dict[str, str]


class Catalogue:
    """Checkpoints that can be chosen. Holds the file's text; parses what is asked for."""

    def __init__(self, text: str) -> None:
        bounds = [*(match.start() for match in _ENTRY.finditer(text)), len(text)]
        self._head = text[: bounds[0]]
        self._blocks = [text[start:end] for start, end in pairwise(bounds)]

    @classmethod
    def read(cls, file: Path | None = None) -> Catalogue:
        """The catalogue that comes with the package, or another file of the same form."""
        return cls((file or Path(__file__).with_name("catalogue.yaml")).read_text(encoding="utf-8"))

    @cached_property
    def entries(self) -> tuple[CatalogueEntry, ...]:
        """All entries, in the file's order. Raises InputError for an entry that is not as the schema says."""
        entries = tuple(read_entry(raw) for raw in _parse("".join(self._blocks)) or ())
        owners: dict[str, str] = {}
        for entry in entries:
            for name in {name.lower() for name in entry.names}:
                if name in owners:
                    raise InputError(f"Catalogue: {owners[name]} and {entry.id} share the name {name!r}.")
                owners[name] = entry.id
        return entries

    @cached_property
    def legend(self) -> Legend:
        """What stands before the entries."""
        head = _parse(self._head)
        return Legend(benchmarks=head["benchmarks"], sources=head["sources"])

    def find(self, name: str) -> CatalogueEntry | None:
        """The entry with this id, short name or alias, whatever its letter case; None if there is none."""
        wanted = name.lower()
        for block in self._blocks:
            # A text without the name cannot be an entry that answers to it.
            if wanted in block.lower():
                entry = read_entry(_parse(block)[0])
                if wanted in (known.lower() for known in entry.names):
                    return entry
        return None

    def entry(self, name: str) -> CatalogueEntry:
        """The entry with this name. Raises NotFound, which offers near names."""
        found = self.find(name)
        if found is None:
            near = self.near(name)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise NotFound(f"The catalogue has no model {name!r}.{hint} `sememe models` lists all {len(self._blocks)}.")
        return found

    def near(self, name: str) -> list[str]:
        """At most three ids that look like `name`, likeliest first."""
        from difflib import get_close_matches

        ids = [match["id"] for block in self._blocks if (match := _ENTRY.match(block))]
        by_spelling = {spelling.lower(): id_ for id_ in ids for spelling in (id_.rpartition("/")[2], id_)}
        close = get_close_matches(name.lower(), by_spelling, n=6, cutoff=0.6)
        return list(dict.fromkeys(by_spelling[spelling] for spelling in close))[:3]


def _parse(text: str) -> Any:
    import yaml

    # The C parser is seven times as fast; wheels of PyYAML carry it, some distributions' packages do not.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError as exc:
        raise InputError(f"Catalogue: not readable as YAML: {exc}") from exc
