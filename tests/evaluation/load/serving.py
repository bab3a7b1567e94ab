"""A server of embeddings in a thread, as good or as bad as a test wants."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from listening import listening


@dataclass
class Behaviour:
    """after: requests answered before it turns bad. status, turned: what it then does. stall_at: a request that all wait for.

    interrupt_at: a request at which Ctrl-C is pressed, and which gets no answer before the test is over.
    """

    after: int = 10**9
    status: int = 200
    turned: bool = False
    closes: bool = False
    stall_at: int = -1
    stall_seconds: float = 0.0
    interrupt_at: int = -1
    n: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def server(behaviour: Behaviour) -> Iterator[str]:
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second waited 40 ms for the first's receipt

        def handle(self) -> None:
            with suppress(ConnectionError):  # a run that is ended lets go of what is under way
                super().handle()

        def do_GET(self) -> None:
            self._answer(200, {"data": [{"id": "served"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with behaviour.lock:
                behaviour.n += 1
                n = behaviour.n
                if n == behaviour.stall_at:
                    time.sleep(behaviour.stall_seconds)
            if n == behaviour.interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)
                over.wait(30)
                self.close_connection = True
                return
            is_bad = n > behaviour.after
            if is_bad and behaviour.closes:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            sign = -1 if is_bad and behaviour.turned else 1
            rows = [
                {"index": i, "embedding": [sign * float(len(text)), 1.0, 0.5]} for i, text in enumerate(asked["input"])
            ]
            status = behaviour.status if is_bad else 200
            self._answer(status, {"data": rows} if status == 200 else {"error": "too much"})

        def _answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as address:
        try:
            yield address
        finally:
            over.set()
