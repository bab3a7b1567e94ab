"""A model opened for a comparison, with what the catalogue knows about it."""

from __future__ import annotations

from dataclasses import dataclass

from sememe.records import SimilarityName, TextEmbedder


@dataclass(frozen=True)
class OpenedModel:
    """precision: what it computes in, "auto" resolved; reason: why that, in words.

    computed_in: what decides the vectors besides the fingerprint. has_prompts: whether leaving prompts away changes
    anything. licence: "unknown" where nobody said.
    """

    embedder: TextEmbedder
    precision: str
    reason: str
    computed_in: str
    similarity: SimilarityName
    has_prompts: bool
    licence: str
    commercial: bool | None


def open_model(name: str, precision: str, recipe: tuple[str, ...], offline: bool) -> OpenedModel:
    """Load a model, used as the words about it say. Raises NotFound, CheckpointError, InputError."""
    from sememe.catalogue import Catalogue
    from sememe.engine.opening import open_embedder

    embedder = open_embedder(name, recipe, precision=precision, offline=offline)
    resolved = embedder.loaded.precision.precision
    entry = Catalogue.read().find(name.rpartition("@")[0] or name)
    return OpenedModel(
        embedder=embedder,
        precision=resolved,
        reason=embedder.loaded.precision.reason,
        computed_in=f"{resolved} {embedder.loaded.backend.name}",
        similarity=embedder.similarity_fn_name,
        has_prompts=any(embedder.prompts.values()),
        licence=(entry.license if entry else None) or "unknown",
        commercial=entry.commercial_use if entry else None,
    )
