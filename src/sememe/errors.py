"""Every error this package raises on purpose.

SememeError                  also itself: damaged, a full disk              500
├─ InputError                what the caller sent cannot be used            422
├─ NotFound                  no such model, collection, document            404
├─ CheckpointError           files missing or contradicting each other      500
│  └─ UnsupportedCheckpoint  understood, but not implemented                501
├─ NewerVersion              a newer sememe wrote it                        501
├─ CollectionMismatch        vectors of another model or recipe             409
├─ Overloaded                the queue is full                              429
└─ RemoteError               a server that was asked failed, or is not there  502

A message says what is wrong, where, what was got, what was expected, and the remedy.
"""

from __future__ import annotations


class SememeError(Exception):
    """Root of the errors that a caller may want to catch."""


class InputError(SememeError):
    """What the caller sent cannot be used."""


class NotFound(SememeError):
    """No such model, collection or document."""


class CheckpointError(SememeError):
    """A checkpoint's files are missing, damaged, or contradict each other."""


class UnsupportedCheckpoint(CheckpointError):
    """The checkpoint asks for something that is understood, but not computed here.

    where: the file. key: its entry. got, expected: the value found, and what is computed.
    """

    def __init__(self, where: str, key: str, *, got: object, expected: object) -> None:
        super().__init__(f"{where}: {key} is {got!r}; this version computes {expected}.")
        self.where, self.key, self.got, self.expected = where, key, got, expected


class NewerVersion(SememeError):
    """Written by a newer version of this package, in a form that this one does not know."""


class CollectionMismatch(SememeError):
    """Vectors of another model, revision or recipe than the ones already stored."""


class Overloaded(SememeError):
    """The queue is full. `retry_after_seconds` is when there will be room, by the measured rate."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RemoteError(SememeError):
    """A server that was asked failed, answered what cannot be read, or is not there."""
