"""The types of value of HTTP: URLs, request lines, and the addresses that proxies pass on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.script import Script

__all__ = ["Forwarded", "HostUrl", "RequestLine", "Url"]

_URL_FIELDS = (
    "domain", "extension", "fragment", "full", "original", "password", "path", "port", "query", "scheme", "username",
)  # fmt: skip


def _slots(script: Script, mapping: FieldMapping) -> str:
    """Return the arguments for the host and the scheme of a target that has none."""
    return ", ".join(script.slot(raw) if raw else "null" for raw in (mapping.host, mapping.scheme))


@dataclass(frozen=True)
class Url:
    """A URL or the target of a request; whatever the text is, it is at least `original`."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the fields of ECS's `url`."""
        return tuple(f"{target}.{name}" for target in mapping.to for name in _URL_FIELDS)

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the text."""
        url = "v"
        if mapping.query:
            query = script.slot(mapping.query)
            url = f"withQuery(v, {query})"
        connect = f"'CONNECT'.equals({script.slot(mapping.method)})" if mapping.method else "false"
        return " ".join(
            f"putUrl({script.object(target)}, {url}, {_slots(script, mapping)}, {connect});"
            for target in mapping.to
        )


@dataclass(frozen=True)
class HostUrl(Url):
    """A URL that begins with its host where it names no scheme."""

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the text."""
        return " ".join(f"putHostUrl({script.object(target)}, v);" for target in mapping.to)


@dataclass(frozen=True)
class RequestLine:
    """The first line of a request, `GET /index.html HTTP/1.1`."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return method, version, and the fields of the URL."""
        return ("http.request.method", "http.version", *Url().emits(mapping))

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the text."""
        http, request = script.object("http"), script.object("http.request")
        return " ".join(
            f"putRequest({http}, {request}, {script.object(target)}, v, {_slots(script, mapping)});"
            for target in mapping.to
        )


@dataclass(frozen=True)
class Forwarded:
    """The addresses of `X-Forwarded-For`: the first is the client's, all are related."""

    fits: frozenset[str] = frozenset({"ip"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields, and where the others go."""
        return (*mapping.to, "related.ip")

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Take the addresses; a list without any is what a client made up, and no problem."""
        puts = " ".join(script.put(field, "t.get(0)") for field in mapping.to)
        related = f"relate({script.object('related')}, 'ip', t);"
        return f"List t = forwardedAddresses(v); if (!t.isEmpty()) {{ {puts} {related} }}"
