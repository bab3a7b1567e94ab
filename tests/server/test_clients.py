"""Real clients against one running server on one port; each is skipped where its package is not installed.

Clients whose versions clash with ours run in the interpreter that SEMEME_CLIENTS_PYTHON names.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.records import EmbedOptions
from server.running import Running

TEXTS = ["a b c", "the cat sat on the mat", "x"]


def _equal(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got, np.float32), np.asarray(expected, np.float32), atol=1e-6)


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> Any:
    return embedder.embed(TEXTS).dense


def test_openai(server: Running, embedder: Embedder, vectors: Any) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        for more in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            answer = client.embeddings.create(model="text-embedding-3-small", input=TEXTS, **more)
            rows = [datum.embedding for datum in answer.data]
            if more.get("encoding_format") != "base64":
                _equal(rows, vectors)
        short = client.embeddings.create(model="tiny", input=TEXTS, dimensions=8)
        _equal([datum.embedding for datum in short.data], embedder.embed(TEXTS, EmbedOptions(dimensions=8)).dense)
        assert "tiny" in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="not served here"):
            client.embeddings.create(model="nope", input="a")
        with pytest.raises(openai.BadRequestError, match="37 dimensions"):
            client.embeddings.create(model="tiny", input="a", dimensions=37)


def test_openai_async(server: Running, vectors: Any) -> None:
    openai = pytest.importorskip("openai")

    async def main() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
            return await asyncio.gather(*(client.embeddings.create(model="tiny", input=text) for text in TEXTS))

    _equal([answer.data[0].embedding for answer in asyncio.run(main())], vectors)


def test_openai_with_a_key(locked: Running) -> None:
    openai = pytest.importorskip("openai")
    wrong = openai.OpenAI(base_url=f"{locked.url}/v1", api_key="wrong", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError, match="API key"):
        wrong.embeddings.create(model="tiny", input="a")
    with openai.OpenAI(base_url=f"{locked.url}/v1", api_key="second-key") as client:
        assert client.embeddings.create(model="tiny", input="a").data


def test_cohere(server: Running, vectors: Any, reranker: Reranker) -> None:
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="x", base_url=server.url)
    answer = client.embed(
        model="tiny", texts=TEXTS, input_type="search_document", embedding_types=["float", "int8", "ubinary"]
    )
    _equal(answer.embeddings.float_, vectors)
    assert np.shape(answer.embeddings.int8) == vectors.shape
    assert answer.meta.billed_units.input_tokens > 0
    ranked = client.rerank(model="ranker", query="the cat", documents=TEXTS, top_n=2)
    scores = reranker.predict([("the cat", text) for text in TEXTS], activation_fn="sigmoid")
    assert [result.index for result in ranked.results] == np.argsort(-scores, kind="stable")[:2].tolist()
    with pytest.raises(cohere.NotFoundError):
        client.embed(model="nope", texts=["a"], input_type="search_query", embedding_types=["float"])


def test_huggingface_hub(server: Running, vectors: Any) -> None:
    hub = pytest.importorskip("huggingface_hub")
    client = hub.InferenceClient(model=server.url)
    got = client.feature_extraction(TEXTS[1])
    _equal(np.asarray(got).reshape(-1), vectors[1])


def test_langchain_openai(server: Running, vectors: Any) -> None:
    langchain = pytest.importorskip("langchain_openai")
    shared = {"base_url": f"{server.url}/v1", "api_key": "x", "model": "tiny", "max_retries": 0}
    texts = langchain.OpenAIEmbeddings(check_embedding_ctx_length=False, **shared)
    _equal(texts.embed_documents(TEXTS), vectors)
    _equal(texts.embed_query(TEXTS[0]), vectors[0])


def test_token_ids_of_another_tokenizer_are_refused_with_the_fix(server: Running) -> None:
    """What langchain-openai posts unless told otherwise (its own encoder needs a download, so the ids are given)."""
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)
    with client, pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        client.embeddings.create(model="tiny", input=[[64, 293, 272]])


def test_ollama(server: Running, vectors: Any) -> None:
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=server.url)
    _equal(client.embed(model="tiny", input=TEXTS)["embeddings"], vectors)
    _equal(client.embeddings(model="tiny", prompt=TEXTS[0])["embedding"], vectors[0])
    assert any(model["model"] == "tiny" for model in client.list()["models"])
    with pytest.raises(ollama.ResponseError, match="not served here"):
        client.embed(model="nope", input="a")


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritonclient(server: Running, vectors: Any, is_binary: bool) -> None:
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(url=server.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    tensor = triton.InferInput("text", [len(TEXTS)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in TEXTS], object), binary_data=is_binary)
    wanted = triton.InferRequestedOutput("embedding", binary_data=is_binary)
    answer = client.infer("tiny", [tensor], outputs=[wanted])
    _equal(answer.as_numpy("embedding"), vectors)


def test_baseten_performance_client(server: Running, vectors: Any, reranker: Reranker) -> None:
    baseten = pytest.importorskip("baseten_performance_client")
    client = baseten.PerformanceClient(base_url=server.url, api_key="x")
    answer = client.embed(input=TEXTS, model="tiny")
    _equal([datum.embedding for datum in answer.data], vectors)
    scores = reranker.predict([("the cat", text) for text in TEXTS], activation_fn="sigmoid")
    ranked = client.rerank(query="the cat", texts=TEXTS)
    assert {rank.index: rank.score for rank in ranked.data} == pytest.approx(dict(enumerate(scores.tolist())), abs=1e-5)


ELSEWHERE = {
    "llama_index": """
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
model = TextEmbeddingsInference(model_name="tiny", base_url=URL, text_instruction="", query_instruction="")
print(json.dumps(model.get_text_embedding_batch(TEXTS)))
""",
    "pymilvus": """
from pymilvus.model.dense import TEIEmbeddingFunction
print(json.dumps([row.tolist() for row in TEIEmbeddingFunction(api_url=URL).encode_documents(TEXTS)]))
""",
    "infinity_client": """
from infinity_client import Client
from infinity_client.api.default import embeddings, models, rerank
from infinity_client.models import OpenAIEmbeddingInputText, RerankInput
client = Client(base_url=URL)
assert "tiny" in [card.id for card in models.sync(client=client).data]
body = RerankInput(query="the cat", documents=TEXTS, return_documents=True)
assert rerank.sync(client=client, body=body).results[0].document in TEXTS
data = embeddings.sync(client=client, body=OpenAIEmbeddingInputText(input_=TEXTS)).data
print(json.dumps([datum.embedding for datum in data]))
""",
}


@pytest.mark.parametrize("client", ELSEWHERE)
def test_clients_of_another_environment(server: Running, vectors: Any, client: str) -> None:
    _equal(_elsewhere(ELSEWHERE[client], server.url), vectors)


def test_haystacks_ranker(server: Running, reranker: Reranker) -> None:
    scores = reranker.predict([("the cat", text) for text in TEXTS], activation_fn="sigmoid")
    got = _elsewhere(
        """
from haystack import Document
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
ranker = HuggingFaceTEIRanker(url=URL, raw_scores=False)
documents = ranker.run(query="the cat", documents=[Document(content=text) for text in TEXTS])["documents"]
print(json.dumps({document.content: document.score for document in documents}))
""",
        server.url,
    )
    assert got == pytest.approx(dict(zip(TEXTS, scores.tolist(), strict=True)), abs=1e-5)


def _elsewhere(program: str, url: str) -> Any:
    """What the program prints, in the interpreter that SEMEME_CLIENTS_PYTHON names, or in this one."""
    python = os.environ.get("SEMEME_CLIENTS_PYTHON", sys.executable)
    head = f"import json\nURL = {url!r}\nTEXTS = {TEXTS!r}\n"
    done = subprocess.run([python, "-c", head + program], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode and done.stderr.splitlines()[-1].startswith(("ImportError", "ModuleNotFoundError")):
        pytest.skip(f"not there: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
