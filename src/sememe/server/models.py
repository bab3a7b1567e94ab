"""The models of one server, by the names that clients may give."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sememe.checkpoints.prompts import choose_prompt
from sememe.engine.embedder import Embedder
from sememe.engine.opening import open_embedder
from sememe.engine.reranker import Reranker
from sememe.errors import InputError, NotFound
from sememe.records import EmbedOptions, Output
from sememe.server.lines import EmbedLine, PairLine

logger = logging.getLogger(__name__)


class WrongModel(InputError):
    """A model of another kind than the route needs."""


# Different options of one model whose line is kept: prompts may be anything.
_KEPT = 512


@dataclass(frozen=True)
class ModelOptions:
    """How the server's models are loaded; the same for all but for what words with a model's name say in `recipe`.

    recipe: see `engine.opening`; prompts that end with a blank keep it in a file of options only. Others as of `Embedder`.
    """

    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    offline: bool = False
    cache_folder: Path | None = None
    embedding_cache: Path | None = None
    n_threads: int = 0
    token_budget: int | None = None
    recipe: tuple[str, ...] = ()


class EmbeddingModel:
    """An embedder that is served."""

    def __init__(self, name: str, embedder: Embedder) -> None:
        self.name, self.embedder = name, embedder
        self.engine = embedder.loaded.engine
        self.line = lru_cache(_KEPT)(self._line)
        self.prompt = lru_cache(_KEPT)(self._prompt)

    def _line(self, options: EmbedOptions) -> EmbedLine:
        """The way through the model with these options. Raises InputError for what it cannot give."""
        self.engine.check_options(options)
        self.fingerprint(options)  # refuses an unknown prompt, before anything is queued
        return EmbedLine(self.name, self.engine, options)

    @property
    def default_outputs(self) -> tuple[Output, ...]:
        """What a request gets that asks for no kind: dense where the model has it."""
        return self.engine.checkpoint.recipe.outputs[:1]

    def fingerprint(self, options: EmbedOptions) -> str:
        """The name of the vector space that these options give. Raises InputError."""
        return self.embedder.fingerprint(options)

    def _prompt(self, options: EmbedOptions) -> str:
        """What stands before a text; with `{text}` in it where something stands behind too."""
        prompt = choose_prompt(self.engine.checkpoint.recipe, options)
        return f"{prompt.before}{{text}}{prompt.after}" if prompt.after else prompt.before

    @property
    def kind(self) -> str:
        """As the lists of models say it."""
        return "embedding"

    @property
    def checkpoint(self) -> str:
        """What the checkpoint is called where it comes from: an id on the hub, or a folder."""
        return self.embedder.loaded.found.name

    def check_gives(self, output: Output) -> None:
        """Raise WrongModel for a kind of embeddings that the model does not give."""
        if output not in self.embedder.outputs:
            what = output.replace("_", "-")
            raise WrongModel(f"{self.name} gives {', '.join(self.embedder.outputs)} embeddings, not {what} ones.")

    def close(self) -> None:
        """Let the threads go."""
        self.embedder.close()


class ScoringModel:
    """A reranker, or a classifier of pairs, that is served."""

    def __init__(self, name: str, reranker: Reranker) -> None:
        self.name, self.reranker = name, reranker
        self.engine = reranker.loaded.engine
        self.line = lru_cache(_KEPT)(self._line)

    def _line(self, instruction: str | None) -> PairLine:
        return PairLine(self.name, self.reranker, instruction)

    @property
    def kind(self) -> str:
        """As the lists of models say it."""
        return "reranker" if self.reranker.n_labels == 1 else "classifier"

    @property
    def checkpoint(self) -> str:
        """What the checkpoint is called where it comes from: an id on the hub, or a folder."""
        return self.reranker.loaded.found.name

    def close(self) -> None:
        """Let the threads go."""
        self.reranker.close()


Model = EmbeddingModel | ScoringModel


class Models:
    """What a server serves. The first embedder and the first reranker answer where a request names no model.

    aliases: further names, such as `text-embedding-3-small` for clients that cannot change theirs.
    """

    def __init__(self, models: Sequence[Model], aliases: Mapping[str, str] | None = None) -> None:
        self._models = {model.name: model for model in models}
        said = _every_name([model.name for model in models], aliases or {})
        self._names = {name: self._models[own] for name, own in said.items()}
        # What was started by a short name is known by its full one too, which no list shows.
        self._checkpoints = {model.checkpoint: model for model in models}

    def __contains__(self, name: str) -> bool:
        return name in self._names or name in self._checkpoints

    def __iter__(self) -> Iterator[Model]:
        return iter(list(self._models.values()))

    def add(self, model: Model) -> None:
        """Serve one more, by its own name alone."""
        self._models[model.name] = self._names[model.name] = model

    def remove(self, name: str) -> None:
        """Serve one that was added no longer; it is left open."""
        del self._models[name], self._names[name]

    def names(self) -> list[str]:
        """Every name that a client may give, the models' own first."""
        return list(self._names)

    def find(self, name: str | None) -> Model:
        """The model of that name; None is the first. Raises NotFound."""
        if not name:
            return next(iter(self._models.values()))
        found = self._names.get(name) or self._checkpoints.get(name)
        if found is None:
            raise NotFound(
                f"Model {name[:200]!r} is not served here; {self._known()} are. Name one of them, or start the server "
                f"with --alias {name[:200]}=MODEL."
            )
        return found

    def embedder(self, name: str | None, output: Output | None = None) -> EmbeddingModel:
        """The embedder of that name. Raises NotFound, InputError.

        None is the first there is, or, where `output` is said, the first that gives it, if any does.
        """
        if not name:
            embedders = (model for model in self if isinstance(model, EmbeddingModel))
            found = next(embedders, None)
            if found is None:
                raise WrongModel(f"This server embeds nothing; it serves {self._known()}, which score pairs.")
            if output is None or output in found.embedder.outputs:
                return found
            return next((model for model in embedders if output in model.embedder.outputs), found)
        model = self.find(name)
        if not isinstance(model, EmbeddingModel):
            raise WrongModel(f"{name} scores pairs and gives no embeddings. Use a rerank route.")
        return model

    def scorer(self, name: str | None) -> ScoringModel:
        """The reranker or classifier of that name; None is the first there is. Raises NotFound, InputError."""
        if not name:
            found = next((model for model in self if isinstance(model, ScoringModel)), None)
            if found is None:
                raise WrongModel(f"This server has no reranker; it serves {self._known()}. Start it with one.")
            return found
        model = self.find(name)
        if not isinstance(model, ScoringModel):
            raise WrongModel(f"{name} gives embeddings and scores no pairs. Use an embedding route, or another model.")
        return model

    def _known(self) -> str:
        return ", ".join(self._models)

    def close(self) -> None:
        """Let every model's threads go."""
        for model in self._models.values():
            model.close()


def _every_name(own: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Every name that a client may give, and the model's own that it means. Raises InputError."""
    if len(set(own)) < len(own):
        raise InputError(f"Two models have one name: {', '.join(own)}.")
    names = {name: name for name in own}
    for name in own:
        names.setdefault(name.rstrip("/").rpartition("/")[2], name)
    for alias, name in aliases.items():
        if name not in names:
            raise InputError(f"Alias {alias!r} is for {name!r}, which is not served; {', '.join(own)} are.")
        names[alias] = names[name]
    return names


def load_models(names: Sequence[str], options: ModelOptions, aliases: Mapping[str, str] | None = None) -> Models:
    """Load and check every model. Raises NotFound, CheckpointError, UnsupportedCheckpoint, InputError."""
    _every_name(names, aliases or {})  # before anything is loaded, which takes time
    return Models([load_model(name, name, options) for name in names], aliases)


def load_model(name: str, checkpoint: str, options: ModelOptions) -> Model:
    """Load and check one: as an embedder, or, where the checkpoint gives no embeddings, as a reranker.

    name: what clients say. checkpoint: what `Embedder` takes.
    """
    embedder = open_embedder(
        name,
        options.recipe,
        checkpoint=checkpoint,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        offline=options.offline,
        cache_folder=options.cache_folder,
        embedding_cache=options.embedding_cache,
        n_threads=options.n_threads,
        token_budget=options.token_budget,
        progress=True,
    )
    if embedder.loaded.engine.checkpoint.recipe.outputs:
        return EmbeddingModel(name, embedder)
    return ScoringModel(name, Reranker.of(embedder.loaded, checkpoint))
