"""A work folder has whole shards or none, one owner, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from sememe.errors import SememeError
from sememe.tables.workfolder import Shard, WorkFolder, durable_file

ROWS = pa.table({"n": [1, 2, 3]})


def shard(start: int) -> Shard:
    return Shard(start, 3, f"digest {start}", 30, 2, 1, 0)


def test_shards_come_back_in_order(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "out.npy") as folder:
        folder.describe({"model": "é"})
        for start in (3, 0, 6):
            folder.add(shard(start), ROWS)
    with WorkFolder(tmp_path / "out.npy") as folder:
        assert folder.description() == {"model": "é"}
        assert folder.shards() == [shard(0), shard(3), shard(6)]
        assert [table.to_pydict() for table in folder.tables()] == [{"n": [1, 2, 3]}] * 3


def test_what_was_not_finished_does_not_count(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "out.npy") as folder:
        folder.describe({})
        folder.add(shard(0), ROWS)
    (folder.path / "000000000003.arrow.tmp").write_bytes(b"half")
    folder.assembled.write_bytes(b"half")
    with WorkFolder(tmp_path / "out.npy") as folder:
        assert folder.shards() == [shard(0)]
    assert sorted(path.name for path in folder.path.iterdir()) == ["000000000000.arrow", "job.json", "lock"]


def test_without_a_description_nothing_counts_and_nothing_stays(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "out.npy") as folder:
        folder.add(shard(0), ROWS)
    assert not folder.path.exists()


def test_files_of_others_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "out.npy.partial").mkdir()
    mine = tmp_path / "out.npy.partial" / "my thesis.arrow"
    mine.write_text("important")
    with WorkFolder(tmp_path / "out.npy") as folder:
        folder.describe({})
        folder.clear()
    assert mine.read_text() == "important"


@pytest.mark.parametrize("damage", ["gap", "cut", "foreign"])
def test_damage_is_said(tmp_path: Path, damage: str) -> None:
    with WorkFolder(tmp_path / "out.npy") as folder:
        folder.describe({})
        for start in (0, 3, 6):
            folder.add(shard(start), ROWS)
        middle = folder.path / "000000000003.arrow"
        if damage == "gap":
            middle.unlink()
        elif damage == "cut":
            middle.write_bytes(middle.read_bytes()[:-30])
        else:
            with pa.OSFile(str(middle), "wb") as sink, pa.ipc.new_file(sink, ROWS.schema) as writer:
                writer.write_table(ROWS)
        with pytest.raises(SememeError, match=r"out.npy.partial is damaged .* Pass --overwrite to begin anew"):
            folder.shards()


def test_two_jobs_on_one_output_the_second_is_told(tmp_path: Path) -> None:
    script = f"from sememe.tables.workfolder import *\nwith WorkFolder(Path({str(tmp_path / 'out.npy')!r})): pass"
    with WorkFolder(tmp_path / "out.npy") as folder:
        folder.describe({})
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "SememeError: Another process (number " in other.stderr
        with pytest.raises(SememeError, match=r"Another process .* is writing .*out.npy. Wait for it"):
            WorkFolder(tmp_path / "out.npy").__enter__()
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "out.npy.partial").write_text("")
    with pytest.raises(SememeError, match="is in the way"):
        WorkFolder(tmp_path / "out.npy").__enter__()


def test_a_file_that_fails_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(TypeError), durable_file(path) as file:
        file.write("not bytes")  # type: ignore[call-overload]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_published_output_is_known_until_the_folder_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    with WorkFolder(out) as folder:
        folder.describe({})
        folder.assembled.write_bytes(b"vectors")
        # As if killed between the rename and the removal.
        clear, folder.clear = folder.clear, lambda: None  # type: ignore[method-assign]
        folder.publish({"n_rows": 3})
        assert folder.finished_report() == {"n_rows": 3}
        out.write_bytes(b"something else")
        assert folder.finished_report() is None
        clear()
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]
