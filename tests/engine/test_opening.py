"""Words about how a model is used: read, refused, and what they do to a folder whose files do not say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import specimens
from sememe import Embedder
from sememe.engine.opening import check_recipe, open_embedder, open_reranker, qualify_recipe
from sememe.errors import CheckpointError, InputError
from sememe.records import EmbedOptions


def test_a_word_without_a_name_is_about_the_only_model() -> None:
    words = ["like=BAAI/bge-m3", "query=to: do=x", "other/model:pooling=mean", "document=a:query=b"]
    assert qualify_recipe(words, ["mine"]) == (
        "mine:like=BAAI/bge-m3",
        "mine:query=to: do=x",
        "other/model:pooling=mean",
        "mine:document=a:query=b",
    )


@pytest.mark.parametrize(
    ("words", "models", "message"),
    [
        (["pooling=mean"], ["a", "b"], "does not say which of a, b it is about"),
        (["pool=mean"], ["a"], "keys are like, pooling"),
        (["c:pooling=mean"], ["a"], "about c, which is not among a"),
        (["pooling=middle"], ["a"], "expected one of cls, mean"),
        (["normalize=perhaps"], ["a"], "expected one of true, false"),
        (["max_tokens=many"], ["a"], "expected a whole number"),
        (["pooling=mean", "a:pooling=cls"], ["a"], "something twice about a"),
    ],
)
def test_what_means_nothing_is_refused(words: list[str], models: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_recipe(qualify_recipe(words, models), models)


@pytest.fixture(scope="module")
def bare(specimen_folder: Path) -> Path:
    """A checkpoint whose files do not say how its hidden states become a vector."""
    return specimens.make("bert", specimen_folder / "bare", modules=None, sigma=0.3)


def test_a_bare_folder_is_used_as_the_words_say(bare: Path) -> None:
    with pytest.raises(CheckpointError, match="--recipe like=MODEL"):
        open_embedder(str(bare), precision="float32")
    words = qualify_recipe(
        ["pooling=mean", "query=ask: ", "document=", "normalize=true", "max_tokens=9", "similarity=dot"], [str(bare)]
    )
    ours = open_embedder(str(bare), [*words, "another:pooling=cls"], precision="float32")
    plain = Embedder(bare, pooling="mean", normalize=True, max_seq_length=9, precision="float32")
    assert (ours.max_tokens, ours.similarity_fn_name) == (9, "dot")
    for role, text in (("query", "ask: the dog"), ("document", "the dog")):
        found = ours.embed(["the dog"], EmbedOptions(role=role)).dense
        assert found is not None
        np.testing.assert_allclose(found, plain.encode([text]), atol=1e-6)


def test_words_about_vectors_mean_nothing_to_a_reranker(tmp_path: Path) -> None:
    folder = str(specimens.make("modernbert_reranker", tmp_path))
    with pytest.raises(InputError, match="pooling says nothing about a reranker"):
        open_reranker(folder, qualify_recipe(["pooling=mean"], [folder]))
    assert open_reranker(folder, qualify_recipe(["max_tokens=20"], [folder])).max_length == 20
