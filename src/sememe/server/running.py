"""The application in uvicorn."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

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


# Bytes of a Unix socket's path. Source: unix(7), sun_path, without its NUL; macOS has 103.
_LONGEST_PATH = 103


def run(models: Models, options: ServerOptions, announce: Callable[[str], None] = lambda address: None) -> bool:
    """Serve until SIGTERM or SIGINT, then drain within the limit; False if the server could not start.

    announce: told each address once the server listens there. Raises InputError as `check`, which is worth a call before
    the models are loaded.
    """
    check(options)
    app = make_app(models, options)
    config = uvicorn.Config(
        app,
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

    def listening() -> None:
        announce(_address(server, options))
        if options.grpc_port is not None:
            announce(f"{options.host_in_addresses}:{app.state.grpc.port} (gRPC)")

    async def stop_beside(within_seconds: float) -> None:
        if options.grpc_port is not None:
            await app.state.grpc.stop(within_seconds)

    server = _Server(config, listening, stop_beside, options.drain_seconds)
    server.run()
    return server.started


class _Server(uvicorn.Server):
    """Tells when it listens: before, nobody knows the port that is free.

    What is there by then is no business of the garbage collector any more. It is 100,000 objects, and to look at all of them,
    at a moment of the collector's choosing, stopped the server for 44 to 113 ms (all-MiniLM-L6-v2, whose weights have the
    caches).
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listening: Callable[[], None],
        stop_beside: Callable[[float], Awaitable[None]],
        drain_seconds: float,
    ) -> None:
        """stop_beside: called when draining begins, and goes on beside it: gRPC takes no more then, and has the same time."""
        super().__init__(config)
        self._listening, self._stop_beside, self._drain_seconds = listening, stop_beside, drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        if self.started:
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        hastening = asyncio.create_task(self._hasten())
        stopping = asyncio.ensure_future(self._stop_beside(self._drain_seconds))
        await super().shutdown(sockets)
        await stopping
        hastening.cancel()

    async def _hasten(self) -> None:
        """A second Ctrl-C waits for nobody; uvicorn looks for it as often."""
        while not self.force_exit:
            await asyncio.sleep(0.1)
        await self._stop_beside(0)


def _address(server: uvicorn.Server, options: ServerOptions) -> str:
    if options.uds is not None:
        return f"unix:{options.uds}"
    scheme, port = "http" if options.certificate is None else "https", server.servers[0].sockets[0].getsockname()[1]
    return f"{scheme}://{options.host_in_addresses}:{port}"


def check(options: ServerOptions) -> None:
    """What can be known before models are loaded. Raises InputError for ports that are taken and files of no use."""
    supply(options)
    for name, file in (("certificate", options.certificate), ("key", options.key)):
        if file is not None and not file.is_file():
            raise InputError(f"{name} {file} is no file; expected one in PEM.")
    if options.certificate is not None and options.key is not None:
        _check_pair(options.certificate, options.key)
    if options.uds is not None:
        _check_socket(options.uds)
    elif options.port:
        _check_free(options.host, options.port, "The server", "--port")
    if options.grpc_port:
        _check_free(options.host, options.grpc_port, "gRPC", "--grpc-port")


def _check_pair(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as exc:
        raise InputError(
            f"certificate {certificate} and key {key} cannot be used: {exc}. Expected a certificate and its own key, both in "
            "PEM, the key without a password."
        ) from exc


def _check_socket(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"uds {path}: there is no folder {path.parent}.")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise InputError(
            f"uds {path} is longer than {_LONGEST_PATH} bytes, which is more than a socket's name may have."
        )
    if path.exists() and not path.is_socket():
        raise InputError(f"uds {path} is there and no socket. Choose another name, or remove it.")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:  # nobody listens: what is left of a server that has ended is taken over
            return
    raise InputError(f"uds {path}: another server listens there. End it, or choose another name.")


def _check_free(host: str, port: int, who: str, option: str) -> None:
    """Before anything is started, in words rather than from within the start."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as exc:
        raise InputError(f"{who} cannot listen on {host}:{port}: {exc.strerror}. Choose another {option}.") from exc
