"""`sememe compat`: which clients a running server would serve."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Annotated

import typer

from sememe.cli.options import JsonOption

_SIGNS = {"ok": "✓", "absent": "–", "wrong": "✗"}


def compat(
    url: Annotated[str, typer.Argument(help="Of a running server: http://HOST:PORT.", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="The name that requests give.", show_default="the server's first")
    ] = None,
    rerank_model: Annotated[
        str | None, typer.Option(help="The name for routes that score pairs.", show_default="the first that does")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="SEMEME_API_KEY", help="For a server that asks for one.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a running server in every dialect, and print which of its routes answer as their clients expect.

    Ends with status 1 if a route answers what its clients cannot use; one that is not there is no failure.
    """
    from sememe.compat import check_server

    findings = check_server(url, model=model, rerank_model=rerank_model, api_key=api_key)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{_SIGNS[finding.verdict]} {finding.dialect:15} {finding.route:34} {finding.reason}".rstrip())
        count = Counter(finding.verdict for finding in findings)
        print(
            f"\n✓ {count['ok']} answer as expected   – {count['absent']} not offered   ✗ {count['wrong']} answer wrongly"
        )
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)
