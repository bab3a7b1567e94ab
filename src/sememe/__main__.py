"""Where the command line begins: `sememe`, and `python -m sememe`. Nothing heavy is imported before Ctrl-C is answered."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Bring the command line, which takes a part of a second, and run it."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as with nohup
    if is_ours:
        signal.signal(signal.SIGINT, _leave)
    from sememe.cli import main as run

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing has begun yet; an exception might end in an import that takes it for a missing module."""
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
