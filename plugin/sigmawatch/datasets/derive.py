"""What follows from several fields together: direction, duration. A new one is one entry in `DERIVATIONS`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.public_suffixes import suffix_table
from sigmawatch.datasets.script import literal
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sigmawatch.datasets.script import Script

__all__ = [
    "DERIVATIONS",
    "ENRICHMENTS",
    "PRIVATE_NETWORKS",
    "Derivation",
    "network_table",
    "related",
    "wanted",
    "write_related",
]

PRIVATE_NETWORKS = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "100.64.0.0/10",                                  # RFC 6598, carrier-grade NAT
    "127.0.0.0/8", "::1/128",
    "169.254.0.0/16", "fe80::/10",
    "fc00::/7",                                       # RFC 4193
)  # fmt: skip
"""Networks that are inside where no option `networks` says otherwise."""

_NEVER_ROUTED = (
    "0.0.0.0/32", "::/128",                           # a host that has no address yet
    "255.255.255.255/32",
    "224.0.0.0/24", "239.0.0.0/8",                    # RFC 5771, RFC 2365: of the link, of the site
    "ff01::/16", "ff02::/16", "ff05::/16",            # RFC 4291: of the host, of the link, of the site
)  # fmt: skip
"""What no packet to or from leaves the site for, whatever `networks` says: DHCP and mDNS are not outbound."""


@dataclass(frozen=True)
class Derivation:
    """Fields that follow from others."""

    reads: Sequence[str]
    """The fields it looks at; where one is missing it does nothing."""
    emits: Sequence[str]
    """The fields it sets."""
    write: Callable[[Script, Mapping[str, Any]], str]
    """Writes its statements, given the options of `build_pipeline`."""
    options: Sequence[str] = ()
    """Options that it understands."""


def _direction(script: Script, options: Mapping[str, Any]) -> str:
    if not wanted(options, "direction"):
        return ""
    inside = options.get("networks") or PRIVATE_NETWORKS
    networks = script.table("networks", network_table([*inside, *_NEVER_ROUTED]))
    translated = ""
    if "destination.nat.ip" in script.declared:
        # What goes to a public address of a firewall, and from there to a host inside, goes inside.
        translated = (
            f"def translatedIp = {script.get('destination.nat.ip')}; if (!toInside && translatedIp != null) "
            f"{{ toInside = inNetworks(ipBits((String)translatedIp), (Map){networks}); }}"
        )
    return f"""\
  def sourceIp = {script.get("source.ip")};
  def destinationIp = {script.get("destination.ip")};
  if (sourceIp != null && destinationIp != null) {{
    boolean fromInside = inNetworks(ipBits((String)sourceIp), (Map){networks});
    boolean toInside = inNetworks(ipBits((String)destinationIp), (Map){networks});
    {translated}
    String direction = fromInside ? (toInside ? 'internal' : 'outbound') : (toInside ? 'inbound' : 'external');
    {script.put("network.direction", "direction")}
  }}
"""


def network_table(networks: Sequence[str]) -> Mapping[str, list[int]]:
    """Return base and mask of networks as signed 64-bit numbers, as the Painless function `inNetworks` reads them."""
    table: dict[str, list[int]] = {"v4": [], "v6": []}
    for text in networks:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is no network", hint="For example 10.0.0.0/8 or fc00::/7.") from error
        base, mask = int(network.network_address), int(network.netmask)
        if network.version == 4:
            table["v4"] += [base, mask]
        else:
            for shift in (64, 0):
                table["v6"] += [_signed(base >> shift), _signed(mask >> shift)]
    return table


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _ip_version(script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG001  # the same for all
    return f"""\
  def address = {script.get("source.ip")};
  if (address != null && {script.get("network.type")} == null) {{
    {script.put("network.type", "((String)address).indexOf(':') < 0 ? 'ipv4' : 'ipv6'")}
  }}
"""


def _duration(script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG001  # the same for all
    # Beyond 292 years the nanoseconds do not fit a long.
    return f"""\
  def start = {script.get("event.start")};
  def end = {script.get("event.end")};
  if (start != null && end != null) {{
    long ms = isoMs((String)end) - isoMs((String)start);
    if (ms >= 0L && ms < 9223372036854L) {{ {script.put("event.duration", "ms * 1000000L")} }}
  }}
"""


def _totals(script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG001  # the same for all
    lines = []
    for unit in ("bytes", "packets"):
        sent, received = script.get(f"source.{unit}"), script.get(f"destination.{unit}")
        # Two longs of 19 digits have no sum that is one.
        total = script.put(f"network.{unit}", "a + b")
        lines.append(
            f"  def {unit}Sent = {sent}; def {unit}Received = {received};\n"
            f"  if ({unit}Sent != null || {unit}Received != null) {{\n"
            f"    long a = {unit}Sent == null ? 0L : ((Number){unit}Sent).longValue();\n"
            f"    long b = {unit}Received == null ? 0L : ((Number){unit}Received).longValue();\n"
            f"    if (a + b >= 0L) {{ {total} }}\n  }}\n"
        )
    return "".join(lines)


def _roles(script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG001  # the same for all
    source, destination = (script.object(name) for name in ("source", "destination"))
    return f"""\
  if ('unknown'.equals({script.slot("roles")})) {{
    def one = {script.get("source.port")};
    def other = {script.get("destination.port")};
    if (one != null && other != null && ((Number)one).longValue() < ((Number)other).longValue()) {{
      Map kept = new HashMap({source});
      {source}.clear();
      {source}.putAll({destination});
      {destination}.clear();
      {destination}.putAll(kept);
      Map ingress = {script.object("observer.ingress.interface")};
      Map egress = {script.object("observer.egress.interface")};
      kept = new HashMap(ingress);
      ingress.clear();
      ingress.putAll(egress);
      egress.clear();
      egress.putAll(kept);
    }}
  }}
"""


ENRICHMENTS: Mapping[str, bool] = {
    "direction": True,
    "registered_domain": True,
    "community_id": True,
    "geoip": False,
    "asn": False,
    "user_agent": False,
    "threat_intel": False,
}
"""What the option `enrich` may name -> whether it is made where that option is not given. Those that are made cost a
few microseconds an event together; the others more, or they need something of the engine or of the site."""


def wanted(options: Mapping[str, Any], name: str) -> bool:
    """Return whether an enrichment is wanted. Raises UsageError for names that are none."""
    given = options.get("enrich")
    if given is None:
        return ENRICHMENTS[name]
    names = [given] if isinstance(given, str) else list(given)
    for element in names:
        if element not in ENRICHMENTS:
            raise UsageError(
                f"the option `enrich` knows no {element!r}", hint=f"It knows: {', '.join(ENRICHMENTS)}."
            )
    return name in names


def _registered_domain(parent: str, member: str) -> Derivation:
    """Return the derivation of the parts of a host name that stands in a member of an object."""

    def write(script: Script, options: Mapping[str, Any]) -> str:
        if not wanted(options, "registered_domain"):
            return ""
        table = script.table("public_suffixes", suffix_table())
        name = script.get(f"{parent}.{member}")
        return f"  putRegisteredDomain({script.object(parent)}, {name}, (Map){table});\n"

    parts = ("registered_domain", "top_level_domain", "subdomain")
    return Derivation(
        (f"{parent}.{member}",), tuple(f"{parent}.{part}" for part in parts), write, options=("enrich",)
    )


_TRANSPORTS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "icmp6": 58, "sctp": 132}


def _community_id(script: Script, options: Mapping[str, Any]) -> str:
    """Write the Community ID; the ports of ICMP are the raw values `icmp-type` and `icmp-code`."""
    if not wanted(options, "community_id"):
        return ""
    numbers = script.table("transports", _TRANSPORTS)
    raw = script.slots
    icmp = "fromPort = null; toPort = null;"
    if "icmp-type" in raw and "icmp-code" in raw:
        icmp = (
            f"fromPort = integer({script.slot('icmp-type')}); toPort = integer({script.slot('icmp-code')});"
        )
        icmp = f"if ({script.slot('icmp-type')} != null && {script.slot('icmp-code')} != null) {{ {icmp} }}"
    return f"""\
  def fromIp = {script.get("source.ip")};
  def toIp = {script.get("destination.ip")};
  def iana = {script.get("network.iana_number")};
  def transport = {script.get("network.transport")};
  if (fromIp != null && toIp != null && (iana != null || transport != null)
      && {script.get("network.community_id")} == null) {{
    def fromPort = {script.get("source.port")};
    def toPort = {script.get("destination.port")};
    Long known = iana == null ? null : integer(iana.toString());
    def number = known == null ? ((Map){numbers}).get(transport) : known;
    int protocol = number == null ? -1 : ((Number)number).intValue();
    if (protocol == 1 || protocol == 58) {{ {icmp} }}
    String id = communityId((String)fromIp, fromPort == null ? -1 : ((Number)fromPort).intValue(), (String)toIp,
      toPort == null ? -1 : ((Number)toPort).intValue(), protocol);
    if (id != null) {{ {script.put("network.community_id", "id")} }}
  }}
"""


def _http_outcome(script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG001  # the same for all
    return f"""\
  def status = {script.get("http.response.status_code")};
  if (status != null && {script.get("event.outcome")} == null) {{
    long code = ((Number)status).longValue();
    {script.put("event.outcome", "code < 400L ? 'success' : 'failure'")}
    if (code >= 500L) {{ {script.add("event.type", literal("error"))} }}
  }}
"""


DERIVATIONS: Mapping[str, Derivation] = {
    "network_direction": Derivation(
        ("source.ip", "destination.ip"), ("network.direction",), _direction, options=("networks", "enrich")
    ),
    "network_type": Derivation(("source.ip",), ("network.type",), _ip_version),
    "network_totals": Derivation(
        ("source.bytes", "destination.bytes"), ("network.bytes", "network.packets"), _totals
    ),
    # Where a log does not say who opened a connection (the raw value `roles` is `unknown`), the end with the lower
    # port is its destination.
    "roles_by_port": Derivation(("source.port", "destination.port"), (), _roles),
    "event_duration": Derivation(("event.start", "event.end"), ("event.duration",), _duration),
    "http_outcome": Derivation(
        ("http.response.status_code",), ("event.outcome", "event.type"), _http_outcome
    ),
    "community_id": Derivation(
        (
            "source.ip",
            "source.port",
            "destination.ip",
            "destination.port",
            "network.iana_number",
            "network.transport",
        ),
        ("network.community_id",),
        _community_id,
        options=("enrich",),
    ),
    **{
        f"{parent}.registered_domain": _registered_domain(parent, member)
        for parent, member in (
            ("url", "domain"),
            ("dns.question", "name"),
            ("source", "domain"),
            ("destination", "domain"),
            ("client", "domain"),
            ("server", "domain"),
        )
    },
}
"""Name in a description -> derivation."""


def related(fields: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Return which of a dataset's fields go to each `related` field."""
    rules: Mapping[str, Callable[[str, str], bool]] = {
        "related.ip": lambda _, kind: kind == "ip",
        "related.user": lambda name, _: f".{name}".endswith((".user.name", ".user.email")) or name in _USERS,
        "related.hosts": lambda name, _: name in _HOSTS,
        "related.hash": lambda name, _: ".hash." in name or name in _HASHES,
    }  # fmt: skip
    found = {
        target: tuple(
            name for name, kind in fields.items() if rule(name, kind) and not name.startswith("related.")
        )
        for target, rule in rules.items()
    }
    return {target: names for target, names in found.items() if names}


_USERS = frozenset(
    f"user.{role}.{name}" for role in ("target", "effective", "changes") for name in ("name", "email")
)
_HASHES = frozenset({"tls.client.ja3", "tls.server.ja3s"})
_HOSTS = frozenset(
    {
        "host.name", "host.hostname", "observer.hostname", "dns.question.name", "url.domain", "tls.client.server_name",
        *(f"{end}.domain" for end in ("source", "destination", "client", "server")),
    }
)  # fmt: skip


def write_related(script: Script, fields: Mapping[str, str]) -> str:
    """Return the statements that collect addresses, users, hosts and hashes under `related`, each once."""
    lines = []
    if "url.domain" in fields:
        # The host of a URL may be an address.
        lines.append(f"  relateAddress({script.object('related')}, {script.get('url.domain')});\n")
    for target, names in related(fields).items():
        parent, _, name = target.rpartition(".")
        lines += [
            f"  relate({script.object(parent)}, {literal(name)}, {script.get(field)});\n" for field in names
        ]
    return "".join(lines)
