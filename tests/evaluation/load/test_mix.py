from __future__ import annotations

from pathlib import Path

import pytest

from sememe.errors import InputError, NotFound
from sememe.evaluation.load.mix import built_in_mix, read_mix


def test_built_in_mix_has_lengths_and_batches_and_is_seeded() -> None:
    mix = built_in_mix(0)
    assert {len(request) for request in mix.requests} == {1, 4, 16, 64}
    lengths = [len(text.split()) for request in mix.requests for text in request]
    assert min(lengths) < 10
    assert max(lengths) > 100
    assert built_in_mix(0) == mix != built_in_mix(1)


def test_lines_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"input": ["two", "three"]}\n"four"\n')
    assert read_mix(tmp_path / "a.txt", 0).requests == (("one",), ("two",))
    assert read_mix(tmp_path / "a.jsonl", 0).requests == (("one",), ("two", "three"), ("four",))
    assert read_mix(tmp_path / "a.jsonl", 0, [2]).requests == (("one", "two"), ("three", "four"))


@pytest.mark.parametrize("line", ["{", "{}", "[1]", "[]", '{"text": 3}'])
def test_lines_that_are_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'"good"\n{line}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:2"):
        read_mix(tmp_path / "a.jsonl", 0)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_mix(tmp_path / "none.txt", 0)
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(InputError, match="no text"):
        read_mix(tmp_path / "a.txt", 0)
