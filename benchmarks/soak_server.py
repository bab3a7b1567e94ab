"""The server that `soak.py` puts under load: ours, with a thread that kills a worker when a line says which."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from sememe.engine.engine import RawEmbedding
from sememe.records import EmbedOptions, Tokens
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
    """After a line on standard input, `compute` or `tokenize`, the next such call dies inside the engine."""
    model = next(iter(models))
    assert isinstance(model, EmbeddingModel)
    compute, tokenize, armed = model.engine.compute, model.engine.tokenize, set[str]()

    def deadly_compute(tokens: Sequence[Tokens], options: EmbedOptions) -> list[RawEmbedding]:
        if "compute" in armed:
            armed.discard("compute")
            raise _Killed
        return compute(tokens, options)

    def deadly_tokenize(texts: Sequence[str], options: EmbedOptions) -> list[Tokens]:
        if "tokenize" in armed:
            armed.discard("tokenize")
            raise _Killed
        return tokenize(texts, options)

    model.engine.compute, model.engine.tokenize = deadly_compute, deadly_tokenize  # type: ignore[method-assign]
    for line in sys.stdin:
        armed.add(line.strip())


main()
