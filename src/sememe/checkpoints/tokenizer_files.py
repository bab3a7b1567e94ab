"""A checkpoint's tokenizer files, read into the `tokenizers` library's tokenizer and what else decides token ids.

`tokenizer.json` is complete and comes first; without it, `tokenizer_assembly` puts the tokenizer together. Then
`tokenizer_config.json` decides some things against it, as it does in transformers: see the comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, normalizers

from sememe.checkpoints.json_files import read_json
from sememe.checkpoints.tokenizer_assembly import ANGLE, CLASS_OF_MODEL_TYPE, KINDS, SQUARE, WORD_PIECE, assemble
from sememe.errors import CheckpointError, UnsupportedCheckpoint

# transformers before 5 built the post-processor of these from add_bos_token and add_eos_token, whatever the file said.
_FLAGS_DECIDE = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer")
_NO_LIMIT = 1_000_000  # transformers writes 1e30 for "none"
_ROLES = ("cls", "sep", "pad", "unk", "mask", "bos", "eos")
# For a tokenizer.json that lies alone: the roles that a special token's spelling leaves no doubt about.
_SPELLED = {
    **{text: role for role, text in SQUARE.items()},
    **{text: role for role, text in ANGLE.items() if role not in ("cls", "sep")},
    **{"<bos>": "bos", "<eos>": "eos"},
}


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says.

    library: neither truncates nor pads. named: role (cls, sep, pad, unk, mask, bos, eos) → special token.
    other_special: further ones. add_bos, add_eos: whether every input has these at its ends, where the configuration
    decides it and not the post-processor. max_tokens: the configuration's `model_max_length`, None without one.
    """

    library: tokenizers.Tokenizer
    named: Mapping[str, str]
    other_special: tuple[str, ...]
    add_bos: bool | None
    add_eos: bool | None
    max_tokens: int | None


def read_tokenizer_files(folder: Path, *, lower_case: bool = False) -> TokenizerFiles:
    """Read a checkpoint's tokenizer. Raises CheckpointError, naming what was looked for, and UnsupportedCheckpoint.

    lower_case: lower every text first, whatever the tokenizer's own files say.
    """
    config = read_json(folder / "tokenizer_config.json")
    class_name = _class_name(folder, config)
    if config.get("truncation_side", "right") != "right":
        raise UnsupportedCheckpoint("tokenizer_config.json", "truncation_side", got="left", expected="right")
    stated, other = _special_tokens(folder, config, class_name)
    if (folder / "tokenizer.json").is_file():
        library = _read_library(folder / "tokenizer.json")
        if class_name in WORD_PIECE:
            _apply_bert_options(library, config)
        named: Mapping[str, str] = stated or _spelled(library)
    else:
        library, named = assemble(folder, class_name, stated, _added_tokens(folder, config, stated), config)
    library.no_truncation()
    library.no_padding()
    if getattr(library.model, "dropout", None):
        raise UnsupportedCheckpoint("tokenizer.json", "model.dropout", got=library.model.dropout, expected="none")
    if lower_case:
        _lower_first(library)
    limit = config.get("model_max_length")
    return TokenizerFiles(
        library,
        named,
        other,
        add_bos=_flag(config, "add_bos_token", class_name),
        add_eos=_flag(config, "add_eos_token", class_name),
        max_tokens=int(limit) if isinstance(limit, int | float) and limit < _NO_LIMIT else None,
    )


def _read_library(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises plain Exception for a file that it cannot read
        raise CheckpointError(f"{path} cannot be read as a tokenizer: {exc}. Fetch it again.") from exc


def _class_name(folder: Path, config: Mapping[str, Any]) -> str | None:
    """transformers' name for the tokenizer, without "Fast"; None where no file says it."""
    stated = config.get("tokenizer_class")
    if isinstance(stated, str) and stated not in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        return stated.removesuffix("Fast")
    return CLASS_OF_MODEL_TYPE.get(read_json(folder / "config.json").get("model_type", ""))


def _flag(config: Mapping[str, Any], key: str, class_name: str | None) -> bool | None:
    """What the configuration says about a token at an end; a "no" counts only for classes where it did in training.

    Mistral embedders say `add_eos_token: true` beside a tokenizer.json whose post-processor adds only the bos token.
    Qwen3-Embedding says `add_bos_token: false` beside one that ends every text with <|endoftext|>, rightly.
    """
    value = config.get(key)
    return value if value is True or (value is False and class_name in _FLAGS_DECIDE) else None


def _special_tokens(
    folder: Path, config: Mapping[str, Any], class_name: str | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Special tokens by role, and the further ones. What no file names has the default of the class."""
    raw = dict(config)
    if "added_tokens_decoder" not in config:  # where it is there, transformers does not read the older file
        raw |= read_json(folder / "special_tokens_map.json")
    named = dict(KINDS[class_name].specials) if class_name in KINDS else {}
    for role in _ROLES:
        if (content := _content(raw.get(f"{role}_token"))) is not None:
            named[role] = content
    other = raw.get("extra_special_tokens") or raw.get("additional_special_tokens") or []
    values = other.values() if isinstance(other, dict) else other
    return named, tuple(content for value in values if (content := _content(value)) is not None)


def _content(value: object) -> str | None:
    """A special token is written as its text, or as an object with the text in `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _spelled(library: tokenizers.Tokenizer) -> dict[str, str]:
    contents = (token.content for token in library.get_added_tokens_decoder().values() if token.special)
    return {_SPELLED[content]: content for content in contents if content in _SPELLED}


def _added_tokens(folder: Path, config: Mapping[str, Any], named: Mapping[str, str]) -> dict[int, AddedToken]:
    """By id, the tokens that the checkpoint added to its vocabulary file."""
    added = {}
    for text, token_id in read_json(folder / "added_tokens.json").items():
        is_special = text in named.values()
        added[token_id] = AddedToken(text, normalized=not is_special, special=is_special)
    for token_id, raw in config.get("added_tokens_decoder", {}).items():
        flags = {key: raw[key] for key in ("single_word", "lstrip", "rstrip", "normalized", "special") if key in raw}
        added[int(token_id)] = AddedToken(raw["content"], **flags)
    return added


def _apply_bert_options(library: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """transformers lets tokenizer_config.json decide these where it differs from tokenizer.json."""
    normalizer = library.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        library.normalizer = normalizers.BertNormalizer(
            clean_text=normalizer.clean_text,
            handle_chinese_chars=config.get("tokenize_chinese_chars", normalizer.handle_chinese_chars),
            strip_accents=config.get("strip_accents", normalizer.strip_accents),
            lowercase=config.get("do_lower_case", normalizer.lowercase),
        )


def _lower_first(library: tokenizers.Tokenizer) -> None:
    """As sentence-transformers 6.2 does: before the other steps, unless one of them is the same."""
    present = library.normalizer
    if isinstance(present, normalizers.Sequence):
        steps = [present[i] for i in range(len(present))]
    else:
        steps = [present] if present is not None else []
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        library.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
