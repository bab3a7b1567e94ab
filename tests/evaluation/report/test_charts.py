from __future__ import annotations

from xml.etree import ElementTree

import pytest

from sememe.evaluation.report.charts import Axis, Point, Series, bars, plot
from sememe.evaluation.report.page import page, table


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [1e-3, 5.0, float("nan")], [], [7, 7.0001], [1e6, 2e9]])
def test_charts_are_well_formed(values: list[float], is_log: bool) -> None:
    points = [Point(x, x, '<&"', "na<me") for x in values]
    html = plot("A & B", [Series("<one>", points), Series("two", points, False)], Axis("x", is_log=is_log), Axis("y"))
    ElementTree.fromstring(html)


def test_bars_are_well_formed() -> None:
    ElementTree.fromstring(bars("t", [("a<b", 0.5, 0.4, 0.6), ("none", 0.0, None, None)], " s"))


def test_text_is_escaped() -> None:
    html = page("<t>", [table(["<h>"], [["<script>"]], [["best"]])])
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "prefers-color-scheme:dark" in html
    assert "src=" not in html.replace("charset=", "")
