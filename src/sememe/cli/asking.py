"""A question to whoever runs a command."""

from __future__ import annotations

from typing import Annotated

import typer

from sememe.errors import InputError

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def is_agreed(question: str, yes: bool) -> bool:
    """Whether the answer is yes; `yes` is the answer beforehand. Raises InputError where nobody is there to answer."""
    if yes:
        return True
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as exc:
        if isinstance(exc.__context__, EOFError):
            raise InputError("Nobody is there to answer; give --yes for yes.") from None
        raise
