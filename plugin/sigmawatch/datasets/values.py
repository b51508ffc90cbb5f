"""The types of value: how a raw text becomes what a field holds. A new type is one entry in `VALUE_TYPES`.

A value that is not of its type leaves its field out and is noted among the document's `problems`; only for a mapping
that is `required` it refuses the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sigmawatch.datasets.http import Forwarded, HostUrl, RequestLine, Url
from sigmawatch.datasets.mapping import condition as mapping_condition
from sigmawatch.datasets.script import IN_ELEMENT, TREE, literal
from sigmawatch.datasets.structured import Flattened, JsonText, Members, Objects
from sigmawatch.datasets.writing import ARGUMENTS, ENVIRONMENT, TIME_SLOT, ValueType
from sigmawatch.datasets.writing import complaint as _complaint
from sigmawatch.datasets.writing import put as _put

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.script import Script

__all__ = ["VALUE_TYPES", "write_mapping"]

_TEXTS = frozenset({"keyword", "wildcard", "match_only_text", "constant_keyword"})


@dataclass(frozen=True)
class Converted:
    """A value that an expression of the text `v` yields, null when the text is no such value."""

    fits: frozenset[str]
    expression: str
    """Painless; may use `v` (the text), `p` (the tables) and `now` (milliseconds)."""
    result: str = "String"
    """Its type in Painless."""
    complaint: str = ""
    """What is said of a text that is no such value; empty: every text is one."""

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Convert, then put the value into each field."""
        puts = " ".join(_put(script, mapping, field, "t") for field in mapping.to)
        if not self.complaint:
            return f"{self.result} t = {self.expression}; {puts}"
        complaint = _complaint(script, mapping, self.complaint)
        otherwise = f" else {{ {complaint} }}" if complaint else ""
        return f"{self.result} t = {self.expression}; if (t != null) {{ {puts} }}{otherwise}"


@dataclass(frozen=True)
class Moment:
    """A moment, from an expression that yields milliseconds since 1970, negative when there is none."""

    expression: str
    """Painless; may use `v`, `p` and `now`."""
    fits: frozenset[str] = frozenset({"date"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Convert, refusing what no date field would accept."""
        puts = " ".join(_put(script, mapping, field, "t") for field in mapping.to)
        complaint = _complaint(script, mapping, "no usable time")
        return (
            f"long ms = {self.expression}; if (ms >= 0L && ms <= 253402300799999L) "
            f"{{ String t = iso(ms); {puts} }}" + (f" else {{ {complaint} }}" if complaint else "")
        )


@dataclass(frozen=True)
class FormattedTime:
    """A moment that is written in one of the ways that the mapping's `formats` say."""

    fits: frozenset[str] = frozenset({"date"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Try one format after the other."""
        tries = [
            "isoMs(v)" if text == "iso" else f"timeOf(v, {literal(text)}, now, (String)p.get('timezone'))"
            for text in (*(script.dates if mapping.local else ()), *mapping.formats)
        ]
        later = " ".join(f"if (found < 0L) {{ found = {attempt}; }}" for attempt in tries[1:])
        return f"long found = {tries[0]}; {later} {Moment('found').write(script, mapping)}"


@dataclass(frozen=True)
class Endpoint:
    """One end of a connection: `address` keeps the text, `ip` or `domain` is set by what it is."""

    fits: frozenset[str] = frozenset({"object"})
    expression: str = "v"
    """Where in the text `v` the address stands; null where there is none, which is no problem."""

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return address, ip and domain of each end."""
        return tuple(f"{end}.{name}" for end in mapping.to for name in ("address", "ip", "domain"))

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Validate the address strictly; what is none is a name."""
        if script.lists:
            return self._write_each(script, mapping)
        complaint = _complaint(script, mapping, "neither an IP address nor a host name")
        lines = [] if self.expression == "v" else [f"String a = {self.expression};"]
        text = "a" if lines else "v"
        for end in mapping.to:
            call = f"putEndpoint({text}, {script.object(end)})"
            statement = f"if (!{call}) {{ {complaint} }}" if complaint else f"{call};"
            conditions = ["a != null"] if lines else []
            if mapping.if_absent:
                conditions.append(f"{script.get(f'{end}.address')} == null")
            lines.append(f"if ({' && '.join(conditions)}) {{ {statement} }}" if conditions else statement)
        return " ".join(lines)

    def _write_each(self, script: Script, mapping: FieldMapping) -> str:
        """Do so for a value that may be one of a list: every field gets its own list."""
        text = "v"
        lines = []
        if self.expression != "v":
            text = "a"
            lines.append(f"String a = {self.expression}; if (a == null) {{ return; }}")
        if mapping.if_absent:
            taken = " || ".join(f"{script.get(f'{end}.address')} != null" for end in mapping.to)
            lines.append(f"if ({taken}) {{ return; }}")
        lines.append(f"String t = ip({text});")
        for end in mapping.to:
            lines += [
                _put(script, mapping, f"{end}.address", f"t == null ? {text} : t"),
                f"if (t != null) {{ {_put(script, mapping, f'{end}.ip', 't')} }} else if (isDomain({text})) "
                f"{{ {_put(script, mapping, f'{end}.domain', f'{text}.toLowerCase()')} }}",
            ]
        complaint = _complaint(script, mapping, "neither an IP address nor a host name")
        if complaint:
            lines.append(f"if (t == null && !isDomain({text})) {{ {complaint} }}")
        return " ".join(lines)


@dataclass(frozen=True)
class Lookup:
    """A value that a table of the description translates."""

    fits: frozenset[str] = _TEXTS

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Look the text up."""
        puts = " ".join(_put(script, mapping, field, "t") for field in mapping.to)
        keep = literal(mapping.otherwise == "keep")
        complaint = _complaint(script, mapping, "an unknown value") if mapping.otherwise == "problem" else ""
        return (
            f"String t = lookUp(v, (Map)p.get({literal(f'table.{mapping.table}')}), {keep}); "
            f"if (t != null) {{ {puts} }}" + (f" else {{ {complaint} }}" if complaint else "")
        )


@dataclass(frozen=True)
class LookupWord:
    """The first word of a text that a table of the description translates; the others mean nothing."""

    fits: frozenset[str] = _TEXTS

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Look each word up."""
        puts = " ".join(_put(script, mapping, field, "t") for field in mapping.to)
        return f"String t = wordIn(v, (Map)p.get({literal(f'table.{mapping.table}')})); if (t != null) {{ {puts} }}"


@dataclass(frozen=True)
class InterfaceEndpoint:
    """`interface:address/port(user)`, as Cisco's firewalls write an end; all but the address may be missing."""

    fits: frozenset[str] = frozenset({"object"})
    mapped: bool = False
    """Whether it is the address behind a translation, which is only told where it differs."""

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return address, ip, domain, port and user of the end, and the observer's interface on its side."""
        user = ("user.name", "user.domain")
        if self.mapped:
            return tuple(f"{end}.{part}" for end in mapping.to for part in ("nat.ip", "nat.port", *user))
        names = ("address", "ip", "domain", "port", *user)
        return tuple(
            name for end in mapping.to for name in (*(f"{end}.{part}" for part in names), _side(end))
        )

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the text, then do as for an endpoint."""
        complaint = _complaint(script, mapping, "neither an IP address nor a host name")
        lines = []
        for end in mapping.to:
            places = f"{script.object(end)}, {script.object(f'{end}.user')}"
            if self.mapped:
                lines.append(f"putMapped(v, {places}, {script.object(f'{end}.nat')});")
            else:
                call = f"putInterfaceEndpoint(v, {places}, {script.object(_side(end).rpartition('.')[0])})"
                lines.append(f"if (!{call}) {{ {complaint} }}" if complaint else f"{call};")
        return " ".join(lines)


@dataclass(frozen=True)
class Account:
    """A user with a domain, `DOMAIN\\\\user` or `user@domain`, or without."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return name and domain of the user."""
        return tuple(f"{user}.{part}" for user in mapping.to for part in ("name", "domain"))

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the text."""
        return " ".join(
            f"if ({script.get(f'{user}.name')} == null) {{ putAccount(v, {script.object(user)}); }}"
            if mapping.if_absent
            else f"putAccount(v, {script.object(user)});"
            for user in mapping.to
        )


def _side(end: str) -> str:
    """Return the field with the interface of the observer that faces an end of a connection."""
    return f"observer.{'ingress' if end.startswith(('source', 'client')) else 'egress'}.interface.name"


@dataclass(frozen=True)
class Bits:
    """The names of the bits that are set in a number."""

    fits: frozenset[str] = frozenset({"keyword"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Test each bit."""
        tests = " ".join(
            f"if ((n & {bit}L) != 0L) {{ t.add({literal(name)}); }}"
            for bit, name in sorted(mapping.bits.items())
        )
        puts = " ".join(_put(script, mapping, field, "t") for field in mapping.to)
        # A text that is no number is told once, by the mapping that takes the number itself.
        return (
            "Long number = integer(v); if (number != null) { long n = number.longValue(); List t = new ArrayList(); "
            f"{tests} if (!t.isEmpty()) {{ {puts} }} }}"
        )


_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", *(f"local{number}" for number in range(8)),
)  # fmt: skip
_SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")


@dataclass(frozen=True)
class SyslogPriority:
    """The priority of a syslog line: facility times eight plus severity."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the fields below `log.syslog`."""
        names = ("priority", "facility.code", "facility.name", "severity.code", "severity.name")
        return tuple(f"{target}.{name}" for target in mapping.to for name in names)

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the number; its range was checked when the header was read."""
        script.params["syslog.facilities"] = list(_FACILITIES)
        script.params["syslog.severities"] = list(_SEVERITIES)
        lines = [
            "Long number = integer(v); long n = number.longValue(); int facility = (int)(n / 8L);",
            "int severity = (int)(n % 8L);",
        ]
        for target in mapping.to:
            lines += [
                script.put(f"{target}.priority", "n"),
                script.put(f"{target}.facility.code", "(long)facility"),
                script.put(f"{target}.facility.name", "((List)p.get('syslog.facilities')).get(facility)"),
                script.put(f"{target}.severity.code", "(long)severity"),
                script.put(f"{target}.severity.name", "((List)p.get('syslog.severities')).get(severity)"),
            ]
        return " ".join(lines)


@dataclass(frozen=True)
class EndpointPort:
    """One end of a connection with its port: `192.0.2.1:443`, `[2001:db8::1]:443`, `2001:db8::1:443`, `host:443`."""

    always: bool = True
    """Whether there is always a port; else what is an address as a whole, such as `2001:db8::1:22`, has none."""
    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return address, ip, domain and port of each end."""
        return (*Endpoint().emits(mapping), *(f"{end}.port" for end in mapping.to))

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split at the last colon, then treat the host as an endpoint."""
        puts = " ".join(_put(script, mapping, f"{end}.port", "number") for end in mapping.to)
        complaint = _complaint(script, mapping, "no port")
        otherwise = f" else {{ {complaint} }}" if complaint else ""
        parts = "hostPort(v)"
        if not self.always:
            parts = (
                "v.indexOf(':') != v.lastIndexOf(':') && ip(v) != null ? new String[] {v, null} : hostPort(v)"
            )
        return (
            f"String[] parts = {parts}; if (parts[1] != null) {{ Long number = port(parts[1]); "
            f"if (number != null) {{ {puts} }}{otherwise} }} v = parts[0]; "
            + Endpoint().write(script, mapping)
        )


@dataclass(frozen=True)
class EndpointList:
    """One end of a connection, or what proxies made of it: a list of addresses, of which the first is the client's."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return address, ip and domain of each end, and where the other addresses go."""
        return (*Endpoint().emits(mapping), "related.ip")

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Relate all addresses, then treat the first as an endpoint."""
        related = f"relate({script.object('related')}, 'ip', forwardedAddresses(v));"
        return (
            f"int comma = v.indexOf(','); if (comma > 0) {{ {related} v = v.substring(0, comma).trim(); }} "
            + Endpoint().write(script, mapping)
        )


@dataclass(frozen=True)
class Identity:
    """A user as directories write one: `alice@example.com`, `EXAMPLE\\alice`, or just `alice`."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return name, domain and email of each user."""
        return tuple(f"{user}.{name}" for user in mapping.to for name in ("name", "domain", "email"))

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Part name and domain; what stands on both sides of an @ is an address, too."""
        lines = ["String[] parts = identity(v);"]
        for user in mapping.to:
            lines += [
                _put(script, mapping, f"{user}.name", "parts[0]"),
                f"if (parts[1] != null) {{ {_put(script, mapping, f'{user}.domain', 'parts[1]')} }}",
                f"if (parts[2] != null) {{ {_put(script, mapping, f'{user}.email', 'parts[2]')} }}",
            ]
        return " ".join(lines)


@dataclass(frozen=True)
class Arn:
    """The name of a resource in AWS: `arn:aws:acm:us-east-2:123456789012:certificate/…` tells region and account."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return region and account of each `cloud`."""
        return tuple(f"{target}.{name}" for target in mapping.to for name in ("region", "account.id"))

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Take the fourth and the fifth part."""
        puts = " ".join(
            f"if (!parts[3].isEmpty()) {{ {script.put(f'{target}.region', 'parts[3]')} }} "
            f"if (!parts[4].isEmpty()) {{ {script.put(f'{target}.account.id', 'parts[4]')} }}"
            for target in mapping.to
        )
        return f"String[] parts = v.splitOnToken(':'); if (v.startsWith('arn:') && parts.length > 5) {{ {puts} }}"


@dataclass(frozen=True)
class AzureResource:
    """The id of a resource in Azure: `/subscriptions/<id>/resourceGroups/rg-1/providers/Microsoft.Network/…`."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the fields below each `azure`, and the account."""
        names = ("resource.id", "resource.group", "resource.provider", "resource.name")
        own = (*names, "subscription_id", "tenant_id")
        return (*(f"{target}.{name}" for target in mapping.to for name in own), "cloud.account.id")

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Take the path apart."""
        account = script.object("cloud.account")
        return " ".join(
            f"putAzureResource(v, {script.object(target)}, {script.object(f'{target}.resource')}, {account});"
            for target in mapping.to
        )


@dataclass(frozen=True)
class TextList:
    """Texts with commas between them."""

    fits: frozenset[str] = _TEXTS

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Split the text, each part once."""
        adds = " ".join(script.add(field, "part") for field in mapping.to)
        return (
            "StringTokenizer parts = new StringTokenizer(v, ','); int many = 0; "
            "while (parts.hasMoreTokens() && many < 200) { many = many + 1; String part = parts.nextToken().trim(); "
            f"if (!part.isEmpty()) {{ {adds} }} }}"
        )


@dataclass(frozen=True)
class Enclosed:
    """What stands between two texts, each time that they occur: `[id "942100"]`; without them there is no value."""

    number: bool = False
    """Whether only whole numbers are values."""

    @property
    def fits(self) -> frozenset[str]:
        """Fields of texts, or of numbers."""
        return frozenset({"long"}) if self.number else _TEXTS

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Find all, each once."""
        return f"putEnclosed(v, (Map){self.table(script, mapping)}, o);"

    def table(self, script: Script, mapping: FieldMapping) -> str:
        """Return what the Painless function `putEnclosed` reads: code for each mapping would be ten times as long."""
        table = {
            "begin": mapping.begin,
            "end": mapping.end,
            "number": self.number,
            "many": mapping.makes_list or IN_ELEMENT in mapping.raw,
            "absent": mapping.if_absent,
            "fields": [part for field in mapping.to for part in script.member(field)],
        }
        return script.unique("enclosed", table)


@dataclass(frozen=True)
class DnsRecords:
    """Resource records as lines of columns: `www.example.com. 300 IN a 192.0.2.1`, with tabs or blanks between."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the members of the answers, and where addresses and names go."""
        members = ("name", "ttl", "class", "type", "data")
        answers = [f"{target}.{name}" for target in mapping.to for name in members]
        return (*answers, "dns.resolved_ip", "related.hosts")

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Take each line apart."""
        puts = " ".join(script.put(target, "t") for target in mapping.to)
        resolved, hosts = script.object("dns"), script.object("related")
        return f"List t = dnsRecords(v, {resolved}, {hosts}); if (!t.isEmpty()) {{ {puts} }}"


_SECONDS = Converted(
    frozenset({"long"}),
    "nanosecondsOf(v.endsWith('s') ? v.substring(0, v.length() - 1) : v, 9)",
    "Long",
    "no duration",
)

VALUE_TYPES: Mapping[str, ValueType] = {
    "keyword": Converted(_TEXTS, "v"),
    "lower": Converted(_TEXTS, "v.toLowerCase()"),
    "upper": Converted(_TEXTS, "v.toUpperCase()"),
    "number_text": Converted(_TEXTS, "integer(v) == null ? null : v", complaint="no whole number"),
    "long": Converted(frozenset({"long"}), "integer(v)", "Long", "no whole number that fits"),
    "count": Converted(frozenset({"long"}), "count(v)", "Long", "no count"),
    "port": Converted(frozenset({"long"}), "port(v)", "Long", "no port"),
    "ip": Converted(frozenset({"ip", "keyword"}), "ip(v)", complaint="no IP address"),
    "fingerprint": Converted(_TEXTS, "v.replace(':', '').toUpperCase()"),
    "mail_address": Converted(_TEXTS, "mailAddress(v)"),
    "score_of_10": Converted(frozenset({"long"}), "scoreOfTen(v)", "Long", "no score from 0 to 10"),
    "trimmed": Converted(_TEXTS, "v.trim().isEmpty() ? null : v.trim()"),
    "last_part": Converted(_TEXTS, "lastPart(v)"),
    "dns_records": DnsRecords(),
    "dns_data": Converted(_TEXTS, "v.length() > 1 && v.endsWith('.') ? v.substring(0, v.length() - 1) : v"),
    "dns_name": Converted(_TEXTS, "dnsName(v)"),
    "dns_labels": Converted(_TEXTS, "dnsLabels(v)"),
    "domain": Converted(_TEXTS, "domain(v)", complaint="no host name"),
    "epoch_seconds": Moment("epochSecondsMs(v)"),
    "epoch": Moment("epochNumberMs(v)"),
    "epoch_decimal": Moment("epochDecimalMs(v)"),
    "iso_time": Moment("isoMs(v)"),
    "moment": Moment("isoMs(v) < 0L ? epochNumberMs(v) : isoMs(v)"),
    "clf_time": Moment("clfMs(v)"),
    "since_boot": Moment("sinceBootMs(v)"),
    "azure_time": Moment("azureMs(v, now)"),
    "time": FormattedTime(),
    "syslog_time": Moment("syslogMs(v, now, (String)p.get('timezone'))"),
    "endpoint": Endpoint(),
    "endpoint_port": EndpointPort(),
    "endpoint_with_or_without_port": EndpointPort(always=False),
    "endpoint_list": EndpointList(),
    "identity": Identity(),
    "arn": Arn(),
    "azure_resource": AzureResource(),
    "text_list": TextList(),
    "enclosed": Enclosed(),
    "enclosed_number": Enclosed(number=True),
    "dns_flags": Converted(_TEXTS, "dnsFlags(v)", "List"),
    "url": Url(),
    "host_url": HostUrl(),
    "request_line": RequestLine(),
    "user_agent": Converted(_TEXTS, "v"),
    "http_method": Converted(_TEXTS, "isMethod(v) ? v : null", complaint="no method of HTTP"),
    "http_version": Converted(_TEXTS, "httpVersion(v.startsWith('HTTP/') ? v.substring(5) : v)"),
    "http_status": Converted(frozenset({"long"}), "httpStatus(v)", "Long", "no status of HTTP"),
    "forwarded_ip": Forwarded(),
    "seconds": _SECONDS,
    "duration_seconds": _SECONDS,
    "milliseconds": Converted(frozenset({"long"}), "nanosecondsOf(v, 6)", "Long", "no duration"),
    "microseconds": Converted(frozenset({"long"}), "nanosecondsOf(v, 3)", "Long", "no duration"),
    "boolean": Converted(frozenset({"boolean"}), "truth(v)", "Boolean", "neither true nor false"),
    "float": Converted(frozenset({"float", "scaled_float"}), "decimal(v)", "Double", "no number"),
    "objects": Objects(),
    "flattened": Flattened(),
    "members": Members(),
    "json_text": JsonText(),
    "lookup": Lookup(),
    "lookup_word": LookupWord(),
    "words": Converted(_TEXTS, "wordList(v)", "List"),
    "mac": Converted(_TEXTS, "mac(v)", complaint="no MAC address"),
    "frame_destination": Converted(_TEXTS, "frameMac(v, 0)"),
    "frame_source": Converted(_TEXTS, "frameMac(v, 18)"),
    "interface_endpoint": InterfaceEndpoint(),
    "mapped_endpoint": InterfaceEndpoint(mapped=True),
    "account": Account(),
    "duration_clock": Converted(frozenset({"long"}), "clockNs(v)", "Long", "no duration"),
    "name_in_brackets": Converted(_TEXTS, "nameInBrackets(v)"),
    "hex_number": Converted(frozenset({"long"}), "hexNumber(v)", "Long", "no number"),
    "file_name": Converted(_TEXTS, "fileName(v)", complaint="no path of a file"),
    "common_name": Converted(_TEXTS, "commonName(v)", complaint="no distinguished name"),
    "label": Converted(_TEXTS, "label(v)"),
    "unquoted": Converted(_TEXTS, "unquoted(v)"),
    "local_time": Moment("localMs(v, (String)p.get('timezone'))"),
    "endpoint_in_brackets": Endpoint(expression="inBrackets(v)"),
    "first_address": Endpoint(expression="firstAddress(v)"),
    "ips": Converted(frozenset({"ip"}), "addresses(v)", "List"),
    "sha256": Converted(_TEXTS, "hash(v, 64)"),
    "sha1": Converted(_TEXTS, "hash(v, 40)"),
    "md5": Converted(_TEXTS, "hash(v, 32)"),
    "severity_name": Converted(_TEXTS, "severityName(v)", complaint="no severity"),
    "bits": Bits(),
    "syslog_priority": SyslogPriority(),
}
"""Name in a description -> type of value."""


def _ambiguous(script: Script, mapping: FieldMapping) -> str:
    tests = "".join(
        f"  if ({script.slot(raw)} != null && {script.slot(raw)}.indexOf({literal(text)}) >= 0) "
        f"{{ problems.add({literal(f'{mapping.raw}: the line names several')}); return true; }}\n"
        for raw, text in mapping.unless_in.items()
    )
    return f"{tests}  return false;"


_DECODERS = {
    "": "{}",
    "escapes": "unescaped({})",
    "hash": "decoded({}, '#')",
    "url": "decoded({}, '%')",
    "url_twice": "decoded(decoded({}, '%'), '%')",
    "plus": "({}).replace('+', ' ')",
}


def write_mapping(script: Script, mapping: FieldMapping, number: int | str) -> str:
    """Write a mapping's function, and return the statement that calls it when there is a raw value."""
    name = f"field{number}"
    value_type = VALUE_TYPES[mapping.type]
    if isinstance(value_type, (Objects, Flattened, JsonText, Members)):
        place = f"r[{script.slot_number(TREE + mapping.raw)}]"
        script.function(name, "void", f"def v, {ENVIRONMENT}", f"  {value_type.write(script, mapping)}")
        condition = f"{place} != null"
        if mapping.when:
            condition = f"{mapping_condition(script, mapping.when)} && {condition}"
        return f"  if ({condition}) {{ {name}({place}, {ARGUMENTS}); }}\n"
    slot = script.slot(mapping.raw)
    if script.lists and _is_simple(mapping):
        if isinstance(value_type, Enclosed):
            table = value_type.table(script, mapping)
            call = f"allEnclosed({script.slot_number(mapping.raw)}, (Map){table}, f, r, o);"
            return _when(script, mapping, call)
        return _write_shared(script, mapping)
    argument = slot
    if mapping.join:
        argument += f" + ' ' + {script.slot(mapping.join)}"
    decoded = _DECODERS[mapping.decode].format(argument)
    if mapping.type == "keyword" and not script.lists:
        # Nothing to convert: a function of its own would be ten times as long.
        call = " ".join(_put(script, mapping, field, decoded) for field in mapping.to)
    elif script.lists:
        # The raw value may be a list: the first is in its slot, all are in `r`.
        decode = f"v = {_DECODERS[mapping.decode].format('v')}; " if mapping.decode else ""
        following = f"at = at + 1; v = textAt(r[{script.slot_number(mapping.raw)}], at);"
        body = f"int at = 0; while (v != null) {{ {decode}{value_type.write(script, mapping)} {following} }}"
        script.function(name, "void", f"String first, {ENVIRONMENT}", f"  String v = first; {body}")
        call = f"{name}({argument}, {ARGUMENTS});"
    else:
        # In place: a signature and a call are longer than most of what values need.
        call = f"String v = {decoded}; {value_type.write(script, mapping)}"
    condition = f"{slot} != null"
    if mapping.differs_from:
        condition += f" && !{slot}.equals({script.slot(mapping.differs_from)})"
    if mapping.join:
        condition += f" && {script.slot(mapping.join)} != null"
    if mapping.unless:
        condition += f" && !{literal(mapping.unless)}.equals({slot})"
    if mapping.unless_in:
        script.function(
            f"ambiguous{number}", "boolean", "String[] f, List problems", _ambiguous(script, mapping)
        )
        condition += f" && !ambiguous{number}(f, problems)"
    if mapping.if_absent and "@timestamp" in mapping.to:
        # Another value told the time: nothing is wrong with this one.
        condition += f" && {script.slot(TIME_SLOT)} == null"
    if mapping.when:
        condition = f"{mapping_condition(script, mapping.when)} && {condition}"
    needed = mapping.required and not mapping.if_there
    missing = f" else {{ {_complaint(script, mapping, 'missing')} }}" if needed else ""
    return f"  if ({condition}) {{ {call} }}{missing}\n"


def _is_simple(mapping: FieldMapping) -> bool:
    """Whether a mapping of a raw value that may be a list can use the function that all of its type share."""
    shared = mapping.type == "keyword" or isinstance(VALUE_TYPES[mapping.type], (Converted, Moment, Enclosed))
    return shared and not (
        mapping.required or mapping.join or mapping.decode or mapping.unless_in or "@timestamp" in mapping.to
    )


def _write_shared(script: Script, mapping: FieldMapping) -> str:
    """Return the statements for a mapping, and write the function of its type: one for all its mappings.

    Functions of their own would make descriptions of a hundred fields longer than engines accept.
    """
    value_type = VALUE_TYPES[mapping.type]
    number = script.slot_number(mapping.raw)
    many = mapping.makes_list or IN_ELEMENT in mapping.raw
    said = ""
    if mapping.type == "keyword":
        name, more = "text", ""
    elif isinstance(value_type, (Converted, Moment)):
        needed = [word for word in ("p", "now") if re.search(rf"\b{word}\b", value_type.expression)]
        name, more = f"{mapping.type}Of", "".join(f", {word}" for word in ("problems", *needed))
        what = "no usable time"
        convert = (
            f"long ms = {value_type.expression}; "
            "String t = ms >= 0L && ms <= 253402300799999L ? iso(ms) : null;"
        )
        if isinstance(value_type, Converted):
            what, convert = value_type.complaint, f"{value_type.result} t = {value_type.expression};"
        told = "" if mapping.quiet or not what else f"{mapping.raw}: {what}"
        said = f", {literal(told) if told else 'null'}"
        script.function(
            name,
            "void",
            "int i, Map m, String k, boolean many, String said, String[] f, def[] r, List problems"
            + "".join({"p": ", Map p", "now": ", long now"}[word] for word in needed),
            f"""\
int at = 0;
String v = f[i];
while (v != null) {{
{convert}
if (t != null) {{ put(m, k, t, at, many); }} else if (said != null) {{ complain(problems, said); }}
at = at + 1;
v = textAt(r[i], at);
}}""",
        )
    calls = []
    for field in mapping.to:
        place, key = script.place(field)
        add = "true" if many and (mapping.makes_list or "[]" not in field) else "false"
        call = f"{name}({number}, {place}, {literal(key)}, {add}{said}, f, r{more});"
        calls.append(f"if ({script.get(field)} == null) {{ {call} }}" if mapping.if_absent else call)
    return _when(script, mapping, " ".join(calls))


def _when(script: Script, mapping: FieldMapping, statements: str) -> str:
    """Return statements under the conditions of a mapping."""
    slot = script.slot(mapping.raw)
    conditions = [mapping_condition(script, mapping.when)] if mapping.when else []
    if mapping.differs_from:
        conditions.append(f"{slot} != null && !{slot}.equals({script.slot(mapping.differs_from)})")
    if mapping.unless:
        conditions.append(f"!{literal(mapping.unless)}.equals({slot})")
    return f"if ({' && '.join(conditions)}) {{ {statements} }}\n" if conditions else f"{statements}\n"
