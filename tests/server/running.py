"""A server in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import uvicorn

from sememe.server.app import make_app
from sememe.server.joined_writes import JoinedWrites
from sememe.server.models import Models
from sememe.server.options import ServerOptions
from sememe.server.service import Service


@dataclass(frozen=True)
class Running:
    url: str
    service: Service
    grpc_port: int = 0


@contextmanager
def run(models: Models, options: ServerOptions) -> Iterator[Running]:
    """The server's address, while it runs. The models are left open: other servers of these tests share them."""
    app = make_app(models, options)
    config = uvicorn.Config(app, http=JoinedWrites, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    with patch.object(Models, "close"):
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        for _ in range(1000):
            if server.started or not thread.is_alive():
                break
            time.sleep(0.01)
        assert server.started, "the server did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            grpc_port = 0 if options.grpc_port is None else app.state.grpc.port
            yield Running(f"http://127.0.0.1:{port}", app.state.service, grpc_port)
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "the server did not stop"


@dataclass
class HeldBack:
    """gate: batches of the server's embedder wait until it is set. computed: how many inputs each batch had."""

    gate: threading.Event = field(default_factory=threading.Event)
    computed: list[int] = field(default_factory=list)
