from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import FakeEmbedder
from sememe import Embedder
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.indexing import index_documents
from sememe.collections.opening import open_to_index
from sememe.collections.reading.streams import read_items
from sememe.errors import InputError
from sememe.records import EmbedOptions

TEXT = "Berlin is the capital of Germany.\n\nIts population is three million.\n\n" + "The city is large. " * 120


@pytest.mark.weights
def test_chunks_are_pooled_from_one_pass_each_stretch_within_the_window(minilm_path: Path, tmp_path: Path) -> None:
    embedder = Embedder(str(minilm_path), precision="float32", offline=True)
    options = ChunkOptions("paragraph", size=64, late=True)
    collection, chunker = open_to_index(tmp_path / "c", embedder, chunking=options)
    items = [{"id": "long", "text": TEXT}, {"id": "short", "text": "Berlin is the capital of Germany."}]
    with collection:
        report = index_documents(collection, read_items(items), chunker)
        assert report.n_chunks == len(collection.chunks_of("long")) + 1 > 8
        alone = embedder.encode_document(["Berlin is the capital of Germany.", "Its population is three million."])
        keys = [one.key for one in collection.store.chunks_of("short")]
        assert np.allclose(collection.store.vectors(keys)[0], alone[0], atol=1e-4)  # one chunk is the whole: the same
        second = collection.store.vectors([collection.store.chunks_of("long")[1].key])[0]
        its = collection.chunks_of("long")
        inside = [c for c in its if TokenCounter(embedder).exact([TEXT[: c.end]])[0] <= embedder.max_tokens]
        assert 2 < len(inside) < len(its)
        one_pass = embedder.embed_spans(
            TEXT[: inside[-1].end], [(c.start, c.end) for c in inside], EmbedOptions(role="document")
        ).dense
        assert one_pass is not None
        assert np.allclose(second, one_pass[1], atol=1e-4)
        assert second @ alone[1] < 0.99  # it has seen what "its" is
        assert collection.about.chunking == "paragraph size=64 late"


def test_a_model_that_cannot_is_refused_in_words(tmp_path: Path) -> None:
    collection, chunker = open_to_index(tmp_path / "c", FakeEmbedder(max_tokens=32), chunking=ChunkOptions(late=True))
    with collection, pytest.raises(InputError, match="cannot give vectors of parts of a text"):
        index_documents(collection, read_items(["x"]), chunker)
