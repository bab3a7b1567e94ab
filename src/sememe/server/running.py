"""The application in uvicorn."""

from __future__ import annotations

import math
import socket

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from sememe.errors import InputError
from sememe.server.app import make_app, supply
from sememe.server.joined_writes import JoinedWrites
from sememe.server.models import Models
from sememe.server.options import ServerOptions

# An idle connection is kept for longer than clients keep it (5 s in httpx, 15 s in aiohttp): who closes first must not be
# the server, or a request that is just being sent is lost.
_KEEP_ALIVE_SECONDS = 75


def run(models: Models, options: ServerOptions) -> bool:
    """Serve until SIGTERM or SIGINT, then drain within the limit; False if the server could not start.

    Raises InputError as `check`, which is worth a call before the models are loaded.
    """
    check(options)
    config = uvicorn.Config(
        make_app(models, options),
        http=JoinedWrites,
        ws="none",
        host=options.host,
        port=options.port,
        uds=None if options.uds is None else str(options.uds),
        ssl_certfile=None if options.certificate is None else str(options.certificate),
        ssl_keyfile=None if options.key is None else str(options.key),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(options.drain_seconds),
        log_level="warning",
        log_config=LOGGING_CONFIG if options.log_format == "none" else None,  # None: with the program's own
        access_log=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=None,
    )
    server = uvicorn.Server(config)
    server.run()
    return server.started


def check(options: ServerOptions) -> None:
    """What can be known before models are loaded. Raises InputError for ports that are taken and files that are not there."""
    supply(options)
    for name, file in (("certificate", options.certificate), ("key", options.key)):
        if file is not None and not file.is_file():
            raise InputError(f"{name} {file} is no file; expected one in PEM.")
    if options.uds is None and options.port:
        _check_free(options.host, options.port, "The server", "--port")
    if options.grpc_port:
        _check_free(options.host, options.grpc_port, "gRPC", "--grpc-port")


def _check_free(host: str, port: int, who: str, option: str) -> None:
    """Before anything is started, in words rather than from within the start."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as exc:
        raise InputError(f"{who} cannot listen on {host}:{port}: {exc.strerror}. Choose another {option}.") from exc
