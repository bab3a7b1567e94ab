"""TEI's `/info`: what a model is, in its words."""

from __future__ import annotations

from typing import Any

from sememe import __version__
from sememe.records import EmbedOptions
from sememe.server.models import EmbeddingModel
from sememe.server.service import Service


def info(service: Service, name: str | None) -> dict[str, Any]:
    """What `/info` answers. name: None is the first model."""
    model, fingerprint = service.models.find(name), None
    if isinstance(model, EmbeddingModel):
        pooling = model.engine.checkpoint.recipe.pooling
        model_type: dict[str, Any] = {"embedding": {"pooling": pooling.modes[0] if pooling else "none"}}
        sha, max_tokens = model.embedder.revision, model.embedder.max_tokens
        fingerprint = model.fingerprint(EmbedOptions(outputs=model.default_outputs))
    else:
        labels = dict(enumerate(model.reranker.labels))
        names = {
            "id2label": {str(k): label for k, label in labels.items()},
            "label2id": {label: k for k, label in labels.items()},
        }
        model_type = {"reranker" if len(labels) == 1 else "classifier": names}
        sha, max_tokens = model.reranker.loaded.found.revision, model.reranker.max_length
    return {
        "model_id": model.name,
        "model_sha": sha,
        "model_dtype": model.engine.precision,
        "served_model_name": model.name,
        "model_type": model_type,
        "max_concurrent_requests": service.max_inputs,
        "max_input_length": max_tokens,
        "max_batch_tokens": model.engine.options.token_budget,
        "max_batch_requests": None,
        "max_client_batch_size": service.max_inputs,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "fingerprint": fingerprint,
    }
