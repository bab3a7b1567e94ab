"""A language model behind an OpenAI-compatible endpoint, whose answers are kept.

Off unless the user names an endpoint: the texts of a test set leave this process only then, and only to there.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sememe.errors import InputError, SememeError
from sememe.evaluation.rag.prompts import Prompt

Value = TypeVar("Value")

_TRIES = 5
_BUSY = (429, 502, 503, 504)
_LONGEST_WAIT_SECONDS = 60.0
# Models that think aloud put their thoughts before this, unless their server takes them away.
_END_OF_THOUGHTS = "</think>"
_SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, prompt TEXT NOT NULL, answer TEXT NOT NULL)"


class UnreadableAnswer(SememeError):
    """The judge answered, but not in the form that it was asked for."""


@dataclass(frozen=True)
class JudgeOptions:
    """url: of the API (`http://host:port/v1`). model: its name there. key: sent as a bearer token, if any.

    cache: SQLite file of answers that could be read, by endpoint, model, prompt, version and text; None asks every time.
    first_wait_seconds: before a busy endpoint is asked again, where it does not say when; twice as long each time.
    """

    url: str
    model: str
    key: str | None = None
    cache: Path | None = None
    timeout_seconds: float = 120.0
    first_wait_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"The judge's address is {self.url!r}; expected http://… or https://….")
        if not self.model:
            raise InputError("A judge needs the name of its model.")


class Judge:
    """Asks, and remembers."""

    def __init__(self, options: JudgeOptions) -> None:
        """Raises SememeError where the cache cannot be opened."""
        self.options, self.n_asked = options, 0
        try:
            self._answers = sqlite3.connect(options.cache or ":memory:", isolation_level=None)
            self._answers.execute(_SCHEMA)
        except sqlite3.Error as exc:
            raise SememeError(
                f"The cache of answers {options.cache} cannot be opened ({exc}). Delete it to begin anew."
            ) from exc

    def ask(self, prompt: Prompt, values: Mapping[str, str]) -> str:
        """The answer to a prompt with its values filled in. Raises SememeError where there is none.

        values: the template's own names; a wrong one is a KeyError.
        """
        return self._ask(prompt, values, str)

    def ask_texts(self, prompt: Prompt, values: Mapping[str, str]) -> list[str]:
        """An answer that must be a JSON list of strings, perhaps in a code fence. Raises SememeError, UnreadableAnswer."""
        return self._ask(prompt, values, partial(_read_list, prompt, str))

    def ask_verdicts(self, prompt: Prompt, values: Mapping[str, str], n: int) -> list[bool]:
        """An answer that must be a JSON list of so many true and false. Raises SememeError, UnreadableAnswer."""

        def read(answer: str) -> list[bool]:
            found = _read_list(prompt, bool, answer)
            if len(found) != n:
                raise UnreadableAnswer(f"The judge gave {len(found)} answers to {prompt.name}; expected {n}.")
            return found

        return self._ask(prompt, values, read)

    def _ask(self, prompt: Prompt, values: Mapping[str, str], read: Callable[[str], Value]) -> Value:
        """What is read of the answer; one that cannot be read is not kept."""
        text = prompt.template.format_map(values)
        facts = (self.options.url, self.options.model, prompt.name, prompt.version, text)
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        known = self._answers.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        if known is not None:
            with suppress(UnreadableAnswer):  # one that an earlier version kept is asked for again
                return read(str(known[0]))
        answer = self._post(text).rpartition(_END_OF_THOUGHTS)[2].strip()
        value = read(answer)
        self._answers.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, f"{prompt.name}/{prompt.version}", answer)
        )
        return value

    def _post(self, text: str) -> str:
        options = self.options
        body = {"model": options.model, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        headers = {"Content-Type": "application/json"}
        if options.key:
            headers["Authorization"] = f"Bearer {options.key}"
        url = f"{options.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            answer = json.loads(self._patiently(request))["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as exc:
            said = exc.read(200).decode("utf-8", "replace").strip()
            raise SememeError(f"The judge at {url} answered {exc.code} {exc.reason}: {said}.") from exc
        except (OSError, ValueError, KeyError, IndexError, TypeError) as exc:
            raise SememeError(f"The judge at {url} gave no answer that can be read: {exc}.") from exc
        if not isinstance(answer, str):
            raise SememeError(f"The judge at {url} gave no text.")
        self.n_asked += 1
        return answer

    def _patiently(self, request: urllib.request.Request) -> bytes:
        """The reply's body; one that is busy is asked again, as late as it says. Raises what urlopen raises."""
        wait = self.options.first_wait_seconds
        for _ in range(_TRIES - 1):
            try:
                return self._once(request)
            except urllib.error.HTTPError as exc:
                if exc.code not in _BUSY:
                    raise
                said = exc.headers.get("Retry-After", "")
                time.sleep(min(float(said) if said.isdigit() else wait, _LONGEST_WAIT_SECONDS))
                wait *= 2
        return self._once(request)

    def _once(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=self.options.timeout_seconds) as reply:
            return bytes(reply.read())

    def close(self) -> None:
        """Close the cache."""
        self._answers.close()


def _read_list(prompt: Prompt, kind: type[Value], answer: str) -> list[Value]:
    start, end = answer.find("["), answer.rfind("]")
    try:
        found = json.loads(answer[start : end + 1])
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(value, kind) for value in found):
        expected = "strings" if kind is str else "true and false"
        raise UnreadableAnswer(
            f"The judge answered {answer[:80]!r} to {prompt.name}; expected a JSON list of {expected}."
        )
    return found
