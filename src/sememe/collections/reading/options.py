"""What is read, and how: one record for folders, files and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sememe.errors import InputError

Kind = Literal["text", "markdown", "rst", "html", "pdf", "docx", "code", "jsonl", "csv", "tsv", "parquet"]

KINDS: dict[Kind, tuple[str, ...]] = {
    "text": (".txt", ".text", ".org", ".adoc", ".asciidoc", ".tex", ".log"),
    "markdown": (".md", ".markdown", ".mdx"),
    "rst": (".rst",),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "docx": (".docx",),
    "code": tuple(
        ".py .pyi .js .mjs .ts .jsx .tsx .java .kt .go .rs .c .h .cc .cpp .cxx .hpp .cs .rb .php .sh .bash .zsh .ps1 .sql "
        ".lua .r .jl .scala .swift .m .pl .ex .exs .erl .hs .clj .dart .vue .svelte .css .scss .proto .tf .gradle .cmake "
        ".json .yaml .yml .toml .ini .cfg .conf .xml".split()
    ),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "csv": (".csv", ".csv.gz"),
    "tsv": (".tsv", ".tsv.gz"),
    "parquet": (".parquet", ".pq"),
}
"""Every kind of file that is read, with its endings."""

TABLES: tuple[Kind, ...] = ("jsonl", "csv", "tsv", "parquet")
"""Kinds with one document a row; they are streamed, so the limit of size is not for them."""

_BARE_NAMES = {
    "readme": "text", "license": "text", "changelog": "text", "makefile": "code", "dockerfile": "code",
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Which columns of a table become what.

    text: joined by line ends; empty takes the first that has a usual name. title, id: None takes a usual name where
    there is one. metadata: None takes every other column with text, numbers or truth values; a tuple just those.
    """

    text: tuple[str, ...] = ()
    title: str | None = None
    id: str | None = None
    metadata: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ReadOptions:
    """Which files are read, and how.

    include, exclude: globs over the path below the folder that was named (`*.md`, `guide/**`, `**/old/*`); one without
    "/" is for the name at any depth. Without include every kind in KINDS is read. hidden: also names that begin with a
    dot. max_bytes: of a file; larger ones are reported and left out (tables are streamed and have no limit).
    encoding: of text without a byte order mark. kind: what standard input and files named one by one are, over their
    ending. columns: of tables.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    max_bytes: int = 50_000_000
    encoding: str = "utf-8"
    kind: Kind | None = None
    columns: Columns = Columns()

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise InputError(f"max_bytes is {self.max_bytes}; expected 1 or more.")
        if self.kind is not None and self.kind not in KINDS:
            raise InputError(f"There is no kind of file {self.kind!r}; there are {', '.join(KINDS)}.")
        try:
            "".encode(self.encoding)
        except LookupError as exc:
            raise InputError(f"There is no encoding {self.encoding!r}. Usual ones: utf-8, cp1252, latin-1.") from exc


def kind_of(name: str) -> Kind | None:
    """The kind of a file by its name, None for one that we do not know."""
    lower = name.lower()
    for kind, endings in KINDS.items():
        if lower.endswith(endings):
            return kind
    return _BARE_NAMES.get(lower)  # type: ignore[return-value]  # its values are kinds
