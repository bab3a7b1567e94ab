"""The order of work: tokenizing runs ahead of computing, and one batch is packed while another computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from sememe.engine.batching import plan_batches, windows
from sememe.records import Tokens

Computed = TypeVar("Computed")

# Characters tokenized in one go while the window before is computed: a few batches' worth.
_WINDOW_CHARACTERS = 120_000
# Batches under way at once: one computes while the next is packed and the last unpacked.
_BATCHES_AHEAD = 2


class Pipeline(Generic[Computed]):
    """Threads that tokenize and compute. Calls may come from several threads at once."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._workers = ThreadPoolExecutor(_BATCHES_AHEAD, thread_name_prefix="sememe-compute")
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="sememe-tokenize")

    def run(
        self,
        sizes: Sequence[int],
        tokenize: Callable[[list[int]], list[Tokens]],
        compute: Callable[[list[int], list[Tokens]], Computed],
        token_budget: int,
    ) -> Iterator[Computed]:
        """What `compute` gives for one batch after another; the largest inputs come first.

        sizes: each input's length in characters. tokenize: the tokens of the inputs at these indices. compute: takes
        the indices of one batch and their tokens.
        """
        if self._process != os.getpid():
            self._start()  # threads do not survive a fork
        pieces = list(windows(sizes, _WINDOW_CHARACTERS))
        if len(pieces) == 1:
            tokens = tokenize(pieces[0])
            batches = plan_batches([len(t) for t in tokens], token_budget)
            if len(batches) == 1:  # a few inputs: no threads in between
                yield compute([pieces[0][i] for i in batches[0]], [tokens[i] for i in batches[0]])
                return
        running: deque[Future[Computed]] = deque()
        try:
            ahead = [self._tokenizing.submit(tokenize, piece) for piece in pieces[:1]]
            for k, piece in enumerate(pieces):
                tokens = ahead.pop().result()
                ahead = [self._tokenizing.submit(tokenize, following) for following in pieces[k + 1 : k + 2]]
                for batch in plan_batches([len(t) for t in tokens], token_budget):
                    chosen = [tokens[i] for i in batch]
                    running.append(self._workers.submit(compute, [piece[i] for i in batch], chosen))
                    if len(running) > _BATCHES_AHEAD:
                        yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:  # an error or Ctrl-C: what has not begun never does
            for future in running:
                future.cancel()

    def close(self) -> None:
        """Let the threads go."""
        self._workers.shutdown(cancel_futures=True)
        self._tokenizing.shutdown(cancel_futures=True)
