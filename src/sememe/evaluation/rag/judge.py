"""A language model behind an OpenAI-compatible endpoint, whose answers are kept.

Off unless the user names an endpoint: the texts of a test set leave this process only then, and only to there.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError, SememeError
from sememe.evaluation.rag.prompts import Prompt

_SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, prompt TEXT NOT NULL, answer TEXT NOT NULL)"


@dataclass(frozen=True)
class JudgeOptions:
    """url: of the API (`http://host:port/v1`). model: its name there. key: sent as a bearer token, if any.

    cache: SQLite file of answers, by endpoint, model, prompt, version and text; None asks every time.
    """

    url: str
    model: str
    key: str | None = None
    cache: Path | None = None
    timeout_seconds: float = 120.0

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
        text = prompt.template.format_map(values)
        facts = (self.options.url, self.options.model, prompt.name, prompt.version, text)
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        known = self._answers.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        if known is not None:
            return str(known[0])
        answer = self._post(text)
        self._answers.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, f"{prompt.name}/{prompt.version}", answer)
        )
        return answer

    def ask_list(self, prompt: Prompt, values: Mapping[str, str]) -> list[object]:
        """An answer that must be a JSON list, perhaps in a code fence. Raises SememeError."""
        answer = self.ask(prompt, values)
        start, end = answer.find("["), answer.rfind("]")
        try:
            found = json.loads(answer[start : end + 1])
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise SememeError(f"The judge answered {answer[:80]!r} to {prompt.name}; expected a JSON list.")
        return found

    def _post(self, text: str) -> str:
        options = self.options
        body = {"model": options.model, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        headers = {"Content-Type": "application/json"}
        if options.key:
            headers["Authorization"] = f"Bearer {options.key}"
        url = f"{options.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=options.timeout_seconds) as reply:
                found = json.loads(reply.read())
            answer = found["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as exc:
            raise SememeError(f"The judge at {url} answered {exc.code} {exc.reason}: {exc.read(200)!r}.") from exc
        except (OSError, ValueError, KeyError, IndexError, TypeError) as exc:
            raise SememeError(f"The judge at {url} gave no answer that can be read: {exc}.") from exc
        if not isinstance(answer, str):
            raise SememeError(f"The judge at {url} gave no text.")
        self.n_asked += 1
        return answer

    def close(self) -> None:
        """Close the cache."""
        self._answers.close()
