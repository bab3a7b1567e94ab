"""`sememe serve`: models over HTTP."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sememe.cli.options import DEFAULT_MODEL, RecipeOption, is_offline
from sememe.errors import InputError

logger = logging.getLogger(__name__)

# How long a thread may keep the interpreter: the event loop and the device take turns, and 5 ms is a short text's
# whole latency.
_SWITCH_SECONDS = 0.0005


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL…]", help="Embedders and rerankers.", show_default=DEFAULT_MODEL),
    ] = None,
    recipe: RecipeOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8080")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port of TEI's gRPC interface; 0 takes a free one.", show_default="none")
    ] = None,
    uds: Annotated[Path | None, typer.Option(help="A Unix socket instead.", show_default=False)] = None,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MODEL", help="A further name that clients may give.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Keys, one a line; any of them opens every route but health.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Options in YAML.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.", show_default="auto")] = None,
    backend: Annotated[str | None, typer.Option(help="auto, openvino or torch.", show_default="auto")] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16, float16 or int8.", show_default="auto")
    ] = None,
    token_budget: Annotated[
        int | None, typer.Option(min=1, help="Tokens computed together.", show_default=False)
    ] = None,
    queue_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens that may wait; more is refused with 429.", show_default="500000")
    ] = None,
    max_inputs: Annotated[int | None, typer.Option(min=1, help="Inputs of one request.", show_default="2048")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(min=1, help="Of one request.", show_default="32000000")] = None,
    rate_limit: Annotated[
        float | None, typer.Option(help="Requests a second of one key, or of one address.", show_default="none")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="One line a request: none, text or json; never texts.", show_default="none")
    ] = None,
    embedding_cache: Annotated[
        Path | None, typer.Option(help="Keep embeddings in this file.", show_default=False)
    ] = None,
    collections_dir: Annotated[
        Path | None, typer.Option(help="Serve the collections in this folder.", show_default=False)
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ADDRESS", help="Serve this collection of a store, such as pgvector://…"),
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Load its checkpoints when requests name them.", show_default=False)
    ] = None,
    allow_pull: Annotated[
        bool | None,
        typer.Option(
            "--allow-pull/--no-allow-pull", help="Bring models of the hub when requests name them.", show_default="no"
        ),
    ] = None,
    model_memory: Annotated[
        int | None, typer.Option(min=1, help="Bytes of weights so loaded at once.", show_default="no limit")
    ] = None,
    keep_alive_seconds: Annotated[
        float | None, typer.Option(help="Unload them after so long unused.", show_default="never")
    ] = None,
    cors_origin: Annotated[list[str] | None, typer.Option(help="Let pages of this origin call.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM, for TLS.", show_default=False)] = None,
    key: Annotated[Path | None, typer.Option(help="PEM, for TLS.", show_default=False)] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Let no call leave this machine.")] = False,
    show_config: Annotated[bool, typer.Option("--show-config", help="Print every option and its source; end.")] = False,
    config_schema: Annotated[bool, typer.Option("--config-schema", help="Print the file's JSON Schema; end.")] = False,
) -> None:
    """Serve models over HTTP to OpenAI, TEI, Cohere, Jina, vLLM, Ollama and Open Inference clients, on one port."""
    from sememe.cli import serve_config
    from sememe.engine.opening import qualify_recipe

    given = {
        "models": tuple(models) if models else None,
        "recipe": tuple(recipe) if recipe else None,
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "uds": uds,
        "aliases": tuple(alias) if alias else None,
        "api_keys": _read_keys(api_key_file) if api_key_file is not None else None,
        "device": device,
        "backend": backend,
        "precision": precision,
        "token_budget": token_budget,
        "queue_tokens": queue_tokens,
        "max_inputs": max_inputs,
        "max_body_bytes": max_body_bytes,
        "rate_limit": rate_limit,
        "log_format": log_format,
        "embedding_cache": embedding_cache,
        "collections_dir": collections_dir,
        "collections": tuple(collection) if collection else None,
        "models_dir": models_dir,
        "allow_pull": allow_pull,
        "model_memory": model_memory,
        "keep_alive_seconds": keep_alive_seconds,
        "cors_origins": tuple(cors_origin) if cors_origin else None,
        "certificate": certificate,
        "key": key,
        "offline": True if is_offline(offline) else None,
    }
    if config_schema:
        import json

        print(json.dumps(serve_config.json_schema(), indent=2))
        return
    chosen = serve_config.choose(given, config, serve_config.environment())
    if not chosen["models"].value:
        chosen["models"] = replace(chosen["models"], value=(DEFAULT_MODEL,))
    said = qualify_recipe(chosen["recipe"].value, chosen["models"].value)
    chosen["recipe"] = replace(chosen["recipe"], value=said)
    options = serve_config.make_options(chosen)
    if show_config:
        for name, value, source in serve_config.shown(chosen):
            print(f"{name:18} {value}  ({source})")
        return

    try:
        from sememe.server.running import check, run
    except ModuleNotFoundError as exc:
        raise InputError(f"sememe serve needs {exc.name}: pip install 'sememe[serve]'.") from exc
    if options.grpc_port is not None:
        try:
            from sememe.server.tei_grpc import serving as serving
        except ModuleNotFoundError as exc:
            raise InputError(f"--grpc-port needs {exc.name}: pip install 'sememe[serve,grpc]'.") from exc
    from sememe.server.models import load_models
    from sememe.server.request_log import listen

    check(options)  # before models are loaded, which takes time
    listen(options.log_format)
    served = load_models(options.models, options.loading, options.alias_of())
    sys.setswitchinterval(_SWITCH_SECONDS)

    def announce(address: str) -> None:
        said = f"serving {', '.join(options.models)} on {address}"
        if options.log_format == "none":
            print(said, file=sys.stderr, flush=True)
        else:  # in the log's own form, which machines read line by line
            logger.info("%s", said)

    if not run(served, options, announce):
        raise typer.Exit(1)


def _read_keys(file: Path) -> tuple[str, ...]:
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"The file of API keys {file} cannot be read: {exc}.") from exc
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise InputError(f"The file of API keys {file} has no key; expected one a line.")
    return keys
