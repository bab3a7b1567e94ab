"""Which files are needed, and whether a folder has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.checkpoints.files import NotHere, check_complete, list_files, needed_files, weight_files

SMALL = [
    "config.json",
    "modules.json",
    "tokenizer.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "1_Pooling/config.json",
]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
NAMES = st.sampled_from(
    [
        *SMALL,
        *SHARDS,
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model-00001-of-00001.bin",
        "pytorch_model.bin.index.json",
        "consolidated.safetensors",
        "sparse_linear.pt",
        "onnx/model.onnx",
        "onnx/config.json",
        "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin",
        ".gitattributes",
        "README.md",
        "tf_model.h5",
    ]
)


def test_the_files_of_a_plain_checkpoint() -> None:
    others = ["README.md", ".gitattributes", "onnx/model.onnx", "onnx/config.json", "openvino/openvino_model.xml"]
    others += [
        "pytorch_model.bin",
        "tf_model.h5",
        "rust_model.ot",
        "train_script.py",
        "checkpoint-500/model.safetensors",
    ]
    assert needed_files([*SMALL, "model.safetensors", *others]) == sorted([*SMALL, "model.safetensors"])


def test_one_form_of_the_weights_is_taken() -> None:
    index, pickled = "model.safetensors.index.json", ["pytorch_model.bin", "pytorch_model.bin.index.json"]
    assert needed_files([*SHARDS, index, "consolidated.safetensors", *pickled]) == [*SHARDS, index]
    assert needed_files([*SHARDS, index, "model.safetensors"]) == ["model.safetensors"]
    assert needed_files(["adapter_model.safetensors"]) == ["adapter_model.safetensors"]
    assert needed_files(["pytorch_model.bin"]) == ["pytorch_model.bin"]
    shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"]
    assert needed_files(shards) == shards


def test_each_module_folder_chooses_for_itself() -> None:
    names = ["model.safetensors", "2_Dense/pytorch_model.bin", "3_Dense/model.safetensors", "3_Dense/pytorch_model.bin"]
    assert weight_files(names) == ["2_Dense/pytorch_model.bin", "3_Dense/model.safetensors", "model.safetensors"]


def test_the_small_pickled_heads_of_bge_m3_are_needed_and_other_pickles_are_not() -> None:
    names = ["colbert_linear.pt", "pytorch_model.bin", "sparse_linear.pt", "optimizer.pt", "config.json"]
    assert needed_files(names) == ["colbert_linear.pt", "config.json", "pytorch_model.bin", "sparse_linear.pt"]


@given(st.sets(NAMES))
def test_what_is_needed_is_there_and_needing_again_changes_nothing(names: set[str]) -> None:
    needed = needed_files(names)
    assert set(needed) <= names
    assert needed_files(needed) == needed
    assert set(weight_files(names)) <= set(needed)
    # Pickled weights are never brought where safetensors of the same folder exist.
    if any("/" not in name and name.endswith(".safetensors") for name in names):
        assert not any("/" not in name and name.endswith(".bin") for name in needed)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_a_complete_folder_passes(tmp_path: Path) -> None:
    check_complete(write(tmp_path, {"config.json": "{}", "model.safetensors": "w"}))
    index = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}})
    sharded = {"config.json": "{}", "model.safetensors.index.json": index, SHARDS[0]: "w", SHARDS[1]: "w"}
    check_complete(write(tmp_path / "sharded", sharded))
    check_complete(write(tmp_path / "static", {"modules.json": "[]", "0_StaticEmbedding/model.safetensors": "w"}))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has neither config.json nor modules.json"),
        ({"model.safetensors": "w"}, "has neither config.json nor modules.json"),
        ({"config.json": "{}"}, "no weights .* an interrupted download"),
        ({"config.json": "{}", "model.safetensors": ""}, "no weights"),
        ({"config.json": "{}", "onnx/model.onnx": "w"}, "no weights"),
        (
            {
                "config.json": "{}",
                SHARDS[0]: "w",
                "model.safetensors.index.json": json.dumps({"weight_map": {"a": SHARDS[1]}}),
            },
            f"lacks 1 of its weight files: {SHARDS[1]}",
        ),
        ({"config.json": "{}", SHARDS[0]: "w", "model.safetensors.index.json": "{"}, "is not a list of weight files"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(NotHere, match=message):
        check_complete(write(tmp_path, files))


def test_a_link_to_nothing_is_a_missing_file(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": "{}"})
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    assert list_files(tmp_path) == ["config.json"]
    with pytest.raises(NotHere, match="no weights"):
        check_complete(tmp_path)
