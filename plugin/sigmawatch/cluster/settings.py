"""Where a cluster is and how to log in: from options and environment variables, secrets never shown."""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ConnectionSettings", "KibanaSettings", "addresses_of_cloud"]

DEFAULT_TIMEOUT = 30.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


_NO_ADDRESS = (
    "Pass --url, or --env for one of sigmawatch.yml, or set SIGMAWATCH_URL; "
    "`sigmawatch engine start` runs a node to try things on."
)


@dataclass(frozen=True)
class KibanaSettings:
    """How to reach the Kibana of a cluster."""

    connection: ConnectionSettings
    space: str = "default"
    """Where things are deployed to."""


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
    client_certificate: Path | None = None
    """PEM file of our own certificate, where the cluster wants one (PKI realm, mutual TLS)."""
    client_key: Path | None = None
    """PEM file of its private key, without a passphrase; None: it is in the certificate's file."""
    verify: bool = True
    """Whether the certificate is verified at all."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds to wait for an answer, for every request that names no other."""
    kibana: KibanaSettings | None = None
    """The Kibana of the cluster, where there is one to deploy to."""

    def __post_init__(self) -> None:
        given = (self.url,) if isinstance(self.url, str) else tuple(self.url)
        if not given:
            raise UsageError("no cluster address", hint=_NO_ADDRESS)
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
        if self.client_certificate is not None:
            _check_pair(self.client_certificate, self.client_key)
        elif self.client_key is not None:
            raise UsageError("a key without its certificate", hint="Give the client certificate, too.")

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
        if self.bearer is not None:
            return "bearer token"
        return "no credentials" if self.client_certificate is None else "client certificate"

    def with_kibana(self, url: str, space: str = "default") -> ConnectionSettings:
        """Return settings with a Kibana that takes the same login and authority as the cluster."""
        own = replace(self, url=url, fingerprint=None, kibana=None)
        return replace(self, kibana=KibanaSettings(own, space))

    def __repr__(self) -> str:
        shown = {
            "url": self.urls,
            "api_key": self.api_key and "***",
            "basic": self.basic and (self.basic[0], "***"),
            "bearer": self.bearer and "***",
            "ca_file": self.ca_file,
            "fingerprint": self.fingerprint,
            "client_certificate": self.client_certificate,
            "client_key": self.client_key,
            "verify": self.verify,
            "timeout": self.timeout,
            "kibana": self.kibana,
        }
        return f"ConnectionSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def from_environment(
        cls,
        *,
        url: str | Sequence[str] | None = None,
        cloud_id: str | None = None,
        ca_file: Path | None = None,
        fingerprint: str | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
        verify: bool | None = None,
        timeout: float | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> ConnectionSettings:
        """Build settings from command-line options, and from environment variables for the rest.

        Variables: SIGMAWATCH_URL (several separated by commas), SIGMAWATCH_API_KEY, SIGMAWATCH_USERNAME,
        SIGMAWATCH_PASSWORD, SIGMAWATCH_BEARER, SIGMAWATCH_CA, SIGMAWATCH_FINGERPRINT, SIGMAWATCH_VERIFY,
        SIGMAWATCH_TIMEOUT, SIGMAWATCH_CLOUD_ID (instead of an address), SIGMAWATCH_CLIENT_CERTIFICATE,
        SIGMAWATCH_CLIENT_KEY, SIGMAWATCH_KIBANA_URL, SIGMAWATCH_KIBANA_SPACE; of the secrets and the addresses also
        NAME_FILE, a file that holds the value.
        Secrets have no option, since a command line is there for everybody to read. Raises UsageError.
        """
        variables = _Variables(os.environ if environ is None else environ)
        kibana = variables.get("KIBANA_URL")
        cloud_id = cloud_id or (variables.get("CLOUD_ID") if url is None else None)
        if cloud_id is not None:
            if url is not None or variables.get("URL"):
                raise UsageError("a cloud id and an address", hint="Give one of them.")
            url, of_cloud = addresses_of_cloud(cloud_id)
            kibana = kibana or of_cloud or None
        if url is None:
            url = variables.get("URL")
        if not url:
            raise UsageError("no cluster address", hint=_NO_ADDRESS)
        urls = (
            [part.strip() for part in url.split(",") if part.strip()] if isinstance(url, str) else list(url)
        )
        user, password = variables.get("USERNAME"), variables.get("PASSWORD")
        if (user is None) != (password is None):
            missing = "SIGMAWATCH_USERNAME" if user is None else "SIGMAWATCH_PASSWORD"
            raise UsageError(f"{missing} is not set", hint="User and password belong together.")
        ca = variables.environ.get("SIGMAWATCH_CA")
        found = cls(
            url=tuple(urls),
            api_key=variables.get("API_KEY"),
            basic=(user, password) if user is not None and password is not None else None,
            bearer=variables.get("BEARER"),
            ca_file=ca_file or (Path(ca) if ca else None),
            fingerprint=fingerprint or variables.get("FINGERPRINT"),
            client_certificate=client_certificate or variables.path("CLIENT_CERTIFICATE"),
            client_key=client_key or variables.path("CLIENT_KEY"),
            verify=variables.boolean("VERIFY", default=True) if verify is None else verify,
            timeout=variables.number("TIMEOUT", default=DEFAULT_TIMEOUT) if timeout is None else timeout,
        )
        space = variables.get("KIBANA_SPACE") or "default"
        return found if kibana is None else found.with_kibana(kibana, space)


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

    def path(self, name: str) -> Path | None:
        """Return a variable that names a file."""
        text = self.environ.get(f"SIGMAWATCH_{name}", "")
        return Path(text) if text else None

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


def addresses_of_cloud(cloud_id: str) -> tuple[str, str]:
    """Return the addresses of the cluster and of its Kibana (empty where it has none) that a cloud id stands for.

    `NAME:BASE64` of `HOST[:PORT]$ELASTICSEARCH[:PORT]$KIBANA[:PORT]`, each a subdomain of the host; the port is 443
    where none is said (Elastic's page "Cloud ID"). Raises UsageError.
    """
    try:
        text = base64.b64decode(cloud_id.rpartition(":")[2], validate=True).decode("ascii")
        host, elasticsearch, *others = text.split("$")
    except (ValueError, UnicodeDecodeError):
        host = elasticsearch = ""
        others = []
    if not host or not elasticsearch:
        raise UsageError(
            "that is no cloud id", hint="Copy it from the page of the deployment, e.g. name:ZXUt…"
        )

    def address(part: str) -> str:
        name, _, port = part.partition(":")
        domain, _, common = host.partition(":")
        return f"https://{name}.{domain}:{port or common or 443}" if name else ""

    return address(elasticsearch), address(others[0]) if others else ""


def _check_pair(certificate: Path, key: Path | None) -> None:
    """Raise UsageError when a certificate and its key cannot be used."""

    def no_passphrase() -> str:
        raise UsageError(
            f"{key or certificate}: the key wants a passphrase",
            hint="Store it without one, readable only for who deploys: `openssl pkey -in KEY -out PLAIN`.",
        )

    try:
        ssl.create_default_context().load_cert_chain(certificate, key, no_passphrase)
    except (OSError, ssl.SSLError) as error:
        told = (
            "no certificate and key that belong together"
            if isinstance(error, ssl.SSLError)
            else f"cannot be read: {error.strerror}"
        )
        names = f"{certificate} and {key}" if key is not None else str(certificate)
        raise UsageError(f"{names}: {told}", hint="They should be PEM files.") from error


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
