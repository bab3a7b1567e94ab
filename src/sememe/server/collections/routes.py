"""The collections' routes: body → record → one call → body, each call on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.documents import Document, Place
from sememe.collections.hits import Hit
from sememe.collections.indexing import index_documents
from sememe.collections.options import CollectionOptions
from sememe.collections.reading.streams import read_items
from sememe.collections.searching import RerankFunction
from sememe.errors import InputError, NotFound, SememeError
from sememe.server.calls import ScoreCall
from sememe.server.collections import bodies
from sememe.server.collections.dialect import ALL, DIALECT, ONE, answer_of, delete_route, name_of, post_route
from sememe.server.collections.library import Library
from sememe.server.exchange import Given, Route, get_route
from sememe.server.problems import logged_problem_of
from sememe.server.service import Service


def routes(library: Library, service: Service) -> list[Route]:
    """All routes below /v1/collections."""
    do = _Handlers(library, service)
    return [
        get_route(ALL, DIALECT, do.list, answer=bodies.CollectionsAnswer, summary="Collections"),
        post_route(ALL, bodies.CreateBody, do.create, bodies.CollectionAnswer, "Begin a collection", status=201),
        get_route(ONE, DIALECT, do.about, answer=bodies.CollectionAnswer, summary="What a collection is"),
        delete_route(ONE, do.delete, None, "Delete a collection"),
        post_route(f"{ONE}/documents", bodies.UpsertBody, do.upsert, bodies.UpsertAnswer, "Add or replace documents"),
        post_route(
            f"{ONE}/documents/delete", bodies.DeleteBody, do.delete_documents, bodies.DeletedAnswer, "Delete documents"
        ),
        post_route(
            f"{ONE}/query", bodies.QueryBody, do.query, bodies.QueryAnswer, "Find by text or vector", _rerankers
        ),
        post_route(
            f"{ONE}/context",
            bodies.ContextBody,
            do.context,
            bodies.ContextAnswer,
            "Passages for a language model",
            _rerankers,
        ),
        post_route(
            f"{ONE}/more-like", bodies.MoreLikeBody, do.more_like, bodies.QueryAnswer, "Find more like a document"
        ),
        get_route(f"{ONE}/documents/{{id:path}}", DIALECT, do.get, answer=bodies.DocumentAnswer, summary="A document"),
        delete_route(f"{ONE}/documents/{{id:path}}", do.delete_document, bodies.DeletedAnswer, "Delete a document"),
    ]


def _rerankers(body: bodies.FindBody) -> list[str | None]:
    return [body.rerank]


class _Handlers:
    """One method a route. What a collection does is done on a thread."""

    def __init__(self, library: Library, service: Service) -> None:
        self._library, self._service = library, service

    async def list(self, request: Request) -> Response:
        def work() -> bodies.CollectionsAnswer:
            found, unreachable = [], {}
            for name in self._library.names():
                try:
                    found.append(self._about(name))
                except NotFound:  # named in the options and not made yet, or deleted since
                    continue
                except SememeError as exc:
                    unreachable[name] = logged_problem_of(exc).message
            return bodies.CollectionsAnswer(collections=found, unreachable=unreachable)

        return answer_of(await asyncio.to_thread(work))

    async def create(self, body: bodies.CreateBody, given: Given) -> Response:
        chunking = ChunkOptions(body.chunking.by, body.chunking.size, body.chunking.overlap, body.chunking.late)
        options = CollectionOptions(
            outputs=tuple(body.outputs),
            lexical=body.lexical,
            language=body.language,
            similarity=body.similarity,
            dtype=body.dtype,
            dimensions=body.dimensions,
            first_pass_dimensions=body.first_pass_dimensions,
            with_title=body.with_title,
        )

        def work() -> bodies.CollectionAnswer:
            self._library.create(body.name, body.model, chunking, options)
            return self._about(body.name)

        return answer_of(await asyncio.to_thread(work), status=201)

    async def about(self, request: Request) -> Response:
        return answer_of(await asyncio.to_thread(self._about, name_of(request)))

    async def delete(self, request: Request) -> Response:
        await asyncio.to_thread(self._library.delete, name_of(request))
        return Response(status_code=204)

    async def upsert(self, body: bodies.UpsertBody, given: Given) -> Response:
        documents = [Document(d.id, d.text, d.title, d.source, d.metadata) for d in body.documents]
        _refuse_twice([document.id for document in documents])

        def work() -> bodies.UpsertAnswer:
            with self._library.writing(name_of(given.request)) as (collection, chunker):
                report = index_documents(collection, read_items(documents), chunker)
            return bodies.UpsertAnswer(
                added=report.n_added,
                changed=report.n_changed,
                described=report.n_described,
                unchanged=report.n_unchanged,
                chunks=report.n_chunks,
                cut_titles=report.n_cut_titles,
            )

        # Not cancelled with the client: what has begun is stored, and the same request again finds it there.
        return answer_of(await asyncio.shield(asyncio.to_thread(work)))

    async def delete_documents(self, body: bodies.DeleteBody, given: Given) -> Response:
        def work() -> int:
            return self._library.reading(name_of(given.request)).delete(ids=body.ids, where=body.where)

        return answer_of(bodies.DeletedAnswer(deleted=await asyncio.to_thread(work)))

    async def delete_document(self, request: Request) -> Response:
        def work() -> int:
            collection = self._library.reading(name_of(request))
            collection.get(request.path_params["id"])  # NotFound, in words
            return collection.delete(ids=[request.path_params["id"]])

        return answer_of(bodies.DeletedAnswer(deleted=await asyncio.to_thread(work)))

    async def get(self, request: Request) -> Response:
        def work() -> Document:
            return self._library.reading(name_of(request)).get(request.path_params["id"])

        return answer_of(_document(await asyncio.to_thread(work)))

    async def query(self, body: bodies.QueryBody, given: Given) -> Response:
        if (body.query is None) == (body.vector is None):
            raise InputError("Give `query`, a text, or `vector`, one of both.")
        if body.vector is not None and body.rerank is not None:
            raise InputError("A reranker reads the question; a vector has none. Give `query`, or leave `rerank` out.")
        options = body.options(explain=body.explain)
        rerank = self._reranker(body.rerank)

        def work() -> bodies.QueryAnswer:
            name = name_of(given.request)
            collection = self._asked(name, body)
            if body.vector is not None:
                with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
                    vector = np.array(body.vector, np.float32)
                hits = collection.search_by_vector(vector, body.k, options, where=body.where, with_text=body.with_text)
                return _found(hits, collection, body)
            assert body.query is not None
            hits = collection.search(
                body.query, body.k, options, where=body.where, rerank=rerank, with_text=body.with_text
            )
            return _found(hits, collection, body)

        return answer_of(await asyncio.to_thread(work))

    async def context(self, body: bodies.ContextBody, given: Given) -> Response:
        rerank = self._reranker(body.rerank)

        def work() -> bodies.ContextAnswer:
            collection = self._asked(name_of(given.request), body, counts_tokens=True)
            found = collection.context(
                body.question, body.max_tokens, k=body.k, options=body.options(), where=body.where, rerank=rerank
            )
            passages = [
                bodies.PassageAnswer(
                    number=p.number,
                    citation=p.citation,
                    document_id=p.document.id,
                    document=_document(replace(p.document, text="")),
                    place=_place(p.place),
                    heading=p.heading,
                    text=p.text,
                    score=p.score,
                )
                for p in found.passages
            ]
            warnings = [] if passages else collection.doubts(body.where)
            return bodies.ContextAnswer(text=found.text, n_tokens=found.n_tokens, passages=passages, warnings=warnings)

        return answer_of(await asyncio.to_thread(work))

    async def more_like(self, body: bodies.MoreLikeBody, given: Given) -> Response:
        def work() -> bodies.QueryAnswer:
            collection = self._library.reading(name_of(given.request))
            return _found(collection.more_like(body.id, body.k, where=body.where), collection, body)

        return answer_of(await asyncio.to_thread(work))

    def _asked(self, name: str, body: bodies.FindBody, *, counts_tokens: bool = False) -> Collection:
        """The collection, with its model unless words alone are asked for."""
        is_vector = isinstance(body, bodies.QueryBody) and body.vector is not None
        if counts_tokens or (body.mode != "lexical" and not is_vector):
            self._library.bring_model(name)
        return self._library.reading(name)

    def _reranker(self, model: str | None) -> RerankFunction | None:
        """A reranker of this server, through the scheduler. Raises NotFound, InputError."""
        if model is None:
            return None
        served = self._service.models.scorer(model)
        loop = asyncio.get_running_loop()

        def rerank(query: str, texts: Sequence[str]) -> list[float]:
            call = ScoreCall([(query, text) for text in texts], served.name)
            scored = asyncio.run_coroutine_threadsafe(self._service.score(call), loop).result()
            return [float(score) for score in scored.scores[:, 0]]

        return rerank

    def _about(self, name: str) -> bodies.CollectionAnswer:
        collection = self._library.reading(name)
        about, count = collection.about, collection.count()
        return bodies.CollectionAnswer(
            name=name,
            documents=count.documents,
            chunks=count.chunks,
            generation=count.generation,
            model=self._library.called(about),
            revision=about.revision,
            fingerprint=about.fingerprint,
            dimension=about.dimension,
            chunking=about.chunking,
            created=about.created,
        )


def _refuse_twice(ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for document_id in ids:
        if document_id in seen:
            raise InputError(f"The id {document_id!r} comes twice among the documents; expected each once.")
        seen.add(document_id)


def _document(document: Document) -> bodies.DocumentAnswer:
    return bodies.DocumentAnswer(
        id=document.id,
        text=document.text,
        title=document.title,
        source=document.source,
        metadata=dict(document.metadata),
    )


def _place(place: Place | None) -> bodies.PlaceAnswer | None:
    return None if place is None else bodies.PlaceAnswer(**asdict(place))


def _found(
    hits: list[Hit], collection: Collection, asked: bodies.QueryBody | bodies.MoreLikeBody
) -> bodies.QueryAnswer:
    warnings = collection.doubts(asked.where) if len(hits) < asked.k else []
    return bodies.QueryAnswer(hits=[_hit(hit) for hit in hits], warnings=warnings)


def _hit(hit: Hit) -> bodies.HitAnswer:
    chunk, why, parent = hit.chunk, hit.explanation, hit.parent
    return bodies.HitAnswer(
        id=chunk.id,
        score=hit.score,
        text=chunk.text,
        start=chunk.start,
        end=chunk.end,
        place=_place(chunk.place),
        heading=chunk.heading,
        document=_document(hit.document),
        retrievers=[bodies.RetrieverAnswer(**asdict(score)) for score in hit.retrievers],
        explanation=None
        if why is None
        else bodies.ExplanationAnswer(
            words=dict(why.words), contributions={str(name): value for name, value in why.contributions.items()}
        ),
        parent=None
        if parent is None
        else bodies.ParentAnswer(kind=parent.kind, text=parent.text, start=parent.start, end=parent.end),
    )
