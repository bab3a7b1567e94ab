"""What every dialect calls: embed, score, tokenize, decode. A dialect parses into `calls` and writes their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.tokenizer import SpelledTokens
from sememe.engine.engine import RawEmbedding
from sememe.engine.reranker import activated
from sememe.engine.spans import Span, spell_whole
from sememe.errors import CollectionMismatch, InputError
from sememe.records import Embeddings, EmbedOptions, MultiVectorEmbeddings, Usage
from sememe.server import request_log
from sememe.server.call_times import CallTimes
from sememe.server.calls import Conditions, EmbedCall, Embedded, ScoreCall, Scored
from sememe.server.canary import Canary
from sememe.server.line import Line
from sememe.server.lines import CanaryLine, PairLine, RawScore, SpanLine, StateLine, TextLine
from sememe.server.models import EmbeddingModel, Models, ScoringModel, WrongModel
from sememe.server.on_demand import OnDemand, Supply
from sememe.server.scheduler import Health, Scheduler
from sememe.server.traces import call_spans

# Characters whose tokens a request is told at once: some half a second of work, much of it with the interpreter's lock.
_MOST_SPELLED = 1_000_000
# Ids of one text, in a fifth of a second, all of it with that lock.
_MOST_DECODED = 250_000
# Looked at for each token that a text is cut to; English has 4 to 5.
_CHARACTERS_A_TOKEN = 250


class CallObserver(Protocol):
    """Who counts what was answered. Called on the event loop."""

    def embedded(self, usage: Usage, n_tokens: NDArray[np.int32], times: CallTimes) -> None:
        """A call of inputs; n_tokens: of each."""
        ...

    def scored(self, n_inputs: int, times: CallTimes) -> None:
        """A call of pairs, or of texts for a classifier."""
        ...


class Service:
    """Models behind one scheduler."""

    def __init__(
        self,
        models: Models,
        scheduler: Scheduler,
        *,
        max_inputs: int = 2048,
        observer: CallObserver | None = None,
        supply: Supply | None = None,
    ) -> None:
        """max_inputs: of one request. observer: told of every call that was answered. supply: of models on demand."""
        self._observer = observer
        self.models, self.scheduler, self._max_inputs = models, scheduler, max_inputs
        self.canary = Canary(models, self.embed_afresh, self.score)
        self.on_demand = OnDemand(models, supply or Supply(), self.canary.send)
        self.started = time.time()

    def health(self) -> Health:
        """How the scheduler goes."""
        return self.scheduler.health()

    @property
    def max_inputs(self) -> int:
        """Inputs that one request may have."""
        return self._max_inputs

    async def embed(self, call: EmbedCall) -> Embedded:
        """Raises InputError, NotFound, CollectionMismatch, Overloaded, Unavailable, TimeoutError, CheckpointError."""
        model = self.models.embedder(call.model)
        self._check_size(len(call.inputs))
        line = model.line(call.options)
        _check_fingerprint(call.conditions, model.fingerprint(call.options))
        return await self._embedded(model, line, call.inputs, call)

    async def embed_afresh(self, call: EmbedCall) -> Embedded:
        """As `embed`, computed whatever the cache knows: for who asks whether the model works."""
        model = self.models.embedder(call.model)
        return await self._embedded(model, CanaryLine(model.name, model.engine, call.options), call.inputs, call)

    async def embed_spans(self, call: EmbedCall, spans: Sequence[tuple[Span, ...]]) -> Embedded:
        """Late chunking: an embedding for each of `spans[i]` of input i, which is read in one pass. Raises as `embed`."""
        model = self.models.embedder(call.model)
        self._check_size(sum(map(len, spans)))
        model.engine.check_options(call.options)
        _check_fingerprint(call.conditions, model.fingerprint(call.options))
        line = SpanLine(model.name, model.engine, call.options)
        return await self._embedded(model, line, list(zip(call.inputs, spans, strict=True)), call)

    async def embed_tokens(self, call: EmbedCall) -> Embedded:
        """The hidden states of each token, before pooling, as multi-vectors. Raises as `embed`."""
        model = self.models.embedder(call.model)
        self._check_size(len(call.inputs))
        if (call.options.dimensions, call.options.dtype) != (None, "float32"):
            raise InputError("Hidden states can be neither cut to fewer dimensions nor given in another type.")
        model.engine.check_options(replace(call.options, outputs=model.default_outputs))
        fingerprint = f"{model.fingerprint(replace(call.options, outputs=model.default_outputs))}-states"
        _check_fingerprint(call.conditions, fingerprint)
        line = StateLine(model.name, model.engine, call.options)

        def finish(values: list[RawEmbedding]) -> Embeddings:
            return _stacked_states(values, fingerprint)

        return await self._embedded(model, line, call.inputs, call, finish)

    async def _embedded(
        self,
        model: EmbeddingModel,
        line: Line,
        inputs: Sequence[Any],
        call: EmbedCall,
        finish: Callable[[list[Any]], Embeddings] | None = None,
    ) -> Embedded:
        """Through the scheduler. finish: of the inputs' values; None flattens lists and finishes as the engine does."""
        started, times = time.perf_counter(), CallTimes()

        def finished(values: list[Any]) -> Embeddings:
            flat = [one for value in values for one in (value if isinstance(value, list) else (value,))]
            return model.engine.finish(flat, call.options, time.perf_counter() - started)

        embeddings = await self.scheduler.run(
            line,
            inputs,
            finish or finished,
            lane=call.conditions.lane,
            timeout_seconds=call.conditions.timeout_seconds,
            times=times,
        )
        usage = embeddings.usage
        if self._observer is not None:
            # After the answer, which the event loop writes without a turn in between.
            asyncio.get_running_loop().call_soon(self._observer.embedded, usage, embeddings.n_tokens, times)
        _say_done(times, model.name, usage.n_inputs, usage.n_tokens, usage.n_truncated)
        return Embedded(model.name, embeddings, times, model.prompt(call.options))

    async def rank(self, call: ScoreCall) -> Scored:
        """As `score`, by a model that gives one score a pair."""
        model = self.models.scorer(call.model)
        if model.reranker.n_labels != 1:
            raise WrongModel(f"{model.name} gives {model.reranker.n_labels} labels; only one can be ranked by.")
        return await self.score(call)

    async def score(self, call: ScoreCall) -> Scored:
        """Raises as `embed`."""
        model = self.models.scorer(call.model)
        self._check_size(len(call.pairs))
        line = _score_line(model, call)
        activation = call.activation or model.reranker.default_activation
        times = CallTimes()

        def finish(values: list[RawScore]) -> Scored:
            long = next((i for i, value in enumerate(values) if value.n_dropped), None)
            if long is not None and not call.truncate:
                raise InputError(
                    f"Input {long} has {values[long].n_tokens + values[long].n_dropped:,} tokens; this model reads at "
                    f"most {model.reranker.max_length:,}. Shorten it, or allow truncation."
                )
            logits = np.array([value.logits for value in values], np.float32).reshape(-1, model.reranker.n_labels)
            n_dropped = np.array([value.n_dropped for value in values], np.int32)
            return Scored(model.name, activated(logits, activation), sum(v.n_tokens for v in values), n_dropped, times)

        scored = await self.scheduler.run(
            line,
            call.pairs,
            finish,
            lane=call.conditions.lane,
            timeout_seconds=call.conditions.timeout_seconds,
            times=times,
        )
        if self._observer is not None:
            asyncio.get_running_loop().call_soon(self._observer.scored, len(call.pairs), times)
        _say_done(times, model.name, len(call.pairs), scored.n_tokens, int((scored.n_dropped > 0).sum()))
        return scored

    def _check_size(self, n_inputs: int) -> None:
        if n_inputs == 0:
            raise InputError("The list of inputs is empty; expected at least one.")
        if n_inputs > self._max_inputs:
            raise InputError(f"The request has {n_inputs:,} inputs; this server takes {self._max_inputs:,} at once.")

    async def spell(
        self, model: EmbeddingModel | ScoringModel, texts: Sequence[str], *, special: bool, prompt: str = ""
    ) -> list[SpelledTokens]:
        """The texts' tokens and what they stand for, off the event loop. special: with the special tokens around.

        Raises InputError for texts of more characters than are spelled at once.
        """
        tokenizer = model.engine.checkpoint.tokenizer
        self._check_size(len(texts))
        if (n_characters := sum(map(len, texts))) > _MOST_SPELLED:
            raise InputError(
                f"The texts have {n_characters:,} characters; this server spells the tokens of {_MOST_SPELLED:,} at once."
            )
        return await asyncio.to_thread(
            lambda: [tokenizer.spell(text, prompt=prompt, special=special) for text in texts]
        )

    async def spell_whole(
        self, model: EmbeddingModel, texts: Sequence[str], options: EmbedOptions
    ) -> list[SpelledTokens]:
        """As `spell`, of texts that the model reads in one pass, special tokens around. Raises InputError for longer ones."""
        self._check_size(len(texts))
        return await asyncio.to_thread(spell_whole, model.engine, texts, options)

    async def cut_texts(
        self, model: EmbeddingModel | ScoringModel, texts: Sequence[str], max_tokens: int | None
    ) -> Sequence[str]:
        """The texts, each up to so many of the model's tokens; None, or more than the model reads, leaves them whole.

        Of a token's worth of characters many more than it has are looked at, and no more: 10 MB cost what a page does.
        """
        checkpoint = model.engine.checkpoint
        if max_tokens is None or max_tokens >= checkpoint.max_tokens:
            return texts
        n_characters = max_tokens * _CHARACTERS_A_TOKEN

        def cut() -> list[str]:
            fronts = {text: text[:n_characters] for text in texts}  # one query may stand in every pair
            for text, front in fronts.items():
                ends = checkpoint.tokenizer.spell(front, special=False).offsets[:max_tokens, 1]
                fronts[text] = front[: int(ends[-1])] if len(ends) else front
            return [fronts[text] for text in texts]

        return await asyncio.to_thread(cut)

    async def texts_of(self, model: EmbeddingModel | ScoringModel, inputs: Sequence[str | Sequence[int]]) -> list[str]:
        """The inputs as texts, those that are token ids of the model's own vocabulary decoded.

        Raises InputError for ids that the model's tokenizer does not make of the text they spell, with its special tokens or
        without: they are another tokenizer's, or would be other tokens once they are a text.
        """
        ids = [one for one in inputs if not isinstance(one, str)]
        if not ids:
            return [one for one in inputs if isinstance(one, str)]
        decoded, tokenizer = await self.decode(model, ids), model.engine.checkpoint.tokenizer

        def is_spelled(row: Sequence[int], text: str) -> bool:
            return any(list(row) == tokenizer.spell(text, special=special).ids.tolist() for special in (True, False))

        same = await asyncio.to_thread(lambda: [is_spelled(*pair) for pair in zip(ids, decoded, strict=True)])
        texts, spelled = iter(decoded), iter(same)
        found = []
        for i, one in enumerate(inputs):
            if not isinstance(one, str) and not next(spelled):
                raise InputError(
                    f"Input {i} is token ids that this model's tokenizer does not make of the text they spell. Ids of another "
                    "tokenizer mean other words here: send texts."
                )
            found.append(one if isinstance(one, str) else next(texts))
        return found

    async def decode(
        self, model: EmbeddingModel | ScoringModel, ids: Sequence[Sequence[int]], *, special: bool = False
    ) -> list[str]:
        """Texts of token ids of the model's own vocabulary. special: spell the special tokens too.

        Raises InputError for an id that it does not have.
        """
        tokenizer = model.engine.checkpoint.tokenizer

        def decoded(row: Sequence[int]) -> str:
            if len(row) > _MOST_DECODED:
                raise InputError(f"{len(row):,} token ids are one text; this server decodes {_MOST_DECODED:,} at once.")
            for token_id in (min(row, default=0), max(row, default=0)):
                if not 0 <= token_id < tokenizer.vocabulary_size:
                    raise InputError(
                        f"Token id {token_id} is not in this model's vocabulary of {tokenizer.vocabulary_size:,}. "
                        "Ids of another tokenizer mean other words here: send texts."
                    )
            return tokenizer.decode(row, special=special)

        return await asyncio.to_thread(lambda: [decoded(row) for row in ids])


def _say_done(times: CallTimes, model: str, n_inputs: int, n_tokens: int, n_truncated: int) -> None:
    """To the request's line in the log and to its trace."""
    request_log.add(model, n_inputs, n_tokens, n_truncated)
    call_spans(times, model, n_inputs, n_tokens)


def _score_line(model: ScoringModel, call: ScoreCall) -> Line:
    if isinstance(call.pairs[0], str):
        return TextLine(model.name, model.reranker, call.side)
    if call.side == "right":
        return model.line(call.instruction)
    return PairLine(model.name, model.reranker, call.instruction, call.side)


def _stacked_states(values: Sequence[RawEmbedding], fingerprint: str) -> Embeddings:
    rows = [value.multi_vector for value in values if value.multi_vector is not None]
    n_tokens, n_dropped = np.array([(v.n_tokens, v.n_dropped) for v in values], np.int32).T
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    usage = Usage(len(rows), int(n_tokens.sum()), int(n_dropped.sum()), int((n_dropped > 0).sum()))
    return Embeddings(
        None, None, MultiVectorEmbeddings(np.concatenate(rows), offsets), n_tokens, n_dropped, usage, fingerprint
    )


def _check_fingerprint(conditions: Conditions, fingerprint: str) -> None:
    if conditions.if_fingerprint not in (None, "*", fingerprint):
        raise CollectionMismatch(
            f"These vectors would be of the space {fingerprint}, not of {conditions.if_fingerprint} as If-Fingerprint "
            "asks: another model, prompt, number of dimensions or type. Their distances would mean nothing."
        )
