"""`sememe models`: which models there are, which could serve, everything about one, and its files on this machine."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sememe.catalogue import Catalogue, CatalogueEntry
from sememe.catalogue.languages import read_language
from sememe.catalogue.licences import licence_in_words
from sememe.catalogue.shortlist import Needs, Shortlist, SortKey, shortlist, sort_choices
from sememe.checkpoints.sources import default_cache_folder, download_checkpoint, find_checkpoint
from sememe.cli import model_tables
from sememe.cli.options import JsonOption, OfflineOption, is_offline
from sememe.errors import InputError

app = typer.Typer(help="List the models that are known; show, bring or find one.", add_completion=False)

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache-folder", help="Keep and look for files here; else in the hub's cache and sememe's own."),
]
RevisionOption = Annotated[str | None, typer.Option(help="A branch, a tag or a commit on the hub.")]

# What the catalogue calls a family, where its file has another name.
_FAMILY_FILES = {
    "jina_bert_code": "jina_code",
    "nomic_bert_moe": "nomic_moe",
    "nv_embed": "nvembed",
    "xlm_roberta_flash": "jina_v3",
}
_OUTPUTS = {"dense", "sparse", "multi_vector", "score"}
_MULTIPLES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}


@app.callback(invoke_without_command=True)
def list_models(
    context: typer.Context,
    task: Annotated[
        str | None, typer.Option(help="retrieval, similarity, classification, clustering, rerank, …")
    ] = None,
    language: Annotated[str | None, typer.Option(help="A code or a name: de, German.")] = None,
    licenses: Annotated[list[str] | None, typer.Option("--license", help="Only this licence; may be repeated.")] = None,
    commercial: Annotated[bool, typer.Option("--commercial", help="Only models that a business may use.")] = False,
    max_params: Annotated[str | None, typer.Option(help="At most so many parameters: 500M, 1.5B.")] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="At most so much for the weights in bfloat16: 800MB, 2GB.")
    ] = None,
    min_tokens: Annotated[int | None, typer.Option(help="One input may have at least so many tokens.")] = None,
    modality: Annotated[str | None, typer.Option(help="text, image or audio.")] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", "--outputs", help="dense, sparse, multi_vector, score; repeated or with commas."),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Only models that this version runs.")] = False,
    sort: Annotated[str, typer.Option(help="score, size, tokens, name or released.")] = "score",
    benchmark: Annotated[str | None, typer.Option(help="Whose scores to show, for example MTEB(Multilingual).")] = None,
    why: Annotated[bool, typer.Option("--why", help="List the models left out as well, with the reasons.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models that could serve you, the best score first."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    code = read_language(language) if language else None
    needs = Needs(
        task=task,
        language=code,
        licenses=tuple(licenses or ()),
        commercial=commercial,
        max_params=read_quantity(max_params, "--max-params"),
        max_memory_bytes=read_quantity(max_memory, "--max-memory"),
        min_tokens=min_tokens,
        modality=modality,
        outputs=tuple(name.strip() for some in outputs or () for name in some.split(",")),
        runnable=runs,
    )
    catalogue = Catalogue.read()
    found = shortlist(catalogue.entries, needs, runs=runs_here)
    # English scores say little about another language.
    shown = _read_benchmark(catalogue, benchmark or ("MTEB(eng, v2)" if code in (None, "en") else "MTEB(Multilingual)"))
    found = Shortlist(tuple(sort_choices(found.choices, _read_sort(sort), shown)), found.exclusions)
    if as_json:
        print(json.dumps(_as_json(found, with_exclusions=why), ensure_ascii=False))
    else:
        model_tables.print_shortlist(found, benchmark=shown, runs=runs_here, why=why)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An id or a short name.")],
    as_json: JsonOption = False,
) -> None:
    """Tell everything that is known about a model."""
    catalogue = Catalogue.read()
    entry = catalogue.entry(name)
    if as_json:
        print(json.dumps(_entry_as_json(entry), ensure_ascii=False))
    else:
        model_tables.print_entry(entry, catalogue.legend, runs=runs_here(entry))


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="An id on the hub (id@revision) or a short name.")],
    revision: RevisionOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the hub although a copy is here: for a newer or an undamaged one.")
    ] = False,
    cache_folder: CacheOption = None,
    offline: OfflineOption = False,
) -> None:
    """Bring a model's files to this machine; print their folder."""
    if refresh and is_offline(offline):
        raise InputError(
            "--refresh needs a network, and this is offline (--offline, SEMEME_OFFLINE or HF_HUB_OFFLINE)."
        )
    catalogue = Catalogue.read()
    if refresh:
        found = download_checkpoint(
            name,
            revision=revision,
            cache_folder=_own_cache(cache_folder),
            hub_cache=cache_folder,
            catalogue=catalogue,
            progress=sys.stderr.isatty(),
        )
    else:
        found = find_checkpoint(
            name,
            revision=revision,
            offline=is_offline(offline),
            cache_folder=_own_cache(cache_folder),
            hub_cache=cache_folder,
            catalogue=catalogue,
            progress=sys.stderr.isatty(),
        )
    entry = catalogue.find(found.name)
    if entry is not None and entry.commercial_use is not True:
        print(f"note: {licence_in_words(entry).text}", file=sys.stderr)
    how = f"brought from the {found.source}" if found.downloaded else "already here"
    print(f"{found.name}: {how}, revision {found.revision}", file=sys.stderr)
    print(found.path)


@app.command()
def path(
    name: Annotated[str, typer.Argument(help="A folder, an id on the hub (id@revision) or a short name.")],
    revision: RevisionOption = None,
    cache_folder: CacheOption = None,
) -> None:
    """Print the folder of a model that is on this machine; nothing is brought."""
    found = find_checkpoint(
        name,
        revision=revision,
        offline=True,
        cache_folder=_own_cache(cache_folder),
        hub_cache=cache_folder,
        catalogue=Catalogue.read(),
    )
    print(found.path)


def runs_here(entry: CatalogueEntry) -> bool:
    """Whether this version runs the model on texts: its architecture is computed, and every kind of output is read."""
    from sememe.families import FAMILIES

    files = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    known = {name for family in FAMILIES for name in family.MODEL_TYPES} | files | {"static"}
    family = _FAMILY_FILES.get(entry.family, entry.family)
    return family in known and "text" in entry.modalities and set(entry.outputs) <= _OUTPUTS


def read_quantity(text: str | None, option: str) -> float | None:
    """A number with a decimal multiple: `500M`, `1.5B`, `2 GB`, `800_000`. Raises InputError."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(?P<number>\d[\d_]*(\.\d+)?)\s*(?P<multiple>[a-z]*)\s*", text.lower())
    if match is None or match["multiple"] not in _MULTIPLES:
        raise InputError(f"{option} {text!r} is no quantity; expected a number such as 500M, 1.5B, 800MB or 2GB.")
    return float(match["number"].replace("_", "")) * _MULTIPLES[match["multiple"]]


def _refuse_options(context: typer.Context) -> None:
    """Options of the list, given before a command that does not heed them."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise InputError(
            f"{', '.join(given)}: for the list only; `sememe models {context.invoked_subcommand}` has no such."
        )


def _read_sort(text: str) -> SortKey:
    match text:
        case "score" | "size" | "tokens" | "name" | "released":
            return text
    raise InputError(f"--sort {text!r} is unknown; expected score, size, tokens, name or released.")


def _read_benchmark(catalogue: Catalogue, name: str) -> str:
    known = sorted({score.benchmark for entry in catalogue.entries for score in entry.scores})
    if name not in known:
        raise InputError(f"--benchmark {name!r}: no model has a score of it. Known: {'; '.join(known)}.")
    return name


def _own_cache(cache_folder: Path | None) -> Path:
    return cache_folder or default_cache_folder()


def _as_json(found: Shortlist, *, with_exclusions: bool) -> dict[str, object]:
    body: dict[str, object] = {
        "models": [_entry_as_json(choice.entry) | {"doubts": choice.doubts} for choice in found.choices]
    }
    if with_exclusions:
        body["left_out"] = [{"id": left.entry.id, "reasons": left.reasons} for left in found.exclusions]
    return body


def _entry_as_json(entry: CatalogueEntry) -> dict[str, object]:
    words = licence_in_words(entry)
    return asdict(entry) | {"license_in_words": words.text, "license_verdict": words.verdict, "runs": runs_here(entry)}
