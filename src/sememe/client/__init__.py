"""Asking a server from Python: `Client` and `AsyncClient`, which embed as `Embedder` does."""
