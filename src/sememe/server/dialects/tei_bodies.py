"""What text-embeddings-inference's routes take and give. Source: TEI 1.9.3 `router/src/http/types.rs`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel

from sememe.records import EmbedOptions, TruncationSide
from sememe.server import asked
from sememe.server.models import EmbeddingModel

Direction = Literal["Left", "Right", "left", "right"]


def side(truncate: bool | str | None, direction: Direction | None) -> TruncationSide:
    """Where longer inputs lose tokens: by our `truncate`, else by TEI's `truncation_direction`."""
    return "left" if (direction or "").lower() == "left" else asked.cut_side(truncate)


class EmbedBody(asked.Asked):
    """What `/embed` and its kin take. Token ids are of the model's own vocabulary. model: ours, where there are several."""

    inputs: Annotated[
        asked.Text | list[asked.Text] | asked.TokenIds | list[asked.Text | asked.TokenIds], asked.FIRST_FIT
    ]
    model: asked.Text | None = None
    normalize: asked.Flag | None = None
    truncation_direction: Direction | None = None

    def given(self) -> list[str | list[int]]:
        """The inputs as a list, where one alone was given too."""
        if isinstance(self.inputs, str):
            return [self.inputs]
        ids = [one for one in self.inputs if isinstance(one, int)]
        return [ids] if ids else [one for one in self.inputs if not isinstance(one, int)]

    def tei_options(self, model: EmbeddingModel, **changes: Any) -> EmbedOptions:
        """The options, with vectors of length 1 unless the request says `normalize: false`."""
        where = side(self.truncate, self.truncation_direction)
        return self.options(model, normalize=self.normalize is not False, truncation_side=where, **changes)


class RerankBody(asked.Body):
    """What `/rerank` takes."""

    query: asked.Text
    texts: list[asked.Text]
    model: asked.Text | None = None
    truncate: asked.Truncate | None = None
    truncation_direction: Direction | None = None
    raw_scores: asked.Flag | None = None
    return_text: asked.Flag | None = None
    instruction: asked.Text | None = None


class PredictBody(asked.Body):
    """What `/predict` takes: a text, a pair, or a list of texts and pairs in lists of their own."""

    inputs: asked.Text | list[asked.Text] | list[list[asked.Text]]
    model: asked.Text | None = None
    truncate: asked.Truncate | None = None
    truncation_direction: Direction | None = None
    raw_scores: asked.Flag | None = None


class SimilarityInputs(asked.Body):
    """One text, and those it is compared with."""

    source_sentence: asked.Text
    sentences: list[asked.Text]


class SimilarityParameters(asked.Asked):
    """TEI's parameters and ours."""

    truncation_direction: Direction | None = None


class SimilarityBody(asked.Body):
    """What `/similarity` takes."""

    inputs: SimilarityInputs
    model: asked.Text | None = None
    parameters: SimilarityParameters | None = None


class TokenizeBody(asked.Body):
    """What `/tokenize` takes."""

    inputs: asked.Text | list[asked.Text]
    model: asked.Text | None = None
    add_special_tokens: asked.Flag | None = None
    prompt_name: asked.Text | None = None


class DecodeBody(asked.Body):
    """What `/decode` takes."""

    ids: asked.TokenIds | list[asked.TokenIds]
    model: asked.Text | None = None
    skip_special_tokens: asked.Flag | None = None


class SparseValue(BaseModel):
    """One token's weight."""

    index: int
    value: float


class Rank(BaseModel):
    """One text's place among those ranked."""

    index: int
    score: float
    text: str | None = None


class Prediction(BaseModel):
    """One label's score."""

    score: float
    label: str


class SimpleToken(BaseModel):
    """One token. start, stop: its characters of the input, null for special ones."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Info(BaseModel):
    """What `/info` answers; fingerprint is ours."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, dict[str, Any]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    fingerprint: str | None
