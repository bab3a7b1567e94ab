"""Hashes of weight files: computed once, remembered, compared with what is known.

A file that was hashed before is known again by its path, size, modification time and inode, so that 16 GB are not read
through at every start (SHA-256 runs at 1 to 2 GB/s on a core with SHA instructions).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sememe.checkpoints.files import list_files, weight_files
from sememe.errors import CheckpointError

logger = logging.getLogger(__name__)

# Threads that hash the shards of one checkpoint; hashing lets the interpreter lock go.
_N_THREADS = 4


@dataclass(frozen=True)
class HashMemory:
    """Hashes of files seen before, in one small JSON file.

    Two processes that write at once lose at most an entry, which is then hashed again. A file that cannot be read or
    written (a read-only cache) costs time, never correctness.
    """

    file: Path

    def hashes(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The sha256 of each file, as 64 hexadecimal digits. Raises CheckpointError for one that cannot be read."""
        known = self._read()
        stamps = {path: _stamp(path) for path in paths}
        found = {path: known[key][1] for path, (key, stamp) in stamps.items() if known.get(key, ("", ""))[0] == stamp}
        new = [path for path in stamps if path not in found]
        if new:
            started = time.perf_counter()
            with ThreadPoolExecutor(_N_THREADS) as pool:
                found |= dict(zip(new, pool.map(_sha256, new), strict=True))
            n_bytes = sum(path.stat().st_size for path in new)
            logger.info("hashed %d files: %.1f MB, %.2f s", len(new), n_bytes / 1e6, time.perf_counter() - started)
            # A file that changed while it was read is not remembered.
            steady = [path for path in new if _stamp(path) == stamps[path]]
            self._add({stamps[path][0]: (stamps[path][1], found[path]) for path in steady})
        return found

    def _read(self) -> dict[str, tuple[str, str]]:
        try:
            raw = json.loads(self.file.read_text(encoding="utf-8"))
            return {str(key): (str(stamp), str(digest)) for key, (stamp, digest) in raw.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as exc:
            logger.info("hash memory %s is not readable and starts anew: %r", self.file, exc)
            return {}

    def _add(self, new: Mapping[str, tuple[str, str]]) -> None:
        entries = {key: value for key, value in (self._read() | dict(new)).items() if Path(key).exists()}
        try:
            replace_text(self.file, json.dumps(entries, indent=1))
        except OSError as exc:
            logger.info("hash memory %s is not writable: %r", self.file, exc)


def verify_files(folder: Path, expected: Mapping[str, str], memory: HashMemory, *, remedy: str) -> None:
    """Compare files with their known sha256.

    expected: path relative to the folder → sha256. Raises CheckpointError that names the file, both hashes and the
    remedy; a known file that is missing is an error too, since other weights in its place would go unchecked.
    """
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise CheckpointError(f"{folder}: {', '.join(missing)} is missing. {remedy}")
    hashes = memory.hashes(folder / name for name in expected)
    for name, wanted in expected.items():
        got = hashes[folder / name]
        if got != wanted:
            raise CheckpointError(
                f"{folder / name} is damaged or was changed: its sha256 is {got}, expected {wanted}. {remedy}"
            )


def content_identity(folder: Path, memory: HashMemory) -> str:
    """A hash that names a checkpoint's weights: equal for equal weight files, wherever they lie.

    Made from the name and sha256 of each weight file; other files in the folder do not matter.
    Raises CheckpointError if there are no weights.
    """
    names = weight_files(list_files(folder))
    if not names:
        raise CheckpointError(f"{folder} has no weights; expected *.safetensors.")
    hashes = memory.hashes(folder / name for name in names)
    lines = "".join(f"{hashes[folder / name]}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def replace_text(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _stamp(path: Path) -> tuple[str, str]:
    """Where a file really lies, and what tells that it is still the same."""
    try:
        real = path.resolve(strict=True)
        stat = real.stat()
    except OSError as exc:
        raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}.") from exc
    return str(real), f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}.") from exc
