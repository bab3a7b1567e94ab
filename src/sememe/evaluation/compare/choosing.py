"""Which systems no other beats, and the sentence that says what to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sememe.evaluation.compare.records import Difference, System


def pareto_front(systems: Sequence[System]) -> tuple[str, ...]:
    """Names of those that none other equals or beats in quality, bulk speed and index size, and beats in one at least."""
    points = {s.name: (s.mean, s.measured.texts_per_second, -s.index_bytes) for s in systems}
    return tuple(
        name
        for name, point in points.items()
        if not any(
            all(a >= b for a, b in zip(other, point, strict=True)) and other != point for other in points.values()
        )
    )


def recommend(
    systems: Sequence[System], differences: Mapping[str, Difference], tolerance: float, metric: str
) -> tuple[str, str]:
    """A system's name and one sentence with the reason. systems: those with every task. differences: of the means.

    Of those whose loss to the best is, by its interval, at most `tolerance`, the one with the smallest product of time and
    index size: halving one counts as much as halving the other.
    """
    best = max(systems, key=lambda s: s.mean)

    def is_near(system: System) -> bool:
        found = differences.get(system.name)
        return system is best or (found.low if found else system.mean - best.mean) >= -tolerance

    near = [system for system in systems if is_near(system)]
    chosen = min(near, key=lambda s: (_cost(s), -s.mean))
    if chosen is best:
        reason = (
            f"it has the highest {metric}, {best.mean:.4f}"
            + (", and no cheaper system is shown to stay within" if len(systems) > 1 else "")
            + (f" {tolerance:g} of it" if len(systems) > 1 else "")
        )
    else:
        reason = f"its {metric} of {chosen.mean:.4f} is {_loss(chosen, best, differences)}, and {_gain(chosen, best)}"
    return chosen.name, f"Take {chosen.name}: {reason}.{_licence(chosen)}"


def _cost(system: System) -> float:
    return math.log(system.index_bytes) - math.log(system.measured.texts_per_second)


def _loss(chosen: System, best: System, differences: Mapping[str, Difference]) -> str:
    against = f"{best.name} ({best.mean:.4f})"
    found = differences.get(chosen.name)
    if found is None:
        return f"{best.mean - chosen.mean:.4f} below the best, {against}; the difference was not tested"
    if found.is_real:
        return f"really, but at most {-found.low:.4f}, below the best, {against}"
    return f"not shown to differ from the best, {against}, and at most {max(0.0, -found.low):.4f} below it"


def _gain(chosen: System, best: System) -> str:
    index = best.index_bytes / chosen.index_bytes
    speed = chosen.measured.texts_per_second / best.measured.texts_per_second
    said = [f"its index is {_ratio(index, 'smaller', 'larger')}"] if abs(index - 1) > 0.05 else []
    if abs(speed - 1) > 0.05:
        said.append(f"it embeds {_ratio(speed, 'as fast', 'as slow')}")
    return " and ".join(said) or "it costs the same"


def _ratio(value: float, more: str, less: str) -> str:
    return f"{value:.3g} times {more}" if value >= 1 else f"{1 / value:.3g} times {less}"


def _licence(system: System) -> str:
    if system.kind == "lexical" or system.commercial is True:
        return ""
    if system.commercial is False:
        return f" Its licence, {system.licence}, forbids commercial use."
    return f" Its licence ({system.licence}) is not known to allow commercial use: check."
