"""Which kind stands for which entry of the catalogue: that entry's own files, prompts and pooling, in small.

Kinds here differ from their family's only in the files beside the weights, or in how the weights are named.
"""

from __future__ import annotations

from transformers import BertForPreTraining, Gemma2Model

from .bert import BERT, ROBERTA, XLM_ROBERTA
from .decoders import MISTRAL
from .kind import Kind, VocabularySize
from .layout import Dense, Layout
from .modernbert import MODERNBERT
from .nomic import NOMIC_V1
from .weights import Native

MULTI_QA_MINILM = BERT.derive(layout={"tokenizer": "bert-uncased", "max_seq_length": 64})
PARAPHRASE_MULTILINGUAL_MINILM = BERT.derive(
    layout={"tokenizer": "xlm-roberta", "max_seq_length": 32, "normalize": False}
)
"""A BERT body with XLM-R's tokenizer: positions from 0, and a pad id that the config and the tokenizer disagree on."""

MULTILINGUAL_E5_SMALL = BERT.derive(
    layout={"tokenizer": "xlm-roberta", "max_seq_length": 64}, tokenizer_class="XLMRobertaTokenizer"
)
BGE_EN = BERT.derive(
    layout={"tokenizer": "bert-uncased", "pooling": "cls", "max_seq_length": 64, "do_lower_case": True}
)
E5 = BERT.derive(layout={"tokenizer": "bert-uncased", "max_seq_length": 64})
MXBAI = BGE_EN.derive(
    layout={
        "normalize": False,
        "do_lower_case": False,
        "prompts": {"query": "Represent this sentence for searching relevant passages: ", "passage": ""},
    }
)
PLAIN_BERT = BERT.derive(
    layout={"tokenizer": "bert-uncased", "modules": None, "layer_norm_names": "gamma/beta"},
    weights=Native(BertForPreTraining),
    architectures=["BertForPreTraining"],
)
"""A language model as it was pretrained: `bert.` and `cls.` names, `gamma`/`beta`, no word on pooling."""

BIOBERT = PLAIN_BERT.derive(layout={"tokenizer": "bert-cased", "weights_file": "pytorch_model.bin"})
LEALLA = BERT.derive(layout={"tokenizer": "bert-cased", "modules": None}, hidden_size=24, intermediate_size=96)

LABSE = BERT.derive(
    layout={
        "tokenizer": "bert-cased",
        "pooling": "cls",
        "max_seq_length": 32,
        "dense": (Dense(36, activation="torch.nn.modules.activation.Tanh"),),
    }
)
PARAPHRASE_MULTILINGUAL_MPNET = XLM_ROBERTA.derive(layout={"max_seq_length": 32, "normalize": False})
ALL_ROBERTA_LARGE = ROBERTA.derive(layout={"max_seq_length": 32})
E5_INSTRUCT = XLM_ROBERTA.derive(layout={"dtype": "float16"})
ARCTIC_L = XLM_ROBERTA.derive(
    layout={
        "pooling": "cls",
        "max_seq_length": 128,
        "model_max_length": 128,
        "prompts": {"query": "query: "},
        "similarity": "cosine",
    },
    max_position_embeddings=130,
)
MODERNBERT_EMBED = MODERNBERT.derive(
    layout={
        "pooling": "mean",
        "normalize": True,
        "prompts": {"query": "search_query: ", "document": "search_document: "},
    },
    architectures=["ModernBertForMaskedLM"],
)
GRANITE_R2 = MODERNBERT.derive(layout={"normalize": True, "dtype": "bfloat16"})
SFR_MISTRAL = MISTRAL.derive(layout={"dtype": "bfloat16"}, _name_or_path="Salesforce/SFR-Embedding-2_R")
CODE_RANK_EMBED = NOMIC_V1.derive(
    layout={
        "pooling": "cls",
        "prompts": {"query": "Represent this query for searching relevant code: "},
    }
)

BGE_GEMMA2 = Kind(
    config={
        "architectures": ["Gemma2Model"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": 2,
        "cache_implementation": "hybrid",
        "eos_token_id": 1,
        "final_logit_softcapping": 30.0,
        "head_dim": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "max_position_embeddings": 512,
        "model_type": "gemma2",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 20,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "sliding_window": 16,  # 4096 in small
        "sliding_window_size": 16,
        "torch_dtype": "float32",
        "transformers_version": "4.41.0.dev0",
        "use_cache": False,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(tokenizer="gemma", model_max_length=512, max_seq_length=512, pooling="lasttoken", shards=2),
    weights=Native(Gemma2Model),
)

KINDS = {
    "multi_qa_minilm": MULTI_QA_MINILM,
    "paraphrase_multilingual_minilm": PARAPHRASE_MULTILINGUAL_MINILM,
    "multilingual_e5_small": MULTILINGUAL_E5_SMALL,
    "bge_en": BGE_EN,
    "e5": E5,
    "mxbai": MXBAI,
    "plain_bert": PLAIN_BERT,
    "biobert": BIOBERT,
    "lealla": LEALLA,
    "labse": LABSE,
    "paraphrase_multilingual_mpnet": PARAPHRASE_MULTILINGUAL_MPNET,
    "all_roberta_large": ALL_ROBERTA_LARGE,
    "e5_instruct": E5_INSTRUCT,
    "arctic_l": ARCTIC_L,
    "modernbert_embed": MODERNBERT_EMBED,
    "granite_r2": GRANITE_R2,
    "sfr_mistral": SFR_MISTRAL,
    "code_rank_embed": CODE_RANK_EMBED,
    "bge_gemma2": BGE_GEMMA2,
}

_KIND_OF = {
    "sentence-transformers/all-MiniLM-L6-v2": "bert",
    "sentence-transformers/all-MiniLM-L12-v2": "bert",
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": "paraphrase_multilingual_minilm",
    "sentence-transformers/multi-qa-MiniLM-L6-cos-v1": "multi_qa_minilm",
    "sentence-transformers/all-mpnet-base-v2": "mpnet",
    "sentence-transformers/paraphrase-multilingual-mpnet-base-v2": "paraphrase_multilingual_mpnet",
    "sentence-transformers/all-distilroberta-v1": "roberta",
    "sentence-transformers/all-roberta-large-v1": "all_roberta_large",
    "sentence-transformers/msmarco-distilbert-base-tas-b": "distilbert",
    "BAAI/bge-small-en-v1.5": "bge_en",
    "BAAI/bge-base-en-v1.5": "bge_en",
    "BAAI/bge-large-en-v1.5": "bge_en",
    "intfloat/e5-small-v2": "e5",
    "intfloat/e5-base-v2": "e5",
    "intfloat/e5-large-v2": "e5",
    "intfloat/multilingual-e5-small": "multilingual_e5_small",
    "intfloat/multilingual-e5-base": "xlm-roberta",
    "intfloat/multilingual-e5-large": "xlm-roberta",
    "intfloat/multilingual-e5-large-instruct": "e5_instruct",
    "mixedbread-ai/mxbai-embed-large-v1": "mxbai",
    "dmis-lab/biobert-v1.1": "biobert",
    "nlpaueb/legal-bert-base-uncased": "plain_bert",
    "setu4993/LEALLA-small": "lealla",
    "setu4993/LEALLA-base": "lealla",
    "setu4993/LEALLA-large": "lealla",
    "sentence-transformers/LaBSE": "labse",
    "Alibaba-NLP/gte-modernbert-base": "modernbert",
    "nomic-ai/modernbert-embed-base": "modernbert_embed",
    "ibm-granite/granite-embedding-english-r2": "granite_r2",
    "hkunlp/instructor-base": "instructor_published",
    "hkunlp/instructor-large": "instructor_published",
    "hkunlp/instructor-xl": "instructor_published",
    "sentence-transformers/gtr-t5-xl": "gtr",
    "Qwen/Qwen3-Embedding-0.6B": "qwen3",
    "Qwen/Qwen3-Embedding-4B": "qwen3",
    "Qwen/Qwen3-Embedding-8B": "qwen3",
    "Alibaba-NLP/gte-Qwen2-1.5B-instruct": "gte_qwen2",
    "Alibaba-NLP/gte-Qwen2-7B-instruct": "gte_qwen2",
    "Salesforce/SFR-Embedding-2_R": "sfr_mistral",
    "Salesforce/SFR-Embedding-Mistral": "sfr_mistral",
    "intfloat/e5-mistral-7b-instruct": "e5_mistral",
    "Linq-AI-Research/Linq-Embed-Mistral": "mistral",
    "BAAI/bge-en-icl": "bge_en_icl",
    "BAAI/bge-multilingual-gemma2": "bge_gemma2",
    "nvidia/NV-Embed-v2": "nvembed",
    "nvidia/NV-Embed-v1": "nvembed",
    "google/embeddinggemma-300m": "embedding_gemma",
    "nomic-ai/nomic-embed-text-v1": "nomic_v1",
    "nomic-ai/nomic-embed-text-v1.5": "nomic_v1_5",
    "nomic-ai/nomic-embed-text-v2-moe": "nomic_moe",
    "nomic-ai/CodeRankEmbed": "code_rank_embed",
    "Alibaba-NLP/gte-multilingual-base": "gte_multilingual",
    "Alibaba-NLP/gte-base-en-v1.5": "gte",
    "Alibaba-NLP/gte-large-en-v1.5": "gte_large",
    "Snowflake/snowflake-arctic-embed-m-v2.0": "arctic_m",
    "Snowflake/snowflake-arctic-embed-l-v2.0": "arctic_l",
    "jinaai/jina-embeddings-v2-small-en": "jina_v2",
    "jinaai/jina-embeddings-v2-base-en": "jina_v2",
    "jinaai/jina-embeddings-v2-base-code": "jina_code",
    "jinaai/jina-embeddings-v3": "jina_v3",
    "jinaai/jina-embeddings-v5-text-nano": "jina_v5_nano",
    "jinaai/jina-embeddings-v5-text-small": "jina_v5_small",
    "jinaai/jina-colbert-v2": "jina_colbert_v2",
    "BAAI/bge-m3": "bge_m3",
    "naver/splade-cocondenser-ensembledistil": "splade",
    "naver/splade-v3": "splade",
    "prithivida/Splade_PP_en_v1": "splade_bare",
    "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill": "splade_doc",
    "colbert-ir/colbertv2.0": "colbert",
    "lightonai/GTE-ModernColBERT-v1": "colbert_pylate",
    "answerdotai/answerai-colbert-small-v1": "colbert",
    "cross-encoder/ms-marco-MiniLM-L6-v2": "ms_marco",
    "cross-encoder/ms-marco-MiniLM-L12-v2": "cross_encoder_old",
    "BAAI/bge-reranker-v2-m3": "bge_reranker",
    "BAAI/bge-reranker-large": "bge_reranker",
    "Alibaba-NLP/gte-multilingual-reranker-base": "gte_reranker",
    "Alibaba-NLP/gte-reranker-modernbert-base": "modernbert_reranker",
    "Qwen/Qwen3-Reranker-0.6B": "qwen3_reranker",
    "Qwen/Qwen3-Reranker-4B": "qwen3_reranker",
    "Qwen/Qwen3-Reranker-8B": "qwen3_reranker_untied",
    "minishlab/potion-base-2M": "potion",
    "minishlab/potion-base-4M": "potion",
    "minishlab/potion-base-8M": "potion",
    "minishlab/potion-base-32M": "potion",
    "minishlab/potion-retrieval-32M": "potion",
    "minishlab/potion-multilingual-128M": "potion_quantized",
    "sentence-transformers/static-similarity-mrl-multilingual-v1": "static",
}

UNSPECIFIED = {
    "jinaai/jina-embeddings-v4": "a vision-language model; it waits for the multimodal families",
}
"""Text entries of the catalogue without a specimen, and why."""


def kind_of(catalogue_id: str) -> str:
    """The kind that stands for a catalogue entry. Raises LookupError, with the reason, where there is none."""
    if catalogue_id not in _KIND_OF:
        raise LookupError(f"{catalogue_id}: {UNSPECIFIED.get(catalogue_id, 'not a text entry of the catalogue')}")
    return _KIND_OF[catalogue_id]
