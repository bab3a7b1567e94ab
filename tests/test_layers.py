"""The house's order: every import in src is read and compared with it. No module is run for this."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/sememe"

# Lowest first. A part imports from rows above its own; parts of one row never import each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("records",),
    ("similarity", "samples", "ops", "lexical", "compat"),
    ("families", "fusion"),
    ("catalogue",),
    ("checkpoints",),
    ("engine",),
    ("tables", "collections", "evaluation", "tuning"),
    ("server", "client"),
    ("cluster", "integrations"),
    ("cli",),
    ("__main__",),
)
HEIGHT = {part: height for height, row in enumerate(LAYERS) for part in row}

# Every package from outside, and the parts of the house that may know it. The first is its owner.
OWNERS: dict[str, tuple[str, ...]] = {
    "openvino": ("ops",),
    "torch": ("ops", "tuning"),
    "transformers": ("tuning",),
    "sentence_transformers": ("tuning",),
    "datasets": ("tuning",),
    "accelerate": ("tuning",),
    "peft": ("tuning",),
    "tokenizers": ("checkpoints",),
    "huggingface_hub": ("checkpoints",),
    "httpx2": ("checkpoints", "client", "compat"),  # the hub's own HTTP client: its errors are translated there
    "filelock": ("checkpoints",),
    "yaml": ("catalogue", "cli"),
    "pyarrow": ("tables", "collections"),  # collections: Parquet is read as documents, and written as an export
    "faiss": ("collections",),
    "bm25s": ("lexical",),
    "Stemmer": ("lexical",),
    "psycopg": ("collections",),
    "qdrant_client": ("collections",),
    "pymilvus": ("collections",),
    "mcp": ("integrations",),
    "langchain_core": ("integrations",),
    "llama_index": ("integrations",),
    "semchunk": ("collections",),
    "pypdf": ("collections",),
    "trafilatura": ("collections",),
    "docx": ("collections",),
    "lxml": ("collections",),  # python-docx's own parser: its errors are translated there
    "mteb": ("evaluation",),
    "scipy": ("evaluation", "records"),  # records: sparse embeddings as scipy's own type, where it is installed
    "starlette": ("server",),
    "pydantic": ("server",),
    "uvicorn": ("server",),
    "uvloop": ("evaluation",),  # where it is installed, the load generator's event loop
    "orjson": ("server",),
    "prometheus_client": ("server",),
    "grpc": ("server",),
    "grpc_health": ("server",),
    "grpc_reflection": ("server",),
    "google": ("server",),  # protobuf
    "opentelemetry": ("server",),
    "ray": ("cluster",),
    "typer": ("cli",),
    "rich": ("cli",),
    "tqdm": ("engine", "checkpoints", "cli"),  # progress, wherever a user waits
}
EVERYWHERE = {"numpy", *sys.stdlib_module_names}
# Heavy ones: allowed in files and folders that begin so, whatever the owner.
ONLY_IN = {
    "torch": ("ops/torch", "tuning/"),
    "transformers": ("tuning/",),
    "sentence_transformers": ("tuning/",),
    "openvino": ("ops/openvino",),
}


@dataclass(frozen=True)
class Import:
    """A module that is imported, and where: the file below src/sememe, its part of the house, the line."""

    file: str
    part: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"src/sememe/{self.file}:{self.line} imports {self.module}"


def _modules(node: ast.AST, file: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = ["sememe", *file.relative_to(SOURCE).parts[:-1]]
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        # `from sememe import errors` names the module errors.
        yield from (f"{base}.{alias.name}" for alias in node.names) if base == "sememe" else (base,)


@cache
def _imports() -> list[Import]:
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE)
        part = name.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            found += [Import(str(name), part, node.lineno, module) for module in _modules(node, file)]  # type: ignore[attr-defined]
    return found


def _outside() -> list[Import]:
    return [i for i in _imports() if (top := i.module.split(".")[0]) != "sememe" and top not in EVERYWHERE]


def test_every_part_has_a_place() -> None:
    parts = {path.name.removesuffix(".py") for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    unplaced = parts - set(HEIGHT) - {"__init__", "__pycache__"}
    assert not unplaced, f"{sorted(unplaced)} stand in no layer; give them a place in LAYERS and in ARCHITECTURE.md"


def test_imports_point_down() -> None:
    wrong = []
    for found in _imports():
        top, _, rest = found.module.partition(".")
        if top != "sememe" or found.part == "__init__":  # the public face hands out names from every layer
            continue
        target = rest.split(".")[0]
        if target not in HEIGHT:
            assert target in ("", "__version__"), f"{found}: no such part"
        elif target != found.part and HEIGHT[target] >= HEIGHT[found.part]:
            wrong.append(str(found))
    assert not wrong, "imports that do not point down:\n" + "\n".join(wrong)


def test_every_outside_package_has_an_owner() -> None:
    wrong = [str(found) for found in _outside() if found.part not in OWNERS.get(found.module.split(".")[0], ())]
    assert not wrong, "packages that another part owns, or none (OWNERS):\n" + "\n".join(wrong)


@pytest.mark.parametrize("package", ONLY_IN)
def test_heavy_packages_stay_where_they_are(package: str) -> None:
    wrong = [
        str(i) for i in _outside() if i.module.split(".")[0] == package and not i.file.startswith(ONLY_IN[package])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_outside_package_is_declared() -> None:
    """One that is only a dependency of a dependency goes when that one changes its mind."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    names = {re.split(r"[\s<>=!~;\[]", requirement)[0].lower().replace("_", "-") for requirement in declared}
    carried_by = packages_distributions()
    undeclared = [
        str(found)
        for found in _outside()
        if not {d.lower().replace("_", "-") for d in carried_by.get(found.module.split(".")[0], [])} & names
    ]
    assert not undeclared, "packages that pyproject.toml does not name:\n" + "\n".join(undeclared)


def test_environment_variables_are_read_in_the_command_line_only() -> None:
    """But for XDG_CACHE_HOME, which says where the caches are, as the hub's library reads HF_HOME.

    And for what oneDNN is told by the environment and by nothing else, unless the user has told it already.
    """
    wrong = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = str(file.relative_to(SOURCE))
        text = file.read_text("utf-8").replace('os.environ.get("XDG_CACHE_HOME")', "None")
        text = text.replace('os.environ.setdefault("ONEDNN_', '{}.setdefault("ONEDNN_')
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and not name.startswith("cli/"):
                wrong.append(f"src/sememe/{name}:{node.lineno}")
    assert not wrong, f"environment variables are the command line's affair: {wrong}"
