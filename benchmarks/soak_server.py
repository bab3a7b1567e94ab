"""The server that `soak.py` puts under load: ours, with a thread that kills the computing one when a line comes in."""

from __future__ import annotations

import sys
import threading

from sememe.records import EmbedOptions
from sememe.server.models import EmbeddingModel, ModelOptions, Models, load_models
from sememe.server.options import ServerOptions
from sememe.server.running import run


class _Killed(BaseException):
    """What no handler in the worker expects, as a thread that dies."""


def main() -> None:
    models = load_models((sys.argv[1],), ModelOptions(), {"soaked": sys.argv[1]})
    threading.Thread(target=_kill_when_told, args=(models,), daemon=True).start()
    run(models, ServerOptions(models=(sys.argv[1],), port=int(sys.argv[2])))


def _kill_when_told(models: Models) -> None:
    """The next batch after a line on standard input dies inside the engine."""
    model = next(iter(models))
    assert isinstance(model, EmbeddingModel)
    compute, armed = model.engine.compute, threading.Event()

    def deadly(tokens, options: EmbedOptions):  # type: ignore[no-untyped-def]
        if armed.is_set():
            armed.clear()
            raise _Killed
        return compute(tokens, options)

    model.engine.compute = deadly  # type: ignore[method-assign]
    for _ in sys.stdin:
        armed.set()


main()
