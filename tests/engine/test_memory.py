"""Memory over many calls: a process that serves for weeks must not grow with what it has seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sememe.ops.openvino import OpenVinoBackend

# Batches of ever other shapes; memory is read when the first ones have filled what may be kept, and at the end.
_RAGGED = """
import random, sys
from pathlib import Path
from sememe import Embedder

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

model = Embedder(sys.argv[1], precision="bfloat16")
random.seed(0)
read = []
for turn in range(2):
    for _ in range(100):
        model.embed([f"{i} " + "word " * random.randint(1, 110) for i in range(random.randint(1, 16))])
    read.append(resident())
print(*read)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_batches_of_ever_other_shapes_leave_little_behind(minilm_path: Path) -> None:
    """OpenVINO keeps kernels by shape: without a bound on them the second hundred batches took 70 MB more."""
    if not OpenVinoBackend().has_bfloat16:
        pytest.skip("the processor has no bfloat16, whose kernels are the ones that grow")
    done = subprocess.run([sys.executable, "-c", _RAGGED, str(minilm_path)], capture_output=True, text=True, check=True)
    first, last = map(float, done.stdout.split())
    assert last - first < 40
