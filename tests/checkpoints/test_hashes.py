"""Hashes: right, remembered, forgotten when the file changes, and never in the way."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from sememe.checkpoints import hashes
from sememe.checkpoints.hashes import HashMemory, content_identity, verify_files
from sememe.errors import CheckpointError


@pytest.fixture
def memory(tmp_path: Path) -> HashMemory:
    return HashMemory(tmp_path / "cache" / "hashes.json")


@pytest.fixture
def read_through(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed, in order."""
    seen: list[Path] = []
    real = hashes._sha256
    monkeypatch.setattr(hashes, "_sha256", lambda path: seen.append(path) or real(path))
    return seen


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_hashed_once_and_again_when_it_changes(
    tmp_path: Path, memory: HashMemory, read_through: list[Path]
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    assert memory.hashes([file]) == {file: sha256(b"one")}
    assert HashMemory(memory.file).hashes([file]) == {file: sha256(b"one")}
    assert read_through == [file]
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert memory.hashes([file]) == {file: sha256(b"two")}
    assert read_through == [file, file]


def test_a_replaced_file_of_the_same_size_and_time_is_another_file(tmp_path: Path, memory: HashMemory) -> None:
    file, other = tmp_path / "model.safetensors", tmp_path / "other"
    for path, data in ((file, b"one"), (other, b"two")):
        path.write_bytes(data)
        os.utime(path, ns=(10**18, 10**18))
    memory.hashes([file])
    other.replace(file)
    assert memory.hashes([file]) == {file: sha256(b"two")}


def test_two_links_to_one_file_are_hashed_once(tmp_path: Path, memory: HashMemory, read_through: list[Path]) -> None:
    (tmp_path / "blob").write_bytes(b"w")
    (tmp_path / "link").symlink_to("blob")
    memory.hashes([tmp_path / "blob"])
    assert memory.hashes([tmp_path / "link"]) == {tmp_path / "link": sha256(b"w")}
    assert len(read_through) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ["x"]}', "\x00"])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, memory: HashMemory, text: str) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"w")
    memory.file.parent.mkdir()
    memory.file.write_text(text)
    assert memory.hashes([file]) == {file: sha256(b"w")}
    assert json.loads(memory.file.read_text())[str(file.resolve())][1] == sha256(b"w")


def test_a_memory_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the folder")
    (tmp_path / "w").write_bytes(b"w")
    memory = HashMemory(tmp_path / "file" / "hashes.json")
    assert memory.hashes([tmp_path / "w"]) == {tmp_path / "w": sha256(b"w")}


def test_files_that_are_gone_are_forgotten(tmp_path: Path, memory: HashMemory) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    memory.hashes([old])
    old.unlink()
    new.write_bytes(b"new")
    memory.hashes([new])
    assert list(json.loads(memory.file.read_text())) == [str(new.resolve())]
    assert sorted(path.name for path in memory.file.parent.iterdir()) == ["hashes.json"]


def test_a_file_that_is_not_there_is_an_error_in_words(tmp_path: Path, memory: HashMemory) -> None:
    with pytest.raises(CheckpointError, match="gone cannot be read: No such file"):
        memory.hashes([tmp_path / "gone"])


def test_a_flipped_bit_and_a_cut_file_are_found(tmp_path: Path, memory: HashMemory) -> None:
    whole = bytes(range(256)) * 100
    file = tmp_path / "model.safetensors"
    expected = {"model.safetensors": sha256(whole)}
    file.write_bytes(whole)
    verify_files(tmp_path, expected, memory, remedy="Bring it again.")
    flipped = whole[:999] + bytes([whole[999] ^ 1]) + whole[1000:]
    for damaged in (flipped, whole[:-1], b""):
        file.write_bytes(damaged)
        os.utime(file, ns=(len(damaged), len(damaged)))
        with pytest.raises(CheckpointError) as caught:
            verify_files(tmp_path, expected, memory, remedy="Bring it again.")
        for part in (str(file), sha256(damaged), sha256(whole), "Bring it again."):
            assert part in str(caught.value)


def test_a_known_file_must_be_there(tmp_path: Path, memory: HashMemory) -> None:
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing\. Bring it\."):
        verify_files(tmp_path, {"model.safetensors": "0" * 64}, memory, remedy="Bring it.")


def test_the_identity_is_of_the_weights_and_nothing_else(tmp_path: Path, memory: HashMemory) -> None:
    one, two = tmp_path / "one", tmp_path / "elsewhere" / "two"
    for folder in (one, two):
        (folder / "2_Dense").mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"w")
        (folder / "2_Dense" / "model.safetensors").write_bytes(b"d")
    (two / "README.md").write_text("hello")
    (two / "pytorch_model.bin").write_bytes(b"a copy that is not read")
    identity = content_identity(one, memory)
    assert identity == content_identity(two, memory)
    # It goes into the fingerprints of stored vectors, so how it is made must never change.
    listing = f"{sha256(b'd')}  2_Dense/model.safetensors\n{sha256(b'w')}  model.safetensors\n"
    assert identity == sha256(listing.encode())
    (two / "2_Dense" / "model.safetensors").write_bytes(b"D")
    os.utime(two / "2_Dense" / "model.safetensors", ns=(5, 5))
    assert content_identity(two, memory) != identity


def test_a_folder_without_weights_has_no_identity(tmp_path: Path, memory: HashMemory) -> None:
    with pytest.raises(CheckpointError, match="has no weights"):
        content_identity(tmp_path, memory)
