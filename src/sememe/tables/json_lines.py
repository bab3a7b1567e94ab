"""JSON lines as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa

from sememe.errors import InputError
from sememe.tables.lines import Lines
from sememe.tables.options import EncodingErrors, ReadOptions
from sememe.tables.row_files import LineFile, in_chunks, string_table
from sememe.tables.table import RECORDS, Rows, choose_id_column, choose_text_column, refuse_taken


class JsonLines:
    """One JSON object a line. Blank lines between objects are passed over, as the format allows."""

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._file = LineFile(path, options.encoding_errors)
        self._options = options
        self.name, self.size_bytes = self._file.name, self._file.size_bytes
        self.text_column, self.id_column = options.text_column, options.id_column
        self.carried: pa.Schema | None = None
        lines = self._file.lines
        first = next((line for line in lines if not line.isspace()), None)
        if first is not None:
            record, _ = _parse(first, lines.place, options.encoding_errors)
            if self.text_column is None:
                strings = [key for key, value in record.items() if isinstance(value, str)]
                self.text_column = choose_text_column(lines.place, list(record), strings, None)
            self.id_column = choose_id_column(lines.place, list(record), options)
            self.carried = RECORDS if options.keep == "all" or self.id_column is not None else pa.schema([])
            lines.put_back(first)
        self._file.end_head()

    def rows(self) -> Iterator[Rows]:
        lines = self._file.restart()
        yield from in_chunks(lines, self._records(lines), self._carry)

    def _records(self, lines: Lines) -> Iterator[tuple[str, str | None, str]]:
        for line in lines:
            if line.isspace():
                continue
            record, source = _parse(line, lines.place, self._options.encoding_errors)
            text = _field(record, self.text_column or "", lines.place)
            if not isinstance(text, str):
                raise InputError(
                    f"{lines.place}: {self.text_column!r} is {_kind(text)}, not a string. Correct the line, or leave "
                    "it out."
                )
            if self._options.keep == "all":
                refuse_taken(lines.place, list(record), self._options)
            if self.id_column is None:
                yield text, None, source
                continue
            row_id = _field(record, self.id_column, lines.place)
            if isinstance(row_id, bool) or not isinstance(row_id, str | int):
                raise InputError(
                    f"{lines.place}: the id {self.id_column!r} is {_kind(row_id)}, not a string or integer."
                )
            if self._options.keep == "id":
                source = json.dumps({self.id_column: row_id}, ensure_ascii=False)
            yield text, str(row_id), source

    def _carry(self, sources: list[str]) -> pa.Table:
        return string_table([sources] if self.carried else [], self.carried)


def _parse(line: str, place: str, errors: EncodingErrors) -> tuple[dict[str, object], str]:
    """The object of one line, and its JSON text. Raises InputError for anything else."""
    try:
        record = json.loads(line)
    except ValueError as exc:
        raise InputError(f"{place}: not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise InputError(f"{place}: JSON nested too deeply to be read.") from exc
    if not isinstance(record, dict):
        raise InputError(f"{place}: {_kind(record)}, but each line must be one JSON object such as {{'text': '…'}}.")
    source = line.strip()
    if "\\ud" in source or "\\uD" in source:
        return _without_lone_surrogates(record, source, place, errors)
    return record, source


def _without_lone_surrogates(
    record: dict[str, object], source: str, place: str, errors: EncodingErrors
) -> tuple[dict[str, object], str]:
    r"""JSON can write half of a character ("\ud83d" alone), which no UTF-8 file and no tokenizer can hold."""
    plain = json.dumps(record, ensure_ascii=False)
    try:
        plain.encode()
    except UnicodeEncodeError as exc:
        if errors == "strict":
            raise InputError(
                f"{place}: holds half of a surrogate pair (\\u{ord(plain[exc.start]):04x}), which is not a character. "
                "Correct the line, or pass --encoding-errors replace."
            ) from exc
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return json.loads(plain), plain
    return record, source


def _field(record: dict[str, object], key: str, place: str) -> object:
    if key not in record:
        names = ", ".join(repr(name) for name in record) or "none"
        raise InputError(f"{place}: the object has no {key!r}; its keys are {names}.")
    return record[key]


def _kind(value: object) -> str:
    """A JSON value's kind in words."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return kinds.get(type(value), "an object")
