"""Sparse encoders (SPLADE, doc-only) and BGE-M3 with its three heads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertForMaskedLM, DistilBertForMaskedLM, RobertaForMaskedLM

from .bert import BERT, DISTILBERT, ROBERTA, XLM_ROBERTA
from .kind import Kind
from .layout import Layout, write_json, write_module_list, write_tokenizer
from .vocabularies import vocabulary
from .weights import Native, RawConfig, Tensors, drawn


def _m3_heads(folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator) -> None:
    """`sparse_linear.pt` and `colbert_linear.pt`: pickled state dicts in the root."""
    h = config["hidden_size"]
    for file, n_out in (("sparse_linear.pt", 1), ("colbert_linear.pt", h)):
        torch.save(drawn({"weight": (n_out, h), "bias": (n_out,)}, sigma, generator), folder / file)


BGE_M3 = XLM_ROBERTA.derive(
    layout={
        "pooling": "cls",
        "max_seq_length": 128,
        "model_max_length": 128,
        "weights_file": "pytorch_model.bin",
    },
    extras=_m3_heads,
    max_position_embeddings=130,  # 8194 in small
)


def _splade_modules(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    spelling = layout.modules or "old"
    body = "Transformer" if spelling == "new" else "MLMTransformer"
    write_module_list(folder, [(body, ""), ("SpladePooling", "1_SpladePooling")], spelling)
    pooling = {"pooling_strategy": "max", "activation_function": "relu"}
    width = "embedding_dimension" if spelling == "new" else "word_embedding_dimension"
    write_json(folder / "1_SpladePooling" / "config.json", {**pooling, width: config["vocab_size"]})
    if spelling == "new":
        write_json(
            folder / "sentence_bert_config.json",
            {
                "transformer_task": "fill-mask",
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
                "module_output_name": "token_embeddings",
            },
        )
    else:
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SparseEncoder",
            "__version__": {"sentence_transformers": "5.0.0", "transformers": "4.50.3", "pytorch": "2.6.0"},
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "dot",
        },
    )


SPLADE = BERT.derive(
    layout={"tokenizer": "bert-uncased", "modules": None, "max_seq_length": 64},
    weights=Native(BertForMaskedLM),
    extras=_splade_modules,
    architectures=["BertForMaskedLM"],
)


@dataclass(frozen=True)
class WithTiedCopies:
    """A BERT masked LM whose file stores the tied table and the bias a second time, as older files do."""

    plain: Native

    def draw(self, config: RawConfig, sigma: float | None, generator: torch.Generator) -> Tensors:
        tensors = self.plain.draw(config, sigma, generator)
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
        return tensors

    def count(self, config: RawConfig) -> int:
        return self.plain.count(config) + int(config["vocab_size"]) * (int(config["hidden_size"]) + 1)


SPLADE_BARE = Kind(SPLADE.config, SPLADE.layout, WithTiedCopies(Native(BertForMaskedLM)))
"""Without module files, as the first uploads were."""

SPLADE_DISTILBERT = DISTILBERT.derive(
    layout={"modules": None},
    weights=Native(DistilBertForMaskedLM),
    extras=_splade_modules,
    architectures=["DistilBertForMaskedLM"],
)

SPLADE_ROBERTA = ROBERTA.derive(
    layout={"modules": None},
    weights=Native(RobertaForMaskedLM),
    extras=_splade_modules,
    architectures=["RobertaForMaskedLM"],
)

_MODELS = "sentence_transformers.sparse_encoder.models"


def _doc_only_modules(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    """A router: queries are looked up in a table of token weights, documents go through the model in the root."""
    words = vocabulary(layout.tokenizer)
    ids = words.tokenizer.get_vocab()
    tokens = sorted(ids, key=ids.__getitem__)
    weights = torch.rand(len(tokens), generator=generator) * 5 + 0.1
    weights[[ids[token] for token in words.special.values()]] = 1.0  # named, though no query has them
    idf = {token: round(float(weight), 6) for token, weight in zip(tokens, weights, strict=True)}
    (folder / "idf.json").write_text(json.dumps(idf, ensure_ascii=False), encoding="utf-8")
    query = folder / "query_0_SparseStaticEmbedding"
    write_tokenizer(query, words, layout)
    write_json(query / "config.json", {"frozen": False})
    table = torch.tensor([idf[token] for token in tokens])
    save_file({"weight": table}, query / "model.safetensors")
    pooling = {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": len(tokens)}
    write_json(folder / "document_1_SpladePooling" / "config.json", pooling)
    write_json(
        folder / "router_config.json",
        {
            "types": {
                "query_0_SparseStaticEmbedding": f"{_MODELS}.SparseStaticEmbedding.SparseStaticEmbedding",
                "": f"{_MODELS}.MLMTransformer.MLMTransformer",
                "document_1_SpladePooling": f"{_MODELS}.SpladePooling.SpladePooling",
            },
            "structure": {
                "query": ["query_0_SparseStaticEmbedding"],
                "document": ["", "document_1_SpladePooling"],
            },
            "parameters": {"default_route": "document", "allow_empty_key": True},
        },
    )
    write_module_list(folder, [("Router", "")], "old")
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SparseEncoder",
            "__version__": {"sentence_transformers": "5.0.0", "transformers": "4.50.3", "pytorch": "2.6.0"},
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "dot",
        },
    )


SPLADE_DOC = Kind(
    SPLADE_DISTILBERT.config, SPLADE_DISTILBERT.layout, SPLADE_DISTILBERT.weights, _doc_only_modules, "dim"
)

KINDS = {
    "bge_m3": BGE_M3,
    "splade": SPLADE,
    "splade_bare": SPLADE_BARE,
    "splade_distilbert": SPLADE_DISTILBERT,
    "splade_roberta": SPLADE_ROBERTA,
    "splade_doc": SPLADE_DOC,
}
