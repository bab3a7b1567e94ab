"""Robustness as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sememe.evaluation.robustness.records import Moved, RobustnessResult

_ALPHA = 0.05


def to_json(found: RobustnessResult) -> dict[str, object]:
    """Values for `json.dumps`."""
    return {"format": 1, **asdict(found)}


def lines(found: RobustnessResult) -> list[str]:
    """A table for each task, and how to read it."""
    said = [f"{found.model}, seed {found.seed}"]
    for task in dict.fromkeys(moved.task for moved in found.moved):
        rows = [moved for moved in found.moved if moved.task == task]
        said += ["", f"{task}: {rows[0].metric} over the queries that each change changed", *_table(rows)]
        said += _judged(rows)
    return [*said, *found.notes]


def _table(rows: Sequence[Moved]) -> list[str]:
    head = [
        "change",
        "queries",
        "before",
        "after",
        "difference",
        "95 % interval",
        "p (Holm)",
        "overlap@10",
        "cosine",
        "least",
    ]
    cells = [head, *(_row(moved) for moved in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]


def _row(moved: Moved) -> list[str]:
    bounds = "–" if moved.low is None or moved.high is None else f"[{moved.low:+.4f}, {moved.high:+.4f}]"
    return [
        moved.change,
        f"{moved.n_changed:,}",
        f"{moved.before:.4f}",
        f"{moved.after:.4f}",
        f"{moved.after - moved.before:+.4f}",
        bounds,
        "–" if moved.p_holm is None else f"{moved.p_holm:.4f}",
        f"{moved.overlap:.2f}",
        f"{moved.cosine:.3f}",
        f"{moved.min_cosine:.3f}",
    ]


def _judged(rows: Sequence[Moved]) -> list[str]:
    lost = [m for m in rows if m.keeps_meaning and m.p_holm is not None and m.p_holm < _ALPHA and m.after < m.before]
    said = []
    if lost:
        worst = min(lost, key=lambda m: m.after - m.before)
        said.append(
            f"Loses really by: {', '.join(m.change for m in lost)}; most by {worst.change} "
            f"({worst.after - worst.before:+.4f}; e.g. query {worst.worst}: {worst.worst_query.strip()!r})."
        )
    else:
        said.append("No change that keeps the meaning is shown to lose anything.")
    for moved in rows:
        if moved.change == "negated":
            said.append(
                f"Negation: a query and its opposite have a cosine of {moved.cosine:.3f} and share "
                f"{moved.overlap:.0%} of the first ten documents; near 1 means that the model does not hear the `not`."
            )
    return said
