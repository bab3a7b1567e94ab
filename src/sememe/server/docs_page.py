"""`/docs`: the OpenAPI document as one page that loads nothing from elsewhere and runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from sememe.server.answers import JSON

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
code, summary { font-family: ui-monospace, monospace } summary { cursor: pointer; padding: .2rem 0 }
table { border-collapse: collapse; margin: .5rem 0 1rem } td { padding: .15rem .8rem .15rem 0; vertical-align: top }
.method { display: inline-block; width: 3.5rem; font-weight: bold } .words { color: gray; font-family: system-ui }
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """The page: every operation by dialect, with the fields of its bodies, its answer and its errors."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    sections = "".join(_section(document, dialect) for dialect in _dialects(document))
    intro = (
        "<p>Every embedding route takes <code>outputs</code>, <code>dimensions</code>, <code>output_dtype</code>, "
        "<code>prompt_name</code>, <code>input_type</code>, <code>instruction</code> and <code>truncate</code>, and answers in "
        "JSON, or, by <code>Accept</code>, as <code>application/octet-stream</code> or "
        "<code>application/vnd.apache.arrow.stream</code>. The document: <a href='/openapi.json'>/openapi.json</a>.</p>"
    )
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{intro}{sections}</body></html>"
    )


def _dialects(document: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(tag for _, _, operation in _operations(document) for tag in operation["tags"]))


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _section(document: Mapping[str, Any], dialect: str) -> str:
    """A dialect's operations; one that several share stands under each, with that dialect's types."""
    rows = []
    for path, method, operation in _operations(document):
        if dialect in operation["tags"]:
            body = operation.get("requestBody", {}).get("content", {})
            good = next(answer for status, answer in operation["responses"].items() if status != "default")
            answers = good.get("content", {})
            problems = operation["responses"]["default"]["content"]
            parts = [("Body", body), ("Answer", answers), ("Errors", problems)]
            tables = "".join(_types(document, dialect, name, content) for name, content in parts)
            rows.append(
                f"<details><summary><span class='method'>{method.upper()}</span>{escape(path)} "
                f"<span class='words'>{escape(operation['summary'])}</span></summary>{tables}</details>"
            )
    return f"<h2>{escape(dialect)}</h2>{''.join(rows)}"


def _types(document: Mapping[str, Any], dialect: str, name: str, content: Mapping[str, Any]) -> str:
    if not content:
        return ""
    if JSON not in content:
        return f"<p><b>{name}</b>: {', '.join(f'<code>{escape(media)}</code>' for media in content)}</p>"
    schema = content[JSON]["schema"]
    others = [media for media in content if media != JSON]
    rows = "".join(_fields(document, one) for one in schema.get("anyOf", [schema]) if _is_of(dialect, one))
    also = f"<p>Also: {', '.join(f'<code>{escape(media)}</code>' for media in others)}</p>" if others else ""
    return f"<p><b>{name}</b></p><table>{rows}</table>{also}"


def _is_of(dialect: str, schema: Mapping[str, Any]) -> bool:
    ref = schema.get("$ref", "")
    return not ref or ref.rpartition("/")[2].startswith(f"{dialect}.")


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A row a field of an object, or one for another type."""
    found = _resolved(document, schema)
    if "properties" not in found:
        return f"<tr><td><code>{escape(_in_words(schema))}</code></td></tr>"
    required = set(found.get("required", ()))
    return "".join(
        f"<tr><td><code>{escape(name)}</code>{'' if name in required else '?'}</td>"
        f"<td><code>{escape(_in_words(field))}</code></td><td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in found["properties"].items()
    )


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _in_words(schema: Mapping[str, Any]) -> str:
    """A schema as one would say it: `string`, `[number]`, `"float" | "base64"`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition(".")[2]
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_in_words(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema or "const" in schema:
        return " | ".join(f'"{value}"' for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"[{_in_words(schema.get('items', {}))}]"
    return str(schema.get("type", "anything"))
