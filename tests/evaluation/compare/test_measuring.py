"""What a model costs, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from sememe.evaluation.compare.measuring import peak_bytes

_CHILD = "from sememe.evaluation.compare.measuring import peak_bytes; print(peak_bytes())"


def test_a_childs_memory_is_not_its_parents() -> None:
    large = np.ones(400_000_000, np.uint8)
    own = peak_bytes()
    child = int(subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, check=True, text=True).stdout)
    assert own > large.nbytes
    assert 0 < child < 200_000_000
