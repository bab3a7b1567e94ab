"""bge-en-icl's prompts and lengths. Specification: decoder-family section 4."""

from __future__ import annotations

from collections.abc import Sequence


def query_text(task: str, query: str, examples: Sequence[tuple[str, str]] = ()) -> str:
    """The whole prompt of a query. examples: (query, answer) pairs."""
    blocks = [f"<instruct>{task}\n<query>{q}\n<response>{answer}" for q, answer in examples]
    prefix = "\n\n".join(blocks) + "\n\n" if blocks else ""
    return f"{prefix}<instruct>{task}\n<query>{query}\n<response>"


def prompt_max_tokens(n_prefix: int, n_suffix: int, max_tokens: int) -> int:
    """Tokens that the whole prompt may have, where the query alone may have `max_tokens`."""
    return (n_prefix + n_suffix + max_tokens + 8) // 8 * 8 + 8
