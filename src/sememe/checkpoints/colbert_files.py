"""Late interaction as a checkpoint's files describe it: ColBERT's own layout, PyLate's, sentence-transformers' own.

Sources: ColBERT's `colbert/modeling/tokenization`; PyLate 1.2 `models/colbert.py`; sentence-transformers 6.2
`MultiVectorEncoder` and its `Transformer`, which reads all three.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sememe.checkpoints.contents import CheckpointFiles
from sememe.checkpoints.dense_files import read_projection
from sememe.checkpoints.json_files import ModuleEntry, read_json
from sememe.checkpoints.recipe import Recipe
from sememe.checkpoints.steps import Projection
from sememe.checkpoints.token_heads import LateInteraction, TokenVectors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.records import Role

# Of the original repository and of PyLate, where a file does not say.
_QUERY_LENGTH = 32
# What shows that PyLate wrote config_sentence_transformers.json.
_PYLATE_KEYS = frozenset(
    "query_prefix document_prefix query_length document_length attend_to_expansion_tokens attend_to_mask_tokens "
    "skiplist_words do_query_expansion".split()
)
_ROLES: tuple[Role, ...] = ("query", "document")


def is_colbert(files: CheckpointFiles) -> bool:
    """Whether the folder has ColBERT's own layout."""
    return (files.folder / "artifact.metadata").is_file() or "HF_ColBERT" in files.architectures


def colbert_head(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """ColBERT's own layout: `linear.weight` in the main file, settings in `artifact.metadata`."""
    path = files.folder / "artifact.metadata"
    said = read_json(path)
    if said.get("similarity", "cosine") != "cosine":
        raise UnsupportedCheckpoint(str(path), "similarity", got=said["similarity"], expected="cosine")
    if not isinstance(said.get("dim"), int):
        raise CheckpointError(f"{path}: dim is {said.get('dim')!r}; expected the width of a token's vector.")
    names = {"query": said.get("query_token_id", "[unused0]"), "document": said.get("doc_token_id", "[unused1]")}
    layout = LateInteraction(
        markers={role: _known_id(files, names[role]) for role in _ROLES},
        query_length=said.get("query_maxlen") or _QUERY_LENGTH,
        filled_to=said.get("query_maxlen") or _QUERY_LENGTH,
        filler=_filler(files, None),
        attended=bool(said.get("attend_to_mask_tokens", False)),
        skipped=_first_tokens(files, string.punctuation) if said.get("mask_punctuation", True) else (),
    )
    projection = Projection("linear", files.config.hidden_size, said["dim"], has_bias=False, activation="identity")
    head = TokenVectors((projection,), layout=layout)
    length = said.get("doc_maxlen") or recipe.max_tokens
    return replace(recipe, multi_vector=head, similarity="maxsim", max_tokens=length)


def token_vectors(recipe: Recipe, files: CheckpointFiles, modules: Sequence[ModuleEntry]) -> Recipe:
    """PyLate's and sentence-transformers' layout: Dense modules over every token, no pooling."""
    kinds = [module.kind for module in modules]
    n_dense = kinds.count("Dense")
    known = kinds[: 1 + n_dense] == ["Transformer"] + ["Dense"] * n_dense
    if not (known and n_dense and kinds[1 + n_dense :] in ([], ["MultiVectorMask"], ["MultiVectorMask", "Normalize"])):
        expected = "Transformer, Pooling, …; or Transformer, Dense (every token), MultiVectorMask, Normalize"
        raise UnsupportedCheckpoint("modules.json", "modules", got=", ".join(kinds), expected=expected)
    steps: list[Projection] = []
    for module in modules[1 : 1 + n_dense]:
        width = steps[-1].n_out if steps else files.config.hidden_size
        steps.append(read_projection(files.folder / module.path / "config.json", module.path, width))
    settings = files.settings
    by_pylate = bool(_PYLATE_KEYS & set(settings))
    transformer = read_json(files.folder / modules[0].path / "sentence_bert_config.json")
    markers, prompts = _markers(files, settings, recipe.prompts) if by_pylate else ({}, recipe.prompts)
    layout = LateInteraction(
        markers={role: markers.get(role) for role in _ROLES},
        **_expansion(files, settings, transformer, by_pylate=by_pylate),
        skipped=_skipped(files, modules, settings, by_pylate=by_pylate),
    )
    head = TokenVectors(
        tuple(steps),
        normalize=by_pylate or "Normalize" in kinds,
        mean_over_query=str(settings.get("similarity_fn_name")).lower() == "meanmaxsim",
        layout=layout,
    )
    length = transformer.get("document_length") or settings.get("document_length") or recipe.max_tokens
    return replace(recipe, multi_vector=head, similarity="maxsim", prompts=prompts, max_tokens=length)


def _markers(
    files: CheckpointFiles, settings: Mapping[str, Any], prompts: Mapping[str, str]
) -> tuple[dict[Role, int], Mapping[str, str]]:
    """Ids of PyLate's prefixes; a prefix that is no token stands before the text instead, as a prompt."""
    markers: dict[Role, int] = {}
    prompts = dict(prompts)
    for role in _ROLES:
        prefix = settings.get(f"{role}_prefix") or ""
        found = files.tokenizer.token_id(prefix)
        found = files.tokenizer.token_id(prefix.strip()) if found is None else found
        if found is not None:
            markers[role] = found
        elif prefix:
            prompts[role] = prefix + prompts.get(role, "").removeprefix(prefix)
    return markers, prompts


def _expansion(
    files: CheckpointFiles, settings: Mapping[str, Any], transformer: Mapping[str, Any], *, by_pylate: bool
) -> dict[str, Any]:
    """How long queries are, and what fills them: fields of LateInteraction."""
    ceiling = transformer.get("query_length") or settings.get("query_length")
    said = transformer.get("query_expansion", settings.get("query_expansion"))
    if said is None and by_pylate and settings.get("do_query_expansion") is not False:
        attended = settings.get("attend_to_expansion_tokens", settings.get("attend_to_mask_tokens", False))
        said = {"strategy": "fixed", "attend": bool(attended), "length": ceiling or _QUERY_LENGTH}
    if said is None:
        return {"query_length": ceiling}
    length, strategy = said["length"], said.get("strategy")
    if strategy not in ("fixed", "min"):
        raise UnsupportedCheckpoint(
            "sentence_bert_config.json", "query_expansion.strategy", got=strategy, expected="fixed or min"
        )
    if strategy == "fixed":
        ceiling = length
    elif ceiling is not None:
        ceiling = max(ceiling, length)
    return {
        "query_length": ceiling,
        "filled_to": length,
        "filler": _filler(files, said.get("token")),
        "attended": bool(said.get("attend", False)),
    }


def _skipped(
    files: CheckpointFiles, modules: Sequence[ModuleEntry], settings: Mapping[str, Any], *, by_pylate: bool
) -> tuple[int, ...]:
    """Ids whose vectors documents leave out: of words that are tokens, as the reference looks them up."""
    words: Sequence[str] = settings.get("skiplist_words", string.punctuation) if by_pylate else ()
    for module in modules:
        if module.kind == "MultiVectorMask":
            mask = read_json(files.folder / module.path / "config.json")
            tasks = mask.get("skiplist_tasks") or ["document"]
            if mask.get("keep_only_token_ids") or tasks not in ("document", ["document"]):
                raise UnsupportedCheckpoint(
                    module.path, "skiplist_tasks", got=mask, expected="the skiplist for documents alone"
                )
            words = mask.get("skiplist_words") or ()
    ids = (files.tokenizer.token_id(word) for word in words)
    unknown = files.tokenizer.special.unk
    return tuple(sorted({token_id for token_id in ids if token_id not in (None, unknown)}))  # type: ignore[type-var]


def _filler(files: CheckpointFiles, token: str | None) -> int:
    """The id that fills queries: the named one, else the mask token, else the end of text."""
    special = files.tokenizer.special
    if token is not None:
        return _known_id(files, token)
    found = special.eos if special.mask is None else special.mask
    if found is None:
        raise CheckpointError(f"{files.folder}: queries are filled with the mask token, but the tokenizer has none.")
    return found


def _known_id(files: CheckpointFiles, token: str) -> int:
    token_id = files.tokenizer.token_id(token)
    if token_id is None:
        raise CheckpointError(f"{files.folder}: the token {token!r} is not in the tokenizer's vocabulary.")
    return token_id


def _first_tokens(files: CheckpointFiles, words: str) -> tuple[int, ...]:
    """The first token of each character, tokenized: how ColBERT itself finds what it skips. Unknown ones are kept."""
    ids = {int(tokens.ids[0]) for tokens in files.tokenizer.encode_plain(list(words)) if len(tokens)}
    return tuple(sorted(ids - {files.tokenizer.special.unk}))
