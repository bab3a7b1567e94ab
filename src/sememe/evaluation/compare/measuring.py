"""Speed, memory and start of a model, in a process of its own, so that nothing else is counted.

Run as a module, it reads a `Probe` as JSON from standard input and writes a `Measured` to standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sememe.errors import SememeError
from sememe.evaluation.compare.records import Measured

_N_SINGLE = 100
_WARM_UP = 8
_KILOBYTES = 1024 if sys.platform != "darwin" else 1  # ru_maxrss is in kilobytes on Linux and in bytes on macOS


@dataclass(frozen=True)
class Probe:
    """What is embedded to measure a model: documents in one call, queries one by one."""

    model: str
    precision: str
    prompts: bool
    offline: bool
    recipe: tuple[str, ...]
    documents: tuple[str, ...]
    queries: tuple[str, ...]


def measure_in_child(probe: Probe) -> Measured:
    """Start a fresh interpreter and measure there. Raises SememeError with its words where it fails."""
    command = [sys.executable, "-m", "sememe.evaluation.compare.measuring"]
    done = subprocess.run(command, input=json.dumps(asdict(probe)), capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise SememeError(f"{probe.model} in {probe.precision} could not be measured: {said[0]}")
    return Measured(**json.loads(done.stdout))


def measure(probe: Probe, started: float) -> Measured:
    """Measure in this process. started: `time.perf_counter` when it began."""
    from sememe.engine.opening import open_embedder
    from sememe.records import EmbedOptions

    model = open_embedder(probe.model, probe.recipe, precision=probe.precision, offline=probe.offline)
    prompt = None if probe.prompts else ""
    query, document = EmbedOptions(role="query", prompt=prompt), EmbedOptions(role="document", prompt=prompt)
    model.embed(probe.queries[:1], query)
    load_seconds = time.perf_counter() - started
    model.embed(probe.documents[:_WARM_UP], document)
    began = time.perf_counter()
    usage = model.embed(probe.documents, document).usage
    seconds = time.perf_counter() - began
    single = []
    for text in probe.queries[:_N_SINGLE]:
        began = time.perf_counter()
        model.embed([text], query)
        single.append(time.perf_counter() - began)
    return Measured(
        load_seconds, peak_bytes(), len(probe.documents) / seconds, usage.n_tokens / seconds, *quantiles(single)
    )


def peak_bytes() -> int:
    """The most memory that this process has had resident.

    By /proc where there is one: Linux lets a child's `ru_maxrss` begin with what its parent had.
    """
    import resource

    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTES


def quantiles(seconds: list[float]) -> tuple[float, float, float]:
    """p50, p95 and p99: the smallest value that so great a share does not exceed."""
    ordered = sorted(seconds)
    n = len(ordered)
    p50, p95, p99 = (ordered[max(0, -(-share * n // 100) - 1)] for share in (50, 95, 99))
    return p50, p95, p99


if __name__ == "__main__":
    _STARTED = time.perf_counter()
    try:
        print(json.dumps(asdict(measure(Probe(**json.load(sys.stdin)), _STARTED))))
    except SememeError as exc:
        sys.exit(str(exc))
