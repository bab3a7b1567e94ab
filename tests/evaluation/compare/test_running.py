from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.fakes import FakeEmbedder

from sememe.errors import InputError, NotFound, SememeError
from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.compare.choosing import pareto_front
from sememe.evaluation.compare.measuring import Probe
from sememe.evaluation.compare.models import OpenedModel
from sememe.evaluation.compare.options import CompareOptions
from sememe.evaluation.compare.records import Comparison, Measured
from sememe.evaluation.compare.report import to_html, to_json, to_markdown
from sememe.evaluation.compare.running import run_comparison
from sememe.evaluation.compare.tables import cost_table, quality_table

WORDS = "apple pear plum fig grape melon cherry lemon lime peach quince mango papaya kiwi date olive".split()
COST = Measured(1.0, 300_000_000, 100.0, 1000.0, 0.01, 0.02, 0.03)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Thirty documents of three words; two words of each ask for it."""
    folder = tmp_path / "fruit"
    (folder / "qrels").mkdir(parents=True)
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS, 3, replace=False)) for _ in range(30)]
    corpus = [{"_id": f"d{i}", "title": "", "text": f"{text} <b>{i}"} for i, text in enumerate(documents)]
    queries = [{"_id": f"q{i}", "text": f"{' '.join(text.split()[:2])} {i}"} for i, text in enumerate(documents[:20])]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    qrels = "\n".join(f"q{i}\td{i}\t1" for i in range(20))
    (folder / "qrels/test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}\n")
    return folder


class Fakes:
    """Embedders by name and precision; every one opened, and the probes that were measured."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.opened: list[FakeEmbedder] = []
        self.probes: list[Probe] = []
        self._fail_after = fail_after

    def open(self, name: str, precision: str, recipe: tuple[str, ...], offline: bool) -> OpenedModel:
        embedder = FakeEmbedder(name, dimension=16, fail_after=self._fail_after)
        self.opened.append(embedder)
        resolved = {"auto": "float32", "float16": "float32"}.get(precision, precision)
        return OpenedModel(embedder, resolved, "no float16 here", resolved, "cosine", False, "MIT", True)

    def measure(self, probe: Probe) -> Measured:
        self.probes.append(probe)
        return COST if probe.precision == "float32" else replace(COST, texts_per_second=200.0)

    @property
    def n_texts(self) -> int:
        return sum(len(embedder.texts) for embedder in self.opened)


@pytest.fixture
def options(data: Path, tmp_path: Path) -> CompareOptions:
    return CompareOptions(
        models=("fake",), data=(data,), folder=tmp_path / "out", dimensions=(8, None, 99),
        dtypes=("float32", "int8", "binary", "binary-rescore"), precisions=("auto", "float32", "bfloat16"),
        prompts=(True, False), price_per_hour=3.6, n_permutations=100, bootstrap=BootstrapOptions(n_resamples=100), window=8,
    )  # fmt: skip


def run(options: CompareOptions, fakes: Fakes) -> Comparison:
    return run_comparison(options, open_with=fakes.open, measure_with=fakes.measure)


def test_everything_is_compared_once(options: CompareOptions) -> None:
    fakes = Fakes()
    found = run(options, fakes)
    assert len(found.systems) == 1 + 2 * (2 * 4 + 1)  # BM25; two precisions, of two widths and four types, and hybrid
    assert len({system.name for system in found.systems}) == len(found.systems)
    assert len(fakes.probes) == 2
    assert fakes.n_texts == 2 * 50
    notes = " ".join(found.notes)
    assert "99 were left out" in notes
    assert "compared already" in notes
    assert "no prompts" in notes
    sizes = {system.dtype: system.index_bytes for system in found.systems if system.dimensions == 16}
    assert (sizes["int8"], sizes["binary"], sizes["binary-rescore"]) == (16e6, 2e6, 2e6)
    assert {system.price for system in found.systems if system.kind == "dense"} == {1.0}
    assert found.recommended in found.front
    scores = [system.mean for system in found.systems]
    assert scores == sorted(scores, reverse=True)
    assert len(found.differences) == 2 * (len(found.systems) - 1)  # of the task, and of the mean


def test_a_precision_that_is_not_there_is_named_honestly(options: CompareOptions) -> None:
    fakes = Fakes()
    found = run(replace(options, precisions=("float16", "float32"), dtypes=("float32",)), fakes)
    assert fakes.n_texts == 50, "embedded once"
    assert not [system.name for system in found.systems if "float16" in system.name]
    assert "no float16 here: fake float16 is float32." in found.notes


def test_nothing_is_computed_twice(options: CompareOptions) -> None:
    first = run(options, Fakes())
    again = Fakes()
    found = run(replace(options, dtypes=("float32", "float16")), again)
    assert again.n_texts == 0
    assert not again.probes
    name = "fake float32 16 float32"
    assert found.system(name).mean == first.system(name).mean


def test_it_goes_on_after_a_crash(options: CompareOptions) -> None:
    broken = Fakes(fail_after=30)  # the 20 queries, one window of documents, and 2 texts of the next
    with pytest.raises(RuntimeError):
        run(options, broken)
    assert len(broken.opened[0].texts) == 30
    rest = Fakes()
    run(replace(options, precisions=("float32",)), rest)

    assert rest.n_texts == 50 - 28
    assert not rest.probes


def test_reports(options: CompareOptions) -> None:
    found = run(options, Fakes())
    html = to_html(found, 3)
    assert not re.search(r"(src|href)=|<script|@import|url\(", html)
    assert "&lt;b&gt;" in html  # a document's text is text
    for figure in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(figure)
    body = json.loads(json.dumps(to_json(found)))
    assert len(body["systems"]) == len(found.systems)
    assert body["queries"]["fruit"]["q0"]["BM25"] == found.system("BM25").results["fruit"].items[0].values["ndcg@10"]
    markdown = to_markdown(found)
    assert markdown.startswith("**Take ")
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith("|")}) == 2  # two tables
    rows = [row[0] for row in cost_table(found).rows]
    assert sorted(rows) == ["BM25", "bfloat16", "bfloat16 + BM25", "float32", "float32 + BM25"], "a cut costs no more"
    assert len(quality_table(found).rows) == len(found.systems)


def test_the_front_has_what_none_beats(options: CompareOptions) -> None:
    found = run(options, Fakes())
    front = [found.system(name) for name in pareto_front(found.systems)]
    for system in found.systems:
        assert any(
            s.mean >= system.mean
            and s.measured.texts_per_second >= system.measured.texts_per_second
            and s.index_bytes <= system.index_bytes
            for s in front
        )


@pytest.mark.parametrize(
    "wrong",
    [{"dimensions": (0,)}, {"dtypes": ("int4",)}, {"models": ("a", "a")}, {"price_per_hour": 0.0}, {"data": ()}],
)
def test_wrong_options_are_said(options: CompareOptions, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        replace(options, **wrong)  # type: ignore[arg-type]


def test_wrong_data_is_said_before_a_model_is_loaded(options: CompareOptions, tmp_path: Path) -> None:
    fakes = Fakes()
    with pytest.raises(NotFound):
        run(replace(options, data=(tmp_path / "none",)), fakes)
    with pytest.raises(InputError, match="called 'fruit'"):
        run(replace(options, data=(options.data[0], tmp_path / "fruit" / ".." / "fruit")), fakes)
    (options.data[0] / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tnobody\t1\n")
    with pytest.raises(SememeError, match="nobody"):
        run(options, fakes)
    assert not fakes.opened
