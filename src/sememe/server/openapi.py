"""The OpenAPI 3.1 document of the routes, made from the very types that read the bodies and stand for the answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from sememe import __version__
from sememe.server.answers import ARROW, JSON, RAW
from sememe.server.exchange import Route

_COUNTS = {"type": "string", "pattern": r"^\d+(,\d+)*$"}
_CONDITIONS = {
    "X-Deadline-Ms": ({"type": "string", "pattern": r"^[1-9]\d{0,6}$"}, "Milliseconds until nobody wants the answer."),
    "X-Priority": ({"type": "string", "enum": ["interactive", "bulk"]}, "The lane; the number of inputs decides else."),
}
_FILE = {"type": "string", "format": "binary"}
_IF_FINGERPRINT = ({"type": "string"}, "Refuse (409) to answer with vectors of another space than this.")
_EMBEDDING_HEADERS = {
    "X-Fingerprint": ({"type": "string"}, "The vector space. Never compare vectors of two."),
    "X-Prompt": ({"type": "string", "pattern": '^".*"$'}, "What stood before each text, as a JSON string."),
    "X-Input-Tokens": (
        _COUNTS,
        "Tokens of each input, up to 256 inputs; beyond, see `counts` in the answer, or Arrow.",
    ),
    "X-Dropped-Tokens": (_COUNTS, "Tokens of each input that truncation cut off, up to 256 inputs."),
    "X-Input-Tokens-Total": ({"type": "string", "pattern": r"^\d+$"}, "Of all inputs, beyond 256."),
    "X-Dropped-Tokens-Total": ({"type": "string", "pattern": r"^\d+$"}, "Of all inputs, beyond 256."),
}


def openapi_document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document of these routes."""
    schemas = _Schemas()
    paths: dict[str, Any] = {}
    for declared in routes:
        path = declared.path.replace(":path}", "}")
        paths.setdefault(path, {})[declared.method.lower()] = _operation(declared, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "sememe", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas.found},
    }


class _Schemas:
    """Schemas by dialect and type."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def content(self, types: Sequence[tuple[str, Any]], mode: JsonSchemaMode) -> dict[str, Any]:
        """JSON of one of these types. types: with their dialect's name."""
        found = [self._schema(one, mode, dialect) for dialect, one in types]
        return {JSON: {"schema": found[0] if len(found) == 1 else {"anyOf": found}}}

    def _schema(self, one: Any, mode: JsonSchemaMode, dialect: str) -> dict[str, Any]:
        ref = f"#/components/schemas/{dialect}.{{model}}"
        schema = TypeAdapter(one).json_schema(ref_template=ref, mode=mode)
        definitions = schema.pop("$defs", {})
        if "title" in schema and schema.get("type") == "object":
            definitions[schema["title"]] = schema
            schema = {"$ref": ref.format(model=schema["title"])}
        self.found |= {f"{dialect}.{name}": definition for name, definition in definitions.items()}
        return schema


def _operation(declared: Route, schemas: _Schemas) -> dict[str, Any]:
    answers = [(claim.dialect.name, claim.answer) for claim in declared.claims if claim.answer is not None]
    bodies = [(claim.dialect.name, claim.body) for claim in declared.claims if claim.body is not None]
    errors = [(claim.dialect.name, claim.dialect.error_body) for claim in declared.claims]
    answer: dict[str, Any] = {"description": "The answer"}
    if answers:
        answer["content"] = schemas.content(answers, "serialization")
    if declared.gives_embeddings:
        answer["content"] |= {media: {"schema": {"type": "string", "format": "binary"}} for media in (RAW, ARROW)}
        answer["headers"] = {
            header: {"description": words, "schema": schema} for header, (schema, words) in _EMBEDDING_HEADERS.items()
        }
    if declared.gives_file is not None:
        answer["content"] = {declared.gives_file: {"schema": _FILE}}
    problem = {"description": "What went wrong", "content": schemas.content(errors, "serialization")}
    operation: dict[str, Any] = {
        "summary": declared.summary,
        "operationId": f"{declared.method.lower()} {declared.path}",
        "tags": [claim.dialect.name for claim in declared.claims],
        "responses": {str(declared.status): answer, "default": problem},
        "parameters": _parameters(declared),
    }
    if bodies:
        operation["requestBody"] = {"required": True, "content": schemas.content(bodies, "validation")}
    if declared.takes_file is not None:
        operation["requestBody"] = {"required": True, "content": {declared.takes_file: {"schema": _FILE}}}
    return operation


def _parameters(declared: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in re.findall(r"\{(\w+)", declared.path):
        found.append({"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}})
    for name in declared.query:
        found.append({"name": name, "in": "query", "required": False, "schema": {"type": "string"}})
    takes_body = any(claim.body is not None for claim in declared.claims)
    headers = dict(_CONDITIONS) if declared.method == "POST" and takes_body else {}
    if declared.gives_embeddings:
        headers["If-Fingerprint"] = _IF_FINGERPRINT
    for header, (schema, words) in headers.items():
        found.append({"name": header, "in": "header", "required": False, "schema": schema, "description": words})
    return found
