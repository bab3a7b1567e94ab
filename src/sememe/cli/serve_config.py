"""Where the server's options come from: the command line, else SEMEME_*, else a YAML file, else the default.

Every key of the file is an option's name; an unknown one is an error. What came from where is shown by --show-config.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from sememe.collections.stores.places import shown as shown_place
from sememe.errors import InputError
from sememe.server.options import ServerOptions

_PREFIX = "SEMEME_SERVE_"
# Keys also go by a name that does not say "serve": what the other commands read.
_SECRET = "api_keys"
_ADDRESSES = "collections"  # may hold passwords
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True)
class Setting:
    """One option: its name everywhere, its type, its default, and the group of ServerOptions it stands in."""

    name: str
    type: Any
    default: Any
    group: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return _PREFIX + self.name.upper()


@dataclass(frozen=True)
class Chosen:
    """A value and where it came from: `command line`, the variable's name, the file's path, or `default`."""

    value: Any
    source: str


def settings() -> list[Setting]:
    """Every option of a server, read off the options' own dataclasses."""
    found = []
    for group, owner in _owners().items():
        hints = get_type_hints(owner)
        made = owner()
        for entry in dataclasses.fields(owner):
            if not dataclasses.is_dataclass(hints[entry.name]):
                found.append(Setting(entry.name, hints[entry.name], getattr(made, entry.name), group))
    return found


def _owners() -> dict[str, Any]:
    hints = get_type_hints(ServerOptions)
    groups = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    return {"": ServerOptions, **groups}


def choose(given: Mapping[str, Any], file: Path | None, environment: Mapping[str, str]) -> dict[str, Chosen]:
    """Every option's value and source. given: of the command line; None is not given. Raises InputError."""
    from_file = _read(file) if file is not None else {}
    chosen = {}
    for setting in settings():
        if given.get(setting.name) is not None:
            chosen[setting.name] = Chosen(given[setting.name], "command line")
        elif setting.variable in environment:
            value = _from_text(environment[setting.variable], setting, setting.variable)
            chosen[setting.name] = Chosen(value, setting.variable)
        elif setting.name in from_file:
            value = _checked(from_file[setting.name], setting, f"{file}: {setting.name}")
            chosen[setting.name] = Chosen(value, str(file))
        else:
            chosen[setting.name] = Chosen(setting.default, "default")
    return chosen


def make_options(chosen: Mapping[str, Chosen]) -> ServerOptions:
    """The options as one value. Raises InputError."""
    groups: dict[str, dict[str, Any]] = {}
    for setting in settings():
        groups.setdefault(setting.group, {})[setting.name] = chosen[setting.name].value
    owners = _owners()
    made = {group: owners[group](**values) for group, values in groups.items() if group}
    return ServerOptions(**groups[""], **made)


def shown(chosen: Mapping[str, Chosen]) -> list[tuple[str, str, str]]:
    """(option, value, source) of each; keys are counted, never shown, and no passwords of addresses either."""
    rows = []
    for name, one in chosen.items():
        value = json.dumps(one.value, default=str)
        if name == _SECRET and one.value:
            value = f"{len(one.value)} key(s)"
        elif name == _ADDRESSES:
            value = json.dumps([_without_password(named) for named in one.value])
        rows.append((name, value, one.source))
    return rows


def _without_password(named: str) -> str:
    name, _, address = named.partition("=")
    return f"{name}={shown_place(address)}"


def json_schema() -> dict[str, Any]:
    """The file's JSON Schema."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}
    properties = {}
    for setting in settings():
        plain, is_optional, is_list = _shape(setting.type)
        one: dict[str, Any] = {"type": names[plain]}
        one = {"type": "array", "items": one} if is_list else one
        if is_optional:
            one = {"anyOf": [one, {"type": "null"}]}
        properties[setting.name] = one | {"default": json.loads(json.dumps(setting.default, default=str))}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Options of sememe serve",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(file.read_text("utf-8"))
    except OSError as exc:
        raise InputError(f"The config file {file} cannot be read: {exc.strerror}.") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise InputError(f"The config file {file} is no YAML: {' '.join(str(exc).split())}.") from exc
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise InputError(f"The config file {file} holds a {type(raw).__name__}; expected options by name.")
    known = {setting.name for setting in settings()}
    if unknown := [str(name) for name in raw if name not in known]:
        raise InputError(f"{file}: unknown option {unknown[0]!r}. There are: {', '.join(sorted(known))}.")
    return raw


def _shape(hint: Any) -> tuple[type, bool, bool]:
    """(plain type, may be null, is a list)."""
    if get_origin(hint) in (Union, types.UnionType):
        plain = next(one for one in get_args(hint) if one is not type(None))
        return _shape(plain)[0], True, _shape(plain)[2]
    if get_origin(hint) is tuple:
        return get_args(hint)[0], False, True
    return hint, False, False


def _checked(value: Any, setting: Setting, where: str) -> Any:
    """A value of the file, if it is of the option's type."""
    plain, is_optional, is_list = _shape(setting.type)
    if value is None and is_optional:
        return None
    if is_list:
        rows = [value] if isinstance(value, str) else value
        if not isinstance(rows, list) or not all(isinstance(one, plain) for one in rows):
            got = "something else" if setting.name in (_SECRET, _ADDRESSES) else repr(value)
            raise InputError(f"{where} is {got}; expected a list of {plain.__name__}.")
        return tuple(rows)
    if plain is Path and isinstance(value, str):
        return Path(value)
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        raise InputError(f"{where} is {value!r}; expected {plain.__name__}.")
    return value


def _from_text(text: str, setting: Setting, where: str) -> Any:
    """A value of the environment; lists are separated by commas."""
    plain, is_optional, is_list = _shape(setting.type)
    if is_list:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if not text and is_optional:
        return None
    if plain is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise InputError(f"{where} is {text!r}; expected true or false.")
        return text.lower() in _TRUE
    try:
        return plain(text)
    except ValueError as exc:
        raise InputError(f"{where} is {text!r}; expected {plain.__name__}.") from exc


def environment() -> Mapping[str, str]:
    """The process's environment variables that are ours; an unknown one of ours is an error, as in a file."""
    ours = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    if f"{_PREFIX}SERVICE_HOST" in ours:  # and with it SEMEME_SERVE_PORT=tcp://…
        raise InputError(
            f"Kubernetes sets {_PREFIX}* for a Service called sememe-serve, which are the names of this server's options. "
            "Give the Service another name, or the pod enableServiceLinks: false."
        )
    known = {setting.variable for setting in settings()}
    if unknown := sorted(set(ours) - known):
        raise InputError(f"{unknown[0]} is no option. There are: {', '.join(sorted(known))}.")
    return ours
