"""The command line. A command is one short function: parse, call one public function, print.

Results go to standard output, messages to standard error. Exit status: 0, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from sememe import __version__
from sememe.cli import (
    collections,
    compare,
    compat,
    demo,
    doctor,
    embed,
    evaluate,
    index,
    load,
    mcp,
    models,
    mteb,
    rerank,
    robustness,
    search,
    serve,
)
from sememe.cli import collections_life as life
from sememe.errors import InputError, SememeError

app = typer.Typer(
    name="sememe",
    help="Choose, prove, serve and search with open-source embedding models.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(embed.embed)
app.command()(index.index)
app.command()(search.search)
app.command()(rerank.rerank)
app.command()(serve.serve)
app.command()(mcp.mcp)
app.command()(evaluate.evaluate)
app.command()(mteb.mteb)
app.command()(compat.compat)
app.command()(compare.compare)
app.command()(robustness.robustness)
app.command()(load.load)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.add_typer(models.app, name="models")
for command in (life.snapshot, life.restore, life.export, life.compact, life.rebuild, life.migrate):
    collections.app.command()(command)
collections.app.command("import")(life.import_file)
app.add_typer(collections.app, name="collections")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sememe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)  # a library that sets its own logger to DEBUG, as bm25s does, is asked to be quiet too


def main() -> None:
    """Run the command line; errors of ours become one line, and the exit status says how it went."""
    try:
        app()
    except SememeError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(2 if isinstance(exc, InputError) else 1)
    except (KeyboardInterrupt, ImportError, SystemExit) as exc:
        if not _is_interrupt(exc):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no message, and none at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, what an import that it met has made of it, or typer's wordless exit because of it.

    A command that has said its own line exits without a cause.
    """
    if isinstance(error, ImportError):
        return _is_interrupt(error.__cause__ or error.__context__)
    if isinstance(error, SystemExit):
        return isinstance(error.__context__, typer.Exit) and _is_interrupt(error.__context__.__cause__)
    return isinstance(error, KeyboardInterrupt)
