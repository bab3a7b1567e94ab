"""The embeddings of one call as an Arrow stream: what a file of vectors holds, for an answer over the network."""

from __future__ import annotations

import json

import pyarrow as pa

from sememe.records import OUTPUTS, Embeddings
from sememe.tables.vector_columns import VectorColumns, with_vectors

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_NAMES = VectorColumns.named("embedding")


def arrow_stream(embeddings: Embeddings, model: str) -> bytes:
    """A row an input: `embedding_n_tokens`, `embedding_n_dropped`, then `embedding`, `embedding_sparse`,
    `embedding_multi_vector` as far as they are there. The schema's metadata `sememe` holds model and fingerprint.
    """
    there = {"dense": embeddings.dense, "sparse": embeddings.sparse, "multi_vector": embeddings.multi_vector}
    outputs = tuple(output for output in OUTPUTS if there[output] is not None)
    table = with_vectors(pa.table({}), embeddings, outputs, _NAMES)
    facts = json.dumps({"model": model, "fingerprint": embeddings.fingerprint}, ensure_ascii=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata({"sememe": facts})) as writer:
        writer.write_table(table.replace_schema_metadata({"sememe": facts}))
    raw: bytes = sink.getvalue().to_pybytes()
    return raw
