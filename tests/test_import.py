"""What an import brings, and what it does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import sememe

HEAVY = ("numpy", "openvino", "torch", "tokenizers", "huggingface_hub", "pyarrow", "transformers", "typer", "yaml")


def _modules_after(code: str) -> set[str]:
    """Names of top-level modules that a fresh interpreter has after this code."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_sememe_brings_nothing_heavy() -> None:
    assert not _modules_after("import sememe; sememe.__version__") & set(HEAVY)


def test_import_embedder_brings_no_backend_and_no_hub() -> None:
    brought = _modules_after("from sememe import Embedder") & set(HEAVY)
    assert brought <= {"numpy", "tokenizers", "yaml"}


def test_importing_writes_nothing_and_configures_no_logging() -> None:
    code = (
        "import logging, os; before = dict(os.environ)\n"
        "import sememe.engine.embedder\n"
        "assert dict(os.environ) == before; assert not logging.getLogger().handlers\n"
        "assert not logging.getLogger('sememe').handlers"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_openvino_sends_nothing_to_its_maker() -> None:
    """Left alone it sends an event whenever it is imported, from a thread and a forked process, also offline."""
    code = (
        "import sys, threading, multiprocessing\n"
        "from unittest import mock\n"
        "with mock.patch.object(multiprocessing.Process, 'start', side_effect=AssertionError('a process was started')):\n"
        "    import sememe.ops.openvino\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_public_names() -> None:
    assert "Embedder" in sememe.__all__
    for name in sememe.__all__:
        assert getattr(sememe, name) is not None
    with pytest.raises(AttributeError, match="Embeder"):
        _ = sememe.Embeder
