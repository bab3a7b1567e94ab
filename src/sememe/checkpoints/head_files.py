"""The heads of sparse, multi-vector and pair outputs, as a checkpoint's files describe them."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sememe.checkpoints.json_files import read_json
from sememe.checkpoints.pair_heads import Classifier, YesNo
from sememe.checkpoints.pickled import read_pickled
from sememe.checkpoints.token_heads import LateInteraction, TokenVectors, TokenWeights, VocabularyWeights
from sememe.errors import CheckpointError, UnsupportedCheckpoint

if TYPE_CHECKING:
    from sememe.checkpoints.modules import CheckpointFiles
    from sememe.checkpoints.recipe import Recipe

# Lengths where a ColBERT checkpoint does not say: of the original repository.
_QUERY_LENGTH, _DOCUMENT_LENGTH = 32, 220
# Qwen3-Reranker's prompt as on its model card; used where neither the files nor the catalogue have one.
_YES_NO_TEMPLATE = "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"


# ── sparse ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def bge_m3_heads(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """BGE-M3's `sparse_linear.pt` and `colbert_linear.pt` beside its dense vector."""
    width = files.config.hidden_size
    n_out = read_pickled(files.folder / "colbert_linear.pt")["weight"].shape[0]
    special = files.tokenizer.special
    dropped = _ids(special.cls, special.eos, special.sep, special.pad, special.unk, special.bos)
    return replace(
        recipe,
        sparse=TokenWeights("sparse_linear", width, dropped),
        multi_vector=TokenVectors("colbert_linear", width, n_out, has_bias=True, drop_first=True, mean_over_query=True),
    )


def token_classifier_head(files: CheckpointFiles) -> TokenWeights:
    """GTE multilingual's one-label token classifier. Specification: upstream's `gte_embedding.py`."""
    special = files.tokenizer.special
    return TokenWeights(
        "classifier",
        files.config.hidden_size,
        _ids(special.cls, special.eos, special.sep, special.pad, special.unk, special.bos),
    )


def splade_head(files: CheckpointFiles, pooling: Path | None) -> VocabularyWeights:
    """A masked-language-model head and SPLADE pooling; pooling: the module's config.json, None for the usual."""
    said: dict[str, Any] = {} if pooling is None else read_json(pooling, required=True)
    strategy, activation = said.get("pooling_strategy", "max"), said.get("activation_function", "relu")
    if strategy not in ("max", "sum"):
        raise UnsupportedCheckpoint(str(pooling), "pooling_strategy", got=strategy, expected="max or sum")
    if activation not in ("relu", "log1p_relu"):
        raise UnsupportedCheckpoint(str(pooling), "activation_function", got=activation, expected="relu or log1p_relu")
    endings = {
        "dense_bias": ("transform.dense.bias", "vocab_transform.bias", "lm_head.dense.bias", "head.dense.bias"),
        "norm_bias": (
            "transform.LayerNorm.bias",
            "transform.LayerNorm.beta",
            "vocab_layer_norm.bias",
            "lm_head.layer_norm.bias",
        ),
    }
    there = {what: any(files.has_tensor(ending) for ending in names) for what, names in endings.items()}
    return VocabularyWeights(
        hidden_size=files.config.hidden_size,
        vocab_size=files.config.vocab_size,
        activation=files.config.activation,
        eps=files.config.eps,
        has_norm_bias=there["norm_bias"],
        has_dense_bias=there["dense_bias"],
        # A stored decoder is the word table once more; the reference ties them whatever the file holds.
        decoder_is_tied=bool(files.raw.get("tie_word_embeddings", True)),
        strategy="max" if strategy == "max" else "sum",
        twice=activation == "log1p_relu",
    )


def static_queries(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """A router: documents through the model and SPLADE pooling, queries by a table of fixed weights."""
    router = read_json(files.folder / "router_config.json", required=True)
    kinds = {path: kind.rsplit(".", 1)[-1] for path, kind in router["types"].items()}
    queries, documents = (router["structure"].get(role, []) for role in ("query", "document"))
    if [kinds[path] for path in queries] != ["SparseStaticEmbedding"] or [kinds[path] for path in documents] != [
        "MLMTransformer",
        "SpladePooling",
    ]:
        raise UnsupportedCheckpoint(
            "router_config.json",
            "structure",
            got={role: [kinds[path] for path in paths] for role, paths in router["structure"].items()},
            expected="query: SparseStaticEmbedding, document: MLMTransformer and SpladePooling",
        )
    head = splade_head(files, files.folder / documents[1] / "config.json")
    special = files.tokenizer.special
    dropped = _ids(special.cls, special.sep, special.pad, special.bos, special.eos)
    sparse = replace(head, query_weights=_idf(files, files.folder / queries[0]), dropped=dropped)
    return replace(recipe, sparse=sparse, similarity="dot")


def _idf(files: CheckpointFiles, folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(V,) fixed weights of queries: the module's tensor, or `idf.json` by token."""
    from sememe.checkpoints.safetensors import read_safetensors

    if (folder / "model.safetensors").is_file():
        return read_safetensors(folder / "model.safetensors")["weight"].float32().reshape(-1)
    by_token = read_json(files.folder / "idf.json", required=True)
    weights = np.zeros(files.config.vocab_size, np.float32)
    for token, value in by_token.items():
        if (token_id := files.tokenizer.token_id(token)) is None:
            raise CheckpointError(f"{files.folder / 'idf.json'} names {token!r}, which the tokenizer does not have.")
        weights[token_id] = value
    return weights


# ── multi-vector ─────────────────────────────────────────────────────────────────────────────────────────────────────


def colbert_head(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """ColBERT's own layout: `linear.weight` in the main file, settings in `artifact.metadata`."""
    said = read_json(files.folder / "artifact.metadata", required=True)
    if said.get("similarity", "cosine") != "cosine":
        raise UnsupportedCheckpoint("artifact.metadata", "similarity", got=said["similarity"], expected="cosine")
    layout = LateInteraction(
        markers={
            "query": _token_id(files, said.get("query_token_id", "[unused0]")),
            "document": _token_id(files, said.get("doc_token_id", "[unused1]")),
        },
        lengths={
            "query": said.get("query_maxlen", _QUERY_LENGTH),
            "document": said.get("doc_maxlen", _DOCUMENT_LENGTH),
        },
        expansion=files.tokenizer.special.mask,
        attended=bool(said.get("attend_to_mask_tokens", False)),
        skipped=_word_ids(files, tuple(string.punctuation)) if said.get("mask_punctuation", True) else (),
    )
    head = TokenVectors("linear", files.config.hidden_size, said["dim"], has_bias=False, layout=layout)
    return replace(recipe, multi_vector=head, normalize=True, similarity="maxsim")


def token_vectors(
    recipe: Recipe, files: CheckpointFiles, modules: Sequence[tuple[str, str]], settings: Mapping[str, Any]
) -> Recipe:
    """PyLate's and sentence-transformers' layout: a Dense module over every token, no pooling."""
    from sememe.checkpoints.modules import read_projection

    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Dense"] or not set(kinds[2:]) <= {"MultiVectorMask", "Normalize"}:
        expected = "Transformer, Pooling, …; or Transformer, Dense (every token), MultiVectorMask, Normalize"
        raise UnsupportedCheckpoint("modules.json", "modules", got=", ".join(kinds), expected=expected)
    path = modules[1][1]
    dense = read_projection(files.folder / path / "config.json", path, files.config.hidden_size)
    if dense.activation != "identity":
        raise UnsupportedCheckpoint(path, "activation_function", got=dense.activation, expected="Identity")
    transformer = read_json(files.folder / modules[0][1] / "sentence_bert_config.json")
    layout = _layout(files, modules, {**settings, **transformer})
    head = TokenVectors(dense.module, dense.n_in, dense.n_out, dense.has_bias, layout=layout)
    prompts = {name: text for name, text in recipe.prompts.items() if name not in ("query", "document")}
    return replace(recipe, multi_vector=head, normalize=True, similarity="maxsim", prompts=prompts)


def _layout(files: CheckpointFiles, modules: Sequence[tuple[str, str]], said: Mapping[str, Any]) -> LateInteraction:
    """Markers, lengths, expansion and skiplist, in PyLate's flat spelling or sentence-transformers' own."""
    prompts = said.get("prompts") or {}
    expansion = said.get("query_expansion", {"attend": said.get("attend_to_expansion_tokens", False)})
    if "query_expansion" not in said and said.get("do_query_expansion") is False:
        expansion = None
    words: Sequence[str] = said.get("skiplist_words", tuple(string.punctuation))
    for kind, path in modules:
        if kind == "MultiVectorMask":
            mask = read_json(files.folder / path / "config.json")
            words = mask.get("skiplist_words") or ()
            if mask.get("keep_only_token_ids") or mask.get("skiplist_tasks", ["document"]) not in (
                "document",
                ["document"],
            ):
                raise UnsupportedCheckpoint(
                    path, "skiplist_tasks", got=mask, expected="the skiplist for documents alone"
                )
    return LateInteraction(
        markers={
            "query": _marker(files, said.get("query_prefix") or prompts.get("query")),
            "document": _marker(files, said.get("document_prefix") or prompts.get("document")),
        },
        lengths={
            "query": (expansion or {}).get("length") or said.get("query_length") or _QUERY_LENGTH,
            "document": said.get("document_length"),
        },
        expansion=None if expansion is None else files.tokenizer.special.mask,
        attended=bool((expansion or {}).get("attend", False)),
        skipped=_word_ids(files, words),
    )


def _marker(files: CheckpointFiles, text: str | None) -> int | None:
    """The id of a marker given as text: the token itself, or without the space after it."""
    if not text:
        return None
    found = files.tokenizer.token_id(text)
    return _token_id(files, text.strip()) if found is None else found


def _token_id(files: CheckpointFiles, token: str) -> int:
    token_id = files.tokenizer.token_id(token)
    if token_id is None:
        raise CheckpointError(f"{files.folder}: the marker {token!r} is not in the tokenizer's vocabulary.")
    return token_id


def _word_ids(files: CheckpointFiles, words: Sequence[str]) -> tuple[int, ...]:
    """The first token of each word, as the reference looks skipped words up."""
    plain = files.tokenizer.encode_plain(list(words)) if words else []
    return tuple(sorted({int(tokens.ids[0]) for tokens in plain if len(tokens)}))


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def classifier_head(files: CheckpointFiles) -> Classifier:
    """A sequence classifier, by the tensors that are there. Raises UnsupportedCheckpoint for another kind."""
    raw, width = files.raw, files.config.hidden_size
    n_labels = len(raw["id2label"]) if "id2label" in raw else int(raw.get("num_labels", 2))
    activation = _default_activation(files, n_labels)
    if files.has_tensor("head.norm.weight"):  # ModernBERT
        pooling: Literal["cls", "mean"] = "cls" if raw.get("classifier_pooling", "cls") == "cls" else "mean"
        has_bias = files.has_tensor("head.dense.bias")
        return Classifier(
            "classifier_dense", files.config.classifier_activation, pooling, width, n_labels, has_bias, files.config.eps
        )
    if files.has_tensor("classifier.out_proj.weight"):  # RoBERTa
        return Classifier("classifier_dense", "tanh", "cls", width, n_labels, default_activation=activation)
    if files.has_tensor("pooler.dense.weight") and files.has_tensor("classifier.weight"):
        return Classifier("pooler", "tanh", "cls", width, n_labels, default_activation=activation)
    expected = (
        "pooler and classifier (BERT, GTE), classifier.dense and .out_proj (RoBERTa), head and classifier (ModernBERT)"
    )
    raise UnsupportedCheckpoint(str(files.folder), "classifier", got="none of the known heads", expected=expected)


def _default_activation(files: CheckpointFiles, n_labels: int) -> Literal["sigmoid", "identity"]:
    """What CrossEncoder applies: what a file says, else the sigmoid for one label. Identity is the usual other."""
    raw, settings = files.raw, read_json(files.folder / "config_sentence_transformers.json")
    said = settings.get("activation_fn") or (raw.get("sentence_transformers") or {}).get("activation_fn")
    said = said or raw.get("sbert_ce_default_activation_function")
    if said is None:
        return "sigmoid" if n_labels == 1 else "identity"
    known: dict[str, Literal["sigmoid", "identity"]] = {"Identity": "identity", "Sigmoid": "sigmoid"}
    name = said.rsplit(".", 1)[-1]
    if name not in known:
        raise UnsupportedCheckpoint("config.json", "activation_fn", got=said, expected="Identity or Sigmoid")
    return known[name]


def yes_no_head(files: CheckpointFiles, module: Path | None) -> YesNo:
    """The logits of two tokens. module: sentence-transformers' LogitScore folder, which names the ids."""
    said: dict[str, Any] = {} if module is None else read_json(module / "config.json", required=True)
    templates = files.entry.recipe.templates if files.entry else {}
    task = files.entry.recipe.task if files.entry else None
    return YesNo(
        true_id=said.get("true_token_id", _single_id(files, "yes") if module is None else 0),
        false_id=said.get("false_token_id", _single_id(files, "no") if module is None else 0),
        vocab_size=files.config.vocab_size,
        hidden_size=files.config.hidden_size,
        is_tied=not files.has_tensor("lm_head.weight"),
        prefix=templates.get("prefix", ""),
        suffix=templates.get("suffix", ""),
        template=templates.get("body", _YES_NO_TEMPLATE),
        instruction=task or "Given a web search query, retrieve relevant passages that answer the query",
        default_activation=_default_activation(files, 1),
    )


def _single_id(files: CheckpointFiles, word: str) -> int:
    tokens = files.tokenizer.encode_plain([word])[0].ids
    if len(tokens) != 1:
        raise CheckpointError(
            f"{files.folder}: {word!r} is {len(tokens)} tokens here; a reranker of this kind needs one."
        )
    return int(tokens[0])


def _ids(*ids: int | None) -> tuple[int, ...]:
    return tuple(sorted({token_id for token_id in ids if token_id is not None}))
