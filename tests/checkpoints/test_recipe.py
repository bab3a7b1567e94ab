"""What a checkpoint's module files say, in every spelling; what they must not say; and what a caller says over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from sentence_transformers import SentenceTransformer

import specimens
from sememe.checkpoints import Checkpoint, load_checkpoint
from sememe.checkpoints.recipe import Pooling, PoolingMode, Projection, RecipeChanges, VectorNorm
from sememe.errors import CheckpointError, InputError, UnsupportedCheckpoint

MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)
TANH = specimens.Dense(20, activation="torch.nn.modules.activation.Tanh")


def _make(folder: Path, **overrides: Any) -> Path:
    return specimens.make("bert", folder, num_hidden_layers=1, **overrides)


def _load(folder: Path, **changes: Any) -> Checkpoint:
    return load_checkpoint(folder, identity="test", changes=RecipeChanges(**changes))


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place; what `change` gives is written if it is not None."""
    raw = json.loads(path.read_text("utf-8"))
    changed = change(raw)
    path.write_text(json.dumps(raw if changed is None else changed), "utf-8")


# ── spellings ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("modules", ["old", "new"])
@pytest.mark.parametrize("mode", MODES)
def test_every_pooling_in_both_spellings(mode: PoolingMode, modules: str, tmp_path: Path) -> None:
    recipe = _load(_make(tmp_path, modules=modules, pooling=mode)).recipe
    assert (recipe.pooling, recipe.steps, recipe.normalize) == (Pooling((mode,)), (), True)


@pytest.mark.parametrize("modules", ["old", "new"])
def test_several_modes_in_the_order_in_which_the_reference_joins_them(modules: str, tmp_path: Path) -> None:
    """Old files have booleans, whose order is fixed; new ones a list, whose order is theirs."""
    folder = _make(tmp_path, modules=modules, pooling=("mean", "cls", "max"))
    checkpoint = _load(folder)
    pooling = SentenceTransformer(str(folder), device="cpu")[1]
    assert checkpoint.recipe.pooling == Pooling(pooling.pooling_mode)
    assert checkpoint.dimension == 3 * 36


@pytest.mark.parametrize("modules", ["old", "new"])
def test_modules_after_pooling(modules: str, tmp_path: Path) -> None:
    checkpoint = _load(_make(tmp_path, modules=modules, dense=(TANH, specimens.Dense(8, bias=False)), layer_norm=True))
    assert checkpoint.recipe.steps == (
        Projection("2_Dense.linear", 36, 20, has_bias=True, activation="tanh"),
        Projection("3_Dense.linear", 20, 8, has_bias=False, activation="identity"),
        VectorNorm("4_LayerNorm.norm", 8),
    )
    assert checkpoint.recipe.normalize
    assert checkpoint.dimension == 8


@pytest.mark.parametrize("modules", ["old", "new"])
@pytest.mark.parametrize("normalize", [True, False])
def test_normalize_is_a_module_or_nothing(normalize: bool, modules: str, tmp_path: Path) -> None:
    assert _load(_make(tmp_path, modules=modules, normalize=normalize)).recipe.normalize is normalize


@pytest.mark.parametrize("modules", ["old", "new"])
def test_a_prompt_that_is_left_out_of_pooling(modules: str, tmp_path: Path) -> None:
    assert _load(_make(tmp_path, modules=modules, include_prompt=False)).recipe.pooling == Pooling(("mean",), False)


def test_no_mode_switched_on_is_the_mean(tmp_path: Path) -> None:
    folder = _make(tmp_path)
    _edit(folder / "1_Pooling/config.json", lambda raw: dict.fromkeys(raw, False) | {"word_embedding_dimension": 36})
    assert _load(folder).recipe.pooling == Pooling(("mean",))
    assert SentenceTransformer(str(folder), device="cpu")[1].pooling_mode == "mean"


def test_modules_are_taken_by_their_index(tmp_path: Path) -> None:
    folder = _make(tmp_path, dense=(TANH,))
    expected = _load(folder).recipe
    _edit(folder / "modules.json", lambda raw: raw[::-1])
    assert _load(folder).recipe == expected


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shortest_limit_holds(tmp_path: Path) -> None:
    """The recipe's, the tokenizer's where the recipe has none, and never more than there are positions for."""
    assert _load(_make(tmp_path / "a", max_seq_length=20, model_max_length=50)).max_tokens == 20
    assert _load(_make(tmp_path / "b", max_seq_length=None, model_max_length=50)).max_tokens == 50
    assert _load(_make(tmp_path / "c", max_seq_length=None, model_max_length=None)).max_tokens == 64
    assert _load(_make(tmp_path / "d", max_seq_length=512)).max_tokens == 64
    assert _load(_make(tmp_path / "e", sentence_bert_config=False, model_max_length=30)).max_tokens == 30
    unknown = 1000000000000000019884624838656  # what transformers writes for "no limit"
    assert _load(_make(tmp_path / "f", max_seq_length=None, model_max_length=unknown)).max_tokens == 64


def test_positions_of_the_roberta_kind_start_late(tmp_path: Path) -> None:
    folder = specimens.make("roberta", tmp_path, num_hidden_layers=1, max_seq_length=512)
    assert _load(folder).max_tokens == 64  # of 66 positions


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "xlm-roberta", "camembert", "albert"])
def test_older_names_of_the_limits_file(kind: str, tmp_path: Path) -> None:
    folder = _make(tmp_path, max_seq_length=17, do_lower_case=True)
    (folder / "sentence_bert_config.json").rename(folder / f"sentence_{kind}_config.json")
    checkpoint = _load(folder)
    assert (checkpoint.max_tokens, checkpoint.recipe.lower_case) == (17, True)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prompts_and_similarity(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: ", "sts": ""}
    recipe = _load(_make(tmp_path, prompts=prompts, default_prompt_name="sts", similarity="dot")).recipe
    assert (recipe.prompts, recipe.default_prompt_name, recipe.similarity) == (prompts, "sts", "dot")
    assert recipe.role_prompt("query") == "query: "
    assert recipe.role_prompt("document") == "passage: "
    assert recipe.named_prompt("sts") == ""


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({}, ""),
        ({"corpus": "c "}, "c "),
        ({"corpus": "c ", "passage": "p "}, "p "),
        ({"corpus": "c ", "passage": "p ", "document": "d "}, "d "),
        ({"document": "", "passage": "p "}, ""),
    ],
    ids=str,
)
def test_the_documents_prompt_is_the_first_of_three_names(
    prompts: dict[str, str], expected: str, tmp_path: Path
) -> None:
    assert _load(_make(tmp_path, prompts=prompts)).recipe.role_prompt("document") == expected


def test_a_prompt_without_text_is_none(tmp_path: Path) -> None:
    folder = _make(tmp_path, prompts={"query": "q: "})
    _edit(folder / "config_sentence_transformers.json", lambda raw: raw["prompts"].update(document=None))
    recipe = _load(folder).recipe
    assert recipe.role_prompt("document") == ""
    assert recipe.role_prompt("query") == "q: "


def test_an_unknown_prompt_name_lists_those_there_are(tmp_path: Path) -> None:
    recipe = _load(_make(tmp_path, prompts={"query": "q", "clustering": "c"})).recipe
    with pytest.raises(InputError, match=r"'cluster'.*'query', 'clustering'.*prompt="):
        recipe.named_prompt("cluster")


def test_a_default_prompt_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises((CheckpointError, InputError), match="'sts'"):
        _load(_make(tmp_path, prompts={"query": "q"}, default_prompt_name="sts"))


def test_an_unknown_similarity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="similarity_fn_name is 'hamming'"):
        _load(_make(tmp_path, similarity="hamming"))


# ── what must not be ─────────────────────────────────────────────────────────────────────────────────────────────────


def _module(kind: str, path: str, index: int) -> dict[str, Any]:
    return {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}


BAD_MODULES: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "an unknown module": (lambda raw: raw[1].update(type="custom_st.Attention"), "custom_st.Attention|Attention"),
    "a module of remote code": (lambda raw: raw.append(_module("CNN", "3_CNN", 3)), "CNN"),
    "no pooling": (lambda raw: raw.__delitem__(1), "Pooling|Transformer, Normalize"),
    "something after Normalize": (
        lambda raw: raw.append(_module("Dense", "2_Dense", 3)),
        "order is 'Transformer, Pooling, Normalize, Dense'",
    ),
    "two poolings": (lambda raw: raw.insert(2, _module("Pooling", "1_Pooling", 1)), "Pooling"),
    "a projection before pooling": (lambda raw: raw.insert(1, _module("Dense", "2_Dense", 1)), "Dense|2_Dense"),
    "no transformer": (lambda raw: raw.__delitem__(0), "Transformer"),
    "a folder that is not there": (lambda raw: raw[1].update(path="9_Pooling"), "9_Pooling"),
    "a folder outside": (lambda raw: raw[1].update(path="../1_Pooling"), r"\.\./1_Pooling"),
    "no list": (lambda raw: {"0": raw}, "modules.json"),
    "no type": (lambda raw: raw[1].__delitem__("type"), "modules.json"),
    "no index": (lambda raw: raw[1].__delitem__("idx"), "modules.json"),
    "no path": (lambda raw: raw[1].__delitem__("path"), "modules.json"),
    "an entry that is no object": (lambda raw: raw.append("Normalize"), "modules.json"),
    "nothing": (lambda raw: [], "modules.json|Pooling"),
}


@pytest.mark.parametrize("name", BAD_MODULES)
def test_bad_module_lists_are_refused(name: str, tmp_path: Path) -> None:
    change, message = BAD_MODULES[name]
    folder = _make(tmp_path)
    _edit(folder / "modules.json", change)
    with pytest.raises(CheckpointError, match=message):
        _load(folder)


BAD_POOLINGS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another width": lambda raw: raw.update(word_embedding_dimension=48),
    "an unknown old mode": lambda raw: raw.update(pooling_mode_attention=True),
    "an unknown new mode": lambda raw: raw.update(pooling_mode="attention"),
    "an unknown mode among known": lambda raw: raw.update(pooling_mode=["mean", "attention"]),
    "no modes": lambda raw: raw.update(pooling_mode=[]),
    "a list": lambda raw: [raw],
}


@pytest.mark.parametrize("name", BAD_POOLINGS)
def test_bad_poolings_are_refused(name: str, tmp_path: Path) -> None:
    folder = _make(tmp_path)
    _edit(folder / "1_Pooling/config.json", BAD_POOLINGS[name])
    with pytest.raises(CheckpointError, match="1_Pooling"):
        _load(folder)


BAD_PROJECTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another width": lambda raw: raw.update(in_features=48),
    "an unknown activation": lambda raw: raw.update(activation_function="torch.nn.modules.activation.Mish"),
    "no width": lambda raw: raw.__delitem__("in_features"),
    "no output width": lambda raw: raw.__delitem__("out_features"),
    "another output width": lambda raw: raw.update(out_features=21),
}


@pytest.mark.parametrize("name", BAD_PROJECTIONS)
def test_bad_projections_are_refused(name: str, tmp_path: Path) -> None:
    folder = _make(tmp_path, dense=(TANH,))
    _edit(folder / "2_Dense/config.json", BAD_PROJECTIONS[name])
    with pytest.raises(CheckpointError, match="2_Dense"):
        _load(folder)


@pytest.mark.parametrize("file", ["config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
def test_files_that_are_no_json_are_named(file: str, tmp_path: Path) -> None:
    folder = _make(tmp_path)
    (folder / file).write_text('{"half": ')
    with pytest.raises(CheckpointError, match=f"{file}.*not valid JSON"):
        _load(folder)
    (folder / file).write_bytes(b'{"a": "\xff"}')
    with pytest.raises(CheckpointError, match=file):
        _load(folder)


def test_a_folder_without_config_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        _load(tmp_path)


# ── without module files ─────────────────────────────────────────────────────────────────────────────────────────────


def test_without_modules_pooling_must_be_said(tmp_path: Path) -> None:
    folder = _make(tmp_path, modules=None)
    with pytest.raises(CheckpointError, match=r"no modules\.json.*pooling= one of cls, mean"):
        _load(folder)
    checkpoint = _load(folder, pooling="cls", normalize=True)
    assert (checkpoint.recipe.pooling, checkpoint.recipe.normalize) == (Pooling(("cls",)), True)


# ── what the caller says ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_caller_may_change_what_the_files_say(tmp_path: Path) -> None:
    folder = _make(tmp_path, prompts={"query": "q: ", "sts": "s: "}, max_seq_length=30)
    recipe = _load(
        folder,
        pooling="max",
        normalize=False,
        max_tokens=12,
        prompts={"query": "ask: ", "mine": "m: "},
        default_prompt_name="mine",
        similarity="euclidean",
        truncate_dim=9,
    ).recipe
    assert recipe.pooling == Pooling(("max",))
    assert (recipe.normalize, recipe.max_tokens, recipe.truncate_dim) == (False, 12, 9)
    assert (recipe.similarity, recipe.default_prompt_name) == ("euclidean", "mine")
    # As in sentence-transformers: the caller's over the file's, which keeps its other names.
    assert recipe.prompts == {"query": "ask: ", "mine": "m: ", "sts": "s: "}


def test_no_change_leaves_everything(tmp_path: Path) -> None:
    folder = _make(tmp_path, prompts={"query": "q: "}, default_prompt_name="query", similarity="dot", normalize=False)
    assert _load(folder).recipe == load_checkpoint(folder, identity="test").recipe


def test_a_changed_pooling_keeps_whether_the_prompt_counts(tmp_path: Path) -> None:
    recipe = _load(_make(tmp_path, include_prompt=False), pooling="max").recipe
    assert recipe.pooling == Pooling(("max",), include_prompt=False)


@pytest.mark.parametrize("changes", [{"max_tokens": 0}, {"truncate_dim": 37}, {"truncate_dim": 0}], ids=str)
def test_changes_that_cannot_be_are_refused(changes: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(next(iter(changes.values())))):
        _load(_make(tmp_path), **changes)


def test_a_default_prompt_that_the_caller_names_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'web'"):
        _load(_make(tmp_path, prompts={"query": "q"}), default_prompt_name="web")
