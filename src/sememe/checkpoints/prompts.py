"""Which prompt and which adapter a call asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sememe.checkpoints.recipe import Recipe, prompt_role
from sememe.checkpoints.templates import fill
from sememe.errors import InputError
from sememe.records import EmbedOptions, Role

# What models whose queries take an instruction are shown with on their cards, where they name no default of their own.
_DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True)
class Prompt:
    """What stands around an input's text.

    shown: examples, before everything; they take none of the text's room. strips: blanks around the text go.
    """

    before: str = ""
    after: str = ""
    shown: str = ""
    strips: bool = False


def role_of(recipe: Recipe, options: EmbedOptions) -> Role | None:
    """The role that an input has; for late interaction, which knows nothing else, documents unless said otherwise."""
    has_layout = recipe.multi_vector is not None and recipe.multi_vector.layout is not None
    return "document" if options.role is None and has_layout else options.role


def choose_prompt(recipe: Recipe, options: EmbedOptions) -> Prompt:
    """The prompt that the options ask for. Raises InputError for an unknown name, or for what the model cannot take."""
    if options.prompt_name is not None and options.prompt is not None:
        raise InputError("Give prompt_name or prompt, not both.")
    if options.task is not None and _has_prompt(recipe, options.task):
        if options.role is not None or options.prompt_name is not None:
            raise InputError("A task chooses adapter and prompt together; give it without role and prompt_name.")
        return Prompt(recipe.prompts[options.task])
    if options.instruction is not None or options.examples:
        return _instructed(recipe, options)
    if options.prompt is not None:
        return Prompt(options.prompt)
    role = role_of(recipe, options)
    if role is not None and options.prompt_name is None:
        if role == "query" and not recipe.role_prompt("query") and "query" in recipe.templates:
            return _filled(recipe, recipe.task or _DEFAULT_TASK, ())
        return Prompt(recipe.role_prompt(role))
    name = options.prompt_name or recipe.default_prompt_name
    return Prompt("" if name is None else recipe.named_prompt(name))


def _instructed(recipe: Recipe, options: EmbedOptions) -> Prompt:
    if options.prompt is not None or options.prompt_name is not None or options.task is not None:
        raise InputError(
            "Give instruction= or a prompt, not both: the instruction is filled into the model's own prompt."
        )
    if "instruction" in recipe.templates:  # INSTRUCTOR: the instruction is the prompt, for documents too
        if options.examples:
            raise InputError("This model takes no examples; only bge-en-icl and its kind do.")
        # Source: InstructorEmbedding `INSTRUCTOR.tokenize`: both are stripped, and joined without a blank.
        return Prompt((options.instruction or "").strip(), strips=True)
    if "query" not in recipe.templates:
        known = ", ".join(map(repr, recipe.prompts))
        instead = (
            f"it has the prompts {known}. Use prompt_name= or prompt=." if known else "give prompt= as text instead."
        )
        raise InputError(f"This model takes no instruction; {instead}")
    if options.role == "document":
        raise InputError("An instruction belongs to queries; this model's documents are embedded bare.")
    return _filled(recipe, options.instruction or recipe.task or _DEFAULT_TASK, options.examples)


def _filled(recipe: Recipe, task: str, examples: Sequence[tuple[str, str]]) -> Prompt:
    """The query template with the task in it, cut where the text goes; examples stand before it."""
    if examples and "example" not in recipe.templates:
        raise InputError("This model takes no examples; only bge-en-icl and its kind do.")
    before, _, after = recipe.templates["query"].partition("{text}")
    shown = [
        fill(recipe.templates["example"], task=task, query=query, response=response) for query, response in examples
    ]
    separator = recipe.templates.get("example_separator", "\n\n")
    return Prompt(fill(before, task=task), fill(after, task=task), "".join(block + separator for block in shown))


def _has_prompt(recipe: Recipe, task: str) -> bool:
    """Whether a task decides the prompt (jina v3), rather than the role (jina v5). Raises InputError for an unknown one."""
    if task not in recipe.adapters:
        known = ", ".join(map(repr, recipe.adapters)) or "none"
        raise InputError(f"Task {task!r} is not one of this model's; it has {known}.")
    return task in recipe.prompts


def choose_adapter(recipe: Recipe, options: EmbedOptions) -> str | None:
    """The adapter that goes with the task, the role or the prompt's name; None for the bare weights.

    Jina v5's own code refuses a call without a task. Here the role decides, and where none is given the role of the
    prompt: its files' default prompt is the document's.
    """
    if options.task is not None:
        _has_prompt(recipe, options.task)
        return options.task
    name = options.prompt_name or recipe.default_prompt_name
    if name in recipe.adapters:
        return name
    role = options.role if options.role is not None or name is None else prompt_role(name)
    return None if role is None else recipe.role_adapter(role)


def is_by_role(recipe: Recipe, options: EmbedOptions) -> bool:
    """Whether the input is prepared as one of the roles is, however the options say so.

    Both roles give vectors that the model was trained to compare, whatever instruction and examples a query has.
    """
    if options.instruction is not None or options.examples:
        return options.role is not None or "query" in recipe.templates
    given = (options.prompt, options.prompt_name, options.task)
    if role_of(recipe, options) is not None and given == (None, None, None):
        return True
    chosen = choose_prompt(recipe, options), choose_adapter(recipe, options)
    roles = (EmbedOptions(role="query"), EmbedOptions(role="document"))
    return any(chosen == (choose_prompt(recipe, role), choose_adapter(recipe, role)) for role in roles)
