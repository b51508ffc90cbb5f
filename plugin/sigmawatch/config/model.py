"""What a configuration says, as values. Secrets are not among them: only where they are to be read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sigmawatch.datasets.pseudonyms import Pseudonyms
from sigmawatch.errors import UsageError
from sigmawatch.retention.values import SiteRetention

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sigmawatch.cluster import ConnectionSettings
    from sigmawatch.config.datasets import DatasetTuning
    from sigmawatch.config.tuning import RuleTuning
    from sigmawatch.render.kibana import RuleAction

__all__ = ["INDICES", "NAMESPACE", "TENANT", "Configuration", "Environment", "Kibana", "Login", "Secret"]

NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}", re.ASCII)
"""What can end the name of an index."""

TENANT = re.compile(r"[a-z0-9][a-z0-9_.]{0,39}", re.ASCII)
"""As `NAMESPACE`, without the hyphens that separate the parts of a name: patterns of one tenant match no other's."""

INDICES = re.compile(r"[a-z0-9*.-][a-z0-9*,._+:-]*", re.ASCII)
"""Names of indices and patterns of them, also of remote clusters."""


@dataclass(frozen=True)
class Secret:
    """Where a secret is: in an environment variable or in a file of its own. Exactly one of them is given."""

    variable: str = ""
    file: Path | None = None

    def read(self, environ: Mapping[str, str] | None = None) -> str:
        """Return the secret. Raises UsageError when it is not there."""
        if self.file is None:
            value = (os.environ if environ is None else environ).get(self.variable, "")
            if not value:
                raise UsageError(f"the environment variable {self.variable} is not set")
            return value
        try:
            value = self.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not a text file"
            raise UsageError(f"{self.file} cannot be read: {what}") from error
        if not value:
            raise UsageError(f"{self.file} is empty", hint="It should hold the secret and nothing else.")
        return value


@dataclass(frozen=True)
class Login:
    """How to log in: an API key, a bearer token, or user and password."""

    api_key: Secret | None = None
    bearer: Secret | None = None
    username: str = ""
    password: Secret | None = None


@dataclass(frozen=True)
class Kibana:
    """The Kibana of a cluster."""

    url: str
    """Its address, without a space."""
    space: str = "default"
    actions: tuple[RuleAction, ...] = ()
    """Whom rules of its detection engine tell."""


@dataclass(frozen=True)
class Environment:
    """One cluster of a site, and what is different there."""

    name: str
    url: tuple[str, ...] = ()
    """Addresses of the cluster; none: SIGMAWATCH_URL."""
    cloud_id: str | None = None
    """Instead of addresses: what Elastic Cloud calls the deployment."""
    login: Login | None = None
    """None: as the environment variables say."""
    ca_file: Path | None = None
    fingerprint: str | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    verify: bool = True
    timeout: float | None = None
    namespace: str | None = None
    """Of data streams and alerts; None where the configuration leaves it to the command."""
    tenant: str = ""
    """Whose events and alerts alone it is about, which is also their namespace; empty: everybody's in the cluster."""
    live_types: str | None = None
    """Indices of the cluster whose mappings say what types fields have; None: ECS and the datasets say so."""
    target: str | None = None
    """Who executes the detections, by the name of the target."""
    kibana: Kibana | None = None
    placeholders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of placeholders here: those of the whole site, and over them the environment's own."""
    rules: Mapping[str, RuleTuning] = field(default_factory=dict)
    """What is different about rules, by id, name or file: as for placeholders."""
    exclusions: tuple[Path, ...] = ()
    """Files and folders with Sigma filters: those of the whole site and the environment's own."""
    datasets: Mapping[str, DatasetTuning] = field(default_factory=dict)
    """What is different about datasets, by name or glob: as for placeholders."""
    indicators: tuple[Path, ...] = ()
    """Lists of indicators of compromise, and folders with such: as for exclusions."""
    retention: SiteRetention = field(default_factory=SiteRetention)
    """How long everything is kept: as for placeholders."""
    privacy_key: Secret | None = None
    """What pseudonyms are made with."""

    def pseudonyms(self) -> Pseudonyms:
        """Return what makes the pseudonyms here; the key is read now. Raises UsageError when there is none."""
        if self.privacy_key is None:
            raise UsageError(
                "pseudonyms are switched on, and no key is named",
                hint="`privacy: {key: {env: VARIABLE}}` or `{file: PATH}` in sigmawatch.yml.",
            )
        return Pseudonyms(self.privacy_key.read().encode())

    def secrets(self) -> Mapping[str, object]:
        """Return what deployed bodies need and do not hold, by name. Raises UsageError for a key that is not there."""
        if self.privacy_key is None:
            return {}
        pseudonyms = self.pseudonyms()
        return {pseudonyms.id: pseudonyms.states()}

    def connection(self, environ: Mapping[str, str] | None = None) -> ConnectionSettings:
        """Return how to reach the cluster; secrets are read now. Raises UsageError when one is missing.

        What the environment leaves open is taken from the variables SIGMAWATCH_…, but never a login for a cluster
        of which the configuration says how to log in.
        """
        # Commands that only look at files do not wait for the client to be imported.
        from sigmawatch.cluster import ConnectionSettings

        variables = dict(os.environ if environ is None else environ)
        if self.login is not None:
            for name in ("API_KEY", "USERNAME", "PASSWORD", "BEARER"):
                variables.pop(f"SIGMAWATCH_{name}", None)
                variables.pop(f"SIGMAWATCH_{name}_FILE", None)
            given = {
                "SIGMAWATCH_API_KEY": self.login.api_key,
                "SIGMAWATCH_BEARER": self.login.bearer,
                "SIGMAWATCH_PASSWORD": self.login.password,
            }
            source = os.environ if environ is None else environ
            variables |= {name: secret.read(source) for name, secret in given.items() if secret is not None}
            if self.login.username:
                variables["SIGMAWATCH_USERNAME"] = self.login.username
        found = ConnectionSettings.from_environment(
            url=self.url or None,
            cloud_id=self.cloud_id,
            ca_file=self.ca_file,
            fingerprint=self.fingerprint,
            client_certificate=self.client_certificate,
            client_key=self.client_key,
            verify=None if self.verify else False,
            timeout=self.timeout,
            environ=variables,
        )
        return found if self.kibana is None else found.with_kibana(self.kibana.url, self.kibana.space)


@dataclass(frozen=True)
class Configuration:
    """A whole `sigmawatch.yml`; without a file, one that says nothing."""

    path: Path | None = None
    placeholders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each placeholder of Sigma's `expand` the values it stands for, wherever rules are compiled."""
    environments: Mapping[str, Environment] = field(default_factory=dict)
    rules: Mapping[str, RuleTuning] = field(default_factory=dict)
    exclusions: tuple[Path, ...] = ()
    datasets: Mapping[str, DatasetTuning] = field(default_factory=dict)
    indicators: tuple[Path, ...] = ()
    retention: SiteRetention = field(default_factory=SiteRetention)
    privacy_key: Secret | None = None

    @property
    def everywhere(self) -> Environment:
        """What holds where no environment is named."""
        return Environment(
            "",
            placeholders=self.placeholders,
            rules=self.rules,
            exclusions=self.exclusions,
            datasets=self.datasets,
            indicators=self.indicators,
            retention=self.retention,
            privacy_key=self.privacy_key,
        )

    def environment(self, name: str) -> Environment:
        """Return an environment by its name. Raises UsageError, naming those there are."""
        if name in self.environments:
            return self.environments[name]
        if self.path is None:
            raise UsageError(
                f"there is no environment {name}: no sigmawatch.yml was found",
                hint="It is looked for in the pack and in the current folder; --config names another file.",
            )
        known = ", ".join(self.environments) or "none"
        raise UsageError(f"{self.path} has no environment {name}", hint=f"It has: {known}.")
