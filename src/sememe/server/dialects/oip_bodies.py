"""What the Open Inference Protocol's routes take and give, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from sememe.server import asked

_MOST_INPUTS = 1_000_000


class TensorParameters(asked.Body):
    """binary_data_size: bytes of the binary part that are this tensor's."""

    binary_data_size: Annotated[int, Field(ge=0, strict=True)] | None = None


class Tensor(asked.Body):
    """One input: its data here, or in the binary part."""

    name: asked.Text
    shape: list[Annotated[int, Field(ge=0, le=_MOST_INPUTS, strict=True)]] = Field(min_length=1, max_length=2)
    datatype: asked.Text
    parameters: TensorParameters | None = None
    data: list[Any] | None = Field(None, description="Texts, or rows of texts.")


class WantedParameters(asked.Body):
    """binary_data: whether the output comes in the binary part."""

    binary_data: asked.Flag | None = None


class Wanted(asked.Body):
    """One output that is asked for."""

    name: asked.Text
    parameters: WantedParameters | None = None


class InferParameters(asked.Asked):
    """Our fields on embedding routes, and whether outputs come in the binary part unless they say otherwise."""

    binary_data_output: asked.Flag | None = None


class InferBody(asked.Body):
    """What `infer` takes."""

    id: asked.Text | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=2)
    outputs: list[Wanted] | None = None
    parameters: InferParameters | None = None


class IndexBody(asked.Body):
    """What the index takes. ready: only what is loaded."""

    ready: asked.Flag | None = None


class OutputParameters(BaseModel):
    """Bytes of the binary part that are this tensor's."""

    binary_data_size: int


class OutputTensor(BaseModel):
    """One output, row by row; without data where it comes in the binary part."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float] | None = None
    parameters: OutputParameters | None = None


class InferAnswer(BaseModel):
    """What `infer` answers."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class ServerAnswer(BaseModel):
    """What `/v2` answers."""

    name: str
    version: str
    extensions: list[str]


class TensorFacts(BaseModel):
    """One input or output of a model; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelAnswer(BaseModel):
    """What a model is."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class IndexEntry(BaseModel):
    """One model that may be named. UNAVAILABLE: not loaded yet; the first request that names it loads it."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str
