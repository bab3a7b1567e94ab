"""`Embedder` as users meet it: beside sentence-transformers on a specimen and on the real all-MiniLM-L6-v2."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import specimens
from engines import Vectors
from sememe import Embedder
from sememe.errors import InputError, NotFound
from sememe.records import EmbedOptions, TextEmbedder
from sememe.samples import QUESTIONS, passages

PROMPTS = {"query": "query: ", "passage": "passage: "}
TEXTS = [*specimens.CORPUS, "", specimens.CORPUS[0]]


@pytest.fixture(scope="module")
def folder(specimen_folder: Path) -> Path:
    return specimens.make(
        "bert", specimen_folder / "embedder", sigma=0.3, num_hidden_layers=1, prompts=PROMPTS, normalize=False
    )


@pytest.fixture(scope="module")
def ours(folder: Path) -> Iterator[Embedder]:
    made = Embedder(folder, precision="float32", n_threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def theirs(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def _near(got: Any, expected: Any, limit: float = 1e-5) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert np.abs(got - expected).max() <= limit * np.abs(expected).max()


# ── the interface that users' hands know ─────────────────────────────────────────────────────────────────────────────


def test_encode_has_the_names_order_and_defaults_of_sentence_transformers() -> None:
    known = inspect.signature(SentenceTransformer.encode).parameters
    mine = inspect.signature(Embedder.encode).parameters
    left_out = {"pool", "chunk_size", "kwargs"}  # processes of their own; unknown names are an error here
    added = {name for name, p in mine.items() if p.kind == inspect.Parameter.KEYWORD_ONLY}
    assert [name for name in mine if name not in added] == [name for name in known if name not in left_out]
    assert {name: p.default for name, p in mine.items() if name not in added} == {
        name: known[name].default for name in mine if name not in added
    }


def test_a_model_is_made_with_sentence_transformers_arguments() -> None:
    known = inspect.signature(SentenceTransformer.__init__).parameters
    mine = inspect.signature(Embedder.__init__).parameters
    same = "device prompts default_prompt_name cache_folder revision local_files_only token similarity_fn_name truncate_dim"
    for name in same.split():
        assert mine[name].default == known[name].default, name
        assert mine[name].kind == known[name].kind == inspect.Parameter.KEYWORD_ONLY, name
    assert list(mine)[1] == list(known)[1] == "model_name_or_path"


def test_similarity_takes_the_names_of_sentence_transformers() -> None:
    for name in ("similarity", "similarity_pairwise"):
        known = inspect.signature(getattr(SentenceTransformer, name)).parameters
        assert list(inspect.signature(getattr(Embedder, name)).parameters) == [*known, "weights"]


def test_it_is_a_text_embedder(ours: Embedder, folder: Path) -> None:
    embedder: TextEmbedder = ours
    assert embedder.name == str(folder)
    assert embedder.revision.startswith("sha256:")
    assert (embedder.dimension, embedder.max_tokens) == (36, 32)
    assert embedder.fingerprint() == embedder.embed(["a"]).fingerprint


def test_properties_equal_sentence_transformers(ours: Embedder, theirs: SentenceTransformer) -> None:
    assert ours.get_embedding_dimension() == theirs.get_embedding_dimension()
    assert ours.get_sentence_embedding_dimension() == 36
    assert ours.max_seq_length == theirs.max_seq_length
    assert ours.similarity_fn_name == theirs.similarity_fn_name
    assert ours.default_prompt_name == theirs.default_prompt_name
    assert {name: text for name, text in theirs.prompts.items() if text} == ours.prompts
    assert ours.device == "cpu"


# ── encode ───────────────────────────────────────────────────────────────────────────────────────────────────────────

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"prompt": "Represent: "},
    {"prompt_name": "passage"},
    {"normalize_embeddings": True},
    {"truncate_dim": 12},
    {"batch_size": 1, "show_progress_bar": False},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_encode_equals_sentence_transformers(
    arguments: dict[str, Any], ours: Embedder, theirs: SentenceTransformer
) -> None:
    _near(ours.encode(TEXTS, **arguments), theirs.encode(TEXTS, **arguments))
    _near(ours.encode(TEXTS[0], **arguments), theirs.encode(TEXTS[0], **arguments))
    assert ours.encode(TEXTS[0], **arguments).ndim == 1


def test_queries_and_documents_take_their_prompts(ours: Embedder, theirs: SentenceTransformer) -> None:
    _near(ours.encode_query(TEXTS), theirs.encode_query(TEXTS))
    _near(ours.encode_query(TEXTS, prompt=""), theirs.encode(TEXTS))
    _near(ours.encode_query(TEXTS, prompt_name="passage"), theirs.encode(TEXTS, prompt_name="passage"))
    _near(ours.encode_document(TEXTS), theirs.encode(TEXTS, prompt_name="passage"))
    _near(ours.encode_query("one"), theirs.encode_query("one"))


def test_a_default_prompt_is_not_put_before_queries(folder: Path) -> None:
    """A role without a prompt of its own takes none, as in sentence-transformers."""
    options: dict[str, Any] = {"prompts": {"sts": "same? ", "query": ""}, "default_prompt_name": "sts"}
    ours = Embedder(folder, precision="float32", n_threads=1, **options)
    theirs = SentenceTransformer(str(folder), device="cpu", **options)
    _near(ours.encode(TEXTS), theirs.encode(TEXTS))
    _near(ours.encode_query(TEXTS), theirs.encode_query(TEXTS))


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_smaller_numbers_equal_sentence_transformers(
    precision: Any, ours: Embedder, theirs: SentenceTransformer
) -> None:
    got, expected = (model.encode(TEXTS, precision=precision) for model in (ours, theirs))
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if "binary" in precision:
        assert np.unpackbits((got ^ expected).view(np.uint8)).mean() < 0.001
    else:
        assert np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_steps_for_one_text_need_ranges(precision: Any, ours: Embedder) -> None:
    with pytest.raises(InputError, match="ranges="):
        ours.encode("one", precision=precision)


def test_no_texts_give_no_rows(ours: Embedder) -> None:
    for precision, width in (("float32", 36), ("int8", 36), ("ubinary", 5)):
        assert ours.encode([], precision=precision).shape == (0, width)  # type: ignore[arg-type]


def test_tensors_when_asked_for(ours: Embedder) -> None:
    tensors = ours.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensors, torch.Tensor)
    np.testing.assert_array_equal(tensors.numpy(), ours.encode(TEXTS))
    assert ours.encode("one", convert_to_tensor=True).shape == (36,)


def test_a_width_given_when_made_holds_for_every_call(folder: Path) -> None:
    ours = Embedder(folder, precision="float32", n_threads=1, truncate_dim=10)
    theirs = SentenceTransformer(str(folder), device="cpu", truncate_dim=10)
    assert ours.dimension == theirs.get_embedding_dimension() == 10
    _near(ours.encode(TEXTS), theirs.encode(TEXTS))
    _near(ours.encode(TEXTS, truncate_dim=20), theirs.encode(TEXTS, truncate_dim=20))


def test_a_cut_of_a_model_that_normalises_has_length_one(specimen_folder: Path) -> None:
    """On purpose unlike sentence-transformers, whose cut vectors are shorter."""
    folder = specimens.make("bert", specimen_folder / "normalising", sigma=0.3, num_hidden_layers=1)
    cut = Embedder(folder, precision="float32", n_threads=1).encode(TEXTS, truncate_dim=12)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, truncate_dim=12)
    np.testing.assert_allclose(cut, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), atol=1e-5)


def test_a_stream_need_not_fit_in_memory(ours: Embedder) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for i in range(10_000):
            taken += 1
            yield TEXTS[i % len(TEXTS)]

    stream = ours.embed_stream(texts(), window=50)
    first = [next(stream) for _ in range(60)]
    assert taken == 100
    _near(np.stack(first), ours.encode([TEXTS[i % len(TEXTS)] for i in range(60)]))
    assert list(ours.embed_stream([])) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"sentence": 1}, TypeError),
        ({"output_value": "token_embeddings"}, InputError),
        ({"device": "cuda"}, InputError),
        ({"truncate_dim": 37}, InputError),
        ({"truncate_dim": 0}, InputError),
        ({"precision": "int4"}, InputError),
        ({"prompt_name": "web"}, InputError),
        ({"prompt_name": "query", "prompt": "x"}, InputError),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(arguments: Any, error: type[Exception], ours: Embedder) -> None:
    for method in (ours.encode, ours.encode_query, ours.encode_document):
        with pytest.raises(error):
            method(["a"], **arguments)


@pytest.mark.parametrize("inputs", [3, None, [1], [["nested"]], {"text": "a"}, b"bytes"], ids=str)
def test_inputs_that_are_no_texts_are_refused(inputs: Any, ours: Embedder) -> None:
    with pytest.raises(InputError, match="expected"):
        ours.encode(inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "onnx"}, "'onnx' is not one of auto, openvino, torch"),
        ({"precision": "fp8"}, "'fp8' is not one of auto"),
        ({"device": "tpu"}, "'tpu' is not one of auto, cpu, cuda"),
        ({"truncate_dim": 400}, "truncate_dim is 400"),
        ({"default_prompt_name": "web"}, "'web' is not one of"),
        ({"backend": "torch", "precision": "int8"}, "int8 runs on the openvino backend"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(arguments: Any, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        Embedder(folder, **arguments)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        Embedder(tmp_path / "nowhere")


def test_tokenize_shows_what_the_model_sees(ours: Embedder, theirs: SentenceTransformer) -> None:
    tokens = ours.tokenize(TEXTS)
    expected = theirs.tokenizer(TEXTS, truncation=True, max_length=32)["input_ids"]
    assert [t.ids.tolist() for t in tokens] == expected
    assert len(ours.tokenize(["a"], EmbedOptions(role="query"))[0]) > len(ours.tokenize(["a"])[0])


# ── similarity ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("function", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_equals_sentence_transformers(function: Any, folder: Path) -> None:
    ours = Embedder(folder, precision="float32", n_threads=1, similarity_fn_name=function)
    theirs = SentenceTransformer(str(folder), device="cpu", similarity_fn_name=function)
    a, b = ours.encode(TEXTS[:9]), ours.encode(TEXTS[5:14])
    for left, right in ((a, b), (a[0], b), (a, b[0]), (torch.from_numpy(a), b.tolist())):
        expected = theirs.similarity(np.asarray(left, np.float32), np.asarray(right, np.float32)).numpy()
        _near(ours.similarity(left, right), expected)
    expected = theirs.similarity_pairwise(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    _near(ours.similarity_pairwise(a, b), expected)


# ── what a process loads, and whom it calls ──────────────────────────────────────────────────────────────────────────

FORBIDDEN = (
    "torch",
    "transformers",
    "sentence_transformers",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "huggingface_hub",
)
_PROGRAM = """
import json, sys
calls = []
sys.addaudithook(lambda event, args: calls.append(event) if event in
    ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system") else None)
from sememe import Embedder
model = Embedder(sys.argv[1], n_threads=1)
vectors = model.encode(["hello", "a second text"])
model.similarity(vectors, vectors)
model.close()
print(json.dumps({"modules": sorted({name.split(".")[0] for name in sys.modules}), "calls": calls}))
"""


def test_the_openvino_path_loads_no_torch_and_calls_nobody(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, str(folder)], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert "openvino" in seen["modules"]
    assert not set(seen["modules"]) & set(FORBIDDEN)
    assert not seen["calls"], "a telemetry or version call leaves the process"
    assert not done.stderr


# ── the real model ───────────────────────────────────────────────────────────────────────────────────────────────────


def _real_texts() -> list[str]:
    """500 texts of every length: passages cut short, their sentences, one longer than the window, and none."""
    whole = [document.text for document in passages()]
    beginnings = [" ".join(text.split()[: 4 + i % 26]) for i, text in enumerate(whole)]
    sentences = [part.strip() for text in whole for part in text.split(". ") if len(part) > 20]
    return [*beginnings, *sentences[:236], *whole[:8], *QUESTIONS, "", " ".join(whole[:6]), " ".join(whole[6:10])]


@pytest.fixture(
    scope="module", params=[pytest.param(1, marks=pytest.mark.slow, id="500 texts"), pytest.param(10, id="50 texts")]
)
def real(minilm_path: Path, request: pytest.FixtureRequest) -> tuple[list[str], Vectors]:
    """Texts, and what sentence-transformers gives for them in float32."""
    texts = _real_texts()
    assert len(texts) == 500
    texts = texts[request.param - 1 :: request.param]  # the last one, longer than the window, is among them
    return texts, SentenceTransformer(str(minilm_path), device="cpu").encode(texts, batch_size=64)


@pytest.mark.weights
def test_minilm_equals_sentence_transformers_in_float32(minilm_path: Path, real: tuple[list[str], Vectors]) -> None:
    texts, expected = real
    model = Embedder(minilm_path, precision="float32", n_threads=1)
    assert (model.dimension, model.max_tokens) == (384, 256)
    got = model.encode(texts)
    assert np.abs(got - expected).max() <= 1e-5
    alone = np.stack([model.encode(text) for text in texts[::20]])
    assert np.abs(alone - got[::20]).max() <= 1e-6


@pytest.mark.weights
def test_minilm_on_torch_equals_sentence_transformers(minilm_path: Path, real: tuple[list[str], Vectors]) -> None:
    texts, expected = real
    got = Embedder(minilm_path, backend="torch", precision="float32", n_threads=1).encode(texts[:100])
    assert np.abs(got - expected[:100]).max() <= 1e-5


@pytest.mark.weights
@pytest.mark.parametrize(("precision", "smallest", "mean"), [("bfloat16", 0.9995, 0.9998), ("int8", 0.99, 0.998)])
def test_minilm_in_low_precision(
    precision: str, smallest: float, mean: float, minilm_path: Path, real: tuple[list[str], Vectors]
) -> None:
    texts, expected = real
    model = Embedder(minilm_path, precision=precision, n_threads=1)
    if precision == "bfloat16" and not model.loaded.backend.has_bfloat16:
        pytest.skip("this processor has no bfloat16: float32 is computed, and said")
    assert model.loaded.precision.precision == precision
    cosines = np.einsum("nd,nd->n", model.encode(texts), expected)
    assert cosines.min() >= smallest
    assert cosines.mean() >= mean
    assert model.loaded.verdict.mean_cosine >= mean


@pytest.mark.slow
@pytest.mark.weights
def test_minilm_finds_the_passage_that_answers(minilm_path: Path) -> None:
    model = Embedder(minilm_path, n_threads=1, max_seq_length=64)
    texts = [document.text for document in passages()]
    scores = model.similarity(model.encode_query(list(QUESTIONS)), model.encode_document(texts))
    for question, best in zip(QUESTIONS, scores.argmax(1), strict=True):
        words = {"movable type": "print", "Newgate": "prison", "rifle": "rifle"}
        (expected,) = [word for key, word in words.items() if key in question]
        assert expected in texts[best].lower()
