"""Evaluation data from files: what is there, recognised by its layout and read into tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sememe.errors import InputError, NotFound
from sememe.evaluation.datasets.beir import is_beir, read_beir_reranking, read_retrieval
from sememe.evaluation.datasets.options import OTHER_SPLITS, DataOptions, evenly
from sememe.evaluation.datasets.records import Task
from sememe.evaluation.datasets.rows import Row, find_file, has_rows, read_rows
from sememe.evaluation.datasets.tables import make_task, recognise

_SPLITS = ("test", *OTHER_SPLITS)
_LANGUAGE = "lang"


def read_tasks(path: Path, options: DataOptions | None = None) -> tuple[Task, ...]:
    """The tasks that a file or folder holds: one for each language where it has several.

    A BEIR folder read as `reranking` that names no candidates gives the retrieval task that they are found in.

    Layouts: BEIR's folder; a folder of `SPLIT.jsonl[.gz]` (also csv, tsv) whose column names say the kind; one such
    file; a folder of such folders, one a language. Raises NotFound, and InputError for data that is not right.
    """
    options = options or DataOptions()
    if not path.exists():
        raise NotFound(f"There is no {path}.")
    tasks = tuple(_read(path.resolve(), options))
    if not tasks:
        raise InputError(f"{path} has no task in {', '.join(options.languages) or 'any language'}.")
    return tasks


def _read(path: Path, options: DataOptions) -> Iterator[Task]:
    if path.is_file():
        yield from _by_language(path.parent.name, list(read_rows(path)), [], options, ())
    elif is_beir(path):
        if options.kind not in (None, "retrieval", "reranking"):
            raise InputError(f"{path} holds retrieval data, not {options.kind}.")
        if options.kind == "reranking" and (path / "candidates").is_dir():
            yield read_beir_reranking(path, options)
        else:  # a reranking task without candidates gets them from `evaluation.candidates`
            yield read_retrieval(path, options)
    elif file := _split_file(path, options):
        chosen, notes = file
        train = find_file(path, "train")
        train_rows = list(read_rows(train)) if train is not None and train != chosen else []
        yield from _by_language(path.name, list(read_rows(chosen)), train_rows, options, notes)
    else:
        yield from _folders(path, options)


def _folders(path: Path, options: DataOptions) -> Iterator[Task]:
    """One set a folder, as `xquad/de`, `xquad/en`."""
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _is_set(folder)]
    if not folders:
        raise InputError(
            f"{path} holds no evaluation data that is known: neither corpus.jsonl and queries.jsonl (BEIR), nor "
            "test.jsonl (also dev; csv, tsv, .gz), nor folders of these."
        )
    wanted = [folder for folder in folders if not options.languages or folder.name in options.languages]
    if unknown := [name for name in options.languages if name not in {folder.name for folder in folders}]:
        raise InputError(f"{path} has no {unknown[0]!r}; it has {', '.join(folder.name for folder in folders)}.")
    for folder in wanted:
        for task in _read(folder, replace(options, languages=())):
            yield replace(task, name=f"{path.name}/{task.name}")


def is_data(path: Path) -> bool:
    """Whether a folder or file is evaluation data, rather than documents to make some of."""
    if path.is_file():
        return has_rows(path)
    return _is_set(path) or any(_is_set(folder) for folder in path.iterdir() if folder.is_dir())


def _is_set(folder: Path) -> bool:
    return is_beir(folder) or any(find_file(folder, split) for split in _SPLITS)


def _split_file(folder: Path, options: DataOptions) -> tuple[Path, tuple[str, ...]] | None:
    """The file that is tested; None where the folder has no such files at all."""
    there = [split for split in _SPLITS if find_file(folder, split)]
    if not there and not (options.split and find_file(folder, options.split)):
        return None
    asked = options.split or "test"
    if chosen := find_file(folder, asked):
        return chosen, ()
    only = find_file(folder, there[0])
    if options.split is None and len(there) == 1 and there[0] != "train" and only is not None:
        return only, (f"there is no test split; {there[0]} was taken",)
    raise NotFound(f"{folder} has no split {asked!r}; it has {', '.join(there)}. Choose one with --split.")


def _by_language(
    name: str, rows: list[Row], train: list[Row], options: DataOptions, notes: tuple[str, ...]
) -> Iterator[Task]:
    if not rows:
        raise InputError(f"{name} has no row.")
    kind = options.kind or recognise(rows[0], bool(train))
    if _LANGUAGE not in rows[0].values:
        if options.languages:
            raise InputError(f"{rows[0].path} does not say languages (`{_LANGUAGE}`), so none can be chosen.")
        yield make_task(kind, name, evenly(rows, options.limit), train, notes)
        return
    groups, learnt = _grouped(rows), _grouped(train)
    if unknown := [language for language in options.languages if language not in groups]:
        raise InputError(f"{rows[0].path} has no language {unknown[0]!r}; it has {', '.join(groups)}.")
    for language, some in groups.items():
        if options.languages and language not in options.languages:
            continue
        if kind == "classification" and language not in learnt and not options.languages:
            continue  # nothing to learn from in this language
        yield make_task(kind, f"{name}/{language}", evenly(some, options.limit), learnt.get(language, []), notes)


def _grouped(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.text(_LANGUAGE), []).append(row)
    return groups


__all__ = ["DataOptions", "Task", "is_data", "read_tasks"]
