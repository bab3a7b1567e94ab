"""What a judge is asked. A change of words is a new version: results and cached answers carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """A template with the names in braces, and its version."""

    name: str
    version: int
    template: str


STATEMENTS = Prompt(
    "statements",
    1,
    "Break the answer into short statements that can each be checked alone; use no pronouns. Reply with a JSON list of "
    "strings and nothing else.\n\nQuestion: {question}\n\nAnswer: {answer}",
)
SUPPORTED = Prompt(
    "supported",
    1,
    "For each statement say whether the context alone supports it. Reply with a JSON list of true or false, one for each "
    "statement in order, and nothing else.\n\nContext:\n{context}\n\nStatements:\n{statements}",
)
QUESTIONS = Prompt(
    "questions",
    1,
    "Write {n} different questions that the text below answers. If the text evades or says that it does not know, reply "
    "with an empty list. Reply with a JSON list of strings and nothing else.\n\nText: {answer}",
)
ASK_PASSAGE = Prompt(
    "ask_passage",
    1,
    "Write one question that a person would type into a search box, which the passage below answers and most other texts "
    "do not. Do not copy its wording. Reply with the question alone.\n\nPassage: {passage}",
)
