"""The application in uvicorn."""

from __future__ import annotations

import math

import uvicorn

from sememe.server.app import make_app
from sememe.server.models import Models
from sememe.server.options import ServerOptions


def run(models: Models, options: ServerOptions) -> bool:
    """Serve until SIGTERM or SIGINT, then drain within the limit; False if the server could not start."""
    config = uvicorn.Config(
        make_app(models, options),
        host=options.host,
        port=options.port,
        uds=None if options.uds is None else str(options.uds),
        ssl_certfile=None if options.certificate is None else str(options.certificate),
        ssl_keyfile=None if options.key is None else str(options.key),
        timeout_graceful_shutdown=math.ceil(options.drain_seconds),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=None,
    )
    server = uvicorn.Server(config)
    server.run()
    return server.started
