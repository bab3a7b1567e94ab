"""Which clients a running server would serve: a small request of each dialect, and whether its answer is what they read.

Works on any server, ours or another's. Vectors of all dialects are compared with the first that gives any: one server
that answers two dialects with different vectors is found here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2
import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError, NotFound

Verdict = Literal["ok", "absent", "wrong"]
Vectors = NDArray[np.float32]

_TEXTS = ["How do refunds work?", "Refunds are paid within five days."]
# Vectors of two dialects may be normalised or not, and computed in different batches in half precision.
_COSINE = 0.999
_LOADED = {"value": "loaded"}
_MOST_ASKED = 32  # of a server's models whether they rank


@dataclass(frozen=True)
class Finding:
    """One route of one dialect. absent: the server has no such route, or no model that it needs."""

    dialect: str
    route: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class _Probe:
    """A request, and how its answer is read: to vectors (N, D), or to None. Reading raises for what clients cannot use.

    body: None is a GET.
    """

    dialect: str
    path: str
    read: Callable[[httpx2.Response], Vectors | None]
    body: Mapping[str, Any] | None = None
    label: str = ""
    n_vectors: int = len(_TEXTS)


@dataclass
class _Server:
    """The server asked, its model's name, and the first vectors it gave."""

    http: httpx2.Client
    model: str
    first: tuple[str, Vectors] | None = None
    findings: list[Finding] = field(default_factory=list)


def check_server(
    url: str,
    *,
    model: str | None = None,
    rerank_model: str | None = None,
    api_key: str | None = None,
    timeout_seconds: float = 30.0,
) -> list[Finding]:
    """Every route of every dialect, one after another. Raises InputError for a wrong address, NotFound for no server.

    model: the name that requests give; None takes the first of /v1/models. rerank_model: of those that score pairs;
    None takes the first there that does, else the same.
    """
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url!r} is no address of a server; expected http://HOST:PORT.")
    with httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_seconds) as http:
        names = _loaded_models(http, url)
        server = _Server(http, model or names[0])
        for probe in _probes(server.model, rerank_model or _first_reranker(http, names) or server.model):
            server.findings.append(_find(server, probe))
    return server.findings


def _loaded_models(http: httpx2.Client, url: str) -> list[str]:
    """The names of /v1/models but those that asking would load; `model` where there is no such list."""
    try:
        answer = http.get("/v1/models")
    except httpx2.HTTPError as exc:
        raise NotFound(f"No server answers at {url} ({exc}).") from exc
    try:
        cards = answer.json()["data"]
        loaded = [card for card in cards if card.get("status", _LOADED) == _LOADED] or cards[:1]
        return [str(card["id"]) for card in loaded] or ["model"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["model"]  # many servers take any name


def _first_reranker(http: httpx2.Client, names: Sequence[str]) -> str | None:
    """The first that ranks; None where none does, or where nobody is asked in that way."""
    for name in names[:_MOST_ASKED]:
        body = {"model": name, "query": _TEXTS[0], "documents": _TEXTS[1:]}
        try:
            if http.post("/v1/rerank", json=body).status_code == 200:
                return name
        except httpx2.HTTPError:
            return None
    return None


def _find(server: _Server, probe: _Probe) -> Finding:
    label = probe.label or f"{'GET' if probe.body is None else 'POST'} {probe.path}"
    try:
        answer = (
            server.http.get(probe.path) if probe.body is None else server.http.post(probe.path, json=dict(probe.body))
        )
    except httpx2.HTTPError as exc:
        return Finding(probe.dialect, label, "wrong", f"no answer ({exc})")
    if answer.status_code in (404, 405):
        return Finding(probe.dialect, label, "absent", f"status {answer.status_code}")
    if answer.status_code >= 400:
        # A server without a model of the kind says so in as many ways as there are dialects.
        said = " ".join(answer.text.split())[:160]
        lacks = answer.status_code in (400, 422, 424, 501) and any(word in said for word in _LACKS)
        return Finding(probe.dialect, label, "absent" if lacks else "wrong", f"status {answer.status_code}: {said}")
    try:
        vectors = probe.read(answer)
        reason = "" if vectors is None else _disagreement(server, f"{probe.dialect} {label}", vectors, probe.n_vectors)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as exc:
        reason = f"an answer its clients cannot read: {type(exc).__name__} {exc}; {answer.text[:80]}"
    return Finding(probe.dialect, label, "wrong" if reason else "ok", reason)


_LACKS = ("rerank", "Rerank", "sparse", "classif", "score", "label", "multi", "dense", "embedder", "kind")


def _disagreement(server: _Server, name: str, vectors: Vectors, n_vectors: int) -> str:
    if vectors.ndim != 2 or len(vectors) != n_vectors or not np.isfinite(vectors).all():
        return f"vectors of shape {vectors.shape}; expected {n_vectors} finite ones"
    if server.first is None:
        server.first = (name, vectors)
        return ""
    other, expected = server.first
    expected = expected[:n_vectors]
    if vectors.shape != expected.shape:
        return f"vectors of width {vectors.shape[1]}; {other} gave {expected.shape[1]}"
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float((np.einsum("nd,nd->n", vectors, expected) / lengths).min())
    return "" if cosine >= _COSINE else f"other vectors than {other}: cosine {cosine:.4f}"


# ── the dialects ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _probes(model: str, rerank_model: str) -> Iterator[_Probe]:
    query, documents = _TEXTS[0], _TEXTS[1:]
    openai = {"model": model, "input": _TEXTS}
    yield _Probe("OpenAI", "/v1/models", _read_openai_models)
    yield _Probe("OpenAI", "/v1/embeddings", _read_openai, openai)
    yield _Probe(
        "OpenAI", "/v1/embeddings", _read_openai_base64, {**openai, "encoding_format": "base64"},
        "POST /v1/embeddings, base64",
    )  # fmt: skip
    yield _Probe("OpenAI", "/embeddings", _read_openai, openai)
    yield _Probe("TEI", "/health", _read_status)
    yield _Probe("TEI", "/info", lambda answer: _has(answer.json(), "model_id", "max_input_length"))
    yield _Probe("TEI", "/metrics", lambda answer: _has(answer.text, "# HELP"))
    yield _Probe("TEI", "/embed", _read_matrix, {"inputs": _TEXTS})
    yield _Probe("TEI", "/embed_all", lambda a: _has(a.json()[1][0][0]), {"inputs": _TEXTS})
    yield _Probe("TEI", "/embed_sparse", lambda a: _has(a.json()[0][0], "index", "value"), {"inputs": _TEXTS})
    yield _Probe("TEI", "/rerank", lambda a: _has(a.json()[0], "index", "score"), {"query": query, "texts": documents})
    yield _Probe("TEI", "/predict", lambda a: _has(a.json()[0], "label", "score"), {"inputs": [query, documents[0]]})
    yield _Probe(
        "TEI",
        "/similarity",
        lambda a: _has(a.json()[0]),
        {"inputs": {"source_sentence": query, "sentences": documents}},
    )
    yield _Probe("TEI", "/tokenize", lambda a: _has(a.json()[0][0], "id", "text", "special"), {"inputs": query})
    yield _Probe("TEI", "/decode", lambda a: _has(a.json()[0]), {"ids": [101, 102]})
    cohere = {"model": model, "texts": _TEXTS, "input_type": "search_document"}
    yield _Probe("Cohere", "/v2/embed", lambda a: _matrix(a.json()["embeddings"]["float"]), cohere)
    yield _Probe("Cohere", "/v1/embed", lambda a: _matrix(a.json()["embeddings"]), cohere)
    rerank = {"model": rerank_model, "query": query, "documents": documents}
    for path in ("/v2/rerank", "/v1/rerank"):
        yield _Probe("Cohere", path, _read_rerank, rerank)
    yield _Probe("Jina", "/v1/embeddings", _read_openai, {**openai, "embedding_type": "float", "normalized": True})
    yield _Probe("Jina", "/v1/rerank", _read_rerank, {**rerank, "return_documents": False})
    labelled = {"model": rerank_model, "input": _TEXTS}
    for path in ("/score", "/v1/score"):
        yield _Probe(
            "vLLM", path, lambda a: _has(a.json()["data"][0], "score"),
            {"model": rerank_model, "text_1": query, "text_2": documents},
        )  # fmt: skip
    yield _Probe("vLLM", "/pooling", lambda a: _matrix([row["data"] for row in a.json()["data"]]), openai)
    yield _Probe("vLLM", "/classify", lambda a: _has(a.json()["data"][0], "label", "probs"), labelled)
    yield _Probe("vLLM", "/tokenize", lambda a: _has(a.json(), "count", "tokens"), {"model": model, "prompt": query})
    yield _Probe("vLLM", "/detokenize", lambda a: _has(a.json(), "prompt"), {"model": model, "tokens": [101, 102]})
    yield _Probe("Infinity", "/models", lambda a: _has(a.json()["data"][0], "id"))
    yield _Probe("Infinity", "/embeddings", _read_openai, {**openai, "modality": "text"})
    yield _Probe("Infinity", "/rerank", _read_rerank, {**rerank, "raw_scores": False})
    yield _Probe("llama.cpp", "/embedding", _read_llamacpp, {"model": model, "content": _TEXTS})
    yield _Probe("llama.cpp", "/tokenize", lambda a: _has(a.json(), "tokens"), {"model": model, "content": query})
    yield _Probe("llama.cpp", "/reranking", _read_rerank, rerank)
    yield _Probe("Ollama", "/api/version", lambda a: _has(a.json(), "version"))
    yield _Probe("Ollama", "/api/tags", lambda a: _has(a.json()["models"][0], "name"))
    yield _Probe("Ollama", "/api/embed", lambda a: _matrix(a.json()["embeddings"]), {"model": model, "input": _TEXTS})
    yield _Probe(
        "Ollama", "/api/embeddings", lambda a: _matrix([a.json()["embedding"]]),
        {"model": model, "prompt": query}, n_vectors=1,
    )  # fmt: skip
    yield _Probe("Open Inference", "/v2/health/live", _read_status)
    yield _Probe("Open Inference", "/v2/health/ready", _read_status)
    yield _Probe("Open Inference", f"/v2/models/{model}", lambda a: _has(a.json(), "name", "inputs", "outputs"))
    asked = [{"name": "text", "shape": [len(_TEXTS)], "datatype": "BYTES", "data": _TEXTS}]
    yield _Probe("Open Inference", f"/v2/models/{model}/infer", _read_infer, {"inputs": asked})
    yield _Probe("SageMaker", "/ping", _read_status)
    yield _Probe("SageMaker", "/invocations", _read_matrix, {"inputs": _TEXTS})
    yield _Probe(
        "Vertex", "/vertex", lambda a: _matrix([row[0] for row in a.json()["predictions"]]),
        {"instances": [{"inputs": text} for text in _TEXTS]},
    )  # fmt: skip


def _matrix(rows: Any) -> Vectors:
    return np.asarray(rows, np.float32)


def _has(value: Any, *names: str) -> None:
    """Raises KeyError where a name is not in the value."""
    for name in names:
        if name not in value:
            raise KeyError(name)


def _read_status(answer: httpx2.Response) -> None:
    """A status below 400 is all that is asked."""


def _read_matrix(answer: httpx2.Response) -> Vectors:
    return _matrix(answer.json())


def _read_openai_models(answer: httpx2.Response) -> None:
    _has(answer.json()["data"][0], "id", "object")


def _data_in_order(answer: httpx2.Response) -> list[Any]:
    body = answer.json()
    _has(body, "object", "model", "usage")
    return [row["embedding"] for row in sorted(body["data"], key=lambda row: row["index"])]


def _read_openai(answer: httpx2.Response) -> Vectors:
    return _matrix(_data_in_order(answer))


def _read_openai_base64(answer: httpx2.Response) -> Vectors:
    return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in _data_in_order(answer)])


def _read_llamacpp(answer: httpx2.Response) -> Vectors:
    return _matrix([row["embedding"][0] for row in sorted(answer.json(), key=lambda row: row["index"])])


def _read_rerank(answer: httpx2.Response) -> None:
    _has(answer.json()["results"][0], "index", "relevance_score")


def _read_infer(answer: httpx2.Response) -> Vectors:
    output = answer.json()["outputs"][0]
    return _matrix(output["data"]).reshape(output["shape"])
