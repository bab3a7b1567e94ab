"""The corpus that ships: real, whole, and the same through every way of reading it."""

from __future__ import annotations

from sememe.samples import QUESTIONS, calibration_texts, passages


def test_the_corpus_is_large_enough_to_search() -> None:
    documents = passages()
    assert len(documents) >= 200
    assert len({document.id for document in documents}) == len(documents)
    assert len({document.text for document in documents}) == len(documents)
    words = [len(document.text.split()) for document in documents]
    assert min(words) > 20
    assert max(words) < 200  # within the default model's window


def test_texts_are_clean() -> None:
    for document in passages():
        assert document.text == document.text.strip()
        assert document.text.isprintable()
        assert "\ufffd" not in document.text


def test_calibration_takes_everything() -> None:
    texts = calibration_texts()
    assert len(texts) == len(passages()) + len(QUESTIONS)
    assert set(QUESTIONS) < set(texts)
