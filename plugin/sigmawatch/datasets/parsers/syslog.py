"""The syslog header: RFC 3164, RFC 5424, and the ISO time stamps of today's daemons, each with or without priority.

    - syslog:
        programs: [sshd, sshd-session]   # whose lines these are; those of other programs are refused
        error: not an sshd line          # … with these words
        bare: true                       # lines without a header (no time, no program) are accepted
        header: true                     # lines without program and time are refused, whosever they are
        process: true                    # the program is a process of the host: process.name and process.pid
        kernel: true                     # the kernel's uptime `[12345.678] ` stands before the message
        cisco: true                      # the headers of Cisco devices, with their `%FACILITY-SEVERITY-MNEMONIC: `
        structured: {junos: [reason, …]} # parameters of RFC 5424's structured data: raw values sd.junos.reason, …
        data: true                       # structured data stays in the message, for a step that reads it
        null_values: [N/A]               # parameters that say nothing; an empty one never does
        rest: juniper.srx                # the object for parameters without a mapping
        sender: observer                 # the sender is a device: observer.name, in place of the host's names

What remains of the line is the message. A stamp without a year is read relative to now, one without a time zone in the
option `timezone` (default UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.mapping import FieldMapping
from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import literal
from sigmawatch.datasets.times import time_zone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Syslog", "read"]

_PARTS = ("priority", "version", "time", "host", "program", "pid", "msgid")
"""In the order of the array that the Painless function `syslog` fills; behind them it puts the structured data."""

_CISCO_PARTS = ("sequence", "severity", "mnemonic")
"""What stands in the headers of Cisco devices beside them, in the order of `ciscoSyslog`."""

_OTHER_PARTS = ("repeated", "uptime")
"""What stands before the message itself."""


@dataclass(frozen=True)
class Syslog(Plain):
    """A syslog header."""

    programs: tuple[str, ...]
    """Whose lines are accepted; empty: anybody's."""
    error: str
    """What is said of other lines."""
    bare: bool
    """Whether a line without program is accepted."""
    process: bool
    """Whether the program is a process of the host."""
    kernel: bool = False
    """Whether the kernel's uptime may stand before the message."""
    cisco: bool = False
    """Whether headers are those of Cisco devices."""
    structured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Structured data: id (without its number) -> names of parameters."""
    rest: str = ""
    """The object for parameters without a mapping."""
    null_values: tuple[str, ...] = ()
    """Parameters of structured data that mean there is none."""
    data: bool = False
    """Whether structured data stays in the message."""
    header: bool = False
    """Whether lines without program and time are refused where those of any program are accepted."""
    sender: str = "host"
    """What the sender is: a `host`, or an `observer` of what others do."""
    kind: str = "syslog"
    options: Sequence[str] = ("timezone",)

    @property
    def raw_values(self) -> Sequence[str]:
        """The parts of the header, named `syslog.…`, and the parameters of structured data, named `sd.…`."""
        parts = (*_PARTS, *_OTHER_PARTS, *(_CISCO_PARTS if self.cisco else ()))
        return (*(f"syslog.{part}" for part in parts), *(f"sd.{name}" for name in self._parameters))

    @property
    def _parameters(self) -> Sequence[str]:
        return [f"{element}.{name}" for element, names in self.structured.items() for name in names]

    @property
    def mappings(self) -> Sequence[FieldMapping]:
        """Where ECS has the parts of a syslog header."""
        found = [
            FieldMapping("syslog.time", ("@timestamp",), "syslog_time"),
            FieldMapping("syslog.priority", ("log.syslog",), "syslog_priority"),
            FieldMapping("syslog.version", ("log.syslog.version",), "keyword"),
            FieldMapping("syslog.host", ("log.syslog.hostname",), "keyword"),
            FieldMapping("syslog.program", ("log.syslog.appname",), "keyword"),
            FieldMapping("syslog.pid", ("log.syslog.procid",), "keyword"),
            FieldMapping("syslog.msgid", ("log.syslog.msgid",), "keyword"),
            FieldMapping("syslog.repeated", ("log.syslog.repeated",), "count"),
        ]
        if self.sender == "host":
            found += [
                FieldMapping("syslog.host", ("host.hostname",), "keyword"),
                # the shipper may know the host's name better
                FieldMapping("syslog.host", ("host.name",), "keyword", if_absent=True),
            ]
        else:
            found += [
                FieldMapping("syslog.host", ("observer.name",), "keyword"),
                FieldMapping("syslog.host", ("related.hosts",), "domain", quiet=True),
                FieldMapping("syslog.host", ("related.ip",), "ip", quiet=True),
            ]
        if self.cisco:
            found += [
                FieldMapping("syslog.severity", ("event.severity",), "count"),
                FieldMapping("syslog.severity", ("log.level",), "severity_name"),
                FieldMapping("syslog.sequence", ("event.sequence",), "count"),
            ]
        if self.process:
            found += [
                FieldMapping("syslog.program", ("process.name",), "keyword"),
                # RFC 5424 allows any text as process id
                FieldMapping("syslog.pid", ("process.pid",), "long", quiet=True),
            ]
        return found

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the call that splits the header off, and the check of the program."""
        script.params["timezone"] = time_zone(str(options.get("timezone") or ""))
        parts = (*_PARTS, "", *(_CISCO_PARTS if self.cisco else ()))
        split = "ciscoSyslog" if self.cisco else "syslog"
        lines = [f"String[] h = new String[{len(parts)}];", f"text = {split}(text, h);"]
        lines += [f"{script.slot(f'syslog.{part}')} = h[{n}];" for n, part in enumerate(parts) if part]
        if self.structured:
            used = script.slots
            slots = {name: used.get(f"sd.{name}", 0) for name in self._parameters}
            rest = script.object(self.rest) if self.rest else "null"
            place = script.unique("structured", slots)
            nulls = script.unique("structured.nulls", dict.fromkeys(self.null_values, True))
            cut = literal("syslog: the structured data has no end")
            lines.append(
                f"if (h[7] != null) {{ structuredData(h[7], f, {rest}, (Map){place}, (Map){nulls}); }} "
                f"else if (h[1] != null && text.startsWith('[')) {{ problems.add({cut}); }}"
            )
        if self.data:
            lines.append("if (h[7] != null) { text = text.isEmpty() ? h[7] : h[7] + ' ' + text; }")
        lines += [
            "h[0] = null;",
            "text = repeatedMessage(text, h);",
            f"{script.slot('syslog.repeated')} = h[0];",
        ]
        if self.kernel:
            uptime = script.slot("syslog.uptime")
            lines += ["h[0] = null;", "text = kernelMessage(text, h);", f"{uptime} = h[0];"]
        program = script.slot("syslog.program")
        conditions = [f"{literal(name)}.equals({program})" for name in self.programs]
        if self.bare:
            conditions.append(f"({program} == null && {script.slot('syslog.time')} == null)")
        if self.header and not self.programs:
            refusal = literal(f"syslog: {self.error}")
            missing = f"{program} == null && {script.slot('syslog.time')} == null"
            lines.append(f"if ({missing}) {{ {script.fault} = {refusal}; }}")
        if self.programs:
            refusal = literal(f"syslog: {self.error}")
            lines.append(f"if (!({' || '.join(conditions)})) {{ {script.fault} = {refusal}; }}")
        return "\n".join(lines) + "\n"


def read(reader: Reader) -> Syslog:
    """Read the settings of a syslog step."""
    reader.is_mapping(
        {
            "programs", "error", "bare", "process", "kernel", "cisco", "structured", "data", "rest", "sender", "header",
            "null_values",
        }
    )  # fmt: skip
    sender = reader.text("sender", default="host")
    if sender not in ("host", "observer"):
        reader.at("sender").problem("sender: expected host or observer")
    structured = {}
    data = reader.get("structured")
    for element, names in data.items() if data else ():
        structured[element] = tuple(name.as_text() for name in names.elements())
    return Syslog(
        programs=reader.texts("programs"),
        error=reader.text("error", default="a line of another program"),
        bare=reader.flag("bare"),
        process=reader.flag("process"),
        kernel=reader.flag("kernel"),
        cisco=reader.flag("cisco"),
        structured=structured,
        rest=reader.text("rest", default=""),
        sender=sender,
        null_values=reader.texts("null_values"),
        data=reader.flag("data"),
        header=reader.flag("header"),
    )
