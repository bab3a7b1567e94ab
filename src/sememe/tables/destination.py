"""Where the vectors go: everything that can be wrong with an output, said before any work is done."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sememe.errors import InputError, SememeError
from sememe.records import Output
from sememe.tables.lines import STDIN
from sememe.tables.workfolder import WorkFolder
from sememe.tables.writing import OutputFormat, output_format

# These formats have no place of their own for what the vectors are; a JSON file beside them says it.
_WITH_SIDECAR = ("npy", "jsonl")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sidecar(out: Path, format: OutputFormat) -> Path | None:
    """The JSON file beside an output, None for formats that hold all themselves."""
    return out.with_name(out.name + ".json") if format in _WITH_SIDECAR else None


def check_destination(out: Path, inputs: Sequence[str], outputs: Sequence[Output], overwrite: bool) -> OutputFormat:
    """The output's format. Raises InputError for a place, an ending or a file that cannot be written."""
    format = output_format(out)
    if format == "npy" and tuple(outputs) != ("dense",):
        raise InputError(
            f"{out}: a .npy file holds one array of dense vectors, not {' and '.join(outputs)}. "
            "Use .npz, .parquet, .arrow or .jsonl."
        )
    folder = out.parent
    if not folder.is_dir():
        raise InputError(f"{out}: there is no folder {folder}. Make it first.")
    if out.exists():
        if not out.is_file():
            raise InputError(f"{out} is no regular file and cannot be replaced. Choose another output.")
        for path in inputs:
            if path != STDIN and out.samefile(path):
                raise InputError(f"{out} is an input too. Choose another output; an input is never written over.")
    if WorkFolder(out).finished_report() is None:
        refuse_existing(out, format, overwrite)
    if not os.access(folder, os.W_OK):
        raise InputError(f"{out}: no permission to write in the folder {folder}.")
    return format


def refuse_existing(out: Path, format: OutputFormat, overwrite: bool) -> None:
    """Raise InputError where something would be written over without leave."""
    if overwrite:
        return
    if out.exists():
        raise InputError(f"{out} exists. Choose another output, or pass --overwrite to replace it at the end.")
    beside = sidecar(out, format)
    if beside is not None and beside.exists() and not WorkFolder(out).path.exists():
        raise InputError(f"{beside}, which describes the output, exists. Remove it, or pass --overwrite.")


@contextmanager
def writing_in_words(out: Path) -> Iterator[None]:
    """Turn the system's errors on writing into ours, with what to do."""
    try:
        yield
    except OSError as exc:
        work = WorkFolder(out).path
        if exc.errno in _NO_ROOM:
            raise SememeError(
                f"No room to write {out} ({exc.strerror}). The rows embedded so far are kept in {work}: make room and "
                "run the same command again to go on. A job needs about twice the room of its output."
            ) from exc
        raise SememeError(
            f"{exc.filename or out} could not be written: {exc.strerror or exc}. The rows embedded so far are kept in "
            f"{work}; run the same command again to go on."
        ) from exc
