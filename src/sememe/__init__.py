"""sememe: choose, prove, serve and search with open-source embedding models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sememe.client.asynchronous import AsyncClient as AsyncClient
    from sememe.client.blocking import Client as Client
    from sememe.collections.collection import Collection as Collection
    from sememe.engine.embedder import Embedder as Embedder
    from sememe.engine.reranker import Reranker as Reranker
    from sememe.records import EmbedOptions as EmbedOptions

__version__ = "0.1.0"

# Public names are brought when first used: `import sememe` stays under 0.3 s and brings no backend.
_HOMES = {
    "AsyncClient": "sememe.client.asynchronous",
    "Client": "sememe.client.blocking",
    "Collection": "sememe.collections.collection",
    "EmbedOptions": "sememe.records",
    "Embedder": "sememe.engine.embedder",
    "Reranker": "sememe.engine.reranker",
}

__all__ = ["AsyncClient", "Client", "Collection", "EmbedOptions", "Embedder", "Reranker", "__version__"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sememe' has no attribute {name!r}")
