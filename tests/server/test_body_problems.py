"""What is said of a wrong body: where it is wrong and what was expected there, without the names of our types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sememe.server.dialects.jina import EmbeddingsBody as JinaBody
from sememe.server.dialects.oip_bodies import InferBody
from sememe.server.dialects.openai import EmbeddingsBody
from sememe.server.dialects.tei_bodies import EmbedBody, SimilarityBody
from sememe.server.exchange import read_body
from sememe.server.problems import ProblemError


@pytest.mark.parametrize(
    ("type_", "body", "words"),
    [
        (EmbeddingsBody, {"input": ["a", None]}, "input.1: Input should be a valid string"),
        (EmbeddingsBody, {"input": 7}, "input: Input should be a valid string, or a valid array"),
        (EmbeddingsBody, {"input": ["a", "b", ["c"]]}, "input.2: Input should be a valid string"),
        (EmbeddingsBody, {"input": [1, -2]}, "input.1: Input should be greater than or equal to 0"),
        (
            EmbeddingsBody,
            {"input": "a", "truncate": "middle"},
            "truncate: Input should be a valid boolean, or 'end', 'start'",
        ),
        (EmbeddingsBody, {}, "input: Field required"),
        (EmbeddingsBody, [1], "body: Input should be an object"),
        (EmbeddingsBody, None, "body: Input should be an object"),
        (
            EmbeddingsBody,
            {"input": 7, "dimensions": 0},
            "dimensions: Input should be greater than or equal to 1; input: Input should be a valid string, or a ",
        ),
        (
            JinaBody,
            {"input": "a", "embedding_type": []},
            "embedding_type: Input should be 'float', 'base64', 'binary', ",
        ),
        (EmbedBody, {"inputs": [["a"]]}, "inputs.0: Input should be a valid string, or a valid integer"),
        (EmbedBody, {"inputs": {"a": 1}}, "inputs: Input should be a valid string, or a valid array"),
        (SimilarityBody, {"inputs": {"source_sentence": "a"}}, "inputs.sentences: Field required"),
        (SimilarityBody, {"inputs": {"source_sentence": 1, "sentences": [2, 3]}}, "inputs.source_sentence: "),
        (InferBody, {"inputs": [{"name": "a", "shape": [-1], "datatype": "BYTES"}]}, "inputs.0.shape.0: "),
    ],
)
def test_words(type_: Any, body: Any, words: str) -> None:
    with pytest.raises(ProblemError) as raised:
        read_body(json.dumps(body).encode(), type_)
    message = str(raised.value)
    assert message.startswith(words), message
    for ours in ("list[", "union", "constrained", "InputObject", "literal", ".str", ".bool"):
        assert ours not in message


def test_many_places_are_counted() -> None:
    wrong = dict.fromkeys(("prompt_name", "prompt", "input_type", "instruction", "output_dtype", "user", "model"), 1)
    with pytest.raises(ProblemError, match=r"prompt: [^;]*; .*\(and \d more\)"):
        read_body(json.dumps({"input": 7, **wrong}).encode(), EmbeddingsBody)


def test_of_a_list_the_first_wrong_place_is_said() -> None:
    with pytest.raises(ProblemError, match=r"^inputs.sentences.1: [^;]*$"):
        read_body(
            json.dumps({"inputs": {"source_sentence": "a", "sentences": ["a", *[1] * 10]}}).encode(), SimilarityBody
        )
