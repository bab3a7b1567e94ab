"""How a server runs: every option with its default, in one place. Files and the environment are read by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sememe.collections.stores.places import read_named
from sememe.engine.opening import check_recipe
from sememe.errors import InputError
from sememe.server.models import ModelOptions
from sememe.server.request_log import LOG_FORMATS
from sememe.server.scheduler import SchedulerOptions


@dataclass(frozen=True)
class ServerOptions:
    """models: names; the first embedder and the first reranker answer where a request names none. aliases: alias=model.

    api_keys: any of them opens every route but health; none leaves the server open. cors_origins: none by default.
    rate_limit: requests a second of one key, or of one address where there are no keys; None sets no limit.
    log_format: of one line a request on standard error: none, text or json.
    max_body_bytes: of a request. max_inputs: of a request. drain_seconds: for what is under way when stopping.
    grpc_port: of TEI's gRPC interface on the same host, None for none.
    collections_dir: where collections are kept that requests may name; None for none. collections: more of them, in stores,
    each NAME=ADDRESS (`collections.stores.places`); a name that is in both is the store's.
    models_dir: requests may name its sub-folders that are checkpoints; they are loaded on first use. allow_pull: requests
    may name any model of the hub, which is brought. model_memory: bytes of the weights that are so loaded at once, and of
    the largest that is brought; None sets no limit. keep_alive_seconds: unused for so long, they go.
    uds: a Unix socket instead of host and port. certificate, key: files in PEM, for TLS.
    """

    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    collections_dir: Path | None = None
    collections: tuple[str, ...] = field(default=(), repr=False)
    models_dir: Path | None = None
    allow_pull: bool = False
    model_memory: int | None = None
    keep_alive_seconds: float | None = None
    uds: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 32_000_000
    max_inputs: int = 2048
    rate_limit: float | None = None
    log_format: str = "none"
    drain_seconds: float = 20.0
    loading: ModelOptions = field(default_factory=ModelOptions)
    scheduling: SchedulerOptions = field(default_factory=SchedulerOptions)

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_inputs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if self.rate_limit is not None and not 0 < self.rate_limit < float("inf"):
            raise InputError(f"rate_limit is {self.rate_limit}; expected more than 0.")
        if self.log_format not in LOG_FORMATS:
            raise InputError(f"log_format is {self.log_format!r}; expected one of {', '.join(LOG_FORMATS)}.")
        if not 0 <= self.drain_seconds < float("inf"):
            raise InputError(f"drain_seconds is {self.drain_seconds}; expected 0 or more.")
        for name in ("model_memory", "keep_alive_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; expected more than 0.")
        if self.allow_pull and self.model_memory is None:
            raise InputError("allow_pull lets requests name models of any size: set model_memory, in bytes, too.")
        for name in ("port", "grpc_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65535:
                raise InputError(f"{name} is {port}; expected 0 to 65535, where 0 takes a free one.")
        if (self.certificate is None) != (self.key is None):
            raise InputError("TLS needs both files: certificate and key.")
        if any(not key.strip() or not key.isascii() for key in self.api_keys):
            raise InputError("An API key is empty or has characters that a header cannot hold.")
        if self.models and self.models_dir is None and not self.allow_pull:
            check_recipe(self.loading.recipe, self.models)
        self.alias_of()
        self.places_of()

    @property
    def host_in_addresses(self) -> str:
        """The host as it stands before a port: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def alias_of(self) -> dict[str, str]:
        """The aliases as alias → model. Raises InputError for one without `=`."""
        pairs = [alias.partition("=") for alias in self.aliases]
        if wrong := [alias for alias, equals, name in pairs if not (alias and equals and name)]:
            raise InputError(f"Alias {wrong[0]!r} is not of the form NAME=MODEL.")
        return {alias: name for alias, _, name in pairs}

    def places_of(self) -> dict[str, str]:
        """The collections in stores as name → address. Raises InputError, which shows no address."""
        return dict(read_named(one) for one in self.collections)
