"""`sememe doctor`: what is here, what was chosen, and why."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sememe import __version__
from sememe.cli.options import (
    DEFAULT_MODEL,
    BackendOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    PrecisionOption,
    RecipeOption,
    is_offline,
    read_recipe,
)
from sememe.errors import SememeError

_PACKAGES = ("numpy", "openvino", "tokenizers", "huggingface-hub", "pyarrow", "torch")
# Abilities of a processor that decide how fast a model runs, by the system's names for them.
_ABILITIES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm", "sve")


def doctor(
    model: ModelOption = DEFAULT_MODEL,
    recipe: RecipeOption = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check the installation, load a model and report its self-check."""
    said = read_recipe(recipe, [model])
    facts: dict[str, Mapping[str, object]] = {
        "versions": {"sememe": __version__, "python": platform.python_version(), **_versions()},
        "processor": _processor(),
        "caches": _caches(),
        "offline": {"offline": is_offline(offline)},
    }
    failed = False
    try:
        facts["model"] = _model(model, said, backend, precision, device, is_offline(offline))
    except SememeError as exc:
        facts["model"] = {"name": model, "error": str(exc)}
        failed = True
    if as_json:
        print(json.dumps(facts))
    else:
        for heading, values in facts.items():
            print(heading)
            for name, value in values.items():
                print(f"  {name.replace('_', ' '):<22} {value}")
    if failed:
        sys.exit(1)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> dict[str, object]:
    names, flags = set(), set()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                names.add(value.strip())
            elif key.strip() in ("flags", "Features"):
                flags |= set(value.split())
    except OSError:
        names.add(platform.processor() or platform.machine())
    return {
        "name": ", ".join(sorted(names)) or platform.machine(),
        "machine": platform.machine(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "abilities": " ".join(ability for ability in _ABILITIES if ability in flags) or "unknown",
    }


def _caches() -> dict[str, object]:
    from sememe.checkpoints.hub import hub_cache_folder
    from sememe.checkpoints.sources import default_cache_folder

    return {"sememe": str(default_cache_folder()), "hub": str(hub_cache_folder())}


def _model(
    name: str, recipe: tuple[str, ...], backend: str, precision: str, device: str, offline: bool
) -> dict[str, object]:
    from sememe.engine.opening import open_embedder

    embedder = open_embedder(name, recipe, backend=backend, precision=precision, device=device, offline=offline)
    loaded = embedder.loaded
    verdict = loaded.verdict
    compared = f"cosine to float32 {verdict.mean_cosine:.5f} in the mean, {verdict.min_cosine:.5f} at worst"
    return {
        "name": loaded.found.name,
        "folder": str(loaded.found.path),
        "source": loaded.found.source,
        "revision": loaded.found.revision,
        "family": loaded.engine.checkpoint.family_name,
        "dimension": embedder.dimension,
        "max_tokens": embedder.max_tokens,
        "backend": f"{loaded.backend.name} on {loaded.backend.device}",
        "precision": f"{loaded.precision.precision} ({loaded.precision.reason})",
        "threads": loaded.engine.options.n_threads or "one for each physical core",
        "self_check": f"passed, {compared}"
        if verdict.compared
        else "passed: no NaN, no zero vector; too large to compare",
        "fingerprint": embedder.fingerprint(),
    }
