"""Files of what is derived from the truth: arrays, mapped into memory, with a checksum each."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"sememe derived 1\n"
_ALIGNMENT = 64
_BLOCK = 1 << 22
# A smaller file is mapped whole. Of a larger one, pages that a scan has mapped are given back when they have become so
# many: they stay in the system's cache, and out of this process's memory.
_MOST_MAPPED_BYTES = 256_000_000


class Damaged(Exception):
    """A derived file is not what was written. It is made again from the truth; no caller sees this."""


@dataclass(frozen=True)
class Arrays:
    """What a file of arrays holds. facts: strings and numbers beside them."""

    facts: Mapping[str, str | int | float]
    arrays: Mapping[str, NDArray[np.generic]]


def write_arrays(path: Path, content: Arrays) -> None:
    """Write them beside the place, then put the file there at once: a reader sees the old one or the new one."""
    places, offset = [], 0
    for name, array in content.arrays.items():
        places.append(
            {
                "name": name,
                "dtype": array.dtype.str,
                "shape": array.shape,
                "offset": offset,
                "crc": zlib.crc32(_bytes(array)),
            }
        )
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"facts": dict(content.facts), "arrays": places}).encode()
    start = _MAGIC + f"{len(header):010d}{zlib.crc32(header):010d}".encode() + header
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(start + b"\0" * (-len(start) % _ALIGNMENT))
        for array in content.arrays.values():
            file.write(_bytes(array))
            file.write(b"\0" * (-array.nbytes % _ALIGNMENT))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_arrays(path: Path) -> Arrays:
    """The arrays, mapped; every checksum is compared. Raises Damaged, and FileNotFoundError."""
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as exc:  # an empty file
            raise Damaged(f"{path}: {exc}") from exc
    try:
        begin = len(_MAGIC)
        if mapped[:begin] != _MAGIC:
            raise Damaged(f"{path} does not begin as such a file does")
        length, crc = int(mapped[begin : begin + 10]), int(mapped[begin + 10 : begin + 20])
        raw = mapped[begin + 20 : begin + 20 + length]
        if zlib.crc32(raw) != crc:
            raise Damaged(f"{path}: the header does not have its checksum")
        header = json.loads(raw)
        data = -(-(begin + 20 + length) // _ALIGNMENT) * _ALIGNMENT
        arrays = {place["name"]: _array(mapped, place, data, path) for place in header["arrays"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise Damaged(f"{path}: {exc}") from exc
    return Arrays(header["facts"], arrays)


def _array(mapped: mmap.mmap, place: dict[str, object], data: int, path: Path) -> NDArray[np.generic]:
    shape = [int(str(side)) for side in place["shape"]]  # type: ignore[attr-defined]
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(mapped, np.dtype(str(place["dtype"])), count, data + int(str(place["offset"]))).reshape(shape)
    if zlib.crc32(_bytes(array)) != place["crc"]:
        raise Damaged(f"{path}: {place['name']} does not have its checksum")
    return array


def _bytes(array: NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


class MappedRows:
    """(n, width) bytes in a file that grows at its end. The first n rows never change.

    rows: all of them, mapped. Rows here and there are read with `take`.
    """

    def __init__(self, path: Path, n: int, width: int) -> None:
        """Map the first n rows. Raises Damaged where the file is shorter, and FileNotFoundError."""
        self.rows: NDArray[np.uint8] = np.empty((0, width), np.uint8)
        self._mapped: mmap.mmap | None = None
        self._scanned_bytes = 0
        self._file = path.open("rb", buffering=0)
        size = os.fstat(self._file.fileno()).st_size
        if size < n * width:
            self._file.close()
            raise Damaged(f"{path} has {size:,} bytes; {n:,} rows of {width} were written")
        self._is_small = n * width <= _MOST_MAPPED_BYTES
        if n:
            # Mapped at once: 200 candidates of a fresh mapping cost half a millisecond of faults.
            populate = getattr(mmap, "MAP_POPULATE", 0) if self._is_small else 0
            self._mapped = mmap.mmap(self._file.fileno(), n * width, mmap.MAP_SHARED | populate, mmap.PROT_READ)
            self.rows = np.frombuffer(self._mapped, np.uint8).reshape(n, width)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(len(indices), width) of any rows.

        From a large file they are read, not touched in the mapping: 800 of a million rows took 1.4 ms so and 3.7 ms with
        faults, and each fault may map 2 MB.
        """
        found = np.empty((len(indices), self.rows.shape[1]), np.uint8)
        if self._is_small:
            # "raise" would go through a copy: twice the time.
            return np.take(self.rows, indices, axis=0, out=found, mode="clip")
        width, number = self.rows.shape[1], self._file.fileno()
        for row, index in zip(found, indices.tolist(), strict=True):
            if os.preadv(number, [row.data], index * width) != width:
                raise OSError(f"{self._file.name}: row {index:,} cannot be read whole")
        return found

    def scanned(self, n_rows: int) -> None:
        """Count rows that were read in order from the mapping; give mapped pages back when they have become many."""
        self._scanned_bytes += n_rows * self.rows.shape[1]
        if self._mapped is not None and not self._is_small and self._scanned_bytes > _MOST_MAPPED_BYTES:
            self._mapped.madvise(mmap.MADV_DONTNEED)
            self._scanned_bytes = 0


def append_rows(path: Path, n: int, rows: NDArray[np.uint8]) -> None:
    """Write rows behind the first n, over whatever a writer that died left there; never shorter than it was, since others
    may have mapped more.
    """
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(n * rows.shape[1])
        for start in range(0, len(rows), max(1, _BLOCK // rows.shape[1])):
            file.write(_bytes(rows[start : start + max(1, _BLOCK // rows.shape[1])]))
        file.flush()
        os.fsync(file.fileno())
