"""A system in a process of its own, driven over pipes by one JSON line for each request.

Systems never share a process, so none inherits another's threads, allocator or libraries; the driver asks one at a
time, so that only one works.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# ── the driver's side ────────────────────────────────────────────────────────────────────────────────────────────────

# What a system's libraries do in the background after a call (spinning threads) must not run into the next one's turn.
_REST_SECONDS = 0.2


def environment() -> dict[str, str]:
    """For every child: nothing is fetched, so no system's start depends on the network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "PYTHONUNBUFFERED": "1"}


class Worker:
    """A child process that answers requests. Use it as a context manager.

    program: this file, or another that calls `serve`. interpreter: of whatever environment the program needs.
    """

    def __init__(self, *arguments: str, program: Path = Path(__file__), interpreter: str = sys.executable) -> None:
        self._arguments = arguments
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            [interpreter, str(program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(),
        )

    def ask(self, **request: object) -> Any:
        """The child's answer. Raises RuntimeError with its last words where it has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise RuntimeError(f"worker {self._arguments} ended:\n{self._log.read()[-2000:]}")
        time.sleep(_REST_SECONDS)
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


# ── the child's side ─────────────────────────────────────────────────────────────────────────────────────────────────


class SystemUnderTest:
    """One system, loaded by the lines its user would write."""

    def __init__(self, device: str, key: str, corpora_path: str) -> None:
        from systems import systems

        made = json.loads(Path(corpora_path).read_text("utf-8"))
        self._corpora: dict[str, list[str]] = {name: corpus["texts"] for name, corpus in made["corpora"].items()}
        system = next(system for system in systems(device) if system.key == key)
        self._scope: dict[str, Any] = {}
        exec(system.script(made["folder"]), self._scope)
        self._embed = compile(system.embed_expression(), key, "eval")

    def _seconds(self, texts: list[str]) -> float:
        self._scope["texts"] = texts
        started = time.perf_counter()
        vectors = eval(self._embed, self._scope)
        seconds = time.perf_counter() - started
        if len(vectors) != len(texts):
            raise RuntimeError(f"{len(texts)} texts gave {len(vectors)} vectors")
        return seconds

    def bulk(self, corpus: str) -> float:
        """Seconds for a whole corpus in one call."""
        return self._seconds(self._corpora[corpus])

    def single(self, n_calls: int) -> list[float]:
        """Seconds of calls with one short text each."""
        queries = self._corpora["queries"]
        return [self._seconds([queries[i % len(queries)]]) for i in range(n_calls)]

    def precision(self) -> str:
        """What ours computes in."""
        return str(self._scope["model"].loaded.precision.precision)

    def peak_bytes(self) -> int:
        """The most memory this process has had."""
        return peak_bytes()


def peak_bytes() -> int:
    """Of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class CodeUnderTest:
    """Lines that make `model`, an expression that embeds `texts`, and the texts: a JSON file with `code`, `embed`, `texts`."""

    def __init__(self, path: str) -> None:
        made = json.loads(Path(path).read_text("utf-8"))
        self._scope: dict[str, Any] = {"texts": made["texts"]}
        started = time.perf_counter()
        exec(made["code"], self._scope)
        self._load_seconds = time.perf_counter() - started
        self._embed = compile(made["embed"], path, "eval")

    def load_seconds(self) -> float:
        """Importing included."""
        return self._load_seconds

    def precision(self) -> str:
        """What ours computes in."""
        return str(self._scope["model"].loaded.precision.precision)

    def bulk(self) -> float:
        """Seconds for all texts in one call."""
        started = time.perf_counter()
        eval(self._embed, self._scope)
        return time.perf_counter() - started

    def peak_bytes(self) -> int:
        """The most memory this process has had."""
        return peak_bytes()


class MatrixChain:
    """The machine's own limit, as one more worker."""

    def __init__(self, device: str, precision: str) -> None:
        import matrix_rate

        if device == "cuda":
            self._chain, self._flops = matrix_rate.torch_chain(device, precision), matrix_rate.FLOPS * 16
        else:
            hint = "bf16" if precision == "bfloat16" else "f32"
            self._chain, self._flops = matrix_rate.openvino_chain(hint), matrix_rate.FLOPS

    def rate(self, seconds: float) -> float:
        """FLOP/s."""
        import matrix_rate

        return matrix_rate.rate(self._chain, self._flops, seconds)


def serve(make: Callable[[], object]) -> None:
    """Answer requests on standard input, each by the method of its name, until there are no more."""
    # Standard output carries the answers; what a library prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    served = make()
    for line in sys.stdin:
        request = json.loads(line)
        answer: Callable[..., object] = getattr(served, request.pop("do"))
        answers.write(json.dumps(answer(**request)) + "\n")
        answers.flush()


def main() -> None:
    kind, *arguments = sys.argv[1:]
    served = {"system": SystemUnderTest, "code": CodeUnderTest, "matrix": MatrixChain}[kind]
    serve(lambda: served(*arguments))


if __name__ == "__main__":
    main()
