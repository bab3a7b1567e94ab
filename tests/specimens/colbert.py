"""Late interaction: the authors' layout (`artifact.metadata`), PyLate's, and sentence-transformers 6's."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertModel

from .bert import BERT
from .layout import Layout, Spelling, write_json, write_module_list
from .modernbert import MODERNBERT
from .weights import Native, RawConfig, Tensors, Weights, drawn

WIDTH = 20
"""128 in small."""


@dataclass(frozen=True)
class ColbertWeights:
    """`bert.*` with the old position buffer, and the projection `linear.weight` beside it."""

    body: Weights

    def draw(self, config: RawConfig, sigma: float | None, generator: torch.Generator) -> Tensors:
        tensors = {f"bert.{name}": value for name, value in self.body.draw(config, sigma, generator).items()}
        positions = torch.arange(config["max_position_embeddings"])[None]
        projection = drawn({"linear.weight": (WIDTH, config["hidden_size"])}, sigma, generator)
        return {**tensors, "bert.embeddings.position_ids": positions, **projection}

    def count(self, config: RawConfig) -> int:
        return self.body.count(config) + 128 * int(config["hidden_size"])


def _artifact_metadata(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    write_json(
        folder / "artifact.metadata",
        {
            "query_token_id": "[unused0]",
            "doc_token_id": "[unused1]",
            "query_token": "[Q]",
            "doc_token": "[D]",
            "ncells": None,
            "centroid_score_threshold": None,
            "ndocs": None,
            "index_path": None,
            "nbits": 1,
            "kmeans_niters": 20,
            "similarity": "cosine",
            "bsize": 64,
            "accumsteps": 1,
            "lr": 1e-5,
            "maxsteps": 400000,
            "save_every": None,
            "warmup": 20000,
            "warmup_bert": None,
            "relu": False,
            "nway": 64,
            "use_ib_negatives": True,
            "reranker": False,
            "distillation_alpha": 1.0,
            "ignore_scores": False,
            "query_maxlen": 16,  # 32 in small
            "attend_to_mask_tokens": False,
            "interaction": "colbert",
            "dim": WIDTH,
            "doc_maxlen": 40,  # 180 in small
            "mask_punctuation": True,
        },
    )


COLBERT = BERT.derive(
    layout={"tokenizer": "bert-uncased", "modules": None},
    weights=ColbertWeights(Native(BertModel)),
    extras=_artifact_metadata,
    architectures=["HF_ColBERT"],
)


def _projection(folder: Path, config: RawConfig, generator: torch.Generator, names: dict[str, str]) -> None:
    """`1_Dense`: from H to the vectors' width, without bias."""
    h = config["hidden_size"]
    write_json(
        folder / "1_Dense" / "config.json",
        {
            "in_features": h,
            "out_features": WIDTH,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
            **names,
        },
    )
    weight = torch.randn(WIDTH, h, generator=generator) * h**-0.5
    save_file({"linear.weight": weight}, folder / "1_Dense" / "model.safetensors")


def _pylate(folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator) -> None:
    _projection(folder, config, generator, {})
    write_module_list(folder, [("Transformer", ""), ("PyLateDense", "1_Dense")], "old")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 39, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "4.0.2", "transformers": "4.48.2", "pytorch": "2.5.1"},
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": "[Q] ",
            "document_prefix": "[D] ",
            "query_length": 16,
            "document_length": 40,
            "attend_to_expansion_tokens": False,
            "skiplist_words": list(string.punctuation),
        },
    )


PYLATE = MODERNBERT.derive(
    layout={"tokenizer": "modernbert-colbert", "modules": None},
    extras=_pylate,
)
"""lightonai/GTE-ModernColBERT-v1. Its markers are added tokens that end in a space."""


def _multi_vector(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    spelling: Spelling = "new"
    token_level = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    _projection(folder, config, generator, token_level)
    modules = [("Transformer", ""), ("Dense", "1_Dense"), ("MultiVectorMask", "2_MultiVectorMask")]
    write_module_list(folder, [*modules, ("Normalize", "3_Normalize")], spelling)
    write_json(
        folder / "2_MultiVectorMask" / "config.json",
        {"skiplist_words": list(".,;:!?"), "skiplist_tasks": ["document"], "keep_only_token_ids": None},
    )
    write_json(folder / "3_Normalize" / "config.json", token_level)
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
            "document_length": 40,
            "query_expansion": {"strategy": "fixed", "attend": True, "length": 16},
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "6.2.0", "transformers": "5.23.0", "pytorch": "2.13.0"},
            "default_prompt_name": None,
            "model_type": "MultiVectorEncoder",
            "prompts": {"query": "[unused0] ", "document": "[unused1] "},
            "similarity_fn_name": "maxsim",
        },
    )


MULTI_VECTOR = BERT.derive(layout={"tokenizer": "bert-uncased-markers", "modules": None}, extras=_multi_vector)
"""sentence-transformers 6's own layout; here the expansion tokens are attended to."""

KINDS = {"colbert": COLBERT, "colbert_pylate": PYLATE, "multi_vector": MULTI_VECTOR}
