from __future__ import annotations

import os
from pathlib import Path

import pytest

from sememe.collections.reading.files import FoundFile, Skipped, find_files
from sememe.collections.reading.options import ReadOptions
from sememe.errors import InputError, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.md", "sub/b.txt", "sub/deep/c.md", "sub/d.png", ".git/e.md", ".hidden.md", "node_modules/f.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return tmp_path


def _names(folder: Path, options: ReadOptions) -> list[str]:
    found = find_files([folder], options)
    return [f.path.relative_to(folder).as_posix() for f in found if isinstance(f, FoundFile)]


def test_known_kinds_in_the_order_of_their_names(folder: Path) -> None:
    assert _names(folder, ReadOptions()) == ["a.md", "sub/b.txt", "sub/deep/c.md"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (ReadOptions(include=("*.md",)), ["a.md", "sub/deep/c.md"]),
        (ReadOptions(include=("sub/*",)), ["sub/b.txt", "sub/d.png"]),
        (ReadOptions(include=("sub/**",)), ["sub/b.txt", "sub/d.png", "sub/deep/c.md"]),
        (ReadOptions(include=("**/c.md",)), ["sub/deep/c.md"]),
        (ReadOptions(include=("[ab].*",)), ["a.md", "sub/b.txt"]),
        (ReadOptions(exclude=("sub",)), ["a.md"]),
        (ReadOptions(exclude=("deep/",)), ["a.md", "sub/b.txt"]),
        (ReadOptions(exclude=("*.md",)), ["sub/b.txt"]),
        (ReadOptions(hidden=True), [".git/e.md", ".hidden.md", "a.md", "sub/b.txt", "sub/deep/c.md"]),
    ],
)
def test_globs(folder: Path, options: ReadOptions, names: list[str]) -> None:
    assert _names(folder, options) == names


def test_links_are_followed_and_loops_are_not(folder: Path) -> None:
    (folder / "sub/loop").symlink_to(folder)
    (folder / "sub/again.md").symlink_to(folder / "a.md")  # the same file: once
    (folder / "linked").symlink_to(folder / "sub/deep")
    (folder / "gone.md").symlink_to("nowhere")
    found = list(find_files([folder], ReadOptions()))
    assert [f.path.name for f in found if isinstance(f, FoundFile)] == ["a.md", "c.md", "b.txt"]
    assert [f.source for f in found if isinstance(f, Skipped)] == [str(folder / "gone.md")]


def test_a_large_file_is_reported_and_a_large_table_is_not(folder: Path) -> None:
    (folder / "large.txt").write_text("x" * 200)
    (folder / "large.jsonl").write_text("x" * 200)
    found = list(find_files([folder], ReadOptions(max_bytes=100)))
    assert [f for f in found if isinstance(f, Skipped)] == [
        Skipped(str(folder / "large.txt"), "200 bytes; the limit is 100")
    ]
    assert "large.jsonl" in [f.path.name for f in found if isinstance(f, FoundFile)]


def test_a_file_that_is_named_is_read_whatever_its_ending(folder: Path) -> None:
    (folder / "notes.weird").write_text("text")
    found = list(find_files([folder / "notes.weird", folder / "notes.weird"], ReadOptions()))
    assert [f.kind for f in found if isinstance(f, FoundFile)] == ["text"]


def test_a_pipe_is_reported(folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    found = [f for f in find_files([folder], ReadOptions()) if isinstance(f, Skipped)]
    assert found == [Skipped(str(folder / "pipe.md"), "neither a file nor a folder")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_folder_is_reported(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        found = [f for f in find_files([folder], ReadOptions()) if isinstance(f, Skipped)]
    finally:
        (folder / "sub").chmod(0o755)
    assert [f.reason for f in found] == ["Permission denied"]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        list(find_files([tmp_path / "nowhere"], ReadOptions()))


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="no encoding 'klingon'"):
        ReadOptions(encoding="klingon")
    with pytest.raises(InputError, match="max_bytes is 0"):
        ReadOptions(max_bytes=0)
