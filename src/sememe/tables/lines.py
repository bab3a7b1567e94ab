"""Bytes → decoded lines with their numbers: what text lines, JSON lines and CSV have in common."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

from sememe.errors import InputError
from sememe.tables.options import EncodingErrors

STDIN = "-"

# A line longer than this is a file of another kind (a disk image, a table without line ends), not a text: it would
# not fit into memory several times over, which is what a row needs on its way.
MAX_LINE_BYTES = 1 << 30
_BOM = "\ufeff"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def is_stream(path: str) -> bool:
    """Whether it can be read only once: standard input, or a pipe with a name."""
    return path == STDIN or not Path(path).is_file()


def size_bytes(path: str) -> int | None:
    """Bytes of the file; None for a stream."""
    return None if is_stream(path) else Path(path).stat().st_size


def input_name(path: str) -> str:
    """How messages call an input."""
    return "standard input" if path == STDIN else path


class Lines:
    r"""The lines of one file or of standard input, each with its ending; only "\n" ends a line.

    A name that ends in .gz is unpacked on the way. A byte order mark at the start is left out. `number` is that of
    the line given last, from 1. Raises InputError, naming the line, for bytes that are not UTF-8 (unless
    `errors="replace"`, which puts U+FFFD), for a damaged .gz, and for a line over 1 GiB.
    """

    def __init__(self, path: str, errors: EncodingErrors) -> None:
        self.name = input_name(path)
        self.number = 0
        self._errors = errors
        self._put_back: list[str] = []
        self._raw: BinaryIO
        if path == STDIN:
            # Our own reader over the descriptor: at exit Python flushes sys.stdin, and dies when a thread reads it.
            self._raw = open(0, "rb", closefd=False)  # noqa: SIM115
        else:
            self._raw = Path(path).open("rb")  # noqa: SIM115
        self._size = size_bytes(path)
        self._packed = path.endswith(".gz")
        self._stream = gzip.GzipFile(fileobj=self._raw) if self._packed else self._raw
        self._n_bytes = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self._put_back:
            self.number += 1
            return self._put_back.pop()
        raw = self._read_line()
        if not raw:
            raise StopIteration
        self.number += 1
        self._n_bytes += len(raw)
        if len(raw) > MAX_LINE_BYTES:
            raise InputError(f"{self.place}: longer than {MAX_LINE_BYTES:,} bytes; this is no file of text lines.")
        line = self._decode(raw)
        return line.removeprefix(_BOM) if self.number == 1 else line

    def put_back(self, line: str) -> None:
        """The next line to be given is this one, which was given last."""
        self._put_back.append(line)
        self.number -= 1

    @property
    def place(self) -> str:
        """File and line for a message."""
        return f"{self.name}, line {self.number:,}"

    @property
    def fraction(self) -> float | None:
        """How much of the file was read, 0 to 1; None for a stream."""
        if self._size is None:
            return None
        n_bytes = self._raw.tell() if self._packed else self._n_bytes
        return min(n_bytes / self._size, 1.0) if self._size else 1.0

    def close(self) -> None:
        self._raw.close()

    def _read_line(self) -> bytes:
        try:
            return self._stream.readline(MAX_LINE_BYTES + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            raise InputError(
                f"{self.name}: the gzip data are damaged or cut off after line {self.number:,} ({exc}). "
                "Bring the file again."
            ) from exc
        except OSError as exc:
            raise InputError(f"{self.name}: reading failed after line {self.number:,}: {exc.strerror or exc}.") from exc

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", self._errors)
        except UnicodeDecodeError as exc:
            remedy = "Convert the file (iconv -f LATIN1 -t UTF-8), or pass --encoding-errors replace."
            if self.number == 1 and raw.startswith(_UTF16_MARKS):
                remedy = "It looks like UTF-16: convert the file (iconv -f UTF-16 -t UTF-8)."
            raise InputError(
                f"{self.place}: byte 0x{raw[exc.start]:02x} at position {exc.start + 1:,} of the line is not UTF-8. "
                + remedy
            ) from exc
