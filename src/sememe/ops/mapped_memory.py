"""Weights in mapped files: they count as this process's memory once read, and can be given back, to be read again.

A library that repacks weights has no use for the originals afterwards. The system would take their pages back under
pressure only, and a limit on the process's memory (a container's) counts them meanwhile.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from sememe.ops import Parameter

# Between two rounds of giving back: a few hundred megabytes can be read meanwhile.
_PAUSE_SECONDS = 0.02


def n_mapped_bytes(parameters: Iterable[Parameter]) -> int:
    """Bytes of the parameters that lie in mapped files."""
    return sum(parameter.values.nbytes for parameter in parameters if _mapping(parameter) is not None)


def give_back(parameters: Iterable[Parameter]) -> None:
    """Let go of the pages of parameters in mapped files; they are read again from the file when they are needed.

    Does nothing where the system has no such request. Whole pages only, so a few bytes at a tensor's ends may stay.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    for parameter in parameters:
        mapping = _mapping(parameter)
        if mapping is None:
            continue
        start = parameter.values.ctypes.data - np.frombuffer(mapping, np.uint8, 1).ctypes.data
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (start + parameter.values.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            # Mapped copy-on-write and never written: nothing is lost.
            mapping.madvise(mmap.MADV_DONTNEED, first, length)


@contextmanager
def given_back_meanwhile(parameters: Iterable[Parameter]) -> Iterator[None]:
    """Give the parameters' pages back again and again while the body, which reads each once, runs; and after it."""
    parameters = list(parameters)
    done = threading.Event()

    def work() -> None:
        while not done.wait(_PAUSE_SECONDS):
            give_back(parameters)

    thread = threading.Thread(target=work, name="sememe-give-back", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        give_back(parameters)


def _mapping(parameter: Parameter) -> mmap.mmap | None:
    """The mapping that the values are a view of; None for values in memory of their own."""
    owner: object = parameter.values
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None
