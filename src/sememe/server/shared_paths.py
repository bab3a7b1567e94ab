"""Paths that two dialects claim: who is meant is told by the body's fields, or by the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from fastapi import Request, Response

from sememe.server.exchange import Route

Endpoint = Callable[[Request], Awaitable[Response]]


def by_field(path: str, routes: Mapping[str, Route], otherwise: Route) -> Route:
    """The route whose field the body has; the first of `routes` that does, else `otherwise`, whose errors are said."""

    async def endpoint(request: Request) -> Response:
        try:
            fields = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            fields = {}  # the route says what is wrong with it
        for name, route in routes.items():
            if isinstance(fields, dict) and name in fields:
                return await route.endpoint(request)
        return await otherwise.endpoint(request)

    summary = " or ".join(dict.fromkeys(route.summary for route in (*routes.values(), otherwise)))
    bodies = [route.body for route in (*routes.values(), otherwise) if route.body is not None]
    answers = [route.answer for route in (*routes.values(), otherwise) if route.answer is not None]
    more = {"bodies": list(dict.fromkeys(bodies)), "answers": answers}
    return Route(path, endpoint, otherwise.dialect, None, None, summary=summary, more=more)
