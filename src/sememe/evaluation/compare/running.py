"""The comparison, from options to what is reported."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sememe.errors import InputError
from sememe.evaluation.compare import lexical
from sememe.evaluation.compare.choosing import pareto_front, recommend
from sememe.evaluation.compare.embedding import Embedded, Run, Say, embed_run, hybrid, scored, vector_bytes, widths
from sememe.evaluation.compare.measuring import Probe, measure_in_child
from sememe.evaluation.compare.models import OpenedModel, open_model
from sememe.evaluation.compare.options import CompareOptions
from sememe.evaluation.compare.records import Comparison, Difference, Measured, System
from sememe.evaluation.compare.significance import Values, against_best
from sememe.evaluation.compare.tables import metric_title
from sememe.evaluation.compare.workfolder import WorkFolder
from sememe.evaluation.datasets import DataOptions, read_tasks
from sememe.evaluation.datasets.records import RetrievalTask, Task
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import TaskResult
from sememe.evaluation.tasks.retrieval import score_rankings
from sememe.evaluation.tasks.scoring import Origin

OVERALL = ""
_BM25 = "BM25"

OpenModel = Callable[[str, str, tuple[str, ...], bool], OpenedModel]
Measure = Callable[[Probe], Measured]
ReadData = Callable[[Path, DataOptions], Sequence[Task]]


def run_comparison(
    options: CompareOptions,
    *,
    read_with: ReadData = read_tasks,
    open_with: OpenModel = open_model,
    measure_with: Measure = measure_in_child,
    say: Say = lambda text: None,
) -> Comparison:
    """Compare; run again after an interruption, it goes on. say: gets a line about what is being done.

    Raises InputError, NotFound and CheckpointError for data and models that are not right, before anything is embedded
    where that can be seen.
    """
    tasks = _read(options, read_with)
    work = WorkFolder(options.folder / "work")
    return _Comparing(options, tasks, work, open_with, measure_with, say).compare()


def _read(options: CompareOptions, read_with: ReadData) -> tuple[Task, ...]:
    tasks = tuple(task for path in options.data for task in read_with(path, options.read))
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"Two of the data sets are called {twice[0]!r}; rename one of the folders.")
    return tasks


class _Comparing:
    """One comparison's state: systems so far, and what a reader must know."""

    def __init__(
        self,
        options: CompareOptions,
        tasks: Sequence[Task],
        work: WorkFolder,
        open_with: OpenModel,
        measure_with: Measure,
        say: Say,
    ) -> None:
        self._options, self._tasks, self._work = options, tasks, work
        self._open, self._measure, self._say = open_with, measure_with, say
        self._scoring = EvaluationOptions(bootstrap=options.bootstrap)
        self._machine = this_machine()
        self._systems: list[System] = []
        self._notes: list[str] = []
        self._seen: set[tuple[str, str, bool]] = set()

    def compare(self) -> Comparison:
        retrieval = [task for task in self._tasks if isinstance(task, RetrievalTask)] if self._options.baselines else []
        words = {}
        for task in retrieval:
            self._say(f"{_BM25}: {task.name}")
            words[task.name] = lexical.run_bm25(task, self._options.language)
        if retrieval:
            self._add_bm25(retrieval, words)
        for model in self._options.models:
            for precision in self._options.precisions:
                for prompts in self._options.prompts:
                    self._add_run(Run(model, precision, prompts), retrieval, words)
        return self._concluded()

    # ── systems ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _add_bm25(self, tasks: Sequence[RetrievalTask], words: Mapping[str, lexical.LexicalRun]) -> None:
        results = {}
        for task in tasks:
            origin = Origin(_BM25, "", "", n_texts=len(task.documents) + len(task.queries))
            results[task.name] = score_rankings(task, words[task.name].rankings, origin, self._scoring)
        runs = list(words.values())
        system = System(
            name=_BM25, kind="lexical", model=_BM25, precision="", prompts=False, dimensions=None, dtype="",
            results=results, measured=lexical.measured(runs), index_bytes=lexical.index_bytes(runs), licence="",
            commercial=True,
        )  # fmt: skip
        self._systems.append(system)

    def _add_run(self, asked: Run, retrieval: Sequence[RetrievalTask], words: Mapping[str, lexical.LexicalRun]) -> None:
        self._say(f"{asked.name}: loading")
        opened = self._open(asked.model, asked.precision, self._options.recipe, self._options.offline)
        run = replace(asked, precision=opened.precision)
        if asked.precision not in ("auto", run.precision):
            self._note(f"{opened.reason}: {asked.name} is {run.precision}.")
        if (run.model, run.precision, run.prompts) in self._seen:
            self._note(f"{asked.name} computes in {run.precision}, which was compared already.")
            return
        if not run.prompts and not opened.has_prompts and True in self._options.prompts:
            self._notes.append(f"{run.model} has no prompts, so that leaving them away changes nothing.")
            return
        self._seen.add((run.model, run.precision, run.prompts))
        found = embed_run(run, opened, self._tasks, self._options, self._work, self._measure, self._machine, self._say)
        if n := sum(vectors.n_truncated for vectors in found.vectors.values()):
            self._notes.append(f"{run.name}: {n:,} texts were longer than the model reads, and cut.")
        for width in self._options.dimensions:
            if width is not None and width > found.dimension:
                self._notes.append(f"{run.name} has {found.dimension} dimensions, so that {width} were left out.")
        self._add_cuts(found)
        if retrieval:
            self._add_hybrid(found, retrieval, words)

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._say(text)

    def _add_cuts(self, found: Embedded) -> None:
        for width in widths(found, self._options):
            for dtype in self._options.dtypes:
                self._say(f"{found.run.name}: scoring {width} {dtype}")
                results = {}
                for task in self._tasks:
                    result = scored(task, found.vectors[task.name], width, dtype, self._scoring)
                    if result is not None:
                        results[task.name] = result
                if not results:
                    self._notes.append(f"{dtype} is for retrieval tasks, of which there is none.")
                    continue
                self._systems.append(
                    self._dense(found, f"{found.run.name} {width} {dtype}", results, width, dtype,
                                float(vector_bytes(width, dtype)) * 1e6)
                )  # fmt: skip

    def _dense(
        self, found: Embedded, name: str, results: Mapping[str, TaskResult], width: int, dtype: str, size: float
    ) -> System:
        run, opened, measured = found.run, found.opened, found.measured
        return System(
            name=name, kind="dense", model=run.model, precision=run.precision, prompts=run.prompts, dimensions=width,
            dtype=dtype, results=results, measured=measured, index_bytes=size, licence=opened.licence,
            commercial=opened.commercial, price=price(measured.tokens_per_second, self._options.price_per_hour),
        )  # fmt: skip

    def _add_hybrid(
        self, found: Embedded, tasks: Sequence[RetrievalTask], words: Mapping[str, lexical.LexicalRun]
    ) -> None:
        results = {task.name: hybrid(task, found.vectors[task.name], words[task.name], self._scoring) for task in tasks}
        size = vector_bytes(found.dimension, "float32") * 1e6 + lexical.index_bytes(list(words.values()))
        system = self._dense(
            found, f"{found.run.name} {found.dimension} float32 + {_BM25}", results, found.dimension, "float32", size
        )
        together = lexical.measured_together(found.measured, lexical.measured(list(words.values())))
        self._systems.append(replace(system, kind="hybrid", measured=together))

    # ── what follows from them ───────────────────────────────────────────────────────────────────────────────────

    def _concluded(self) -> Comparison:
        complete = [s for s in self._systems if len(s.results) == len(self._tasks)]
        if len(complete) < len(self._systems):
            self._notes.append("Systems without a figure for every task are in no mean, front or recommendation.")
        complete.sort(key=lambda s: -s.mean)
        differences = self._differences(complete)
        overall = {d.system: d for d in differences if d.task == OVERALL}
        metric = metric_title(complete) + (f" over {len(self._tasks)} sets" if len(self._tasks) > 1 else "")
        name, sentence = recommend(complete, overall, self._options.tolerance, metric)
        return Comparison(
            systems=(*complete, *(s for s in self._systems if s not in complete)),
            tasks=tuple(self._tasks),
            differences=tuple(differences),
            front=pareto_front(complete),
            recommended=name,
            recommendation=sentence,
            machine=self._machine,
            notes=(*self._notes, *(f"{task.name}: {note}" for task in self._tasks for note in task.notes)),
            conditions=self._conditions(),
        )

    def _differences(self, complete: Sequence[System]) -> list[Difference]:
        values = {s.name: {task.name: item_values(s.results[task.name]) for task in self._tasks} for s in complete}
        found: list[Difference] = []
        tested = []
        for task in self._tasks:
            of_task = {name: some[task.name] for name, some in values.items()}
            if any(some is None for some in of_task.values()):
                self._notes.append(
                    f"{task.name}: its metric is no mean over items, so that differences are not tested."
                )
                continue
            tested.append(task.name)
            found += self._against(task.name, {name: [v] for name, v in of_task.items() if v is not None})
        if len(tested) == len(self._tasks):
            by_system = {name: [v for v in some.values() if v is not None] for name, some in values.items()}
            found += self._against(OVERALL, by_system)
        return found

    def _against(self, task: str, values: Mapping[str, Sequence[Values]]) -> tuple[Difference, ...]:
        options = self._options
        return against_best(
            task, values, n_permutations=options.n_permutations, alpha=options.alpha, bootstrap=options.bootstrap
        )

    def _conditions(self) -> dict[str, str]:
        options = self._options
        said = {
            "tests": f"paired randomisation over queries against the best of each task, {options.n_permutations:,} "
            f"permutations, Holm's correction over its {len(self._systems) - 1} comparisons, alpha {options.alpha:g}",
            "intervals": f"{options.bootstrap.confidence:.0%}, paired bootstrap over queries, "
            f"{options.bootstrap.n_resamples:,} resamples, seed {options.bootstrap.seed}",
            "load average": f"{os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else "not known",
        }
        if options.price_per_hour is not None:
            said["currency"] = options.currency
            said["price"] = f"{options.currency}{options.price_per_hour:g} an hour for this machine, fully used"
        return said


def item_values(result: TaskResult) -> Values | None:
    """(N,) values whose mean is the main metric; None where it is no mean over items."""
    for name in (result.main, "correct"):
        if result.items and all(name in item.values for item in result.items):
            values = np.array([item.values[name] for item in result.items])
            if abs(values.mean() - result.score) < 1e-9:
                return values
    return None


def price(tokens_per_second: float, per_hour: float | None) -> float | None:
    """Of a million tokens on a machine that is always busy."""
    return None if per_hour is None else per_hour / (tokens_per_second * 3600) * 1e6


def this_machine() -> str:
    """The processor and how many cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    return f"{names[0] if names else platform.processor() or platform.machine()}, {n_cores} cores, {platform.system()}"
