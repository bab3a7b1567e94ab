"""What vLLM's pooling routes take and give. Source: vLLM 0.33 `vllm/entrypoints/pooling/*/protocol.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from sememe.records import EmbedOptions, TruncationSide
from sememe.server import asked
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Service
from sememe.server.wire_numbers import Endianness, WireDtype

_Inputs = Annotated[asked.Text | list[asked.Text] | asked.TokenIds | list[asked.TokenIds], asked.FIRST_FIT]
_TruncatePromptTokens = Annotated[int, Field(ge=-1, le=1_000_000_000, strict=True)]
# What use_activation was called before, which vLLM refuses too.
_OLD_NAMES = ("normalize", "softmax", "activation")


class Inputs(asked.Body):
    """Inputs as texts or as token ids of the model's own vocabulary."""

    input: _Inputs | None = None
    messages: Any = Field(None, description="Conversations are refused: send texts as input.")
    add_special_tokens: asked.Flag | None = None
    use_activation: asked.Flag | None = None
    normalize: Any = Field(None, description="Refused: it is called use_activation now.")
    softmax: Any = Field(None, description="Refused: it is called use_activation now.")
    activation: Any = Field(None, description="Refused: it is called use_activation now.")

    def inputs(self) -> list[str | list[int]]:
        """The inputs. Raises ProblemError, for what would change them and is not done here too."""
        if self.messages is not None:
            raise ProblemError(Problem("input", "Conversations are not read here: send texts as input.", "messages"))
        if self.add_special_tokens is False:
            raise ProblemError(Problem("input", "Inputs always have their special tokens here.", "add_special_tokens"))
        for name in _OLD_NAMES:
            if getattr(self, name) is not None:
                raise ProblemError(Problem("input", f"{name} is not read: send use_activation.", name))
        if self.input is None:
            raise ProblemError(Problem("body", "input: Field required", "input"))
        if isinstance(self.input, str):
            return [self.input]
        numbers = [one for one in self.input if isinstance(one, int)]
        given: list[str | list[int]] = [numbers] if numbers else [one for one in self.input if not isinstance(one, int)]
        if not given:
            raise ProblemError(Problem("empty", "input is an empty list; expected at least one text.", "input"))
        return given


class Common(asked.Asked, Inputs):
    """What its embedding routes share."""

    model: asked.Text | None = None
    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] | None = None
    embed_dtype: WireDtype | None = None
    endianness: Endianness | None = None
    truncate_prompt_tokens: _TruncatePromptTokens | None = None
    truncation_side: TruncationSide | None = None

    def vllm_options(self, service: Service, **changes: Any) -> EmbedOptions:
        """The options. truncate_prompt_tokens: -1 is the model's own limit."""
        model = service.models.embedder(self.model)
        if self.use_activation is not None:
            changes["normalize"] = self.use_activation
        if self.truncate_prompt_tokens is not None and self.truncate_prompt_tokens != -1:
            changes["max_tokens"] = self.truncate_prompt_tokens
        if self.truncation_side is not None:
            changes["truncation_side"] = self.truncation_side
        return self.options(model, **changes)


class LateChunkingParams(asked.Body):
    """chunk_size: tokens of a chunk."""

    chunk_size: asked.Count


class EmbeddingsBody(Common):
    """What vLLM's `/v1/embeddings` takes. late_chunking_params: a vector for each chunk, from one pass over the input."""

    late_chunking_params: LateChunkingParams | None = None

    def texts(self) -> list[str]:
        """The inputs. Raises ProblemError for token ids, which clients of this path take from another tokenizer."""
        given = self.inputs()
        texts = [one for one in given if isinstance(one, str)]
        if len(texts) < len(given):
            raise ProblemError(Problem("input", _TOKEN_IDS, "input"))
        return texts


_TOKEN_IDS = (
    "input holds token ids, which on this path are mostly another tokenizer's (cl100k_base) and would be unrelated words: send "
    "texts, or send ids of this model's own tokenizer to /pooling."
)


class PoolingBody(Common):
    """What `/pooling` takes. classify: of a classifier; token_classify and plugin are not computed by this version."""

    task: Literal["embed", "token_embed", "classify", "token_classify", "plugin"] | None = None


class ScoringBody(asked.Body):
    """How what is scored is cut. truncate: ours. truncate_prompt_tokens: the model's own limit alone, which is -1."""

    model: asked.Text | None = None
    truncate: asked.Truncate | None = None
    truncate_prompt_tokens: _TruncatePromptTokens | None = None
    truncation_side: TruncationSide | None = None

    def side(self, max_tokens: int) -> TruncationSide:
        """Where longer ones lose tokens. max_tokens: the model's limit. Raises ProblemError for another one."""
        if self.truncate_prompt_tokens not in (None, -1, max_tokens):
            said = (
                f"truncate_prompt_tokens is {self.truncate_prompt_tokens}; here it is -1, the model's {max_tokens:,}. "
            )
            remedy = "Shorten pairs by max_tokens_per_query and max_tokens_per_doc."
            raise ProblemError(Problem("input", said + remedy, "truncate_prompt_tokens"))
        return self.truncation_side or asked.cut_side(self.truncate)


class ClassifyBody(ScoringBody, Inputs):
    """What `/classify` takes."""


_Side = asked.Text | asked.InputObject | list[asked.Text | asked.InputObject]


class ScoreBody(ScoringBody):
    """What `/score` takes: one of four spellings of two sides, one with many or one with one."""

    queries: _Side | None = None
    documents: _Side | None = None
    items: _Side | None = None
    text_1: _Side | None = None
    text_2: _Side | None = None
    data_1: _Side | None = None
    data_2: _Side | None = None
    instruction: asked.Text | None = None
    use_activation: asked.Flag | None = None
    max_tokens_per_query: asked.MostTokens | None = None
    max_tokens_per_doc: asked.MostTokens | None = None

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs. Raises ProblemError where the sides do not match."""
        spellings = [
            (self.queries, self.documents), (self.queries, self.items), (self.text_1, self.text_2),
            (self.data_1, self.data_2),
        ]  # fmt: skip
        sides = next(((a, b) for a, b in spellings if a is not None and b is not None), None)
        if sides is None:
            raise ProblemError(Problem("input", "Give queries and documents, or text_1 and text_2."))
        first, second = ([asked.text_of(one) for one in (side if isinstance(side, list) else [side])] for side in sides)
        if not first or not second:
            raise ProblemError(Problem("empty", "One side has no text; expected at least one."))
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second):
            raise ProblemError(
                Problem("input", f"{len(first)} texts against {len(second)}; expected one to many, or as many.")
            )
        return list(zip(first, second, strict=True))


class TokenizeBody(asked.Body):
    """What vLLM's `/tokenize` takes."""

    model: asked.Text | None = None
    prompt: asked.Text | None = None
    messages: Any = Field(None, description="Conversations are refused: send a prompt.")
    add_special_tokens: asked.Flag | None = None
    return_token_strs: asked.Flag | None = None


class DetokenizeBody(asked.Body):
    """What `/detokenize` takes."""

    model: asked.Text | None = None
    tokens: list[asked.TokenId]


class Usage(BaseModel):
    """Tokens read; nothing is generated."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: Literal[0]
    prompt_tokens_details: None


class Listed(BaseModel):
    """What its lists share."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    usage: Usage


class LateChunk(BaseModel):
    """One chunk: its tokens, special ones counted, and its characters, [start, stop) both."""

    token_range: list[int]
    char_range: list[int]


class LateChunking(BaseModel):
    """How an input was cut."""

    chunk_size: int
    input_tokens: int
    chunks: list[LateChunk]


class EmbeddingDatum(asked.FurtherKinds):
    """One input's embedding; vectors of its chunks, or of its tokens where the model gives nothing else."""

    index: int
    object: Literal["embedding"]
    embedding: list[float] | list[list[float]] | str | None = None
    late_chunking: LateChunking | None = None


class EmbeddingsAnswer(Listed, asked.Counted):
    """What vLLM's `/v1/embeddings` answers."""

    data: list[EmbeddingDatum]


class PoolingDatum(asked.FurtherKinds):
    """One input's vector, vectors of its tokens, or probabilities."""

    index: int
    object: Literal["pooling"]
    data: list[float] | list[list[float]] | str | None = None


class PoolingAnswer(Listed, asked.Counted):
    """What `/pooling` answers."""

    data: list[PoolingDatum]


class ScoreDatum(BaseModel):
    """One pair's score."""

    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(Listed):
    """What `/score` answers."""

    data: list[ScoreDatum]


class ClassifyDatum(BaseModel):
    """One text's likeliest label, and every label's probability."""

    index: int
    label: str | None
    probs: list[float]
    num_classes: int


class ClassifyAnswer(Listed):
    """What `/classify` answers."""

    data: list[ClassifyDatum]


class TokenizeAnswer(BaseModel):
    """What `/tokenize` answers."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeAnswer(BaseModel):
    """What `/detokenize` answers."""

    prompt: str
