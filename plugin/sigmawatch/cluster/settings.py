"""Where a cluster is and how to log in: from options and environment variables, secrets never shown."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ConnectionSettings"]

DEFAULT_TIMEOUT = 30.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, repr=False)
class ConnectionSettings:
    """How to reach one cluster. Raises UsageError when it makes no sense."""

    url: str | tuple[str, ...]
    """One address or several of the same cluster. Credentials in it are moved to `basic`."""
    api_key: str | None = None
    """An API key, as `id:key` or already base64-encoded."""
    basic: tuple[str, str] | None = None
    """User and password."""
    bearer: str | None = None
    """A bearer token (service account, JWT)."""
    ca_file: Path | None = None
    """PEM file of the authority that signed the cluster's certificate; default: the system's authorities."""
    fingerprint: str | None = None
    """SHA-256 of the cluster's certificate, instead of an authority."""
    verify: bool = True
    """Whether the certificate is verified at all."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds to wait for an answer, for every request that names no other."""

    def __post_init__(self) -> None:
        given = (self.url,) if isinstance(self.url, str) else tuple(self.url)
        if not given:
            raise UsageError("no cluster address", hint="Pass --url or set SIGMAWATCH_URL.")
        urls = []
        for text in given:
            url, login = _split_login(text)
            urls.append(url)
            if login is not None:
                if self._has_login and self.basic != login:
                    raise UsageError(
                        f"{url}: credentials in the address and elsewhere",
                        hint="Give them in one place only.",
                    )
                object.__setattr__(self, "basic", login)
        object.__setattr__(self, "url", tuple(urls))
        if sum(one is not None for one in (self.api_key, self.basic, self.bearer)) > 1:
            raise UsageError(
                "more than one way to log in",
                hint="Give an API key, or user and password, or a bearer token.",
            )
        if self.timeout <= 0:
            raise UsageError("the timeout must be more than 0 seconds")
        if self.ca_file is not None:
            _check_authority(self.ca_file)

    @property
    def _has_login(self) -> bool:
        return any(one is not None for one in (self.api_key, self.basic, self.bearer))

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses, with scheme and port, without credentials."""
        return self.url if isinstance(self.url, tuple) else (self.url,)

    @property
    def login(self) -> str:
        """How we log in, in words that hold no secret."""
        if self.api_key is not None:
            return "API key"
        if self.basic is not None:
            return f"user {self.basic[0]}"
        return "bearer token" if self.bearer is not None else "no credentials"

    def __repr__(self) -> str:
        shown = {
            "url": self.urls,
            "api_key": self.api_key and "***",
            "basic": self.basic and (self.basic[0], "***"),
            "bearer": self.bearer and "***",
            "ca_file": self.ca_file,
            "fingerprint": self.fingerprint,
            "verify": self.verify,
            "timeout": self.timeout,
        }
        return f"ConnectionSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def from_environment(
        cls,
        *,
        url: str | Sequence[str] | None = None,
        ca_file: Path | None = None,
        fingerprint: str | None = None,
        verify: bool | None = None,
        timeout: float | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> ConnectionSettings:
        """Build settings from command-line options, and from environment variables for the rest.

        Variables: SIGMAWATCH_URL (several separated by commas), SIGMAWATCH_API_KEY, SIGMAWATCH_USERNAME,
        SIGMAWATCH_PASSWORD, SIGMAWATCH_BEARER, SIGMAWATCH_CA, SIGMAWATCH_FINGERPRINT, SIGMAWATCH_VERIFY,
        SIGMAWATCH_TIMEOUT; of the secrets and the address also NAME_FILE, a file that holds the value.
        Secrets have no option, since a command line is there for everybody to read. Raises UsageError.
        """
        variables = _Variables(os.environ if environ is None else environ)
        if url is None:
            url = variables.get("URL")
        if not url:
            raise UsageError("no cluster address", hint="Pass --url or set SIGMAWATCH_URL.")
        urls = (
            [part.strip() for part in url.split(",") if part.strip()] if isinstance(url, str) else list(url)
        )
        user, password = variables.get("USERNAME"), variables.get("PASSWORD")
        if (user is None) != (password is None):
            missing = "SIGMAWATCH_USERNAME" if user is None else "SIGMAWATCH_PASSWORD"
            raise UsageError(f"{missing} is not set", hint="User and password belong together.")
        ca = variables.environ.get("SIGMAWATCH_CA")
        return cls(
            url=tuple(urls),
            api_key=variables.get("API_KEY"),
            basic=(user, password) if user is not None and password is not None else None,
            bearer=variables.get("BEARER"),
            ca_file=ca_file or (Path(ca) if ca else None),
            fingerprint=fingerprint or variables.get("FINGERPRINT"),
            verify=variables.boolean("VERIFY", default=True) if verify is None else verify,
            timeout=variables.number("TIMEOUT", default=DEFAULT_TIMEOUT) if timeout is None else timeout,
        )


class _Variables(NamedTuple):
    """Our environment variables; an empty one counts as not set."""

    environ: Mapping[str, str]

    def get(self, name: str) -> str | None:
        """Return SIGMAWATCH_<name>, or what the file that SIGMAWATCH_<name>_FILE names holds."""
        variable = f"SIGMAWATCH_{name}"
        value, file = self.environ.get(variable), self.environ.get(f"{variable}_FILE")
        if value and file:
            raise UsageError(f"both {variable} and {variable}_FILE are set", hint="Keep one of them.")
        if not file:
            return value or None
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not a text file"
            raise UsageError(f"{variable}_FILE: {file} cannot be read: {what}") from error

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return a variable that says yes or no."""
        text = self.environ.get(f"SIGMAWATCH_{name}", "").lower()
        if text in {"", "1", "true", "yes", "on", "0", "false", "no", "off"}:
            return text in {"1", "true", "yes", "on"} if text else default
        raise UsageError(f"SIGMAWATCH_{name}={text}: expected true or false")

    def number(self, name: str, *, default: float) -> float:
        """Return a variable that holds a number."""
        text = self.environ.get(f"SIGMAWATCH_{name}", "")
        try:
            return float(text) if text else default
        except ValueError:
            raise UsageError(f"SIGMAWATCH_{name}={text}: expected a number of seconds") from None


def _check_authority(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:  # SSLError is an OSError too, and says nothing of the file
        what = (
            "holds no certificate" if isinstance(error, ssl.SSLError) else f"cannot be read: {error.strerror}"
        )
        raise UsageError(f"{file}: {what}", hint="It should hold the CA certificate as PEM.") from error


def _split_login(text: str) -> tuple[str, tuple[str, str] | None]:
    """Return an address with scheme and port, and the credentials that stood in it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # The text is not repeated: it may hold a password that is not quoted as an address wants it.
        raise UsageError(
            "the cluster address is not a valid URL", hint="Example: https://es.example.com:9200"
        ) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise UsageError(
            f"{text.rpartition('@')[2]}: not an http or https address",
            hint="Example: https://es.example.com:9200",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{_DEFAULT_PORTS[parts.scheme] if port is None else port}"
    url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    if parts.username is None:
        return url, None
    return url, (unquote(parts.username), unquote(parts.password or ""))
