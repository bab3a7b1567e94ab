"""Token ids that another implementation published.

Source: llama.cpp's vocabulary-only GGUF files with `.inp` (texts) and `.out` (ids), made by its
`convert_hf_to_gguf_update.py` from the models' own tokenizers; MIT.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from sememe.checkpoints.tokenizer import Tokenizer

WEIGHTS = Path(os.environ.get("SEMEME_TEST_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights")) / "tokenizers"
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def gguf_metadata(path: Path) -> dict[str, object]:
    """Key → value of a GGUF file's header. Source: ggml's `docs/gguf.md`, version 3."""
    data, at = path.read_bytes(), 24
    magic, _, _, n_entries = struct.unpack_from("<4sIQQ", data)
    assert magic == b"GGUF"

    def number(code: str) -> object:
        nonlocal at
        (value,) = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize(code)
        return value

    def value(kind: object) -> object:
        nonlocal at
        if kind == 8:
            size = number("Q")
            at += size
            return data[at - size : at].decode("utf-8")
        if kind == 9:
            inner, count = number("I"), number("Q")
            return [value(inner) for _ in range(count)]
        return number(NUMBERS[kind])

    return {str(value(8)): value(number("I")) for _ in range(n_entries)}


def write_bert(header: dict[str, object], folder: Path) -> None:
    """vocab.txt: llama.cpp writes "▁" before the start of a word where BERT writes "##" before what is none."""
    words = header["tokenizer.ggml.tokens"]
    kinds = header["tokenizer.ggml.token_type"]
    lines = [
        word if kind == 3 or word[:1] == "[" else word[1:] if word[:1] == "▁" else f"##{word}"
        for word, kind in zip(words, kinds, strict=True)
    ]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')


def write_gpt2(header: dict[str, object], folder: Path) -> None:
    words = header["tokenizer.ggml.tokens"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(header["tokenizer.ggml.merges"]) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')


def write_llama(header: dict[str, object], folder: Path) -> None:
    model_pb2 = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    model = model_pb2.ModelProto()
    columns = [header[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type")]
    for text, score, kind in zip(*columns, strict=True):
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')


WRITERS: dict[str, Callable[[dict[str, object], Path], None]] = {
    "bert-bge": write_bert,
    "gpt-2": write_gpt2,
    "llama-spm": write_llama,
}


@pytest.mark.parametrize("name", WRITERS)
def test_ids_equal_the_published_ones(name: str, tmp_path: Path) -> None:
    path = WEIGHTS / "ggml-vocab" / f"ggml-vocab-{name}.gguf"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here (SEMEME_TEST_WEIGHTS)")
    WRITERS[name](gguf_metadata(path), tmp_path)
    texts = Path(f"{path}.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    expected = [[int(i) for i in line.split()] for line in Path(f"{path}.out").read_text().splitlines()]
    found = [tokens.ids.tolist() for tokens in Tokenizer.read(tmp_path).encode_plain(texts[: len(expected)])]
    assert len(expected) > 40
    for text, ours, theirs in zip(texts, found, expected, strict=False):
        assert ours == theirs, text
