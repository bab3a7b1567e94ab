"""ARCHITECTURE.md's table of operations × families is what the families' files call; test modules have names of their own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BEGIN, _END = "<!-- operations: tests/test_architecture.py -->", "<!-- end -->"
_NOT_FAMILIES = ("__init__", "reading", "low_rank")


def operations_table() -> str:
    """A row for each file in families/, with the operations it calls."""
    protocol = (ROOT / "src/sememe/ops/__init__.py").read_text("utf-8")
    body = protocol[protocol.index("class Ops(") : protocol.index("class Program(")]
    operations = re.findall(r"^    def (\w+)\(", body, re.MULTILINE)
    rows = []
    for file in sorted((ROOT / "src/sememe/families").glob("*.py")):
        text = file.read_text("utf-8")
        text = text.replace("low_rank.linear(ops", "ops.linear(")
        used = [operation for operation in operations if f"ops.{operation}(" in text]
        if used and file.stem not in _NOT_FAMILIES:
            biases = [
                kind
                for kind in ("causal=", "window=", "softcap=", "Alibi(", "RelativeBias(")
                if kind in text and "attention" in used
            ]
            words = (
                re.sub("[(=]", "", ", ".join(biases)).replace("RelativeBias", "relative bias").replace("Alibi", "ALiBi")
            )
            cells = [
                f"`{operation}`" + (f" ({words})" if operation == "attention" and words else "") for operation in used
            ]
            rows.append(f"| `{file.stem}` | {' · '.join(cells)} |")
    return "\n".join(["| file | operations |", "|---|---|", *rows])


def test_the_table_of_operations_is_true() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert page.count(_BEGIN) == 1
    shown = page.split(_BEGIN)[1].split(_END)[0].strip()
    assert shown == operations_table(), "run: python tests/test_architecture.py"


if __name__ == "__main__":
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    head, rest = page.split(_BEGIN)
    tail = rest.split(_END)[1]
    (ROOT / "ARCHITECTURE.md").write_text(f"{head}{_BEGIN}\n{operations_table()}\n{_END}{tail}", "utf-8")


def test_no_two_test_modules_have_one_name() -> None:
    """Outside packages pytest knows them by that alone; two of one name stop the whole run, but not that of a folder."""
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    names = Counter(path.name for path in files)
    assert not [name for name, count in names.items() if count > 1]
