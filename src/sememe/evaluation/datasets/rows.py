"""Rows of .jsonl, .csv and .tsv files, also with .gz, and errors that name the file and the line."""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError, NotFound

ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv")
_COMPRESSED = ".gz"


@dataclass(frozen=True)
class Row:
    """One row of a file: its values by name, and where it stands."""

    path: Path
    line: int
    values: Mapping[str, object]

    @property
    def where(self) -> str:
        """The place in words, for messages."""
        return f"{self.path}:{self.line}"

    def text(self, name: str) -> str:
        """A value that must be text; numbers are written out. Raises InputError."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InputError(f"{self.where}: {name} is {_kind(value)}; expected text.")
        return str(value)

    def text_or(self, name: str, default: str) -> str:
        """A value that may be missing or null."""
        return self.text(name) if self.values.get(name) is not None else default

    def number(self, name: str) -> float:
        """A finite number. Raises InputError."""
        value = self._value(name)
        try:
            number = float(value)  # type: ignore[arg-type]  # the error is answered
        except (TypeError, ValueError):
            raise InputError(f"{self.where}: {name} is {str(value)[:40]!r}; expected a number.") from None
        if not math.isfinite(number):
            raise InputError(f"{self.where}: {name} is {number}; expected a finite number. Correct it or drop the row.")
        return number

    def integer(self, name: str) -> int:
        """A whole number. Raises InputError."""
        number = self.number(name)
        if number != int(number):
            raise InputError(f"{self.where}: {name} is {number:g}; expected a whole number.")
        return int(number)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, or one text. Raises InputError."""
        value = self._value(name)
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{self.where}: {name} is {_kind(value)}; expected a list of texts.")
        return tuple(value)

    def _value(self, name: str) -> object:
        if name not in self.values:
            raise InputError(f"{self.where} has no {name!r}; it has {', '.join(map(repr, self.values)) or 'nothing'}.")
        return self.values[name]


def find_file(folder: Path, stem: str) -> Path | None:
    """The file of that name with any ending that is read, if there is one. Raises InputError where there are two."""
    names = [folder / f"{stem}{ending}{gz}" for ending in ENDINGS for gz in ("", _COMPRESSED)]
    found = [name for name in names if name.is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} has both {found[0].name} and {found[1].name}; leave one.")
    return found[0] if found else None


def stem_of(path: Path) -> str:
    """The name without its endings: `test` of `test.jsonl.gz`."""
    return Path(path.name.removesuffix(_COMPRESSED)).stem


def has_rows(path: Path) -> bool:
    """Whether the ending is one that is read."""
    return path.name.removesuffix(_COMPRESSED).endswith(ENDINGS)


def read_rows(path: Path) -> Iterator[Row]:
    """Every row that is not blank. Raises NotFound, and InputError for what is not what its ending says."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    name = path.name.removesuffix(_COMPRESSED)
    if not name.endswith(ENDINGS):
        raise InputError(f"{path} is not one of {', '.join(ENDINGS)} (also with .gz).")
    text = _text(path)
    if name.endswith((".csv", ".tsv")):
        yield from _separated(path, text, "\t" if name.endswith(".tsv") else ",")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Row(path, number, _object(line, f"{path}:{number}"))


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.name.endswith(_COMPRESSED) else data).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"{path} is not UTF-8 (byte {exc.start}).") from exc
    except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
        raise InputError(f"{path} is no complete gzip file: {exc}.") from exc


def _object(line: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise InputError(f"{where} is not JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise InputError(f"{where} is {_kind(value)}; expected a JSON object.")
    return value


def _separated(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    lines = text.splitlines(keepends=True)
    # Tab-separated files do not quote: a text may begin with a quotation mark.
    if delimiter == "\t":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                raise InputError(f"{path}:{reader.line_num} has {len(cells)} cells; the first line has {len(header)}.")
            else:
                yield Row(path, reader.line_num, dict(zip(header, cells, strict=True)))
    except csv.Error as exc:
        raise InputError(f"{path}:{reader.line_num} cannot be read: {exc}.") from exc


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
