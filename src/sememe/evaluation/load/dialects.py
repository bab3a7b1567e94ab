"""The bodies of requests and answers, in the two dialects that nearly every server of embeddings speaks."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError


class Dialect(Protocol):
    """How texts are asked and vectors answered."""

    @property
    def path(self) -> str:
        """The route, where the user names none."""
        ...

    def body(self, texts: Sequence[str]) -> bytes:
        """A request."""
        ...

    def vectors(self, body: bytes) -> NDArray[np.float32]:
        """(N, D) of an answer. Raises ValueError, KeyError or TypeError for a body that is none."""
        ...


class OpenAiDialect:
    """`/v1/embeddings`. Vectors travel in base64; a server that answers numbers instead is read too."""

    path = "/v1/embeddings"

    def __init__(self, model: str) -> None:
        self._rest = f', "model": {_encode(model)}, "encoding_format": "base64"}}'

    def body(self, texts: Sequence[str]) -> bytes:
        return f'{{"input": {_list(texts)}{self._rest}'.encode()

    def vectors(self, body: bytes) -> NDArray[np.float32]:
        rows: list[dict[str, Any]] = sorted(json.loads(body)["data"], key=lambda row: row["index"])
        return np.stack([_vector(row["embedding"]) for row in rows])


class TeiDialect:
    """`/embed` of text-embeddings-inference."""

    path = "/embed"

    def body(self, texts: Sequence[str]) -> bytes:
        return f'{{"inputs": {_list(texts)}}}'.encode()

    def vectors(self, body: bytes) -> NDArray[np.float32]:
        return np.array(json.loads(body), np.float32)


def make_dialect(name: str, model: str) -> Dialect:
    """A dialect by its name. Raises InputError."""
    if name == "openai":
        return OpenAiDialect(model)
    if name == "tei":
        return TeiDialect()
    raise InputError(f"Dialect {name!r} is not one of openai, tei.")


# For a string alone the encoder has a short way, which `json.dumps` of a list does not take: a quarter of the time.
_encode = json.JSONEncoder().encode


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_encode, texts))}]"


def _vector(value: str | list[float]) -> NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), "<f4")
    return np.array(value, np.float32)
