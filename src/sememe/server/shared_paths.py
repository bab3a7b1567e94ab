"""Paths that several dialects claim: who is meant is told by the body's fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sememe.server.exchange import Route


def by_field(routes: Mapping[str, Route], otherwise: Route) -> Route:
    """The route whose field the body has; the first of `routes` that does, else `otherwise`, whose errors are said.

    routes: by a field's name, or by `name=start` of its value. A body in which none stands as text is not parsed for
    this.
    """
    marks = [(name, b'"' + (name.partition("=")[2] or name).encode(), route) for name, route in routes.items()]

    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        there = [(name, route) for name, mark, route in marks if mark in raw]
        fields = _fields(raw) if there else {}
        if fields is None:  # no JSON, which is said in the words of whoever the text looks like
            found = (route for name, route in there if re.search(rf'"{name}"\s*:'.encode(), raw))
            return await next(found, otherwise).endpoint(request)
        for name, route in there:
            field, _, start = name.partition("=")
            value = fields.get(field)
            if value is not None and (not start or str(value).startswith(start)):
                return await route.endpoint(request)
        return await otherwise.endpoint(request)

    claims = {claim.dialect.name: claim for route in (otherwise, *routes.values()) for claim in route.claims}
    return Route(
        otherwise.path,
        endpoint,
        tuple(claims.values()),
        summary=" or ".join(dict.fromkeys(route.summary for route in (otherwise, *routes.values()))),
        gives_embeddings=otherwise.gives_embeddings,
    )


def _fields(raw: bytes) -> Mapping[str, Any] | None:
    """The body's fields, none where it is no object; None where it is no JSON."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else {}
