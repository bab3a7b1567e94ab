"""What ends with the process that started it, however that ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Reads until nobody holds the other end, which is so once we are gone, killed or not. QUIT: PostgreSQL's immediate end.
_SCRIPT = 'cat > /dev/null; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"; rm -rf "$0" "$0.log"'


@contextmanager
def ending_with_us(folder: Path) -> Iterator[None]:
    """Then the server whose data are in folder/data ends, and the folder goes with its log: here, or when we are killed."""
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us
    )
    assert keeper.stdin is not None
    try:
        yield
    finally:
        keeper.stdin.close()
        keeper.wait()
