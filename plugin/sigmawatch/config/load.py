"""Finding and reading `sigmawatch.yml`; every mistake in it is told at once, with its line."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sigmawatch.compile.plan import SEVERITIES
from sigmawatch.config.datasets import merged_datasets, read_datasets
from sigmawatch.config.model import (
    INDICES,
    NAMESPACE,
    TENANT,
    Configuration,
    Environment,
    Kibana,
    Login,
    Secret,
)
from sigmawatch.config.tuning import merged, read_tunings
from sigmawatch.datasets.reader import Reader
from sigmawatch.errors import ContentError, UsageError
from sigmawatch.render.kibana import RuleAction
from sigmawatch.render.target import Target
from sigmawatch.retention.reading import merged_site_retention, read_site_retention
from sigmawatch.yamlfile import load_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.errors import Problem

__all__ = ["FILE_NAME", "find_configuration", "load_configuration"]

FILE_NAME = "sigmawatch.yml"
VARIABLE = "SIGMAWATCH_CONFIG"

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SPACE = re.compile(r"[a-z0-9_-]+", re.ASCII)  # Kibana: "URL identifier" of a space
_CONTENT = ("placeholders", "rules", "exclusions", "datasets", "threat_intel", "privacy", "retention")
_TOP = (*_CONTENT, "environments")
_KEYS = (
    "url",
    "cloud_id",
    "auth",
    "tls",
    "timeout",
    "namespace",
    "tenant",
    "live_types",
    "target",
    "kibana",
    *_CONTENT,
)
_LOGINS = ("api_key", "bearer", "username", "password")


def find_configuration(named: Path | None = None, folders: Iterable[Path] = ()) -> Configuration:
    """Return the configuration: of the file that is named, or that SIGMAWATCH_CONFIG names, or found in a folder.

    `folders`: looked through in their order, e.g. the pack and then the current folder. Without any file the
    configuration says nothing. Raises ContentError for a file that is invalid, UsageError for one that was
    named and is not there.
    """
    variable = os.environ.get(VARIABLE)
    chosen = named or (Path(variable) if variable else None)
    if chosen is not None:
        if not chosen.is_file():
            raise UsageError(f"{chosen}: there is no such configuration file")
        return load_configuration(chosen)
    for folder in folders:
        if (folder / FILE_NAME).is_file():
            return load_configuration(folder / FILE_NAME)
    return Configuration()


def load_configuration(path: Path) -> Configuration:
    """Return what a configuration file says. An empty one says nothing. Raises ContentError, with all mistakes."""
    documents = load_all(path)
    if not documents:
        return Configuration(path)
    problems: list[Problem] = []
    reader = Reader(documents[0], documents[0].data, problems, code="configuration")
    if len(documents) > 1:
        reader.problem(f"holds {len(documents)} YAML documents, expected one")
    found = Configuration(path)
    if reader.is_mapping(_TOP):
        folder = path.resolve().parent
        site = Configuration(
            path,
            _placeholders(reader),
            rules=read_tunings(reader),
            exclusions=_existing_paths(reader, "exclusions", folder),
            datasets=read_datasets(reader),
            indicators=_indicators(reader, folder),
            privacy_key=_privacy_key(reader, folder),
            retention=read_site_retention(reader),
        )
        found = replace(site, environments=_environments(reader, folder, site.everywhere))
    if problems:
        raise ContentError(problems)
    return found


def _placeholders(reader: Reader) -> Mapping[str, tuple[str, ...]]:
    """Read `placeholders`: each name with a list of texts and whole numbers, or a single one."""
    member = reader.get("placeholders")
    found: dict[str, tuple[str, ...]] = {}
    for name, values in member.items() if member is not None else ():
        if "%" in name or not name.strip():
            values.problem(f"{name!r} cannot be a placeholder", hint="write the name without its % signs")
        if isinstance(values.data, dict):
            values.problem(f"{name}: expected a list of values, found a mapping")
        elif values.data in (None, []):
            # Expanded to nothing, a rule would silently match nothing.
            values.problem(f"{name}: has no value", hint="give at least one, or leave the placeholder out")
        else:
            found[name] = tuple(_value(each) for each in values.elements())
    return found


def _value(reader: Reader) -> str:
    if isinstance(reader.data, int) and not isinstance(reader.data, bool):
        return str(reader.data)
    if isinstance(reader.data, float | bool):
        # 1.10 would come out as 1.1, and yes as True: only its author knows what was meant.
        reader.problem(f"{reader.data!r} is not a text", hint="put the value in quotes")
        return ""
    return reader.as_text()


def _indicators(reader: Reader, folder: Path) -> tuple[Path, ...]:
    """Read `threat_intel: {indicators: …}`."""
    member = reader.get("threat_intel")
    if member is None or not member.is_mapping(("indicators",)):
        return ()
    return _existing_paths(member, "indicators", folder)


def _privacy_key(reader: Reader, folder: Path) -> Secret | None:
    """Read `privacy: {key: …}`."""
    member = reader.get("privacy")
    if member is None or not member.is_mapping(("key",)):
        return None
    return _secret(member.get("key"), folder)


def _existing_paths(reader: Reader, key: str, folder: Path) -> tuple[Path, ...]:
    """Read files or folders, relative to the configuration."""
    member = reader.get(key)
    found: list[Path] = []
    for each in member.elements() if member is not None else ():
        text = each.as_text()
        if text and not _path(folder, text).exists():
            each.problem(f"{key}: {text} does not exist")
        elif text:
            found.append(_path(folder, text))
    return tuple(found)


def _environments(reader: Reader, folder: Path, site: Environment) -> Mapping[str, Environment]:
    member = reader.get("environments")
    found: dict[str, Environment] = {}
    for name, each in member.items() if member is not None else ():
        if not _ENVIRONMENT_NAME.fullmatch(name):
            each.problem(f"{name!r} cannot be the name of an environment", hint="use letters, digits, - _ .")
        if each.data is None or each.is_mapping(_KEYS):
            found[name] = _environment(name, each, folder, site)
    return found


def _environment(name: str, reader: Reader, folder: Path, site: Environment) -> Environment:
    tls = reader.get("tls")
    has_tls = tls is not None and tls.is_mapping(("ca", "certificate", "fingerprint", "key", "verify"))
    if tls is not None and tls.get("key") is not None and tls.get("certificate") is None:
        tls.at("key").problem("key: without a certificate")
    if reader.get("cloud_id") is not None and reader.get("url") is not None:
        reader.at("cloud_id").problem("cloud_id: beside url", hint="give one of them")
    tenant = _matching(reader, "tenant", TENANT, "lower-case letters, digits and _ .")
    if tenant is not None and reader.get("namespace") is not None:
        reader.at("namespace").problem("namespace: beside tenant", hint="a tenant's namespace is its name")
    return Environment(
        name=name,
        url=_addresses(reader),
        cloud_id=_cloud_id(reader),
        login=_login(reader, folder),
        ca_file=_existing(tls, "ca", folder) if tls is not None and has_tls else None,
        fingerprint=tls.text("fingerprint", default="") or None if tls is not None and has_tls else None,
        client_certificate=_existing(tls, "certificate", folder) if tls is not None and has_tls else None,
        client_key=_existing(tls, "key", folder) if tls is not None and has_tls else None,
        verify=tls.flag("verify") if tls is not None and has_tls and tls.get("verify") else True,
        timeout=_seconds(reader),
        namespace=tenant or _matching(reader, "namespace", NAMESPACE, "lower-case letters, digits and - _ ."),
        tenant=tenant or "",
        live_types=_matching(
            reader,
            "live_types",
            INDICES,
            "what a pattern of index names has: small letters, digits and * , . _ + : -",
        ),
        target=_target(reader),
        kibana=_kibana(reader),
        placeholders={**site.placeholders, **_placeholders(reader)},
        rules=merged(site.rules, read_tunings(reader)),
        exclusions=(*site.exclusions, *_existing_paths(reader, "exclusions", folder)),
        datasets=merged_datasets(site.datasets, read_datasets(reader)),
        indicators=(*site.indicators, *_indicators(reader, folder)),
        privacy_key=_privacy_key(reader, folder) or site.privacy_key,
        retention=merged_site_retention(site.retention, read_site_retention(reader)),
    )


def _addresses(reader: Reader) -> tuple[str, ...]:
    member = reader.get("url")
    if member is None:
        return ()
    return tuple(_address(each) for each in member.elements())


def _cloud_id(reader: Reader) -> str | None:
    # Commands that only look at files do not wait for the client to be imported.
    from sigmawatch.cluster.settings import addresses_of_cloud

    text = reader.text("cloud_id", default="")
    if not text:
        return None
    try:
        addresses_of_cloud(text)
    except UsageError as error:
        reader.at("cloud_id").problem(f"cloud_id: {error.message}", hint=error.hint)
    return text


def _address(reader: Reader) -> str:
    """Return an address. One with a password in it is refused, and never shown."""
    text = reader.as_text()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        reader.problem("not a valid address", hint="e.g. https://es.example.com:9200")
        return text
    if parts.username is not None or parts.password is not None:
        reader.problem(
            "credentials in an address", hint="use `auth:`, with an environment variable or a file"
        )
    elif text and (parts.scheme not in {"http", "https"} or not parts.hostname):
        reader.problem(f"{text}: not an http or https address", hint="e.g. https://es.example.com:9200")
    return text


def _login(reader: Reader, folder: Path) -> Login | None:
    member = reader.get("auth")
    if member is None or not member.is_mapping(_LOGINS):
        return None
    ways = [way for way in ("api_key", "bearer", "username") if member.get(way) is not None]
    if len(ways) != 1:
        member.problem("auth: give one of api_key, bearer, and username with password")
    if (member.get("username") is None) != (member.get("password") is None):
        member.problem("auth: username and password belong together")
    return Login(
        api_key=_secret(member.get("api_key"), folder),
        bearer=_secret(member.get("bearer"), folder),
        username=member.text("username", default=""),
        password=_secret(member.get("password"), folder),
    )


def _secret(reader: Reader | None, folder: Path) -> Secret | None:
    """Read `{env: NAME}` or `{file: PATH}`. A secret that stands there itself is refused, and never shown."""
    if reader is None:
        return None
    if not isinstance(reader.data, dict):
        reader.problem(
            f"{reader.name}: secrets do not stand in this file",
            hint=f"write `{reader.name}: {{env: VARIABLE}}` or `{reader.name}: {{file: PATH}}`",
        )
        return None
    if not reader.is_mapping(("env", "file")):
        return None
    variable, file = reader.text("env", default=""), reader.text("file", default="")
    if bool(variable) == bool(file):
        reader.problem(f"{reader.name}: give one of env and file")
    if variable and not _VARIABLE_NAME.fullmatch(variable):
        # Perhaps the secret itself, put in the wrong place: it is not repeated.
        reader.problem(f"{reader.name}: that cannot be the name of an environment variable")
    return Secret(variable, _path(folder, file) if file else None)


def _path(folder: Path, text: str) -> Path:
    return folder / Path(text).expanduser()


def _existing(reader: Reader, key: str, folder: Path) -> Path | None:
    text = reader.text(key, default="")
    if not text:
        return None
    path = _path(folder, text)
    if not path.is_file():
        reader.at(key).problem(f"{key}: {path} does not exist")
    return path


def _seconds(reader: Reader) -> float | None:
    member = reader.get("timeout")
    if member is None:
        return None
    value = member.data
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        member.problem("timeout: expected a number of seconds")
        return None
    return float(value)


def _matching(reader: Reader, key: str, pattern: re.Pattern[str], what: str) -> str | None:
    member = reader.get(key)
    if member is None:
        return None
    text = member.as_text()
    if text and not pattern.fullmatch(text):
        member.problem(f"{key}: {text!r} may have only {what}")
    return text


def _target(reader: Reader) -> str | None:
    member = reader.get("target")
    if member is None:
        return None
    known = [each.value for each in Target]
    if member.data not in known:
        member.problem(f"target: {member.data!r} is none", hint=f"one of {', '.join(known)}")
    return str(member.data)


def _kibana(reader: Reader) -> Kibana | None:
    member = reader.get("kibana")
    if member is None or not member.is_mapping(("url", "space", "actions")):
        return None
    address = member.get("url")
    if address is None:
        member.problem("'url' is missing", code="missing-key")
        return None
    space = _matching(member, "space", _SPACE, "lower-case letters, digits, - and _")
    return Kibana(_address(address).rstrip("/"), space or "default", _actions(member.get("actions")))


def _actions(reader: Reader | None) -> tuple[RuleAction, ...]:
    """Read whom rules of Kibana tell: each connector by its id, once."""
    found: dict[str, RuleAction] = {}
    for each in reader.elements() if reader is not None else ():
        if not each.is_mapping(("connector", "type", "levels", "params")):
            continue
        name, kind = each.text("connector"), each.text("type")
        levels = each.texts("levels")
        for level in levels:
            if level not in SEVERITIES:
                each.at("levels").problem(f"levels: {level!r} is none", hint=f"of {', '.join(SEVERITIES)}")
        if kind and not kind.startswith("."):
            each.at("type").problem(
                f"type: {kind!r} begins with no dot", hint="e.g. .slack, .email, .webhook"
            )
        if name in found:
            each.problem(f"connector {name} is there twice")
        found[name] = RuleAction(name, kind, levels, each.mapping("params"))
    return tuple(found.values())
