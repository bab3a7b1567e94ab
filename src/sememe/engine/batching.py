"""Which inputs are computed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def windows(sizes: Sequence[int], size_budget: int) -> Iterator[list[int]]:
    """Indices from the largest size to the smallest, in pieces of about `size_budget` in sum, at least one index each.

    With characters as sizes this is what is tokenized in one go: near lengths together already, and the largest
    first, so that too little memory shows at the start.
    """
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    piece: list[int] = []
    total = 0
    for i in order:
        if piece and total + sizes[i] > size_budget:
            yield piece
            piece, total = [], 0
        piece.append(i)
        total += sizes[i]
    if piece:
        yield piece


def plan_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices grouped so that count × longest of a group stays within `token_budget`, longest first.

    Counting the longest for all keeps near lengths together, which attention by gathering pays for; no group holds
    more than `token_budget` tokens, but an input that is longer by itself makes a group of its own.
    """
    groups: list[list[int]] = []
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if group and (len(group) + 1) * lengths[group[0]] > token_budget:
            groups.append(group)
            group = []
        group.append(i)
    return [*groups, group] if group else groups
