"""Our models as mteb encoders, and mteb's tasks run with them. Needs the extra `eval`.

Source of the protocol: mteb 2.26 `models.models_protocols.EncoderProtocol`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sememe.engine.encoding import as_tensor
from sememe.errors import InputError, NotFound, SememeError
from sememe.records import EmbedOptions, Role, SimilarityName, TextEmbedder
from sememe.similarity import similarity, similarity_pairwise

if TYPE_CHECKING:
    from mteb import EncoderProtocol, TaskResult
    from mteb.models.model_meta import ModelMeta

_INSTALL = "mteb is not installed: pip install 'sememe[eval]'."
_NO_REVISION = "no_revision_available"


class MtebEncoder:
    """Anything that embeds, as mteb asks for it: queries and documents get the model's own prompts for their role.

    name: by which the results are filed, `organisation/model`.
    """

    def __init__(
        self,
        embedder: TextEmbedder,
        *,
        name: str | None = None,
        options: EmbedOptions | None = None,
        similarity_name: SimilarityName = "cosine",
    ) -> None:
        """options: dimensions and so on; the role is each call's own. Raises NotFound where mteb is not installed."""
        self._embedder, self._options = embedder, options or EmbedOptions()
        self._similarity = similarity_name
        self.mteb_model_meta = _model_meta(embedder, name or embedder.name, similarity_name)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: object,
        hf_split: str,
        hf_subset: str,
        prompt_type: object = None,
        **encode_kwargs: object,
    ) -> NDArray[np.float32]:
        """(N, D) of all texts in mteb's batches, embedded in one call. Raises InputError for a batch without texts.

        encode_kwargs: mteb's own (batch_size, …), which say nothing here: batches are made by tokens.
        """
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                raise InputError(f"mteb gave {', '.join(batch)} without text; this model takes texts only.")
            texts += batch["text"]
        found = self._embedder.embed(texts, replace(self._options, role=_role(prompt_type))).dense
        if found is None:
            raise InputError(f"{self._embedder.name} gives no dense vectors, which mteb compares.")
        return np.asarray(found, np.float32)

    def similarity(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> object:
        """(N, M) scores as a torch tensor: mteb's summarisation takes numbers out of it as only tensors let it."""
        return as_tensor(similarity(embeddings1, embeddings2, self._similarity))

    def similarity_pairwise(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> object:
        """(N,) scores of row with row, as a torch tensor."""
        return as_tensor(similarity_pairwise(embeddings1, embeddings2, self._similarity))


def run_mteb(
    encoder: MtebEncoder, task_names: Sequence[str], folder: Path, *, overwrite: bool = False
) -> list[TaskResult]:
    """Run mteb's tasks by name; results are written below the folder in mteb's own format and taken from there.

    Raises NotFound for a task that mteb does not know, and where mteb is not installed; SememeError where a task's data
    cannot be had.
    """
    try:
        import mteb
    except ModuleNotFoundError as exc:
        raise NotFound(_INSTALL) from exc
    tasks = []
    for name in task_names:
        try:
            tasks.append(mteb.get_task(name))
        except KeyError as exc:
            raise NotFound(f"mteb has no task {name!r}: {exc.args[0] if exc.args else exc}") from exc
    try:
        found = mteb.evaluate(
            cast(
                "EncoderProtocol", encoder
            ),  # it is made from an embedder, not from a name as the protocol's `__init__`
            tasks,
            cache=mteb.ResultCache(folder),
            overwrite_strategy="always" if overwrite else "only-missing",
        )
    except OSError as exc:  # no network, no such data set, a full disk
        raise SememeError(
            f"mteb could not run {', '.join(task_names)}: {exc}. It brings its tasks' data from the hub; where there is no "
            "network, they must be in its cache (HF_HOME)."
        ) from exc
    return list(found.task_results)


def _role(prompt_type: object) -> Role | None:
    value: Any = getattr(prompt_type, "value", prompt_type)
    return value if value in ("query", "document") else None


def _model_meta(embedder: TextEmbedder, name: str, similarity_name: SimilarityName) -> ModelMeta:
    try:
        from mteb.models.model_meta import ModelMeta, ScoringFunction
    except ModuleNotFoundError as exc:
        raise NotFound(_INSTALL) from exc
    # mteb files results below organisation__model and wants both.
    filed = name if name.count("/") == 1 and not name.startswith("/") else f"sememe/{Path(name).name}"
    return ModelMeta.create_empty(
        overwrites={
            "name": filed,
            "revision": embedder.revision or _NO_REVISION,
            "embed_dim": embedder.dimension,
            "max_tokens": embedder.max_tokens,
            "similarity_fn_name": ScoringFunction("MaxSim" if similarity_name == "maxsim" else similarity_name),
            "modalities": ["text"],
            "open_weights": True,
        }
    )
