"""The heads that score pairs, as a checkpoint's files describe them.

Sources: transformers 5.23 `*ForSequenceClassification`; sentence-transformers 6.2 `CrossEncoder`, `LogitScore`.
"""

from __future__ import annotations

from typing import Literal

from sememe.checkpoints.contents import CheckpointFiles
from sememe.checkpoints.json_files import ModuleEntry, read_json
from sememe.checkpoints.pair_heads import Classifier, PairPrompt, YesNo
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.ops import Activation

ScoreActivation = Literal["sigmoid", "identity"]


def classifier_head(files: CheckpointFiles) -> Classifier:
    """A sequence classifier, by the tensors that are there. Raises UnsupportedCheckpoint for another kind."""
    raw, there = files.raw, files.tensors
    hidden: Literal["pooler", "classifier_dense"] = "classifier_dense"
    activation: Activation = "tanh"
    pooling: Literal["cls", "mean"] = "cls"
    norm_eps = None
    if "classifier.weight" not in there or not {"pooler.weight", "classifier_dense.weight"} & there:
        raise UnsupportedCheckpoint(
            str(files.body),
            "classifier",
            got="none of the known heads",
            expected="pooler and classifier (BERT, GTE), classifier.dense and .out_proj (RoBERTa), pre_classifier and "
            "classifier (DistilBERT), head and classifier (ModernBERT)",
        )
    if "classifier_norm.weight" in there:  # ModernBERT
        activation, norm_eps = files.config.classifier_activation, files.config.eps
        pooling = _classifier_pooling(files)
    elif raw.get("model_type") == "distilbert":
        activation = "relu"
    elif "classifier_dense.weight" not in there:
        hidden = "pooler"
    return Classifier(
        hidden=hidden,
        activation=activation,
        pooling=pooling,
        n_in=files.config.hidden_size,
        n_labels=files.n_labels,
        labels=files.labels,
        has_hidden_bias=f"{hidden}.bias" in there,
        norm_eps=norm_eps,
        has_norm_bias="classifier_norm.bias" in there,
        default_activation=_default_activation(files, files.n_labels),
    )


def _classifier_pooling(files: CheckpointFiles) -> Literal["cls", "mean"]:
    said = files.raw.get("classifier_pooling", "cls")
    if said not in ("cls", "mean"):
        raise UnsupportedCheckpoint("config.json", "classifier_pooling", got=said, expected="cls or mean")
    return "mean" if said == "mean" else "cls"


def _default_activation(files: CheckpointFiles, n_labels: int) -> ScoreActivation:
    """What CrossEncoder applies: what a file says, else the sigmoid for one label. Identity is the usual other."""
    said = files.settings.get("activation_fn") or (files.raw.get("sentence_transformers") or {}).get("activation_fn")
    said = said or files.raw.get("sbert_ce_default_activation_function")
    if said is None:
        return "sigmoid" if n_labels == 1 else "identity"
    known: dict[str, ScoreActivation] = {"Identity": "identity", "Sigmoid": "sigmoid"}
    name = said.rsplit(".", 1)[-1]
    if name not in known:
        raise UnsupportedCheckpoint("config.json", "activation_fn", got=said, expected="Identity or Sigmoid")
    return known[name]


def yes_no_head(files: CheckpointFiles, module: ModuleEntry | None) -> YesNo:
    """The logits of two tokens. module: sentence-transformers' LogitScore, which names the ids; None for yes and no."""
    if module is None:
        true_id, false_id = _single_id(files, "yes"), _single_id(files, "no")
    else:
        said = read_json(files.folder / module.path / "config.json", required=True)
        true_id, false_id = said.get("true_token_id"), said.get("false_token_id")
        if not isinstance(true_id, int):
            raise CheckpointError(f"{files.folder / module.path}: true_token_id is {true_id!r}; expected a token's id.")
    return YesNo(
        true_id=true_id,
        false_id=false_id,
        vocab_size=files.config.vocab_size,
        hidden_size=files.config.hidden_size,
        is_tied="lm_head.weight" not in files.tensors,
        prompt=_pair_prompt(files, module),
        default_activation=_default_activation(files, 1),
    )


def _pair_prompt(files: CheckpointFiles, module: ModuleEntry | None) -> PairPrompt | None:
    """The prompt that the catalogue knows; None for a pair without one. A chat template is code, which is never run."""
    said = files.entry.recipe if files.entry else None
    if said is not None and "body" in said.templates:
        known = said.templates
        return PairPrompt(known.get("prefix", ""), known.get("suffix", ""), known["body"], said.task or "")
    has_chat_template = (files.body / "chat_template.jinja").is_file() or "chat_template" in read_json(
        files.body / "tokenizer_config.json"
    )
    if module is None or has_chat_template:
        raise CheckpointError(
            f"{files.folder}: in which words this reranker is asked stands in no file that we read. Say like= the "
            "catalogue's model that it descends from, for example like='Qwen/Qwen3-Reranker-0.6B' (on the command line: "
            "--recipe like=Qwen/Qwen3-Reranker-0.6B)."
        )
    return None


def _single_id(files: CheckpointFiles, word: str) -> int:
    tokens = files.tokenizer.encode_plain([word])[0].ids
    if len(tokens) != 1:
        raise CheckpointError(
            f"{files.folder}: {word!r} is {len(tokens)} tokens here; a reranker of this kind needs one."
        )
    return int(tokens[0])
