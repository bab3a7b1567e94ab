"""What a call may say about prompts, instructions, examples and tasks, and what each becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import engines
import specimens
from reference import bge_en_icl, maths, nv_embed, pooling
from sememe.checkpoints.templates import fill
from sememe.engine.engine import Engine
from sememe.errors import InputError
from sememe.records import EmbedOptions

TASK = "Find the passage that explains it"
WEB = "Given a web search query, retrieve relevant passages that answer the query"
TEXTS = ("How do refunds work?", "", "the dog and the fox, " * 40)


def _engine(kind: str, folder: Path, like: str, **overrides: Any) -> Engine:
    return engines.engine(specimens.make(kind, folder, sigma=0.3, **overrides), like=like, allow_pickle=True)


def _text(engine: Engine, ids: Any) -> str:
    return engine.checkpoint.tokenizer.decode([int(i) for i in ids])


def _vector(engine: Engine, text: str, **options: Any) -> engines.Vectors:
    return engines.dense(engine, [text], options)[0]


# ── a task in words ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instruction_is_filled_into_the_queries_prompt(tmp_path: Path) -> None:
    engine = _engine("qwen3", tmp_path, "Qwen/Qwen3-Embedding-0.6B")
    whole = _vector(engine, f"Instruct: {TASK}\nQuery:what is it?", prompt="")
    np.testing.assert_array_equal(_vector(engine, "what is it?", role="query", instruction=TASK), whole)
    np.testing.assert_array_equal(_vector(engine, "what is it?", instruction=TASK), whole)
    usual = _vector(engine, f"Instruct: {WEB}\nQuery:what is it?", prompt="")
    np.testing.assert_array_equal(_vector(engine, "what is it?", role="query"), usual)


def test_a_model_without_a_prompt_of_its_own_takes_the_usual_one_for_queries(tmp_path: Path) -> None:
    engine = _engine("e5_instruct", tmp_path, "intfloat/multilingual-e5-large-instruct")
    usual = _vector(engine, f"Instruct: {WEB}\nQuery: what is it?", prompt="")
    np.testing.assert_array_equal(_vector(engine, "what is it?", role="query"), usual)
    np.testing.assert_array_equal(_vector(engine, "what", role="document"), _vector(engine, "what"))


def test_queries_with_any_instruction_share_the_documents_space(tmp_path: Path) -> None:
    engine = _engine("qwen3", tmp_path, "Qwen/Qwen3-Embedding-0.6B")
    document = engine.fingerprint(EmbedOptions(role="document"))
    for options in ({"role": "query"}, {"role": "query", "instruction": TASK}, {"instruction": TASK}, {"prompt": ""}):
        assert engine.fingerprint(EmbedOptions(**options)) == document, options  # type: ignore[arg-type]
    assert engine.fingerprint(EmbedOptions(prompt="other: ")) != document


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instruction": TASK, "role": "document"}, "documents are embedded bare"),
        ({"instruction": TASK, "prompt": "x"}, "not both"),
        ({"instruction": TASK, "prompt_name": "query"}, "not both"),
        ({"examples": (("q", "a"),)}, "takes no examples"),
        ({"task": "separation"}, "'separation' is not one of this model's; it has none"),
    ],
    ids=str,
)
def test_what_the_model_cannot_take_is_refused(options: Any, message: str, tmp_path: Path) -> None:
    engine = _engine("qwen3", tmp_path, "Qwen/Qwen3-Embedding-0.6B", num_hidden_layers=1)
    with pytest.raises(InputError, match=message):
        engine.embed(["a"], EmbedOptions(**options))


def test_a_model_without_instructions_says_what_it_has(tmp_path: Path) -> None:
    engine = engines.engine(specimens.make("bert", tmp_path, prompts={"query": "q: "}))
    with pytest.raises(InputError, match="takes no instruction; it has the prompts 'query'"):
        engine.embed(["a"], EmbedOptions(instruction=TASK))


def test_the_files_prompt_is_not_shadowed_by_the_catalogues_name_for_it(tmp_path: Path) -> None:
    """A file that calls it `passage` wins over an empty `document` of the catalogue."""
    folder = specimens.make("mxbai", tmp_path, prompts={"query": "q: ", "passage": "p: "})
    recipe = engines.engine(folder, like="mixedbread-ai/mxbai-embed-large-v1").checkpoint.recipe
    assert (recipe.role_prompt("query"), recipe.role_prompt("document")) == ("q: ", "p: ")


def test_values_with_braces_stay_what_they_are() -> None:
    assert fill("{task}: {query} {other}", task="{query}", query="{task}") == "{query}: {task} {other}"


# ── INSTRUCTOR ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["instructor", "instructor_published"])
def test_instructors_instruction_is_seen_but_not_in_the_mean(kind: str, tmp_path: Path) -> None:
    """Both stripped, joined without a blank, the instruction's tokens less its `</s>` left out of the mean."""
    engine = _engine(kind, tmp_path, "hkunlp/instructor-base")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    instruction = "Represent the question for retrieving documents:"
    n_prompt = len(tokenizer.encode(instruction).ids) - 1
    for text in ("How do refunds work?", "x"):
        ids = tokenizer.encode(instruction + text).ids
        hidden = specimens.reference_hidden(tmp_path, [ids], dtype=torch.float64)[0]
        expected = pooling.embed(tmp_path, hidden, n_prompt)
        for role in (None, "query", "document"):
            got = _vector(engine, f"  {text} ", instruction=f" {instruction} ", role=role)
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    plain = pooling.embed(tmp_path, specimens.reference_hidden(tmp_path, [tokenizer.encode("x").ids])[0])
    np.testing.assert_allclose(_vector(engine, "x"), plain, atol=1e-5)


# ── NV-Embed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nv_embed_leaves_the_instructions_last_token_in_the_mean(tmp_path: Path) -> None:
    engine = _engine("nvembed", tmp_path, "nvidia/NV-Embed-v2")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    prompt = f"Instruct: {TASK}\nQuery: "
    n_instruction = len(tokenizer.encode(prompt, add_special_tokens=False).ids)
    ids = [*tokenizer.encode(f"{prompt}How do refunds work?").ids, tokenizer.token_to_id("</s>")]
    hidden = specimens.reference_hidden(tmp_path, [ids], dtype=torch.float64)[0]
    expected = maths.l2(nv_embed.pooled(hidden, n_instruction))
    got = _vector(engine, "How do refunds work?", instruction=TASK)
    np.testing.assert_allclose(got / np.linalg.norm(got), expected, atol=1e-5)
    tokens = engine.tokenize(["How do refunds work?"], EmbedOptions(instruction=TASK))[0]
    assert (tokens.n_prompt, tokens.ids.tolist()) == (n_instruction, ids)
    assert engine.tokenize(["a"], EmbedOptions(role="document"))[0].n_prompt == 0


# ── bge-en-icl ───────────────────────────────────────────────────────────────────────────────────────────────────────

EXAMPLES = (("what is a fox", "an animal"), ("what is {query}", "a {response} in braces"))


@pytest.fixture(scope="module")
def icl(specimen_folder: Path) -> Engine:
    return _engine("bge_en_icl", specimen_folder / "icl", "BAAI/bge-en-icl", max_position_embeddings=1024)


def _icl_ids(folder: Path, query: str, examples: Any, limit: int) -> list[int]:
    """As FlagEmbedding: task and query cut together, read again between examples and suffix."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def bare(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    whole = bge_en_icl.query_text(TASK, query, examples)
    asked = bge_en_icl.query_text(TASK, query).removesuffix("\n<response>")
    prefix = whole.removesuffix(asked + "\n<response>")
    room = limit - len(bare("<s>")) - len(bare("\n<response></s>"))
    if len(bare(asked)) > room:
        asked = tokenizer.decode(bare(asked)[:room], skip_special_tokens=False)
    longest = bge_en_icl.prompt_max_tokens(len(bare(prefix)), len(bare("\n<response>")), limit)
    ids = bare(prefix + asked + "\n<response>")
    return [tokenizer.token_to_id("<s>"), *ids[: longest - 2], tokenizer.token_to_id("</s>")]


@pytest.mark.parametrize("examples", [(), EXAMPLES[:1], EXAMPLES], ids=len)
@pytest.mark.parametrize("text", TEXTS, ids=len)
@pytest.mark.parametrize("limit", [64, 512])
def test_examples_stand_before_the_query(icl: Engine, text: str, examples: Any, limit: int) -> None:
    options = EmbedOptions(role="query", instruction=TASK, examples=examples, max_tokens=limit)
    tokens = icl.tokenize([text], options)[0]
    assert tokens.ids.tolist() == _icl_ids(icl.checkpoint.folder, text, examples, limit)
    assert (tokens.n_dropped > 0) == (len(text) > 500 and limit == 64)


def test_examples_change_the_vector_and_not_the_space(icl: Engine) -> None:
    plain, shown = ({"role": "query", "instruction": TASK, "examples": e} for e in ((), EXAMPLES))
    assert np.abs(_vector(icl, "a fox", **plain) - _vector(icl, "a fox", **shown)).max() > 0.01
    fingerprints = {icl.fingerprint(EmbedOptions(**options)) for options in (plain, shown, {"role": "document"})}  # type: ignore[arg-type]
    assert len(fingerprints) == 1


def test_examples_never_reach_past_the_models_positions(icl: Engine) -> None:
    many = tuple((f"question {i}", "an answer of some length, " * 4) for i in range(200))
    with pytest.raises(InputError, match="leaves no room"):
        icl.tokenize(["a"], EmbedOptions(instruction=TASK, examples=many))
    some = many[:12]
    tokens = icl.tokenize([TEXTS[2] * 3], EmbedOptions(instruction=TASK, examples=some))[0]
    assert len(tokens) <= 1024
    assert _text(icl, tokens.ids).rstrip().endswith("<response>") or tokens.ids[-2] != tokens.ids[-1]
    assert tokens.n_dropped > 0
    assert np.isfinite(_vector(icl, TEXTS[2] * 3, instruction=TASK, examples=some)).all()


# ── jina v3 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_chooses_adapter_and_prompt_together(tmp_path: Path) -> None:
    engine = _engine("jina_v3", tmp_path, "jinaai/jina-embeddings-v3")
    by_role = {"query": "retrieval.query", "document": "retrieval.passage"}
    for role, task in by_role.items():
        np.testing.assert_array_equal(_vector(engine, "a fox", role=role), _vector(engine, "a fox", task=task))
        assert engine.fingerprint(EmbedOptions(role=role)) == engine.fingerprint(EmbedOptions(task=task))  # type: ignore[arg-type]
    recipe = engine.checkpoint.recipe
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    seen = []
    for task in (None, *recipe.adapters):
        ids = tokenizer.encode(recipe.prompts.get(task or "", "") + "a fox").ids
        hidden = specimens.reference_hidden(tmp_path, [ids], task=task, dtype=torch.float64)[0]
        expected = pooling.embed(tmp_path, hidden)
        got = _vector(engine, "a fox", task=task)
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
        seen.append(engine.fingerprint(EmbedOptions(task=task)))
    assert len(set(seen)) == len(seen) - 1  # the two roles' tasks are one space
    with pytest.raises(InputError, match=r"'translation' is not one of this model's; it has 'retrieval\.query'"):
        engine.embed(["a"], EmbedOptions(task="translation"))
    with pytest.raises(InputError, match="without role"):
        engine.embed(["a"], EmbedOptions(task="separation", role="query"))


# ── widths ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nomics_layer_norm_stands_before_the_cut_and_nowhere_else(tmp_path: Path) -> None:
    engine = _engine("nomic_v1_5", tmp_path, "nomic-ai/nomic-embed-text-v1.5")
    whole = _vector(engine, "a fox")
    centred = whole - whole.mean()
    normed = centred / np.sqrt(np.square(centred).mean() + 1e-5)
    np.testing.assert_allclose(_vector(engine, "a fox", dimensions=16), normed[:16], atol=1e-5)
    np.testing.assert_allclose(
        _vector(engine, "a fox", dimensions=16, normalize=True), maths.l2(normed[:16]), atol=1e-6
    )
    np.testing.assert_array_equal(_vector(engine, "a fox", dimensions=36), whole)
    v1 = _engine("nomic_v1", tmp_path / "v1", "nomic-ai/nomic-embed-text-v1")
    np.testing.assert_allclose(_vector(v1, "a", dimensions=16), maths.l2(_vector(v1, "a")[:16]), atol=1e-6)
