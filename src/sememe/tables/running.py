"""Doing a job: streaming, resumable after Ctrl-C, kill -9 or a full disk.

    lock the work folder → read past the rows that are done, comparing them → embed the rest, a shard a window
    → put the shards together → rename → remove the work folder

What is done is what is on the disk as a shard (workfolder.py); everything else is made again. The output is the same,
byte for byte, as without the interruption, if the embedder gives the same vectors for the same window.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa

from sememe.errors import CollectionMismatch, InputError, SememeError
from sememe.records import Embeddings, TextEmbedder
from sememe.tables.contents import Contents, Space
from sememe.tables.destination import refuse_existing, sidecar, writing_in_words
from sememe.tables.job import JobReport, PreparedJob, Progress
from sememe.tables.vector_columns import first_broken_row, with_vectors
from sememe.tables.windows import InputChangedError, Window
from sememe.tables.workfolder import Shard, WorkFolder, write_json
from sememe.tables.writing import write_output

_JOB_FORMAT = 1


def run_job(prepared: PreparedJob, embedder: TextEmbedder, observe: Callable[[Progress], None]) -> JobReport:
    """Do the job, or the rest of it. `observe` is told how far it is, after every window.

    Raises InputError for rows that cannot be read or embedded, and for a work folder of another job or other inputs;
    SememeError when another process works on the same output, and when the output cannot be written. After any of
    them, and after KeyboardInterrupt, the same call goes on where it was.
    """
    with ExitStack() as stack:
        with writing_in_words(prepared.job.out):
            folder = stack.enter_context(WorkFolder(prepared.job.out))
        return _Run(prepared, embedder, folder, observe).do()


def n_kept_rows(out: Path) -> int:
    """Rows that an unfinished job for this output has on the disk."""
    return sum(shard.n_rows for shard in WorkFolder(Path(os.path.realpath(out))).shards())


class _Run:
    """One run of a job: the job, what embeds, and the locked work folder."""

    def __init__(
        self,
        prepared: PreparedJob,
        embedder: TextEmbedder,
        folder: WorkFolder,
        observe: Callable[[Progress], None],
    ) -> None:
        self._prepared, self._job = prepared, prepared.job
        self._embedder, self._folder, self._observe = embedder, folder, observe
        self._began = time.monotonic()
        # Refuses options that the model cannot do; and it says how wide the vectors are, should there be no row.
        self._nothing = embedder.embed([], self._job.embed)
        self._space = self._describe_space()

    def do(self) -> JobReport:
        finished = self._folder.finished_report()
        if finished is not None:
            same = not self._differences()
            self._folder.clear()
            if same:
                return JobReport(**finished)  # type: ignore[arg-type]  # as `_finish` wrote it
        refuse_existing(self._job.out, self._prepared.format, self._job.overwrite)
        self._rehearse()
        kept = self._kept()
        try:
            shards = self._embed_rest(kept)
        except InputChangedError as exc:
            if not (self._job.overwrite and self._prepared.reopen()):
                raise InputChangedError(
                    f"{exc} Bring back the input that the job began with; or pass --overwrite to begin anew, or, for "
                    f"an input that can be read only once, remove {self._folder.path}."
                ) from exc
            self._begin()
            kept, shards = [], self._embed_rest([])
        return self._finish(shards, kept)

    def _describe_space(self) -> Space:
        nothing, options = self._nothing, self._job.embed
        dimension = None
        if nothing.dense is not None:
            dimension = options.dimensions or self._embedder.dimension
        elif nothing.multi_vector is not None:
            dimension = nothing.multi_vector.vectors.shape[1]
        return Space(
            model=self._embedder.name,
            revision=self._embedder.revision,
            fingerprint=self._embedder.fingerprint(options),
            dtype=options.dtype,
            dimension=dimension,
            outputs=options.outputs,
            n_columns=None if nothing.sparse is None else nothing.sparse.n_columns,
        )

    def _describe_job(self) -> dict[str, object]:
        """What must be the same for the shards of two runs to fit together."""
        read = self._job.read
        job = {
            "format": _JOB_FORMAT,
            "fingerprint": self._space.fingerprint,
            **asdict(self._job.embed),
            "text column": read.text_column,
            "id column": read.id_column,
            "kept columns": read.keep,
            "encoding errors": read.encoding_errors,
            "name of the embeddings": self._job.column,
            "columns": [f"{field.name} {field.type}" for field in self._prepared.carried],
        }
        description: dict[str, object] = json.loads(json.dumps(job))
        return description

    def _differences(self) -> list[str]:
        """How the job in the work folder differs from this one, in words."""
        found, mine = self._folder.description() or {}, self._describe_job()
        return [f"{key} is {found.get(key)} there and {mine[key]} here" for key in mine if found.get(key) != mine[key]]

    def _kept(self) -> list[Shard]:
        """The shards that an earlier run of the same job has left."""
        if self._folder.description() is None:
            self._begin()
            return []
        try:
            shards = self._folder.shards()
            if differences := self._differences():
                raise InputError(
                    f"{self._folder.path} holds an unfinished job of another kind: {'; '.join(differences)}. Use the "
                    f"same options to go on with its {sum(shard.n_rows for shard in shards):,} rows, or pass "
                    "--overwrite to begin anew."
                )
        except SememeError:
            if not self._job.overwrite:
                raise
            self._begin()
            return []
        return shards

    def _begin(self) -> None:
        """Empty the work folder and say what the job is."""
        with writing_in_words(self._job.out):
            self._folder.clear()
            self._folder.describe(self._describe_job())

    def _embed_rest(self, kept: list[Shard]) -> list[Shard]:
        """Embed the rows that no shard has; one shard is written while the next is computed."""
        shards = list(kept)
        n_tokens = sum(shard.n_tokens for shard in kept)
        self._observe(Progress("begin", _n_rows(shards), n_tokens, None))
        windows = self._prepared.windows(kept, self._job.embed.max_tokens or self._embedder.max_tokens)
        with ThreadPoolExecutor(1, "sememe-shards") as writer:
            written: Future[None] = writer.submit(lambda: None)
            try:
                for window in windows:
                    shard, rows = self._embed(window)
                    self._wait(written)
                    written = writer.submit(self._folder.add, shard, rows)
                    shards.append(shard)
                    n_tokens += shard.n_tokens
                    self._observe(Progress("embed", _n_rows(shards), n_tokens, window.n_estimated))
                self._wait(written)
            finally:
                windows.close()
        return shards

    def _wait(self, written: Future[None]) -> None:
        with writing_in_words(self._job.out):
            written.result()

    def _embed(self, window: Window) -> tuple[Shard, pa.Table]:
        first, last = window.start + 1, window.start + len(window.texts)
        try:
            embeddings = self._embedder.embed(window.texts, self._job.embed)
        except InputError as exc:
            raise InputError(f"Rows {first:,} to {last:,} (inputs are counted within them): {exc}") from exc
        self._check(embeddings, window)
        shard = Shard(
            start=window.start,
            n_rows=len(window.texts),
            digest=window.digest,
            n_tokens=int(embeddings.n_tokens.sum(dtype=np.int64)),
            n_dropped=int(embeddings.n_dropped.sum(dtype=np.int64)),
            n_truncated=int((embeddings.n_dropped > 0).sum()),
            n_empty=sum(not text or text.isspace() for text in window.texts),
        )
        return shard, self._table(window.carried, embeddings)

    def _table(self, carried: pa.Table, embeddings: Embeddings) -> pa.Table:
        return with_vectors(carried, embeddings, self._job.embed.outputs, self._prepared.names)

    def _check(self, embeddings: Embeddings, window: Window) -> None:
        """Vectors of another space, too few of them or NaN among them never reach a file."""
        if embeddings.fingerprint != self._space.fingerprint:
            raise CollectionMismatch(
                f"{self._space.model} now gives vectors of another space ({embeddings.fingerprint}) than when the job "
                f"began ({self._space.fingerprint}). Run the job with one version of the model."
            )
        n_texts = len(window.texts)
        answers = (embeddings.dense, embeddings.sparse, embeddings.multi_vector)
        if any(answer is not None and len(answer) != n_texts for answer in answers):
            raise SememeError(f"{self._space.model} gave another number of vectors than the {n_texts} texts it got.")
        if (row := first_broken_row(embeddings)) is not None:
            raise SememeError(
                f"Row {window.start + row + 1:,}: {self._space.model} gave a vector with values that are not numbers "
                "(NaN or infinite). Nothing of its window was written. Try --precision float32."
            )

    def _contents(self, n_rows: int) -> Contents:
        return Contents(
            tables=self._folder.tables,
            schema=self._table(self._prepared.carried.empty_table(), self._nothing).schema,
            n_rows=n_rows,
            names=self._prepared.names,
            id_column=self._prepared.id_column,
            space=self._space,
        )

    def _rehearse(self) -> None:
        """Write the output without rows, to memory: column types that its format lacks are seen before the work."""
        try:
            contents = replace(self._contents(0), tables=lambda: iter(()))
            write_output(BytesIO(), self._prepared.format, contents)
        except pa.ArrowException as exc:
            raise InputError(
                f"{self._job.out} cannot hold the columns of the input: {exc}. Choose another format, or leave columns "
                "out with --keep-columns id."
            ) from exc

    def _finish(self, shards: list[Shard], kept: list[Shard]) -> JobReport:
        """Put the shards together, and the whole into its place."""
        n_rows, n_tokens = _n_rows(shards), sum(shard.n_tokens for shard in shards)
        seconds = time.monotonic() - self._began
        self._observe(Progress("assemble", n_rows, n_tokens, n_rows))
        out, beside = self._job.out, sidecar(self._job.out, self._prepared.format)
        with writing_in_words(out):
            with self._folder.assembled.open("wb") as file:
                write_output(file, self._prepared.format, self._contents(n_rows))
                file.flush()
                os.fsync(file.fileno())
            report = JobReport(
                output=str(out),
                n_rows=n_rows,
                n_kept=_n_rows(kept),
                n_empty=sum(shard.n_empty for shard in shards),
                n_tokens=n_tokens,
                n_dropped_tokens=sum(shard.n_dropped for shard in shards),
                n_truncated=sum(shard.n_truncated for shard in shards),
                seconds=seconds,
                texts_per_second=(n_rows - _n_rows(kept)) / seconds,
                tokens_per_second=(n_tokens - sum(shard.n_tokens for shard in kept)) / seconds,
                size_bytes=self._folder.assembled.stat().st_size,
                text_columns=[table.text_column or "" for table in self._prepared.tables],
                **asdict(self._space),
            )
            if beside is not None:
                write_json(beside, {"file": out.name, "n_rows": n_rows, **asdict(self._space)})
            self._folder.publish(asdict(report))
        return report


def _n_rows(shards: Sequence[Shard]) -> int:
    return sum(shard.n_rows for shard in shards)
