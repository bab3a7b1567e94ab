"""The heads that give learned sparse vectors, as a checkpoint's files describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.contents import CheckpointFiles
from sememe.checkpoints.json_files import ModuleEntry, read_json
from sememe.checkpoints.pickled import read_pickled
from sememe.checkpoints.recipe import Recipe
from sememe.checkpoints.safetensors import read_safetensors
from sememe.checkpoints.steps import Projection
from sememe.checkpoints.token_heads import TokenVectors, TokenWeights, VocabularyWeights
from sememe.errors import CheckpointError, UnsupportedCheckpoint

_SPLADE_MODULES = (["MLMTransformer", "SpladePooling"], ["Transformer", "SpladePooling"])


def has_bge_m3_heads(files: CheckpointFiles) -> bool:
    """Whether the folder has the two small head files of BGE-M3."""
    return all((files.folder / name).is_file() for name in ("sparse_linear.pt", "colbert_linear.pt"))


def bge_m3_heads(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """BGE-M3's `sparse_linear.pt` and `colbert_linear.pt` beside its dense vector.

    Source of the weights: FlagEmbedding's `compute_score`, which counts all three alike unless told.
    """
    width = files.config.hidden_size
    n_out = read_pickled(files.folder / "colbert_linear.pt")["weight"].shape[0]
    projection = Projection("colbert_linear", width, n_out, has_bias=True, activation="identity")
    return replace(
        recipe,
        sparse=TokenWeights("sparse_linear", width, files.special_ids(unknown=True)),
        multi_vector=TokenVectors((projection,), drop_first=True, mean_over_query=True),
        score_weights={"dense": 1.0, "sparse": 1.0, "multi_vector": 1.0},
    )


def has_token_classifier(files: CheckpointFiles) -> bool:
    """Whether the model comes with a classifier of tokens that has one label, as GTE multilingual does."""
    return files.is_class("ForTokenClassification") and "classifier.weight" in files.tensors and files.n_labels == 1


def token_classifier_head(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """GTE multilingual's token classifier as sparse weights. Source: its card's `gte_embedding.py`, weights too."""
    head = TokenWeights("classifier", files.config.hidden_size, files.special_ids(unknown=True))
    return replace(recipe, sparse=head, score_weights={"dense": 1.0, "sparse": 0.1})


def splade(recipe: Recipe, files: CheckpointFiles, modules: Sequence[ModuleEntry]) -> Recipe:
    """A masked language model and SPLADE pooling, as modules.json lists them."""
    kinds = [module.kind for module in modules]
    if kinds not in _SPLADE_MODULES:
        raise UnsupportedCheckpoint(
            "modules.json", "modules", got=", ".join(kinds), expected="MLMTransformer (or Transformer), SpladePooling"
        )
    return with_splade(recipe, files, splade_head(files, files.folder / modules[1].path / "config.json"))


def with_splade(recipe: Recipe, files: CheckpointFiles, head: VocabularyWeights) -> Recipe:
    """The recipe with that head; its similarity is the dot product where no file says."""
    return replace(recipe, sparse=head, similarity=recipe.similarity if files.says_similarity else "dot")


def splade_head(files: CheckpointFiles, pooling: Path | None) -> VocabularyWeights:
    """A masked-language-model head and SPLADE pooling; pooling: the module's config.json, None for the usual."""
    said: dict[str, Any] = {} if pooling is None else read_json(pooling, required=True)
    strategy, activation = said.get("pooling_strategy", "max"), said.get("activation_function", "relu")
    if strategy not in ("max", "sum"):
        raise UnsupportedCheckpoint(str(pooling), "pooling_strategy", got=strategy, expected="max or sum")
    if activation not in ("relu", "log1p_relu"):
        raise UnsupportedCheckpoint(str(pooling), "activation_function", got=activation, expected="relu or log1p_relu")
    # ModernBERT's transformation is the same before its classifier and before its decoder, and its biases may be off.
    is_modernbert = "mlm.dense.weight" not in files.tensors and "classifier_norm.weight" in files.tensors
    transform = ("classifier_dense", "classifier_norm") if is_modernbert else ("mlm.dense", "mlm.norm")
    biases = {*(f"{name}.bias" for name in transform), "mlm.decoder.bias"}
    if f"{transform[0]}.weight" not in files.tensors:
        raise CheckpointError(
            f"{files.body} has no masked-language-model head, which SPLADE needs; config.json names "
            f"{', '.join(files.architectures) or 'no class'}."
        )
    return VocabularyWeights(
        hidden_size=files.config.hidden_size,
        vocab_size=files.config.vocab_size,
        activation=files.config.classifier_activation if is_modernbert else files.config.activation,
        eps=files.config.eps,
        transform=transform,
        biases=frozenset(biases & files.tensors if is_modernbert else biases),
        # A stored decoder is the word table once more; the reference ties them whatever the file holds.
        decoder_is_tied=bool(files.raw.get("tie_word_embeddings", True)),
        strategy="max" if strategy == "max" else "sum",
        twice=activation == "log1p_relu",
        max_active=files.settings.get("max_active_dims"),
    )


def static_queries(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """A router: documents through the model and SPLADE pooling, queries by a table of fixed weights."""
    router = read_json(files.folder / "router_config.json", required=True)
    kinds = {path: kind.rsplit(".", 1)[-1] for path, kind in router["types"].items()}
    queries, documents = (router["structure"].get(role, []) for role in ("query", "document"))
    if [kinds[path] for path in queries] != ["SparseStaticEmbedding"] or [
        kinds[path] for path in documents
    ] not in _SPLADE_MODULES:
        raise UnsupportedCheckpoint(
            "router_config.json",
            "structure",
            got={role: [kinds[path] for path in paths] for role, paths in router["structure"].items()},
            expected="query: SparseStaticEmbedding, document: MLMTransformer and SpladePooling",
        )
    head = splade_head(files, files.folder / documents[1] / "config.json")
    weights = _query_weights(files, files.folder / queries[0])
    return with_splade(recipe, files, replace(head, query_weights=weights))


def _query_weights(files: CheckpointFiles, folder: Path) -> NDArray[np.float32]:
    """(V,) fixed weights of queries: the module's tensor, or `idf.json` by token."""
    n_words: int = files.config.vocab_size
    if (folder / "model.safetensors").is_file():
        weights = read_safetensors(folder / "model.safetensors")["weight"].float32().reshape(-1)
        if len(weights) > n_words:
            raise CheckpointError(f"{folder}: {len(weights)} weights of queries, but the model has {n_words} words.")
        return np.pad(weights, (0, n_words - len(weights)))
    by_token = read_json(files.folder / "idf.json", required=True)
    weights = np.zeros(n_words, np.float32)
    for token, value in by_token.items():
        if (token_id := files.tokenizer.token_id(token)) is None:
            raise CheckpointError(f"{files.folder / 'idf.json'} names {token!r}, which the tokenizer does not have.")
        weights[token_id] = value
    return weights
