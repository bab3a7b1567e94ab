"""Every way to ask this server for embeddings: where the texts go, where our fields go, and where the vectors come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np


@dataclass(frozen=True)
class Way:
    """texts: the body of these texts. rows: the vectors of an answer. ours: the body with our fields.

    normalizes: vectors of length 1 unless told otherwise, as TEI. one: takes a single text. has_forms: raw and Arrow.
    """

    name: str
    path: str
    texts: Callable[[list[str]], dict[str, Any]]
    rows: Callable[[Any], Any]
    ours: Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]] = lambda body, fields: body | dict(fields)
    normalizes: bool = False
    one: bool = False
    has_forms: bool = True

    def ask(self, http: httpx2.Client, texts: Sequence[str], model: str = "tiny", **fields: Any) -> httpx2.Response:
        """headers: of the request; the other fields are ours."""
        headers = fields.pop("headers", None)
        body = self.ours(self.texts(list(texts)), {"model": model, **fields})
        return http.post(self.path.replace("MODEL", model), json=body, headers=headers)

    def vectors(self, answer: httpx2.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return np.asarray(self.rows(answer.json()))

    def __str__(self) -> str:
        return self.name


def _data(answer: Any) -> Any:
    return [datum["embedding"] for datum in answer["data"]]


def _openai(name: str, path: str, **more: Any) -> Way:
    return Way(name, path, lambda texts: {"input": texts, **more}, _data)


def _tei(path: str) -> Way:
    return Way(path, path, lambda texts: {"inputs": texts}, lambda answer: answer, normalizes=True)


def _first_type(answer: Any) -> Any:
    """Cohere's embeddings by type, or, as v1 has it, without."""
    found = answer["embeddings"]
    return next(iter(found.values())) if isinstance(found, dict) else found


def _tensor(texts: list[str]) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}]}


WAYS = [
    _openai("OpenAI", "/v1/embeddings"),
    _openai("OpenAI without /v1", "/embeddings"),
    _openai("Jina", "/v1/embeddings", late_chunking=False),
    _openai("vLLM", "/v1/embeddings", endianness="little"),
    _openai("Infinity by its field", "/embeddings", modality="text"),
    _openai("Infinity by its prefix", "/infinity/embeddings"),
    *map(_tei, ("/embed", "/", "/invocations")),
    Way(
        "Vertex",
        "/vertex",
        lambda texts: {"instances": [{"inputs": text} for text in texts]},
        lambda answer: [row[0] for row in answer["predictions"]],
        lambda body, fields: {"instances": [one | dict(fields) for one in body["instances"]]},
        normalizes=True,
        has_forms=False,
    ),
    Way("Cohere", "/v2/embed", lambda texts: {"texts": texts}, _first_type),
    Way("Cohere v1", "/v1/embed", lambda texts: {"texts": texts}, _first_type),
    Way("pooling", "/pooling", lambda texts: {"input": texts}, lambda answer: [one["data"] for one in answer["data"]]),
    Way("Ollama", "/api/embed", lambda texts: {"input": texts}, lambda answer: answer["embeddings"]),
    Way(
        "old Ollama",
        "/api/embeddings",
        lambda texts: {"prompt": texts[0]},
        lambda answer: [answer["embedding"]],
        one=True,
    ),
    Way(
        "llama.cpp",
        "/embedding",
        lambda texts: {"content": texts},
        lambda answer: [one["embedding"][0] for one in answer],
    ),
    Way(
        "Open Inference",
        "/v2/models/MODEL/infer",
        _tensor,
        lambda answer: np.reshape(answer["outputs"][0]["data"], answer["outputs"][0]["shape"]),
        lambda body, fields: body | {"parameters": {k: v for k, v in fields.items() if k != "model"}},
    ),
]
