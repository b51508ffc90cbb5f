"""What is added to events beyond what they say: by derivations of the script, or by processors that follow it.

A script notes what is to be looked up below `_lookup` (one address once, and none from inside), the engine's own
processors write what they find there, and another script puts that where ECS has it; both are the same for all
datasets. So no processor needs a condition, which would be one more script to compile, and what the log itself says
always wins.

Which are made where nobody says otherwise is said by `derive.ENRICHMENTS`: those that cost next to nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.derive import PRIVATE_NETWORKS, network_table, wanted
from sigmawatch.datasets.model import FieldInfo
from sigmawatch.datasets.script import Script
from sigmawatch.ecs import ecs_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.model import Dataset

__all__ = [
    "LOOKUP",
    "lookup_processors",
    "threat_intel_id",
    "with_enrichments",
]

LOOKUP = "_lookup"
"""Where a document holds what is to be looked up, and what was found, while its pipeline runs."""

LONGEST_AGENT = 512
"""Characters: the expressions that a user agent is tried against take the longer the longer it is."""

_ENDS = ("source", "destination", "client", "server")
_GEO = (
    "continent_name",
    "country_iso_code",
    "country_name",
    "region_iso_code",
    "region_name",
    "city_name",
    "location",
)
"""What the city databases of both engines have."""
_AGENT = ("name", "version", "device.name", "os.name", "os.version", "os.full")
_NOT_OUTSIDE = (*PRIVATE_NETWORKS, "0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8")
"""Private addresses, and those that are nobody's."""

_FOUND = f"""\
def found = ctx.remove('{LOOKUP}');
if (found instanceof Map) {{ putAllFound(ctx, (Map)found, (List)params.get('ends')); }}
"""

_WANTED = f"""\
ctx.remove('{LOOKUP}');
Map wanted = lookUps(ctx, (List)params.get('ends'), (Map)params.get('networks'), (int)params.get('longest'));
if (!wanted.isEmpty()) {{ ctx.put('{LOOKUP}', wanted); }}
"""

_INDICATOR = "threat.enrichments.indicator"
_THREAT = (
    "threat.enrichments",
    *(
        f"{_INDICATOR}.{name}"
        for name in ("type", "name", "description", "provider", "reference", "confidence")
    ),
    *(f"{_INDICATOR}.{name}" for name in ("first_seen", "last_seen", "modified_at", "marking.tlp", "ip")),
    *(f"{_INDICATOR}.{name}" for name in ("url.domain", "url.full")),
    *(f"{_INDICATOR}.file.hash.{name}" for name in ("md5", "sha1", "sha256", "sha512")),
    *(f"threat.enrichments.matched.{name}" for name in ("atomic", "field", "type", "occurred")),
)
_OWN_THREAT = {
    "sigmawatch.threat_intel.indicator": "indicators that a value of the event is one of, to group and to filter by",
    "sigmawatch.threat_intel.field": "the fields with those values",
    "sigmawatch.threat_intel.provider": "who says that they are indicators",
}


def _ends(dataset: Dataset) -> list[str]:
    return [end for end in _ENDS if dataset.fields.get(f"{end}.ip") == "ip"]


def with_enrichments(dataset: Dataset, options: Mapping[str, Any]) -> Dataset:
    """Return a dataset with the fields that its enrichments add."""
    names: list[str] = []
    for end in _ends(dataset):
        if wanted(options, "geoip"):
            names += [f"{end}.geo.{name}" for name in _GEO]
        if wanted(options, "asn"):
            names += [f"{end}.as.number", f"{end}.as.organization.name"]
    if wanted(options, "user_agent") and "user_agent.original" in dataset.fields:
        names += [f"user_agent.{name}" for name in _AGENT]
    if wanted(options, "threat_intel"):
        names += _THREAT
    added = {name: FieldInfo(ecs_type(name) or "keyword") for name in names if name not in dataset.fields}
    if wanted(options, "threat_intel"):
        added |= {name: FieldInfo("keyword", text) for name, text in _OWN_THREAT.items()}
    if not added:
        return dataset
    return replace(
        dataset,
        fields={**dataset.fields, **{name: info.type for name, info in added.items()}},
        field_info={**dataset.field_info, **added},
    )


def threat_intel_id(tenant: str = "") -> str:
    """Return the name of the pipeline that all datasets, or those of a tenant, call to compare with indicators."""
    return f"sigmawatch-threat-intel-{tenant}" if tenant else "sigmawatch-threat-intel"


def lookup_processors(dataset: Dataset, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the processors that look up what the script noted, and the script that puts it where ECS has it."""
    found: list[dict[str, Any]] = []
    quiet = {"ignore_missing": True, "ignore_failure": True}
    for end in _ends(dataset):
        place = {"field": f"{LOOKUP}.{end}", **quiet}
        if wanted(options, "geoip"):
            target = {"target_field": f"{LOOKUP}.{end}_geo", "properties": list(_GEO)}
            found.append({"geoip": {"tag": f"geoip-{end}", **place, **target}})
        if wanted(options, "asn"):
            target = {"target_field": f"{LOOKUP}.{end}_as", "properties": ["asn", "organization_name"]}
            found.append(
                {"geoip": {"tag": f"asn-{end}", **place, **target, "database_file": "GeoLite2-ASN.mmdb"}}
            )
    if wanted(options, "user_agent") and "user_agent.original" in dataset.fields:
        place = {"field": f"{LOOKUP}.user_agent", "target_field": f"{LOOKUP}.agent", **quiet}
        found.append({"user_agent": {"tag": "user-agent", **place}})
    if found:
        networks = wanted(options, "geoip") or wanted(options, "asn")
        noting = {
            "ends": _ends(dataset) if networks else [],
            "networks": network_table(_NOT_OUTSIDE),
            "longest": LONGEST_AGENT if wanted(options, "user_agent") else 0,
        }
        text = Script().library_text(_WANTED)
        found.insert(0, {"script": {"tag": "wanted", "lang": "painless", "source": text, "params": noting}})
        source = Script().library_text(_FOUND)
        params = {"ends": list(_ENDS)}
        found.append({"script": {"tag": "found", "lang": "painless", "source": source, "params": params}})
    if wanted(options, "threat_intel"):
        name = threat_intel_id(dataset.tenant)
        found.append({"pipeline": {"tag": "threat-intel", "name": name, "ignore_failure": True}})
    return found
