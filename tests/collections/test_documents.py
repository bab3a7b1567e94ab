"""Documents and chunks: what cannot be kept is refused when they are made."""

from __future__ import annotations

import pytest

from sememe.collections.documents import Chunk, Document, MetadataValue, whole_document
from sememe.errors import InputError


def test_the_hash_is_of_title_and_text_and_of_nothing_else() -> None:
    one = Document("a", "text", "title")
    assert one.content_hash == Document("b", "text", "title", "source", {"year": 1}).content_hash
    assert one.content_hash != Document("a", "texttitle").content_hash
    assert Document("a", "b", "c").content_hash != Document("a", "cb").content_hash


def test_a_chunk_id_leads_back_to_its_document_whatever_that_is_called() -> None:
    assert Chunk("a#b#", 3, "", 0, 0).id == "a#b##3"


def test_an_empty_document_has_no_chunks() -> None:
    assert whole_document(Document("a", "")) == []


@pytest.mark.parametrize("id", ["\x00", "日本", "a'b\"", "x" * 10_000, " ", "👩‍👩‍👧"])
def test_any_unicode_is_an_id(id: str) -> None:
    assert Document(id, "text").id == id


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, None, ["a"], {"a": 1}, "\udc00"])
def test_metadata_that_no_store_gives_back_is_refused(value: MetadataValue) -> None:
    with pytest.raises(InputError, match="document 'a': metadata 'key'"):
        Document("a", "text", metadata={"key": value})


@pytest.mark.parametrize("key", ["", "@id", "and", "\udc00"])
def test_keys_that_filters_cannot_name_are_refused(key: str) -> None:
    with pytest.raises(InputError):
        Document("a", "text", metadata={key: 1})


def test_ids_that_are_empty_or_half_a_character_are_refused() -> None:
    for id in ("", "\ud800"):
        with pytest.raises(InputError):
            Document(id, "text")
