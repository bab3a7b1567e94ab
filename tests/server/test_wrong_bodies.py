"""A body of every wrong kind on every route that takes one: that dialect's own 4xx, in words, never a fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import httpx2
import jsonschema_rs
import pytest
from pydantic import ValidationError

from sememe.server.dialects import cohere, infinity, jina, llamacpp, oip, ollama, openai, tei, vllm
from sememe.server.dialects.vllm_bodies import ScoreBody
from sememe.server.exchange import read_body
from sememe.server.problems import ProblemError

TINY_INFER = "/v2/models/tiny/infer"
_INFER = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
_PAIR = {"query": "a", "texts": ["b"]}
_DOCUMENTS = {"query": "a", "documents": ["b"]}
# path: a body that is right, the name of its texts, the dialect. Every POST route of the document must stand here.
RIGHT: dict[str, tuple[dict[str, Any], str, Any]] = {
    "/v1/embeddings": ({"input": ["a"]}, "input", openai),
    "/embeddings": ({"input": ["a"]}, "input", openai),
    "/v1/embeddings Jina": ({"task": "text-matching", "input": ["a"]}, "input", jina),
    "/v1/embeddings vLLM": ({"embed_dtype": "float16", "input": ["a"]}, "input", vllm),
    "/embeddings Infinity": ({"modality": "text", "input": ["a"]}, "input", infinity),
    "/infinity/embeddings": ({"input": ["a"]}, "input", infinity),
    "/infinity/rerank": (_DOCUMENTS, "documents", infinity),
    "/infinity/classify": ({"input": ["a"]}, "input", infinity),
    "/embed": ({"inputs": ["a"]}, "inputs", tei),
    "/embed_all": ({"inputs": ["a"]}, "inputs", tei),
    "/embed_sparse": ({"inputs": ["a"], "model": "three"}, "inputs", tei),
    "/": ({"inputs": ["a"]}, "inputs", tei),
    "/invocations": ({"inputs": ["a"]}, "inputs", tei),
    "/vertex": ({"instances": [{"inputs": "a"}]}, "instances", tei),
    "/predict": ({"inputs": [["a", "b"]]}, "inputs", tei),
    "/rerank": (_PAIR, "texts", tei),
    "/rerank documents": (_DOCUMENTS, "documents", jina),
    "/similarity": ({"inputs": {"source_sentence": "a", "sentences": ["b"]}}, "inputs.sentences", tei),
    "/tokenize": ({"inputs": ["a"]}, "inputs", tei),
    "/tokenize vLLM": ({"prompt": "a"}, "", vllm),
    "/tokenize llama.cpp": ({"content": "a"}, "", llamacpp),
    "/decode": ({"ids": [[5]]}, "", tei),
    "/v2/embed": ({"texts": ["a"]}, "texts", cohere),
    "/v1/embed": ({"texts": ["a"]}, "texts", cohere),
    "/v2/rerank": (_DOCUMENTS, "documents", cohere),
    "/v1/rerank": (_DOCUMENTS, "documents", jina),
    "/v1/reranking": (_DOCUMENTS, "documents", jina),
    "/reranking": (_DOCUMENTS, "documents", jina),
    "/score": ({"text_1": "a", "text_2": ["b"]}, "text_2", vllm),
    "/v1/score": ({"text_1": "a", "text_2": ["b"]}, "text_2", vllm),
    "/classify": ({"input": ["a"]}, "input", vllm),
    "/pooling": ({"input": ["a"]}, "input", vllm),
    "/detokenize": ({"tokens": [5]}, "", vllm),
    "/api/embed": ({"model": "tiny", "input": ["a"]}, "input", ollama),
    "/api/embeddings": ({"model": "tiny", "prompt": "a"}, "", ollama),
    "/embedding": ({"content": ["a"]}, "content", llamacpp),
    "/v2/models/{name}/infer": (_INFER, "", oip),
}
EMBEDS = {"/v1/embeddings", "/embeddings", "/v1/embeddings Jina", "/v1/embeddings vLLM", "/embed", "/embed_all", "/",
          "/invocations", "/v2/embed", "/v1/embed", "/pooling", "/api/embed", "/api/embeddings", "/embedding"}  # fmt: skip
# An empty list is nothing asked for and nothing given there.
EMPTY_IS_RIGHT = {"/api/embed"}

Change = Callable[[str], bytes | None]


def _path(name: str) -> str:
    return name.partition(" ")[0].replace("{name}", "tiny")


def _with(name: str, value: Any) -> bytes | None:
    """The right body with its texts replaced; None where the route has no list of texts."""
    body, field, _ = RIGHT[name]
    if not field:
        return None
    outer, _, inner = field.partition(".")
    changed = body | {outer: body[outer] | {inner: value} if inner else value}
    return json.dumps(changed).encode()


def _dimensions(value: str) -> Change:
    def change(name: str) -> bytes | None:
        if name not in EMBEDS:
            return None
        return json.dumps(RIGHT[name][0] | {"dimensions": "HERE"}).replace('"HERE"', value).encode()

    return change


def _in_place_of_a(text: str) -> Change:
    """The right body with another text in place of the letter a, as JSON writes it."""

    def change(name: str) -> bytes | None:
        raw = json.dumps(RIGHT[name][0])
        return None if '"a"' not in raw else raw.replace('"a"', f'"{text}"').encode()

    return change


KINDS: dict[str, Change] = {
    "nothing": lambda name: b"",
    "no JSON": lambda name: b"hello",
    "cut": lambda name: json.dumps(RIGHT[name][0]).encode()[:-3],
    "null": lambda name: b"null",
    "a number": lambda name: b"7",
    "a list": lambda name: b"[1, 2]",
    "no field": lambda name: b"{}",
    "no UTF-8": lambda name: json.dumps(RIGHT[name][0]).encode().replace(b'"a"', b'"\xff\xfe"') + b"\xff",
    "deep": lambda name: b'{"input":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a lone surrogate": _in_place_of_a("\\ud800"),
    "a text of another type": lambda name: _with(name, {"a": 1}),
    "numbers for texts": lambda name: _with(name, [1.5, True]),
    "an empty list": lambda name: None if name in EMPTY_IS_RIGHT else _with(name, []),
    "10,000 inputs": lambda name: _with(name, [{"inputs": "a"}] * 10_000 if name == "/vertex" else ["a"] * 10_000),
    "0 dimensions": lambda name: None if name == "/embeddings Infinity" else _dimensions("0")(name),
    "huge dimensions": _dimensions("1000000000000000000000000000000"),
    "more dimensions than there are": _dimensions("100000"),
    "NaN dimensions": _dimensions("NaN"),
    "a dimension as text": _dimensions('"8"'),
}


@pytest.fixture(scope="module")
def validators() -> dict[Any, Any]:
    """Each dialect's error, as its own schema has it."""
    modules = {dialect for _, _, dialect in RIGHT.values()}
    return {module: jsonschema_rs.validator_for(module.DIALECT.error_body.model_json_schema()) for module in modules}


def _check(answer: httpx2.Response, name: str, validators: dict[Any, Any], *dialects: Any) -> None:
    assert 400 <= answer.status_code < 500, answer.text[:500]
    body = answer.json()
    assert any(validators[dialect].is_valid(body) for dialect in (RIGHT[name][2], *dialects)), body
    assert len(json.dumps(body)) < 3000


def test_every_route_that_takes_a_body_is_here(http: httpx2.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    with_body = {path for path, methods in paths.items() if "requestBody" in methods.get("post", {})}
    assert with_body == {name.partition(" ")[0] for name in RIGHT}


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_body_is_right(http: httpx2.Client, name: str) -> None:
    answer = http.post(_path(name), json=RIGHT[name][0])
    assert answer.status_code == 200, answer.text


# Every kind goes to every route in the slow run, a few that differ most in the quick one.
QUICK = {"cut", "a lone surrogate", "a text of another type", "10,000 inputs"}
ALL_KINDS = [pytest.param(kind, marks=[] if kind in QUICK else [pytest.mark.slow]) for kind in KINDS]


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("name", RIGHT)
def test_a_wrong_body_gets_that_dialects_own_error(
    http: httpx2.Client, validators: dict[Any, Any], name: str, kind: str
) -> None:
    raw = KINDS[kind](name)
    if raw is None:
        return  # the route has no such field
    answer = http.post(_path(name), content=raw, headers={"Content-Type": "application/json"})
    # Where nothing of the body can be read, nothing says whose dialect it is: the path's own answers.
    unread = kind in ("nothing", "no JSON", "cut", "null", "a number", "a list", "no field", "no UTF-8", "deep")
    _check(answer, name, validators, *((openai, tei) if unread else ()))


@pytest.mark.parametrize("name", RIGHT)
def test_another_content_type_or_too_many_bytes(http: httpx2.Client, validators: dict[Any, Any], name: str) -> None:
    raw = json.dumps(RIGHT[name][0]).encode()
    # The protocol's binary extension comes as an octet-stream; Ollama's examples are of curl, which says it is a form.
    if RIGHT[name][2] in (oip, ollama):
        answer = http.post(_path(name), content=raw, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status_code == 200
    else:
        answer = http.post(_path(name), content=raw, headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415
        _check(answer, name, validators)
    n_bytes = 50_000_000 if name in ("/v1/embeddings", "/embed", "/v2/embed") else 1_000_001
    big = http.post(_path(name), content=b'{"input":"' + b"x" * n_bytes + b'"}')
    assert big.status_code == 413
    _check(big, name, validators, openai, tei)


@pytest.mark.parametrize("name", RIGHT)
def test_odd_characters_are_texts(http: httpx2.Client, name: str) -> None:
    for text in ("a\\u0000b", "\\u202e\\ufeff", "\\ud83d\\ude00"):
        raw = _in_place_of_a(text)(name)
        if raw is not None:
            answer = http.post(_path(name), content=raw, headers={"Content-Type": "application/json"})
            assert answer.status_code == 200, answer.text


def test_no_list_of_a_body_is_without_end(http: httpx2.Client) -> None:
    """Ten million empty objects, 30 MB of a body, kept the event loop for a minute."""
    document = http.get("/openapi.json").json()

    def lists(schema: Any, seen: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
        if isinstance(schema, list):
            for part in schema:
                yield from lists(part, seen)
        elif isinstance(schema, dict):
            if schema.get("type") == "array":
                yield schema
            name = schema.get("$ref", "")
            if name and name not in seen:
                yield from lists(document["components"]["schemas"][name.rpartition("/")[2]], seen | {name})
            for part in schema.values():
                yield from lists(part, seen)

    bodies = [
        method["requestBody"]
        for path in document["paths"].values()
        for method in path.values()
        if "requestBody" in method
    ]
    found = [one for body in bodies for one in lists(body)]
    assert len(found) > 50
    assert [one for one in found if one.get("maxItems", 10**9) > 500_000] == []


def test_a_list_is_read_up_to_its_first_error() -> None:
    for wrong in ("{}", "[]", "1.5", "null"):
        raw = '{"input": ["a", ' + ", ".join([wrong] * 10_000) + "]}"
        with pytest.raises(ValidationError) as refused:
            openai.EmbeddingsBody.model_validate_json(raw.replace("{}", '{"text": 1}'))
        assert refused.value.error_count() < 10


def test_a_long_list_in_a_large_body_is_refused_before_anything_is_made_of_it() -> None:
    raw = b'{"text_1": "a", "text_2": [' + b"{}," * 1_400_000 + b"{}]}"
    with (
        patch.object(ScoreBody, "model_validate_json", side_effect=AssertionError),
        pytest.raises(ProblemError, match="text_2: List should have at most 500000 items, not 1400001"),
    ):
        read_body(raw, ScoreBody)
