"""A model opened with words about how it is used, as the command line, a server's options and a comparison take them.

`like=BAAI/bge-m3`, `pooling=mean`, `query=query: ` are arguments of `Embedder` for a folder whose own files do not say
them. Where several models are named, `MODEL:` before the word says which one is meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

from sememe.checkpoints.recipe import PoolingMode
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.errors import InputError
from sememe.records import SimilarityName

RECIPE_KEYS = ("like", "pooling", "query", "document", "normalize", "max_tokens", "similarity")
"""like: the catalogue's model whose recipe is taken; query, document: prompts; the others as of `RecipeChanges`."""

_WORD = re.compile(rf"(?:(?P<model>.+?):)??(?P<key>{'|'.join(RECIPE_KEYS)})=(?P<value>.*)", re.DOTALL)
_POOLINGS = (*get_args(PoolingMode), "pooler")


def qualify_recipe(words: Sequence[str], models: Sequence[str]) -> tuple[str, ...]:
    """Every word with a model's name before it; one that has none is about the only model.

    Raises InputError for what is no word, and for one without a name where there are several models.
    """
    found = []
    for word in words:
        model, key, value = _parts(word)
        if model is None and len(models) != 1:
            raise InputError(
                f"The recipe's {word!r} does not say which of {', '.join(models) or 'no model'} it is about. Put the "
                f"model's name before it: {models[0] if models else 'MODEL'}:{word}."
            )
        found.append(f"{models[0] if model is None else model}:{key}={value}")
    return tuple(found)


def check_recipe(qualified: Sequence[str], models: Sequence[str]) -> None:
    """Raises InputError for a word about a model that is not among these, and for a value that means nothing."""
    for word in qualified:
        if (model := _parts(word)[0]) not in models:
            raise InputError(f"The recipe's {word!r} is about {model}, which is not among {', '.join(models)}.")
    for model in models:
        _Recipe(qualified, model)


def open_embedder(
    name: str,
    recipe: Sequence[str] = (),
    *,
    checkpoint: str | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    cache_folder: Path | None = None,
    embedding_cache: Path | None = None,
    n_threads: int = 0,
    token_budget: int | None = None,
    progress: bool = False,
) -> Embedder:
    """An `Embedder`, used as these qualified words about it say; those about other models are passed over.

    checkpoint: what `Embedder` takes, where the name is only what clients say. Raises InputError, and as `Embedder`.
    """
    said = _Recipe(recipe, name)
    return Embedder(
        checkpoint or name,
        like=said.like,
        pooling=said.pooling,
        prompts=said.prompts or None,
        normalize=said.normalize,
        max_seq_length=said.max_tokens,
        similarity_fn_name=said.similarity,
        device=device,
        backend=backend,
        precision=precision,
        offline=offline,
        cache_folder=cache_folder,
        embedding_cache=embedding_cache,
        n_threads=n_threads,
        token_budget=token_budget,
        progress=progress,
    )


def open_reranker(name: str, recipe: Sequence[str] = (), *, offline: bool = False, progress: bool = False) -> Reranker:
    """A `Reranker`, used as these qualified words about it say. Raises InputError, and as `Reranker`."""
    said = _Recipe(recipe, name)
    if senseless := [key for key in said.keys if key not in ("like", "max_tokens")]:
        raise InputError(f"The recipe's {senseless[0]} says nothing about a reranker ({name}); like and max_tokens do.")
    return Reranker(name, like=said.like, max_length=said.max_tokens, offline=offline, progress=progress)


class _Recipe:
    """What qualified words say about one model; None and {} where they say nothing."""

    def __init__(self, qualified: Sequence[str], model: str) -> None:
        parts = [_parts(word) for word in qualified]
        self._values = {key: value for named, key, value in parts if named == model}
        if len(self._values) < sum(named == model for named, _, _ in parts):
            raise InputError(f"The recipe says something twice about {model}; expected each key once.")
        self.like = self._values.get("like")
        self.pooling = cast("PoolingMode | Literal['pooler'] | None", self._one_of("pooling", _POOLINGS))
        self.similarity = cast("SimilarityName | None", self._one_of("similarity", get_args(SimilarityName)))
        normalize = self._one_of("normalize", ("true", "false"))
        self.normalize = None if normalize is None else normalize == "true"
        self.max_tokens = self._number("max_tokens")
        self.prompts: dict[str, str] = {
            role: self._values[role] for role in ("query", "document") if role in self._values
        }

    @property
    def keys(self) -> tuple[str, ...]:
        """What is said."""
        return tuple(self._values)

    def _one_of(self, key: str, known: Sequence[str]) -> str | None:
        value = self._values.get(key)
        if value is not None and value not in known:
            raise InputError(f"The recipe's {key} is {value!r}; expected one of {', '.join(known)}.")
        return value

    def _number(self, key: str) -> int | None:
        value = self._values.get(key)
        try:
            return None if value is None else int(value)
        except ValueError:
            raise InputError(f"The recipe's {key} is {value!r}; expected a whole number.") from None


def _parts(word: str) -> tuple[str | None, str, str]:
    """(model, key, value). Raises InputError."""
    match = _WORD.fullmatch(word)
    if match is None:
        raise InputError(
            f"The recipe's {word!r} is not of the form KEY=VALUE or MODEL:KEY=VALUE; keys are {', '.join(RECIPE_KEYS)}."
        )
    return match["model"], match["key"], match["value"]
