"""Charts as inline SVG: points and lines over two axes, and bars. Numbers show when a pointer rests on a mark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 12, 44
N_COLOURS = 8


@dataclass(frozen=True)
class Point:
    """label: what a pointer that rests on it shows. name: written beside it, where not empty."""

    x: float
    y: float
    label: str = ""
    name: str = ""


@dataclass(frozen=True)
class Series:
    """Points of one colour. joined: by a line. marked: with a dot each. dashed: the line."""

    name: str
    points: Sequence[Point]
    joined: bool = True
    marked: bool = True
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """title: with the unit. low, high: None takes them from the points. is_log: ten to the power of.

    ticks: where the values are, if they are few and known; else round numbers.
    """

    title: str
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    is_log: bool
    start: float
    end: float
    ticks: list[float] = field(default_factory=list)

    def place(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def plot(title: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Series over two axes; what is not finite, or not above 0 on an axis of powers, is left out."""
    shown = [_finite(one, x, y) for one in series]
    points = [point for one in shown for point in one.points]
    if not points:
        return _figure(title, "", "<p class='soft'>No figures.</p>")
    across = _scale(x, [p.x for p in points], _LEFT, _WIDTH - _RIGHT)
    up = _scale(y, [p.y for p in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(across, up, x, y)]
    for number, one in enumerate(shown):
        parts += _drawn(one, f"var(--c{number % N_COLOURS})", across, up)
    parts += _names(points, across, up)
    return _figure(title, _legend([one.name for one in series]) if len(series) > 1 else "", _svg(parts, title, _HEIGHT))


def bars(title: str, rows: Sequence[tuple[str, float, float | None, float | None]], unit: str = "") -> str:
    """Sideways bars: name, value, and the ends of its interval or None."""
    top = max((max(value, high or value) for _, value, _, high in rows), default=0) or 1
    row_height, left = 26, 168
    # Shares are compared digit by digit.
    written = "{:.3f}" if all(0 <= value < 10 for _, value, _, _ in rows) else "{:.3g}"
    width = _WIDTH - left - 58
    parts = []
    for i, (name, value, low, high) in enumerate(rows):
        middle = i * row_height + 13
        shown = name if len(name) <= 26 else name[:25] + "…"
        parts.append(f'<text class="label" x="{left - 6}" y="{middle + 4}" text-anchor="end">{escape(shown)}</text>')
        length = max(0.0, value) / top * width
        parts.append(
            f'<rect x="{left}" y="{middle - 8}" width="{length:.1f}" height="16" rx="2" fill="var(--c0)">'
            f"<title>{escape(name)}: {value:.4g}{unit}</title></rect>"
        )
        end = left + length
        if low is not None and high is not None:
            ends = left + max(0.0, low) / top * width, left + high / top * width
            end = max(end, ends[1])
            parts.append(f'<path d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}" stroke="var(--text)" stroke-width="1.5"/>')
        parts.append(f'<text class="label" x="{end + 5:.1f}" y="{middle + 4}">{written.format(value)}{unit}</text>')
    return _figure(title, "", _svg(parts, title, len(rows) * row_height + 6))


def _finite(one: Series, x: Axis, y: Axis) -> Series:
    def fits(value: float, axis: Axis) -> bool:
        return math.isfinite(value) and (value > 0 or not axis.is_log)

    points = [p for p in one.points if fits(p.x, x) and fits(p.y, y)]
    return Series(one.name, points, one.joined, one.marked, one.dashed)


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> _Scale:
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if axis.is_log:
        low, high = (low / 1.25, high * 1.25) if axis.low is None else (low, high)
        return _Scale(low, high, True, start, end, list(axis.ticks) or _log_ticks(low, high))
    if high <= low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    margin = (high - low) * 0.06
    low, high = (
        low - margin if axis.low is None and low != 0 else low,
        high + margin if axis.high is None else high,
    )
    step = _step((high - low) / 5)
    first = math.ceil(low / step - 1e-9)
    ticks = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return _Scale(low, high, False, start, end, list(axis.ticks) or ticks)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]
        if len(ticks) >= 3:
            return ticks
    return ticks


def _axes(across: _Scale, up: _Scale, x: Axis, y: Axis) -> list[str]:
    parts = []
    bottom = _HEIGHT - _BOTTOM
    for tick in up.ticks:
        at = up.place(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in across.ticks:
        at = across.place(tick)
        parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(tick)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x.title)}</text>')
    height = (_TOP + bottom) / 2
    parts.append(
        f'<text x="12" y="{height}" text-anchor="middle" transform="rotate(-90 12 {height})">{escape(y.title)}</text>'
    )
    return parts


def _drawn(one: Series, colour: str, across: _Scale, up: _Scale) -> list[str]:
    places = [(across.place(p.x), up.place(p.y), p.label) for p in one.points]
    parts = []
    if one.joined and len(places) > 1:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        dashes = ' stroke-dasharray="5 4"' if one.dashed else ""
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
    if one.marked:
        radius = 4.5 if len(places) <= 60 else 2
        for x, y, label in places:
            shown = f"<title>{escape(label)}</title>" if label else ""
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity=".85">{shown}</circle>'
            )
    return parts


def _names(points: Sequence[Point], across: _Scale, up: _Scale) -> list[str]:
    """Names beside points, moved so that they lie neither outside nor on a point or a name; left out where none fits."""
    marks = [(across.place(p.x), up.place(p.y)) for p in points]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in marks]
    parts = []
    for point in sorted((p for p in points if p.name), key=lambda p: -p.y):
        x, y, width = across.place(point.x), up.place(point.y), 7.4 * len(point.name)
        for left, base in ((x + 8, y + 4), (x - 8 - width, y + 4), (x - width / 2, y - 9), (x - width / 2, y + 18)):
            box = (left, base - 11, left + width, base + 3)
            inside = box[0] >= _LEFT and box[2] <= _WIDTH and box[1] >= 0 and box[3] <= _HEIGHT - _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(f'<text class="label" x="{left:.1f}" y="{base:.1f}">{escape(point.name)}</text>')
                break
    return parts


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _number(value: float) -> str:
    if value and abs(value) >= 10_000:
        for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:.3g}{letter}"
    return f"{value:.4g}"


def _legend(names: Sequence[str]) -> str:
    keys = (
        f'<span><span class="swatch" style="background:var(--c{i % N_COLOURS})"></span>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<div class="legend">{"".join(keys)}</div>'


def _svg(parts: Sequence[str], title: str, height: float) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'


def _figure(title: str, legend: str, body: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{legend}{body}</figure>"
