"""Every text entry of the catalogue has a specimen, or a reason for having none, and they do not contradict."""

from __future__ import annotations

from pathlib import Path

import pytest

from sememe.catalogue.entries import Catalogue
from sememe.catalogue.schema import CatalogueEntry

from . import UNSPECIFIED, kind, kind_of, make

ENTRIES = [entry for entry in Catalogue.read().entries if set(entry.modalities) == {"text"}]
COVERED = [entry for entry in ENTRIES if entry.id not in UNSPECIFIED]


def test_every_text_entry_is_accounted_for() -> None:
    assert len(COVERED) > 80
    for entry in COVERED:
        kind(kind_of(entry.id))


@pytest.mark.parametrize("name", [*UNSPECIFIED, "openai/clip-vit-base-patch32", "nobody/nothing"])
def test_an_entry_without_a_specimen_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(LookupError, match=name):
        kind_of(name)


@pytest.mark.parametrize("entry", COVERED, ids=lambda entry: entry.id)
def test_files_and_catalogue_agree_where_both_speak(entry: CatalogueEntry) -> None:
    layout = kind(kind_of(entry.id)).layout
    if layout.modules is None:
        return
    if entry.recipe.pooling != "latent_attention":  # NV-Embed's modules say `mean`; the head stands before it
        assert layout.pooling == entry.recipe.pooling
    published, ours = (layout.prompts or {}).get("query"), entry.recipe.prompts.get("query")
    assert None in (published, ours) or published == ours


@pytest.mark.parametrize("name", sorted({kind_of(entry.id) for entry in COVERED}))
def test_the_model_type_is_the_published_one(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path)
    weights = [path for pattern in ("*.safetensors", "*.bin") for path in folder.rglob(pattern)]
    assert weights
    assert list(folder.rglob("tokenizer.json"))
    assert name == "static" or "architectures" in kind(name).config
