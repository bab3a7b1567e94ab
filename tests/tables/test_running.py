"""A job resumes where it was: nothing twice, nothing lost, nothing out of order; and says what is in its way."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeEmbedder
from sememe.errors import CollectionMismatch, InputError, SememeError
from sememe.records import Embeddings, EmbedOptions
from sememe.tables import workfolder
from sememe.tables.job import JobReport, PreparedJob, Progress
from sememe.tables.options import EmbedJob, ReadOptions
from sememe.tables.running import n_kept_rows, run_job
from sememe.tables.windows import InputChangedError
from sememe.tables.workfolder import WorkFolder

N_ROWS = 1000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"text number {n}\n" for n in range(N_ROWS)))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.npy"


def embed(
    source: Path | str,
    out: Path,
    embedder: FakeEmbedder | None = None,
    *,
    options: EmbedOptions = EmbedOptions(),  # noqa: B008 - frozen
    read: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
    overwrite: bool = False,
    seen: list[Progress] | None = None,
) -> JobReport:
    job = EmbedJob((str(source),), out, options, read, overwrite=overwrite, window_rows=128)
    return run_job(PreparedJob(job), embedder or FakeEmbedder(), ([] if seen is None else seen).append)


def interrupt(source: Path, out: Path, after: int = 500, **more: object) -> FakeEmbedder:
    """Run the job until the embedder fails; give back what it embedded."""
    embedder = FakeEmbedder(fail_after=after)
    with pytest.raises(RuntimeError, match="as it was told to"):
        embed(source, out, embedder, **more)  # type: ignore[arg-type]
    return embedder


def vectors(texts: list[str]) -> object:
    return FakeEmbedder().embed(texts).dense


def folder_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ── resuming ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["out.npy", "out.npz", "out.jsonl", "out.parquet", "out.arrow"])
def test_a_failed_job_goes_on_and_writes_the_same_bytes(source: Path, tmp_path: Path, name: str) -> None:
    out, whole = tmp_path / name, tmp_path / f"whole.{name}"
    embed(source, whole)
    first = interrupt(source, out)
    assert not out.exists()
    kept = n_kept_rows(out)
    assert kept == 384  # windows of 64, 64, 128 and 128; the fifth failed
    second = FakeEmbedder()
    seen: list[Progress] = []
    report = embed(source, out, second, seen=seen)
    assert out.read_bytes() == whole.read_bytes()
    assert second.texts == [f"text number {n}" for n in range(kept, N_ROWS)]
    assert first.texts[:kept] == [f"text number {n}" for n in range(kept)]
    assert (report.n_rows, report.n_kept) == (N_ROWS, kept)
    assert seen[0] == Progress("begin", kept, 5 * kept, None)
    assert seen[-1] == Progress("assemble", N_ROWS, 5 * N_ROWS, N_ROWS)
    assert seen[-2].n_estimated == N_ROWS
    assert not (tmp_path / f"{name}.partial").exists()


@settings(max_examples=15)
@given(stops=st.lists(st.integers(0, 400), min_size=1, max_size=5), n_rows=st.integers(0, 900))
def test_however_often_it_fails_every_row_is_written_once(
    stops: list[int], n_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stops")
    texts = [f"row {n}" for n in range(n_rows)]
    source, out = folder / "in.txt", folder / "out.npy"
    source.write_text("".join(text + "\n" for text in texts))
    written: Counter[str] = Counter()
    for stop in [*stops, None]:
        embedder = FakeEmbedder(fail_after=stop)
        n_before = n_kept_rows(out)
        try:
            embed(source, out, embedder)
            break
        except RuntimeError:
            written.update(embedder.texts[: n_kept_rows(out) - n_before])
    else:
        pytest.fail("the last run does not fail")
    written.update(embedder.texts)
    assert written == Counter(texts)
    np.testing.assert_array_equal(np.load(out), vectors(texts))


def test_a_job_killed_while_the_output_is_put_together_embeds_nothing_again(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            embed(source, out)
    assert n_kept_rows(out) == N_ROWS
    embedder = FakeEmbedder()
    assert embed(source, out, embedder).n_kept == N_ROWS
    assert embedder.texts == []
    assert len(np.load(out)) == N_ROWS


def test_a_job_killed_after_the_output_is_in_place_is_done(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The first call empties the folder for a new job; the second would remove it.
        patch.setattr(WorkFolder, "describe", _then_kill_clear(patch, WorkFolder.describe, killed))
        with pytest.raises(KeyboardInterrupt):
            embed(source, out)
    assert out.exists()
    embedder = FakeEmbedder()
    assert embed(source, out, embedder).n_rows == N_ROWS
    assert embedder.texts == []
    assert folder_names(out.parent) == ["in.txt", "out.npy", "out.npy.json"]
    with pytest.raises(InputError, match="exists"):
        embed(source, out)


def _then_kill_clear(patch: pytest.MonkeyPatch, describe: object, killed: object) -> object:
    def describing(folder: WorkFolder, job: dict[str, object]) -> None:
        describe(folder, job)  # type: ignore[operator]
        patch.setattr(WorkFolder, "clear", killed)

    return describing


def test_rows_added_to_the_input_are_embedded_too(source: Path, out: Path) -> None:
    interrupt(source, out)
    with source.open("a") as file:
        file.write("one more\n")
    assert embed(source, out).n_rows == N_ROWS + 1


@pytest.mark.parametrize("change", ["first row", "shorter"])
def test_a_changed_input_is_noticed(source: Path, out: Path, change: str) -> None:
    interrupt(source, out)
    text = source.read_text()
    source.write_text("!" + text if change == "first row" else text[:3000])
    message = "rows 1 to 64 differ" if change == "first row" else "rows now, but"
    with pytest.raises(InputChangedError, match=rf"{message}.*Bring back .* or pass --overwrite"):
        embed(source, out)
    assert n_kept_rows(out) == 384  # nothing is lost: the old input can still be brought back
    report = embed(source, out, overwrite=True)
    assert report.n_kept == 0
    np.testing.assert_array_equal(np.load(out), vectors(source.read_text().splitlines()))


def test_another_job_in_the_work_folder_is_said_with_its_differences(source: Path, out: Path) -> None:
    interrupt(source, out, options=EmbedOptions(dimensions=4))
    with pytest.raises(InputError, match=r"fingerprint is .* dimensions is 4 there and None here. .* its 384 rows"):
        embed(source, out)
    assert n_kept_rows(out) == 384
    with pytest.raises(InputError, match="max_tokens is None there and 9 here"):
        embed(source, out, options=EmbedOptions(dimensions=4, max_tokens=9))
    assert embed(source, out, options=EmbedOptions(dimensions=4)).n_kept == 384
    assert np.load(out).shape == (N_ROWS, 4)


def test_another_job_gives_way_to_overwrite_and_the_same_job_goes_on(source: Path, out: Path) -> None:
    interrupt(source, out, options=EmbedOptions(dimensions=4))
    interrupt(source, out, overwrite=True)
    assert embed(source, out, overwrite=True).n_kept == 384
    assert np.load(out).shape == (N_ROWS, 8)


def test_a_damaged_work_folder_is_said(source: Path, out: Path) -> None:
    interrupt(source, out)
    next((out.parent / "out.npy.partial").glob("*64.arrow")).write_bytes(b"")
    with pytest.raises(SememeError, match="is damaged"):
        embed(source, out)
    assert embed(source, out, overwrite=True).n_kept == 0


# ── the output ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_output_is_replaced_only_with_leave_and_only_at_the_end(source: Path, out: Path) -> None:
    out.write_bytes(b"old")
    with pytest.raises(InputError, match=r"out.npy exists. .* --overwrite"):
        embed(source, out)
    interrupt(source, out, overwrite=True)
    assert out.read_bytes() == b"old"
    embed(source, out, overwrite=True)
    assert len(np.load(out)) == N_ROWS


def test_places_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    for out, message in {
        tmp_path / "none" / "out.npy": "there is no folder .*none",
        tmp_path / "out.bin": "the output's ending says its format; use one of .npy, .npz",
        tmp_path / "out": "the output's ending says its format",
    }.items():
        with pytest.raises(InputError, match=message):
            embed(source, out)
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(InputError, match="is no regular file"):
        embed(source, tmp_path / "folder.npy")
    with pytest.raises(InputError, match=r"a .npy file holds one array of dense vectors, not dense and sparse"):
        embed(source, tmp_path / "out.npy", options=EmbedOptions(outputs=("dense", "sparse")))
    with pytest.raises(InputError, match="The id column 'id' would be left out"):
        embed(source, tmp_path / "out.npy", read=ReadOptions(id_column="id"))
    (tmp_path / "out.npy.json").write_text("{}")
    with pytest.raises(InputError, match=r"out.npy.json, which describes the output, exists"):
        embed(source, tmp_path / "out.npy")
    assert folder_names(tmp_path) == ["folder.npy", "in.txt", "out.npy.json"]


def test_a_folder_without_permission(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match="no permission to write in the folder"):
        embed(source, out)
    monkeypatch.undo()

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(SememeError, match="could not be written: Read-only file system"):
        embed(source, out)


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    path, link = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text('{"text": "a"}\n')
    link.symlink_to(path)
    for out in (path, link):
        with pytest.raises(InputError, match="is an input too"):
            embed(path, out, overwrite=True)
    assert path.read_text() == '{"text": "a"}\n'


def test_a_link_as_output_stays_a_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "out.npy").symlink_to(tmp_path / "deep" / "real.npy")
    embed(source, tmp_path / "out.npy")
    assert (tmp_path / "out.npy").is_symlink()
    assert len(np.load(tmp_path / "deep" / "real.npy")) == N_ROWS


def test_columns_that_the_format_lacks_are_seen_before_the_work(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "odd": pa.array([(1, 2, 3), None], pa.month_day_nano_interval())})
    with pa.OSFile(str(tmp_path / "in.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    embedder = FakeEmbedder()
    with pytest.raises(InputError, match=r"cannot hold the columns of the input: .*interval.* Choose another format"):
        embed(tmp_path / "in.arrow", tmp_path / "out.parquet", embedder)
    assert embedder.texts == []
    assert embed(tmp_path / "in.arrow", tmp_path / "out.arrow").n_rows == 2


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["out.npy", "out.parquet", "out.jsonl"])
@pytest.mark.parametrize("when", ["shards", "assembly"])
def test_a_full_disk_keeps_what_was_written(
    source: Path, tmp_path: Path, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / name
    with monkeypatch.context() as patch:
        _fill_disk(patch, after=3 if when == "shards" else None)
        with pytest.raises(SememeError, match=r"No room to write .*: make room and run the same command again"):
            embed(source, out)
    assert n_kept_rows(out) == (256 if when == "shards" else N_ROWS)
    assert not list((tmp_path / f"{name}.partial").glob("*.tmp"))
    assert embed(source, out).n_rows == N_ROWS


def _fill_disk(patch: pytest.MonkeyPatch, after: int | None) -> None:
    """Let flushing fail as on a full disk: of the shards after so many, or of the assembled output."""
    fsync, n_shards = os.fsync, Counter[str]()

    def failing(handle: int) -> None:
        name = str(Path(f"/proc/self/fd/{handle}").readlink())
        n_shards["shards"] += ".arrow.tmp" in name
        if name.endswith("assembled") if after is None else n_shards["shards"] > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    patch.setattr(os, "fsync", failing)


def test_a_real_limit_on_file_size(source: Path, out: Path) -> None:
    """The kernel refuses to write more than 20 kB to a file: shards fit, the output of 32 kB does not."""
    script = f"""
import sys, resource; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
from fakes import FakeEmbedder
from sememe.tables.job import PreparedJob
from sememe.tables.options import EmbedJob
from sememe.tables.running import run_job
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
job = EmbedJob(({str(source)!r},), Path({str(out)!r}), window_rows=128)
run_job(PreparedJob(job), FakeEmbedder(), lambda progress: None)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "SememeError: No room to write" in done.stderr
    assert n_kept_rows(out) == N_ROWS
    assert embed(source, out).n_kept == N_ROWS
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# ── what the embedder does ───────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_the_model_refuses_are_named(source: Path, out: Path) -> None:
    with source.open("a") as file:
        file.write("much too long " * 9 + "\n")
    with pytest.raises(InputError, match=r"Rows 897 to 1,001 .*: An input has more than 14 words"):
        embed(source, out, options=EmbedOptions(truncate=False))
    assert n_kept_rows(out) == 896


def test_options_that_the_model_refuses_leave_nothing_behind(source: Path, out: Path) -> None:
    with pytest.raises(InputError, match="fewer than 99"):
        embed(source, out, options=EmbedOptions(dimensions=99))
    assert folder_names(out.parent) == ["in.txt"]


def test_ids_that_should_be_kept_must_be_there(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in.txt has no column of ids that could be kept \(such as id, _id"):
        embed(source, tmp_path / "out.parquet", read=ReadOptions(keep="id"))
    embed(source, tmp_path / "out.npz")  # which keeps ids where there are any
    assert "ids" not in np.load(tmp_path / "out.npz")
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}')
    (tmp_path / "b.jsonl").write_text('{"_id": 2, "text": "b"}')
    job = EmbedJob((str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")), tmp_path / "two.npz")
    with pytest.raises(InputError, match=r"ids in different columns \(.*a.jsonl: id, .*b.jsonl: _id\)"):
        PreparedJob(job)


class BrokenEmbedder(FakeEmbedder):
    """Goes wrong at its third call."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault

    def embed(self, inputs: object, options: EmbedOptions = EmbedOptions()) -> Embeddings:  # noqa: B008 - frozen
        answer = super().embed(inputs, options)  # type: ignore[arg-type]
        assert answer.dense is not None
        if self.n_calls < 3:
            return answer
        dense, fingerprint = answer.dense, answer.fingerprint
        if self._fault == "nan":
            dense = np.where(np.arange(len(dense))[:, None] == 5, np.nan, dense)
        elif self._fault == "fewer":
            dense = dense[1:]
        else:
            fingerprint = "another"
        return Embeddings(dense, None, None, answer.n_tokens, answer.n_dropped, answer.usage, fingerprint)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("nan", SememeError, "Row 70: fake gave a vector with values that are not numbers"),
        ("fewer", SememeError, "another number of vectors than the 64 texts"),
        ("space", CollectionMismatch, "vectors of another space"),
    ],
)
def test_bad_vectors_never_reach_a_file(
    source: Path, out: Path, fault: str, error: type[SememeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        embed(source, out, BrokenEmbedder(fault))
    assert n_kept_rows(out) == 64


def test_counts_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n\nthree little words\n \n" + "word " * 20 + "\n")
    report = embed(tmp_path / "in.txt", tmp_path / "out.npz")
    assert (report.n_rows, report.n_empty, report.n_truncated, report.n_dropped_tokens) == (5, 3, 1, 6)
    assert report.n_tokens == 2 + 2 + 5 + 2 + 16
    assert report.size_bytes == (tmp_path / "out.npz").stat().st_size


def test_a_line_of_100_mb_is_cut_by_the_model_and_counted(tmp_path: Path) -> None:
    with (tmp_path / "in.txt").open("w") as file:
        file.write("first\n")
        for _ in range(100):
            file.write("x" * 999_999 + " ")
        file.write("\nlast\n")
    report = embed(tmp_path / "in.txt", tmp_path / "out.npy")
    assert report.n_rows == 3
    assert report.n_truncated == 1
    assert report.n_dropped_tokens > 10_000_000
    assert np.load(tmp_path / "out.npy").shape == (3, 8)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────


def large_input(path: Path) -> None:
    """300,000 rows of 500 characters, 150 MB; Parquet as one row group."""
    texts = (f"{n} " + "some words that take room " * 19 for n in range(300_000))
    if path.suffix == ".txt":
        with path.open("w") as file:
            file.writelines(text + "\n" for text in texts)
    else:
        pq.write_table(pa.table({"text": list(texts)}), path, row_group_size=300_000, use_dictionary=False)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "out"), [("in.txt", "out.npy"), ("in.parquet", "out.parquet")])
def test_memory_stays_flat(tmp_path: Path, name: str, out: str) -> None:
    large_input(tmp_path / name)
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
import pyarrow as pa
from fakes import FakeEmbedder
from sememe.tables.job import PreparedJob
from sememe.tables.options import EmbedJob
from sememe.tables.running import run_job

def private_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1000

def look(progress):
    used.append(private_mb())
    embedder.texts.clear()

used = []
job = EmbedJob(({str(tmp_path / name)!r},), Path({str(tmp_path / out)!r}))
embedder = FakeEmbedder(dimension=64)
pa.array(["a"])  # where pandas is installed, pyarrow imports it with its first array: 35 MB of code
before = private_mb()
report = run_job(PreparedJob(job), embedder, look)
assert report.n_rows == 300_000
print(max(used) - before, private_mb() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (tmp_path / name).unlink()
    most, at_the_end = map(float, done.stdout.split())
    # The input has 150 MB, the vectors 77 MB; what is held is windows of 2,048 rows, about 1 MB each, and buffers.
    assert most < 60
    assert at_the_end < 120


def test_the_lock_is_kept_while_a_job_runs(source: Path, out: Path) -> None:
    def another(progress: Progress) -> None:
        with pytest.raises(SememeError, match="Another process"):
            workfolder.WorkFolder(out).__enter__()

    run_job(PreparedJob(EmbedJob((str(source),), out)), FakeEmbedder(), another)
