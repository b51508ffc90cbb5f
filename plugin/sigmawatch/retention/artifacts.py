"""Retention as artifacts: a policy for each dataset, what its indices say about it, and its attachment to old indices.

Policies are made by dataset rather than by preset, as index templates are: a change of one dataset's days changes one
policy, and indices that have it need not be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW
from sigmawatch.alerts.templates import alert_template_id
from sigmawatch.artifact import Artifact, ArtifactKey, content_hash
from sigmawatch.errors import TargetUnavailable
from sigmawatch.retention.reading import DEFAULT, presets, resolved
from sigmawatch.retention.render import (
    ISM_PRIORITY,
    ilm_policy,
    ilm_until,
    ism_policy,
    ism_until,
    lifecycle,
    unserved,
)
from sigmawatch.retention.values import Mechanism, Retention, RetentionTuning, SiteRetention

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Features

__all__ = ["Kept", "choose_mechanism", "index_additions", "kept", "policy_id", "retention_artifacts"]

MONTH = 31
"""Days of what an index of a month holds: the last of its events is this much younger than the index."""

_FEATURES = {Mechanism.ILM: "ilm", Mechanism.ISM: "ism", Mechanism.LIFECYCLE: "lifecycle"}


@dataclass(frozen=True)
class Kept:
    """How long the indices of one pattern are kept, and by whom."""

    what: str
    """Name of the index template, `alerts`, `shadow` (alerts of rules on trial) or `health`; of a tenant, the latter
    end with its name."""
    pattern: str
    """Names of the data streams or indices."""
    mechanism: Mechanism
    retention: Retention
    monthly: bool = False
    """Indices that end by themselves, one a month, and are not rolled over."""
    tenant: str = ""
    """Whose they are; empty: everybody's."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What of it is not done there."""
        return tuple(f"{self.what}: {note}" for note in unserved(self.retention, self.mechanism))

    @property
    def archive_fault(self) -> str:
        """Why its archive may lack events, or is none; empty where nothing is wrong."""
        archive, deleted = self.retention.archive, self.retention.delete
        if archive is None:
            return ""
        if archive.delete is not None and archive.delete <= archive.after:
            return f"nothing is archived: copies are deleted after {archive.delete} d, and made after {archive.after} d"
        if deleted is None or self.mechanism is Mechanism.NONE:
            return ""
        if archive.after >= deleted:
            return (
                f"events are deleted from {deleted} d on, and archived from {archive.after} d on: they may be deleted "
                "before they are archived"
            )
        if archive.delete is not None and archive.delete <= deleted:
            return f"the archive is kept for {archive.delete} d, no longer than the events themselves ({deleted} d)"
        return ""

    @property
    def in_words(self) -> str:
        """How long an event is kept."""
        shortest = self.retention.delete
        if self.mechanism is Mechanism.NONE or shortest is None:
            return "for ever"
        longest = shortest + (MONTH if self.monthly else self.retention.rollover_age)
        return f"{shortest} to {longest} days"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        retention = self.retention
        return {
            "indices": self.pattern,
            "by": self.mechanism.value,
            "preset": retention.source,
            "kept": self.in_words,
            "warm": retention.warm,
            "cold": retention.cold,
            "delete": retention.delete,
            "rollover_age": None if self.monthly else retention.rollover_age,
            "archive": {"after": retention.archive.after, "delete": retention.archive.delete}
            if retention.archive is not None
            else None,
        }


def policy_id(what: str) -> str:
    """Return the name of the policy that keeps something."""
    return f"sigmawatch-{what}"


def choose_mechanism(site: SiteRetention, features: Features) -> Mechanism:
    """Return who keeps events in a cluster, as the site wants it or else the best there is.

    Raises TargetUnavailable where the cluster lacks what is wanted by name.
    """
    if site.by not in (None, "auto"):
        wanted = Mechanism(str(site.by))
        if reason := _lack(wanted, features):
            raise TargetUnavailable(
                f"retention by {wanted}: {reason}", hint="`retention: {by: auto}` takes what there is."
            )
        return wanted
    return next((one for one in _FEATURES if not _lack(one, features)), Mechanism.NONE)


def _lack(mechanism: Mechanism, features: Features) -> str:
    if mechanism is Mechanism.NONE:
        return ""
    return features.why_not(_FEATURES[mechanism]) or features.why_not("data_streams")


def kept(
    datasets: Iterable[tuple[str, str, str]],
    *,
    tenant: str = "",
    site: SiteRetention,
    tunings: Mapping[str, RetentionTuning],
    features: Features,
) -> list[Kept]:
    """Return how long everything is kept.

    `datasets`: name, index template and index pattern of each. `tenant`: whose they are. `tunings`: what is said about
    datasets, by name. Raises TargetUnavailable where something is to be deleted some day and nobody in the cluster
    could.
    """
    mechanism = choose_mechanism(site, features)
    found = []
    for name, template, pattern in datasets:
        retention = resolved(site, name, tunings.get(name))
        found.append(Kept(template, pattern, retention.by or mechanism, retention, tenant=tenant))
    deleted = [one for one in found if one.retention.delete is not None and one.retention.by is None]
    if deleted and mechanism is Mechanism.NONE and site.by != Mechanism.NONE:
        lacks = "; ".join(dict.fromkeys(filter(None, (_lack(one, features) for one in _FEATURES))))
        raise TargetUnavailable(
            f"{deleted[0].pattern} is to be deleted after {deleted[0].retention.delete} days, "
            f"but nobody in this cluster does that: {lacks}",
            hint="`retention: {by: none}` says that you do it yourself.",
        )
    archived = next((one for one in found if one.retention.archive is not None), None)
    if archived is not None and (lack := features.why_not("data_streams")):
        raise TargetUnavailable(
            f"{archived.pattern} is to be archived, but {lack}",
            hint="Only indices of data streams are archived: `retention: {archive: never}`.",
        )
    preset = presets()[site.logs.preset or DEFAULT]
    # Alerts and health notes are plain indices, which a data stream lifecycle does not know.
    plain = Mechanism.NONE if mechanism is Mechanism.LIFECYCLE else mechanism
    for what, name, given, days in (
        ("alerts", ALERTS, site.alerts, preset.alerts),
        ("shadow", SHADOW, site.alerts, preset.alerts),
        ("health", HEALTH, site.health, preset.health),
    ):
        age = days if given is ... else given
        source = preset.name if given is ... else "own"
        found.append(
            Kept(
                f"{what}-{tenant}" if tenant else what,
                f"{alert_template_id(name, tenant)}-*",
                plain,
                Retention(source, delete=age, best_compression=False),
                monthly=True,
                tenant=tenant,
            )
        )
    return found


def index_additions(one: Kept) -> dict[str, Any]:
    """Return what indices get from their template besides mappings: compression, and who looks after them."""
    index: dict[str, Any] = {}
    if one.retention.best_compression:
        index["codec"] = "best_compression"
    if one.mechanism is Mechanism.ILM:
        index["lifecycle"] = {"name": policy_id(one.what)}
    found: dict[str, Any] = {"settings": {"index": index}} if index else {}
    if one.mechanism is Mechanism.LIFECYCLE:
        found["lifecycle"] = lifecycle(one.retention)
    return found


def retention_artifacts(one: Kept, *, needs: Iterable[ArtifactKey] = ()) -> list[Artifact]:
    """Return the policy for something that is kept, and its attachment to indices that were there before.

    `needs`: what must be in the cluster before the attachment, such as the data stream. Nothing where nobody keeps it.
    """
    shared = one.monthly
    source = "retention/presets.yml" if one.retention.source in presets() else "sigmawatch.yml"
    if one.mechanism is Mechanism.LIFECYCLE:
        body = lifecycle(one.retention)
        return [
            Artifact("data_stream_lifecycle", one.pattern, body, tuple(needs), source=source, shared=shared)
        ]
    if one.mechanism is Mechanism.NONE:
        return []
    retention, ilm = one.retention, one.mechanism is Mechanism.ILM
    # Two policies of the same priority for one index are refused.
    priority = ISM_PRIORITY + 10 if one.tenant else ISM_PRIORITY
    if one.monthly:
        age = None if retention.delete is None else retention.delete + MONTH
        body = ilm_until(age) if ilm else ism_until(age, one.pattern, priority)
    else:
        body = ilm_policy(retention) if ilm else ism_policy(retention, one.pattern, priority)
    name = policy_id(one.what)
    policy = Artifact("ilm_policy" if ilm else "ism_policy", name, body, source=source, shared=shared)
    attached: dict[str, Any] = {"policy": name}
    if not ilm:
        # Indices keep the version of an ISM policy that they were given: they are given each anew.
        attached["version"] = content_hash(body)
    kind = "ilm_attachment" if ilm else "ism_attachment"
    attachment = Artifact(kind, one.pattern, attached, (policy.key, *needs), source=source, shared=shared)
    return [policy, attachment]
