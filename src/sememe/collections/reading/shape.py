"""What the reader of one kind of file gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from sememe.collections.reading.outline import Outline
from sememe.errors import InputError


class Unreadable(InputError):
    """A file that cannot be read, with the reason in words. The run reports it and goes on."""


@dataclass(frozen=True)
class Shape:
    """A file's text, its outline, and its title where it says one. metadata: flat, beside what the file system knows."""

    text: str
    outline: Outline
    title: str = ""
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)


def missing(package: str, kind: str, error: ImportError) -> Unreadable:
    """What is said where the library for a kind of file, or one that it needs, is not installed."""
    return Unreadable(
        f"{kind} is read by {package}, which is not installed ({error.name}): pip install 'sememe[search]'"
    )
