"""A server started for the run, where a model is named and not an address; it ends with the run."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from sememe.evaluation.load.running import ServerUnreachable

_HOST = "127.0.0.1"
_START_SECONDS = 600  # a first load may bring the files
_END_SECONDS = 30


@dataclass(frozen=True)
class OwnServer:
    """Where it listens and its process."""

    url: str
    pid: int


@contextmanager
def own_server(arguments: Sequence[str]) -> Iterator[OwnServer]:
    """`sememe serve` with these arguments on a free port, once it listens. Raises ServerUnreachable if it ends."""
    program = "from sememe.cli import main; main()"
    with running_server([sys.executable, "-c", program, "serve", *arguments, "--host", _HOST, "--port"]) as server:
        yield server


@contextmanager
def running_server(command: Sequence[str]) -> Iterator[OwnServer]:
    """Anybody's server, whose command takes its port as the last argument, once it listens. Raises as `own_server`."""
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    with TemporaryFile() as said:
        # A session of its own, so that Ctrl-C at the terminal reaches the generator alone.
        process = subprocess.Popen([*command, str(port)], stdout=said, stderr=said, start_new_session=True)
        try:
            _wait(process, port, said)
            yield OwnServer(f"http://{_HOST}:{port}", process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            said.seek(0)
            raise ServerUnreachable(f"The server ended: {said.read().decode('utf-8', 'replace').strip()[-1000:]}")
        with socket.socket() as attempt:
            attempt.settimeout(1)
            if attempt.connect_ex((_HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise ServerUnreachable(f"The server did not listen on port {port} within {_START_SECONDS} s.")
