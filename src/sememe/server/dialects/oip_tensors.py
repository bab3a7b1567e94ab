"""Texts and arrays as the protocol's tensors, in JSON or in Triton's binary extension."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from sememe.records import Embeddings
from sememe.server.answers import json_answer
from sememe.server.dialects.oip_bodies import InferBody, Tensor, WantedParameters
from sememe.server.problems import Problem, ProblemError
from sememe.server.wire_numbers import little_endian

_DATATYPES = {
    "float32": "FP32",
    "float16": "FP16",
    "int8": "INT8",
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
}


def output_tensors(embeddings: Embeddings) -> dict[str, NDArray[np.generic]]:
    """The embeddings' arrays by the names of their tensors."""
    found: dict[str, NDArray[np.generic]] = {}
    if embeddings.dense is not None:
        found["embedding"] = embeddings.dense
    if (sparse := embeddings.sparse) is not None:
        found |= {"sparse_indptr": sparse.indptr, "sparse_indices": sparse.indices, "sparse_values": sparse.values}
    if (multi := embeddings.multi_vector) is not None:
        found |= {"multi_vector": multi.vectors, "multi_vector_offsets": multi.offsets}
    return found


def split_body(raw: bytes, head_length: str | None) -> tuple[bytes, bytes]:
    """The JSON and the binary part behind it. Raises ProblemError."""
    if head_length is None:
        return raw, b""
    if not head_length.isdigit() or int(head_length[:12]) > len(raw):
        raise ProblemError(
            Problem("body", f"Inference-Header-Content-Length is {head_length[:40]!r}; the body is shorter.")
        )
    return raw[: int(head_length)], raw[int(head_length) :]


def texts_of(tensors: Sequence[Tensor], binary: bytes) -> dict[str, list[str]]:
    """Each tensor's texts by its name."""
    found: dict[str, list[str]] = {}
    at = 0
    for tensor in tensors:
        if tensor.datatype != "BYTES":
            raise ProblemError(
                Problem("input", f"{tensor.name} is {tensor.datatype}; expected texts as BYTES.", tensor.name)
            )
        n_bytes = None if tensor.parameters is None else tensor.parameters.binary_data_size
        if n_bytes is not None:
            if n_bytes > len(binary) - at:
                raise ProblemError(Problem("body", f"{tensor.name}: binary_data_size is not what the body has."))
            found[tensor.name] = _unpacked(binary[at : at + n_bytes], tensor.name)
            at += n_bytes
        else:
            found[tensor.name] = _flat(tensor.data or [], tensor.name)
        n_expected = math.prod(tensor.shape)
        if len(found[tensor.name]) != n_expected:
            got = len(found[tensor.name])
            raise ProblemError(Problem("input", f"{tensor.name} has {got} texts; its shape says {n_expected}."))
    if len(found) != len(tensors):
        raise ProblemError(Problem("input", "Two inputs have one name."))
    return found


def _flat(data: list[Any], name: str) -> list[str]:
    texts = [text for row in data for text in (row if isinstance(row, list) else [row])]
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ProblemError(Problem("input", f"{name}: element {wrong} is no text.", name))
    return texts


def _unpacked(raw: bytes, name: str) -> list[str]:
    texts, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise ProblemError(Problem("body", f"{name}: the binary data ends inside a length."))
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise ProblemError(Problem("body", f"{name}: the binary data ends inside a text."))
        try:
            texts.append(raw[at : at + length].decode())
        except UnicodeDecodeError as exc:
            raise ProblemError(Problem("input", f"{name}: text {len(texts)} is not UTF-8.")) from exc
        at += length
    return texts


def tensors_answer(body: InferBody, model_name: str, found: Mapping[str, NDArray[np.generic]]) -> Response:
    """The outputs that are asked for, or all; as JSON, or behind it in the binary part."""
    wanted = {one.name: one.parameters or WantedParameters() for one in body.outputs or ()}
    if unknown := [name for name in wanted if name not in found]:
        raise ProblemError(Problem("input", f"Output {unknown[0]!r} is asked for; there are {', '.join(found)}."))
    all_binary = body.parameters is not None and body.parameters.binary_data_output is True
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name in wanted or found:
        values = found[name]
        output: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": _DATATYPES[values.dtype.name]}
        said = wanted[name].binary_data if name in wanted else None
        if all_binary if said is None else said:
            raw.append(little_endian(values))
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = np.ascontiguousarray(values.reshape(-1))
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model_name, "model_version": "1", "outputs": outputs}
    if body.id is not None:
        answer["id"] = body.id
    plain = json_answer(answer)
    if not raw:
        return plain
    headers = {"Inference-Header-Content-Length": str(len(plain.body))}
    return Response(bytes(plain.body) + b"".join(raw), headers=headers, media_type="application/octet-stream")
