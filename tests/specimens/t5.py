"""T5 encoders: GTR and INSTRUCTOR. Heads × head size differs from the width, as in their XL sizes."""

from __future__ import annotations

from transformers import T5EncoderModel

from .kind import Kind, VocabularySize
from .layout import Dense, Layout
from .weights import Native

GTR = Kind(
    config={
        "architectures": ["T5EncoderModel"],
        "d_ff": 68,
        "d_kv": 8,
        "d_model": 36,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "relu",
        "gradient_checkpointing": False,
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "layer_norm_epsilon": 1e-6,
        "model_type": "t5",
        "n_positions": 512,
        "num_decoder_layers": 3,
        "num_heads": 5,
        "num_layers": 3,
        "output_past": True,
        "pad_token_id": 0,
        "relative_attention_num_buckets": 32,
        "transformers_version": "4.11.3",
        "use_cache": True,
        "vocab_size": VocabularySize(multiple_of=8),
    },
    layout=Layout(
        tokenizer="t5", model_max_length=512, max_seq_length=512, dense=(Dense(28, bias=False),), dtype="float32"
    ),
    weights=Native(T5EncoderModel),
    width_key="d_model",
)

INSTRUCTOR = GTR.derive(
    layout={
        "modules": "old",
        "prompts": {"query": "Represent the question for retrieving supporting documents: "},
        "include_prompt": False,
    }
)
"""The published files predate `include_prompt`; this is how sentence-transformers reads the same model today."""

INSTRUCTOR_PUBLISHED = GTR.derive(layout={"weights_file": "pytorch_model.bin"})
"""As hkunlp published it: Pooling says nothing about the instruction, the rule was in the authors' package."""

KINDS = {"gtr": GTR, "instructor": INSTRUCTOR, "instructor_published": INSTRUCTOR_PUBLISHED}
