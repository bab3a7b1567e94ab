"""What searching reads: slots, vectors and inverted lists in memory, brought up to the truth before each search."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sememe.collections.embedded.accelerator import Accelerator
from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.embedded.dense import DenseVectors
from sememe.collections.embedded.derived import Arrays, Damaged, MappedRows, append_rows, read_arrays, write_arrays
from sememe.collections.embedded.postings import EMPTY, Postings, Rows, Segment
from sememe.collections.embedded.schema import Stamp
from sememe.collections.embedded.slots import Slots

logger = logging.getLogger(__name__)

_INDEX = "index.bin"
_ROWS_A_READ = 4_096
# How much may be read from the truth when a collection is opened, before a writer writes it down: this many chunks, or
# this part of all; never more than is well kept in memory.
LEAST_TAIL, _TAIL_PART, _MOST_TAIL = 5_000, 0.25, 50_000


class SearchState:
    """Everything derived, of one epoch. `newest`: the generation that its file was written at."""

    def __init__(self, stamp: Stamp, codec: VectorCodec | None, first_pass: int | None) -> None:
        self.epoch, self.generation, self.newest = stamp.epoch, -1, -1
        self._codec, self._first_pass = codec, first_pass
        nothing = np.empty(0, np.int64)
        self.slots = Slots(nothing, nothing, np.empty(0, np.float32))
        self.words, self.sparse = Postings(), Postings()
        self.dense = DenseVectors(codec, None, None, first_pass=first_pass) if codec else None
        self.n_written = 0

    @classmethod
    def load(cls, folder: Path, stamp: Stamp, codec: VectorCodec | None, first_pass: int | None) -> SearchState:
        """From the folder's files where they belong to this epoch and are whole; else empty, to be read from the truth."""
        state = cls(stamp, codec, first_pass)
        try:
            state._read(folder)
        except FileNotFoundError:
            logger.debug("%s has no index yet", folder)
        except (Damaged, ValueError, KeyError) as exc:
            logger.warning("the index in %s is damaged and is made again from the stored documents: %s", folder, exc)
            return cls(stamp, codec, first_pass)
        return state

    def _read(self, folder: Path) -> None:
        found = read_arrays(folder / _INDEX)
        if found.facts["epoch"] != self.epoch:
            logger.debug("%s belongs to another epoch", folder / _INDEX)
            return
        arrays = found.arrays
        slots = Slots(arrays["chunks"], arrays["documents"], arrays["lengths"])  # type: ignore[arg-type]
        if self._codec is not None:
            base = MappedRows(vectors_path(folder, self.epoch), len(slots), self._codec.width)
            accelerator = None
            if "codes" in arrays:
                accelerator = Accelerator.from_bytes(
                    arrays["codes"],  # type: ignore[arg-type]
                    depth=int(found.facts["depth"]),
                    checked_rows=int(found.facts["checked_rows"]),
                )
                if accelerator is not None and len(accelerator) != len(slots):
                    raise Damaged(
                        f"{folder / _INDEX} has codes of {len(accelerator):,} vectors for {len(slots):,} slots"
                    )
            self.dense = DenseVectors(self._codec, base, accelerator, first_pass=self._first_pass)
        self.slots, self.n_written = slots, len(slots)
        self.words, self.sparse = Postings(_segment(arrays, "words")), Postings(_segment(arrays, "sparse"))
        self.newest = int(found.facts["generation"])

    def catch_up(self, connection: sqlite3.Connection, stamp: Stamp, on_rows: Callable[[], object]) -> None:
        """Read what was added and deleted since. on_rows: called between reads, for a writer to write down what there is."""
        if stamp.generation == self.generation:
            return
        gone = connection.execute("SELECT chunk FROM deleted WHERE generation > ?", (self.generation,)).fetchall()
        cursor = connection.execute(
            "SELECT chunk, document, dense, words, sparse FROM vectors WHERE chunk > ? ORDER BY chunk",
            (self.slots.last_chunk,),
        )
        while rows := cursor.fetchmany(_ROWS_A_READ):
            self._add(rows)
            on_rows()
        self.slots.bury(np.array([chunk for (chunk,) in gone], np.int64))
        if self.dense is not None:
            self.dense.accelerate(self.slots.alive)
        self.generation = stamp.generation

    def _add(self, rows: list[tuple[int, int, bytes | None, bytes | None, bytes | None]]) -> None:
        first = len(self.slots)
        words = sparse_rows(first, [row[3] or b"" for row in rows])
        lengths = np.add.reduceat(np.append(words.values, 0), words.indptr[:-1]) * (np.diff(words.indptr) > 0)
        self.slots.add(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.int64),
            lengths.astype(np.float32),
        )
        self.words.add(words)
        self.sparse.add(sparse_rows(first, [row[4] or b"" for row in rows]))
        if self.dense is not None:
            assert self._codec is not None
            stored = b"".join(row[2] or b"" for row in rows)
            self.dense.add(np.frombuffer(stored, np.uint8).reshape(len(rows), self._codec.width))

    @property
    def last_written(self) -> int:
        """Row number of the last chunk that the file has; 0 without any."""
        return int(self.slots.chunks[self.n_written - 1]) if self.n_written else 0

    def is_worth_writing(self, n_behind: int) -> bool:
        """Whether so much is not in the file that the next to open should not have to read it from the truth."""
        return n_behind > min(max(LEAST_TAIL, _TAIL_PART * self.n_written), _MOST_TAIL)

    def write(self, folder: Path, generation: int) -> None:
        """Write everything down; only a writer may, and what others have open stays valid. May raise OSError."""
        folder.mkdir(exist_ok=True)
        arrays: dict[str, NDArray[np.generic]]
        arrays = {"chunks": self.slots.chunks, "documents": self.slots.documents, "lengths": self.slots.lengths}
        facts: dict[str, str | int | float] = {"epoch": self.epoch, "generation": generation}
        for name, postings in (("words", self.words), ("sparse", self.sparse)):
            whole = postings.whole()
            arrays |= {f"{name}.{part}": getattr(whole, part) for part in ("terms", "starts", "slots", "values")}
        if self.dense is not None:
            assert self._codec is not None
            self.dense.accelerate(self.slots.alive)
            path = vectors_path(folder, self.epoch)
            append_rows(path, self.dense.n_base, self.dense.tail)
            if self.dense.accelerator is not None:
                arrays["codes"] = self.dense.accelerator.to_bytes()
                facts["depth"] = self.dense.accelerator.depth
                facts["checked_rows"] = self.dense.accelerator.checked_rows
        write_arrays(folder / _INDEX, Arrays(facts, arrays))
        if self.dense is not None and self._codec is not None:
            self.dense.rebase(MappedRows(path, len(self.slots), self._codec.width))
        self.n_written, self.newest = len(self.slots), generation
        for other in folder.glob("vectors-*.bin"):
            if other != vectors_path(folder, self.epoch):
                other.unlink(missing_ok=True)


def remove_index(folder: Path) -> None:
    """Take the written index away, if there is one; nothing is lost."""
    (folder / _INDEX).unlink(missing_ok=True)


def vectors_path(folder: Path, epoch: str) -> Path:
    """The file of an epoch's vectors."""
    return folder / f"vectors-{epoch}.bin"


def pack_terms(terms: NDArray[np.int32], values: NDArray[np.float32]) -> bytes:
    """Terms and values of one chunk as they are stored: all terms, then all values, 4 bytes each."""
    return terms.astype("<i4").tobytes() + values.astype("<f4").tobytes()


def sparse_rows(first: int, packed: Sequence[bytes]) -> Rows:
    """What `pack_terms` packed, as the rows of slots from the first on."""
    counts = np.array([len(one) // 8 for one in packed], np.int64)
    terms = np.frombuffer(b"".join(one[: len(one) // 2] for one in packed), "<i4")
    values = np.frombuffer(b"".join(one[len(one) // 2 :] for one in packed), "<f4")
    return Rows(first, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), terms, values)


def _segment(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Segment:
    terms, starts, slots, values = (arrays[f"{name}.{part}"] for part in ("terms", "starts", "slots", "values"))
    if not len(terms):
        return EMPTY
    return Segment(terms, starts, slots, values)  # type: ignore[arg-type]
