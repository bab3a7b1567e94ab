"""A model's name to a running engine: find the files, read them, choose backend and precision, check the result."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import threading
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.catalogue import Catalogue
from sememe.catalogue.licences import licence_in_words
from sememe.checkpoints import Checkpoint, load_checkpoint
from sememe.checkpoints.recipe import RecipeChanges
from sememe.checkpoints.sources import CheckpointFolder, default_cache_folder, find_checkpoint
from sememe.checkpoints.token_heads import per_input
from sememe.engine import selfcheck
from sememe.engine.cache import EmbeddingCache
from sememe.engine.engine import Engine, EngineOptions
from sememe.engine.packing import pack
from sememe.engine.precision import BackendChoice, PrecisionChoice, Resolved, make_backend, resolve_precision
from sememe.errors import CheckpointError
from sememe.ops import Backend, BatchView, Ops, Precision, Program, Weights
from sememe.records import OUTPUTS, EmbedOptions, ProgramOutput

logger = logging.getLogger(__name__)

# Above this many bytes of parameters no float32 twin is compiled beside the model for the self-check.
_TWIN_LIMIT_BYTES = 4_000_000_000
# Up to so many bytes of parameters hidden states come from a program of their own.
_SECOND_PROGRAM_LIMIT_BYTES = 1_000_000_000


@dataclass(frozen=True)
class LoadOptions:
    """Where a model comes from and how it runs.

    like: the catalogue's model whose recipe a local folder takes, where its own files do not say.
    device: `auto`, `cpu`, `cuda`, `cuda:N`. cache_folder: for downloads and verdicts; None is the user's cache.
    embedding_cache: a SQLite file for computed vectors; None keeps none. allow_pickle: read pytorch_model.bin where
    there is no safetensors file, by a reader that builds tensors only. progress: bars on standard error while bringing.
    """

    revision: str | None = None
    offline: bool = False
    token: str | None = None
    progress: bool = False
    cache_folder: Path | None = None
    device: str = "auto"
    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    like: str | None = None
    changes: RecipeChanges = RecipeChanges()
    engine: EngineOptions = EngineOptions()
    embedding_cache: Path | None = None
    embedding_cache_bytes: int = 2_000_000_000
    allow_pickle: bool = False


@dataclass(frozen=True)
class LoadedModel:
    """An engine, and how it came to be: for `sememe doctor`, logs and responses."""

    engine: Engine
    found: CheckpointFolder
    backend: Backend
    precision: Resolved
    verdict: selfcheck.Verdict


def load_model(name: str, options: LoadOptions) -> LoadedModel:
    """Find, read, compile and check a model. Raises NotFound, CheckpointError, UnsupportedCheckpoint, InputError."""
    backend = make_backend(options.backend, options.device, options.engine.n_threads)
    wanted = resolve_precision(options.precision, backend)
    catalogue = Catalogue.read()
    found = find_checkpoint(
        name,
        revision=options.revision,
        offline=options.offline,
        cache_folder=options.cache_folder,
        hub_cache=options.cache_folder,
        token=options.token,
        catalogue=catalogue,
        progress=options.progress,
    )
    entry = catalogue.entry(options.like) if options.like else catalogue.find(found.name)
    if entry is not None and entry.commercial_use is False:
        logger.warning("%s: %s", entry.id, licence_in_words(entry).text)
    checkpoint = load_checkpoint(
        found.path,
        identity=found.identity,
        entry=entry,
        changes=options.changes,
        allow_pickle=options.allow_pickle,
    )
    verdicts = (options.cache_folder or default_cache_folder()) / "selfchecks"
    programs, resolved, verdict = _checked_programs(checkpoint, backend, wanted, verdicts)
    cache = (
        EmbeddingCache(options.embedding_cache, max_bytes=options.embedding_cache_bytes)
        if options.embedding_cache
        else None
    )
    engine_options = options.engine
    if backend.device != "cpu":
        engine_options = replace(engine_options, efficient_tokens=engine_options.token_budget)
    engine = Engine(checkpoint, programs, precision=resolved.precision, options=engine_options, cache=cache)
    if checkpoint.recipe.outputs:  # a width given for all calls is refused here rather than by the first
        engine.check_options(EmbedOptions(outputs=checkpoint.recipe.outputs[:1]))
    return LoadedModel(engine, found, backend, resolved, verdict)


class _Programs:
    """A checkpoint's programs by adapter, each made when first asked for.

    One that gives several outputs serves calls that want fewer of them too: its heads cost a few percent, a second
    program the memory of the whole model once more. Hidden states are the exception: giving them back slows every other
    call (by about a tenth with all-MiniLM-L6-v2), so that a model of moderate size has a program for them alone.
    """

    def __init__(self, checkpoint: Checkpoint, backend: Backend, precision: Precision) -> None:
        self._checkpoint, self._backend, self.precision = checkpoint, backend, precision
        self._lock = threading.Lock()
        self._made: dict[tuple[str | None, bool], tuple[tuple[ProgramOutput, ...], Program]] = {}
        size = sum(parameter.values.nbytes for parameter in checkpoint.parameters.values())
        self._spares_memory = size > _SECOND_PROGRAM_LIMIT_BYTES

    def __call__(self, outputs: tuple[ProgramOutput, ...], adapter: str | None) -> Program:
        """outputs: none is the score of pairs, of models that give nothing else."""
        key = adapter, outputs == ("hidden",) and not self._spares_memory
        with self._lock:
            made, program = self._made.get(key, ((), None))
            if program is None or not set(outputs) <= set(made):
                together = tuple(output for output in (*OUTPUTS, "hidden") if output in (*made, *outputs))
                program = self._make(together, adapter)
                self._made[key] = together, program
            return program

    def _make(self, outputs: tuple[ProgramOutput, ...], adapter: str | None) -> Program:
        checkpoint = self._checkpoint

        def build(ops: Ops[Any], weights: Weights[Any], batch: BatchView[Any]) -> dict[str, Any]:
            if outputs:
                return checkpoint.compute(ops, weights, batch, outputs)
            return checkpoint.score(ops, weights, batch)

        return self._backend.program(build, checkpoint.adapted(adapter), self.precision)


# ── the self-check ───────────────────────────────────────────────────────────────────────────────────────────────────


def _checked_programs(
    checkpoint: Checkpoint, backend: Backend, wanted: Resolved, verdicts: Path
) -> tuple[_Programs, Resolved, selfcheck.Verdict]:
    """Programs that passed the self-check: in the wanted precision, or, where that fails, in float32."""
    programs = _Programs(checkpoint, backend, wanted.precision)
    verdict = _verdict(checkpoint, backend, programs, verdicts)
    if verdict.passed:
        if wanted.precision != "float32" and verdict.compared:
            logger.info("%s: cosine to float32 %.5f in the mean", wanted.precision, verdict.mean_cosine)
        return programs, wanted, verdict
    damaged = f"{checkpoint.folder} fails the self-check in float32: %s. The weights are damaged."
    if wanted.precision == "float32":
        raise CheckpointError(damaged % verdict.reason)
    logger.warning("%s fails the self-check (%s); computing in float32 instead", wanted.precision, verdict.reason)
    exact = _Programs(checkpoint, backend, "float32")
    verdict = _verdict(checkpoint, backend, exact, verdicts)
    if not verdict.passed:
        raise CheckpointError(damaged % verdict.reason)
    return exact, Resolved("float32", f"{wanted.precision} failed the self-check"), verdict


def _verdict(checkpoint: Checkpoint, backend: Backend, programs: _Programs, verdicts: Path) -> selfcheck.Verdict:
    """The self-check's result: of an earlier load of just this on this machine, else made now and remembered.

    NaN and zero vectors are looked for at every load; only the comparison with float32 is remembered.
    """
    precision = programs.precision
    vectors = _selfcheck_vectors(checkpoint, programs)
    path = verdicts / f"{_verdict_key(checkpoint, backend, precision)}.json"
    quick = selfcheck.judge(precision, vectors, vectors if precision == "float32" else None)
    if not quick.passed or precision == "float32":
        return quick
    if (known := _read_verdict(path)) is not None:
        return known
    size = sum(parameter.values.nbytes for parameter in checkpoint.parameters.values())
    if size > _TWIN_LIMIT_BYTES:
        return quick
    exact = _selfcheck_vectors(checkpoint, _Programs(checkpoint, backend, "float32"))
    verdict = selfcheck.judge(precision, vectors, exact)
    _write_verdict(path, verdict)
    return verdict


def _selfcheck_vectors(checkpoint: Checkpoint, programs: _Programs) -> NDArray[np.float32]:
    """What is compared: one row a text that has tokens, of dense vectors, or of the mean of a text's token vectors.

    Scores and sparse weights of all texts are one row: alone, a score has no direction, and no word may be a result.
    """
    recipe = checkpoint.recipe
    options = EmbedOptions(max_tokens=min(checkpoint.max_tokens, selfcheck.MAX_TOKENS), prompt="")
    tokens = [t for t in checkpoint.tokenize(selfcheck.TEXTS, options) if len(t)]
    batch = pack(tokens, checkpoint.positions)
    outputs = recipe.outputs[:1]
    # With adapters, the bare weights may never be asked for, and a program is as large as the model.
    raw = programs(outputs, recipe.role_adapter("query"))(batch)[outputs[0] if outputs else "score"]
    if outputs == ("dense",):
        return raw
    if outputs == ("multi_vector",):
        return np.stack([rows.mean(0) for rows in per_input(raw, batch.cu_seqlens)])
    return raw.reshape(1, -1)


def _verdict_key(checkpoint: Checkpoint, backend: Backend, precision: Precision) -> str:
    parts = (checkpoint.identity, repr(checkpoint.recipe), backend.name, backend.device, precision)
    machine = (platform.machine(), _processor(), _installed("openvino"), _installed("torch"), _installed("sememe"))
    return hashlib.sha256(json.dumps([*parts, *machine, selfcheck.TEXTS]).encode()).hexdigest()[:32]


def _processor() -> str:
    """The processor's name and abilities, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read_verdict(path: Path) -> selfcheck.Verdict | None:
    try:
        return selfcheck.Verdict(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # none yet, or of another version: the check is made again


def _write_verdict(path: Path, verdict: selfcheck.Verdict) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(verdict.as_dict()), "utf-8")
        temporary.replace(path)
    except OSError as exc:
        logger.info("the self-check's verdict is not remembered: %s", exc)
