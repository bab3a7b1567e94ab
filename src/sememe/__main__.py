"""Where the command line begins: `sememe`, and `python -m sememe`. Nothing heavy is imported before Ctrl-C is answered."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from types import FrameType


def main() -> None:
    """Bring the command line, which takes a part of a second, and run it."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as with nohup
    if is_ours:
        signal.signal(signal.SIGINT, _leave)
    from sememe.cli import main as run

    if is_ours:
        sys.unraisablehook = _unraisable
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing has begun yet; an exception might end in an import that takes it for a missing module."""
    os.write(2, b"interrupted\n")
    os._exit(130)


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt once more where Ctrl-C met a callback or a `__del__`, which can raise nothing: the command went on.

    Every import ends in such a callback, the one that drops its module's lock (Python 3.11, `importlib/_bootstrap.py`,
    `_get_module_lock`).
    """
    if issubclass(lost.exc_type, KeyboardInterrupt) and not sys.is_finalizing():
        _thread.start_new_thread(_interrupt_soon, (_thread.get_ident(),))  # not from here, which is a callback too
    else:
        sys.__unraisablehook__(lost)


def _interrupt_soon(main_thread: int) -> None:
    """When the callback is over: a signal again, which also wakes a main thread that waits for something."""
    time.sleep(0.01)
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main_thread, signal.SIGINT)


if __name__ == "__main__":
    main()
