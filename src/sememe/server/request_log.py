"""One line a request, for people or for machines: route, status, seconds, id, counts. Never a text, never a key."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

LOG_FORMATS = ("none", "text", "json")
_LOGGER = logging.getLogger("sememe.requests")
# Who tells where the server listens, and which models came and went.
_LIFE = ("sememe.cli.serve", "sememe.server")


@dataclass
class Counts:
    """What one request asked of the models, added up as its calls are done. model: the last one that answered."""

    model: str | None = None
    n_inputs: int = 0
    n_tokens: int = 0
    n_truncated: int = 0


_COUNTS: ContextVar[Counts | None] = ContextVar("sememe_request_counts", default=None)


def begin() -> Counts:
    """The counts of the request that this task serves from now on."""
    counts = Counts()
    _COUNTS.set(counts)
    return counts


def add(model: str, n_inputs: int, n_tokens: int, n_truncated: int) -> None:
    """A call of the request that this task serves is done; outside of one, nothing is counted."""
    counts = _COUNTS.get()
    if counts is not None:
        counts.model = model
        counts.n_inputs += n_inputs
        counts.n_tokens += n_tokens
        counts.n_truncated += n_truncated


@dataclass(frozen=True)
class RequestLine:
    """What is said of one request. route: the path or gRPC method as declared, or `other`.

    method: HTTP's, or `gRPC`. status: HTTP's, or the one that gRPC's answer would have there; 0 if nothing was answered.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    counts: Counts


def log(line: RequestLine) -> None:
    """Say it, if somebody listens."""
    if _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.info(
            "%s %s %d %.1f ms id=%s", line.method, line.route, line.status, line.seconds * 1e3, line.request_id,
            extra={"request": line},
        )  # fmt: skip


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; a request's with its fields, any other with its message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Times in UTC."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {"time": time, "level": record.levelname.lower(), "logger": record.name}
        line = getattr(record, "request", None)
        if isinstance(line, RequestLine):
            fields |= asdict(line) | {"seconds": round(line.seconds, 6)} | asdict(line.counts)
            del fields["counts"]
        else:
            fields["message"] = record.getMessage()
            if record.exc_info:
                fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def listen(log_format: str) -> None:
    """Send the program's whole log to standard error in this form; `none` leaves it as it is."""
    if log_format == "none":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.getLogger().level, force=True)
    for logger in (_LOGGER, *map(logging.getLogger, _LIFE)):
        logger.setLevel(logging.INFO)
