"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("sememe", "openvino", "tokenizers", "numpy", "torch", "transformers", "sentence-transformers")


@dataclass(frozen=True)
class Machine:
    """processor, with what matters of its abilities; cores this process may use; memory; versions by package."""

    processor: str
    abilities: str
    n_cores: int
    memory_gb: float
    gpu: str
    system: str
    versions: dict[str, str]

    def lines(self) -> list[str]:
        """For the head of a report."""
        abilities = f" ({self.abilities})" if self.abilities else ""
        hardware = f"{self.processor}{abilities}, {self.n_cores} cores, {self.memory_gb:.0f} GB"
        return [
            "; ".join(part for part in (hardware, self.gpu, self.system) if part),
            ", ".join(f"{name} {number}" for name, number in self.versions.items()),
        ]


def this_machine() -> Machine:
    """This machine, as far as the system tells."""
    model, flags = _processor()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "i8mm")
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=model,
        abilities=" ".join(flag for flag in wanted if flag in flags),
        n_cores=n_cores,
        memory_gb=memory / 1e9,
        gpu=_gpu(),
        system=f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}",
        versions={name: found for name in _PACKAGES if (found := _installed(name))},
    )


def load_average() -> float:
    """Processes that wanted a core in the last minute."""
    return os.getloadavg()[0]


def _processor() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return facts.get("model name", platform.machine()), flags


def _gpu() -> str:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
