"""Retrieval and reranking sets in BEIR's layout.

`corpus.jsonl[.gz]` with `_id`, `title`, `text`; `queries.jsonl[.gz]` with `_id`, `text`; `qrels/SPLIT.tsv` with
query id, corpus id and grade. A document is embedded as title, space, text. For reranking, `candidates/SPLIT.tsv` names
query id and corpus id. Source: Thakur et al. 2021 and the repository's `GenericDataLoader`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError, NotFound
from sememe.evaluation.datasets.options import OTHER_SPLITS, DataOptions, evenly
from sememe.evaluation.datasets.records import RerankingTask, RetrievalTask
from sememe.evaluation.datasets.rows import Row, find_file, read_rows, stem_of

_QUERY_COLUMNS = ("query-id", "query_id", "qid")
_DOCUMENT_COLUMNS = ("corpus-id", "corpus_id", "doc_id", "docid", "pid")
_GRADE_COLUMNS = ("score", "relevance", "grade", "label")
_MOST_NAMED = 3


@dataclass(frozen=True)
class _Texts:
    """Texts by id, in the file's order."""

    path: Path
    by_id: Mapping[str, str]


def is_beir(folder: Path) -> bool:
    """Whether the folder has a corpus and queries."""
    return find_file(folder, "corpus") is not None and find_file(folder, "queries") is not None


def read_retrieval(folder: Path, options: DataOptions) -> RetrievalTask:
    """A BEIR folder's test queries. Raises NotFound, and InputError for ids that are double, unknown or missing."""
    corpus, queries = _read_texts(folder, "corpus"), _read_texts(folder, "queries")
    split_file, notes = _choose_split(folder / "qrels", options.split)
    qrels = _read_qrels(split_file)
    _check_known(split_file, "queries", qrels, queries)
    judged = {name for grades in qrels.values() for name in grades}
    notes += _check_documents(split_file, judged, corpus, options.allow_unknown)
    kept = evenly([name for name in queries.by_id if name in qrels], options.limit)
    if empty := [name for name in kept if not queries.by_id[name].strip()]:
        raise InputError(f"{queries.path}: query {empty[0]!r} has no text. Correct it, or take it out of the qrels.")
    if n_empty := sum(not text for text in corpus.by_id.values()):
        if n_empty == len(corpus.by_id):
            raise InputError(f"{corpus.path}: not one of {n_empty:,} documents has text.")
        notes.append(f"{n_empty:,} of {len(corpus.by_id):,} documents are empty; they stay, found by chance if at all")
    if n_without := sum(all(grade < 1 for grade in qrels[name].values()) for name in kept):
        notes.append(f"{n_without:,} queries have no relevant document; they count 0")
    return RetrievalTask(
        name=folder.name,
        query_ids=tuple(kept),
        queries=tuple(queries.by_id[name] for name in kept),
        document_ids=tuple(corpus.by_id),
        documents=tuple(corpus.by_id.values()),
        qrels={name: qrels[name] for name in kept},
        notes=tuple(notes),
    )


def read_beir_reranking(folder: Path, options: DataOptions) -> RerankingTask:
    """A BEIR folder with candidates, a file `candidates/SPLIT.tsv`."""
    task = read_retrieval(folder, options)
    path, notes = _choose_split(folder / "candidates", options.split)
    candidates: dict[str, list[str]] = {}
    known = set(task.document_ids)
    for row in read_rows(path):
        query, document = _cell(row, _QUERY_COLUMNS), _cell(row, _DOCUMENT_COLUMNS)
        if document not in known:
            raise InputError(f"{row.where}: candidate {document!r} is not in the corpus.")
        candidates.setdefault(query, []).append(document)
    if missing := [name for name in task.query_ids if name not in candidates]:
        raise InputError(f"{path} has no candidates for {len(missing):,} queries, such as {missing[0]!r}.")
    ordered = {name: tuple(dict.fromkeys(candidates[name])) for name in task.query_ids}
    return reranking_of(task, ordered, notes)


def reranking_of(
    task: RetrievalTask, candidates: Mapping[str, Sequence[str]], notes: Iterable[str] = ()
) -> RerankingTask:
    """The task of ordering some candidates of each query; documents that are nobody's candidate are left out."""
    wanted = {name for names in candidates.values() for name in names}
    documents = [(name, text) for name, text in zip(task.document_ids, task.documents, strict=True) if name in wanted]
    return RerankingTask(
        name=task.name,
        query_ids=task.query_ids,
        queries=task.queries,
        document_ids=tuple(name for name, _ in documents),
        documents=tuple(text for _, text in documents),
        qrels=task.qrels,
        candidates={name: tuple(names) for name, names in candidates.items()},
        notes=(*task.notes, *notes),
    )


def _read_texts(folder: Path, stem: str) -> _Texts:
    path = find_file(folder, stem)
    if path is None:
        raise NotFound(f"{folder} has no {stem}.jsonl (also .gz).")
    texts: dict[str, str] = {}
    for row in read_rows(path):
        name = row.text("_id")
        if name in texts:
            raise InputError(f"{row.where}: the id {name!r} stands there twice. Give every row an id of its own.")
        title, text = row.text_or("title", ""), row.text_or("text", "")
        if not title and "text" not in row.values:
            row.text("text")
        texts[name] = f"{title} {text}".strip() if stem == "corpus" else text
    if not texts:
        raise InputError(f"{path} is empty.")
    return _Texts(path, texts)


def _choose_split(folder: Path, split: str | None) -> tuple[Path, list[str]]:
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder}, which says what belongs to which query.")
    files = {stem_of(path): path for path in sorted(folder.iterdir()) if path.is_file()}
    asked = split or "test"
    if asked in files:
        return files[asked], []
    others = [name for name in OTHER_SPLITS if name in files]
    if split is None and len(files) == 1 and others:
        return files[others[0]], [f"there is no test split; {others[0]} was taken"]
    raise NotFound(f"{folder} has no split {asked!r}; it has {', '.join(files) or 'none'}.")


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for row in read_rows(path):
        query, document = _cell(row, _QUERY_COLUMNS), _cell(row, _DOCUMENT_COLUMNS)
        grade = row.integer(_column(row, _GRADE_COLUMNS))
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise InputError(f"{row.where}: document {document!r} has two grades for query {query!r}.")
    if not qrels:
        raise InputError(f"{path} has no judgement.")
    return qrels


def _cell(row: Row, columns: Sequence[str]) -> str:
    return row.text(_column(row, columns))


def _column(row: Row, columns: Sequence[str]) -> str:
    return next((name for name in columns if name in row.values), columns[0])


def _check_known(path: Path, what: str, names: Iterable[str], there: _Texts) -> None:
    if unknown := [name for name in names if name not in there.by_id]:
        raise InputError(
            f"{path} names {len(unknown):,} {what} that {there.path.name} does not have: {_some(unknown)}. "
            "Add them, or take their lines out."
        )


def _check_documents(path: Path, judged: Iterable[str], corpus: _Texts, allow_unknown: bool) -> list[str]:
    if not allow_unknown:
        _check_known(path, "documents", judged, corpus)
        return []
    unknown = [name for name in judged if name not in corpus.by_id]
    return [f"{len(unknown):,} judged documents are not in the corpus; they count as not found"] if unknown else []


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_MOST_NAMED]))
    return shown if len(names) <= _MOST_NAMED else f"{shown}, …"
