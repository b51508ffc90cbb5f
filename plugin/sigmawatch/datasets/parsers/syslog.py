"""The syslog header: RFC 3164, RFC 5424, and the ISO time stamps of today's daemons, each with or without priority.

    - syslog:
        programs: [sshd, sshd-session]   # whose lines these are; those of other programs are refused
        error: not an sshd line          # … with these words
        bare: true                       # lines without a header (no time, no program) are accepted
        process: true                    # the program is a process of the host: process.name and process.pid

What remains of the line is the message. A stamp without a year is read relative to now, one without a time zone in the
option `timezone` (default UTC).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from sigmawatch.datasets.mapping import FieldMapping
from sigmawatch.datasets.script import literal
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Syslog", "read"]

_OFFSET = re.compile(r"UTC|[+-]\d\d:\d\d")

_PARTS = ("priority", "version", "time", "host", "program", "pid", "msgid")
"""In the order of the array that the Painless function `syslog` fills."""


@dataclass(frozen=True)
class Syslog:
    """A syslog header."""

    programs: tuple[str, ...]
    """Whose lines are accepted; empty: anybody's."""
    error: str
    """What is said of other lines."""
    bare: bool
    """Whether a line without program is accepted."""
    process: bool
    """Whether the program is a process of the host."""
    kind: str = "syslog"
    options: Sequence[str] = ("timezone",)
    drops: bool = False

    @property
    def raw_values(self) -> Sequence[str]:
        """The parts of the header, named `syslog.…`."""
        return tuple(f"syslog.{part}" for part in _PARTS)

    @property
    def mappings(self) -> Sequence[FieldMapping]:
        """Where ECS has the parts of a syslog header."""
        found = [
            FieldMapping("syslog.time", ("@timestamp",), "syslog_time"),
            FieldMapping("syslog.priority", ("log.syslog",), "syslog_priority"),
            FieldMapping("syslog.version", ("log.syslog.version",), "keyword"),
            FieldMapping("syslog.host", ("log.syslog.hostname", "host.hostname"), "keyword"),
            # the shipper may know the host's name better
            FieldMapping("syslog.host", ("host.name",), "keyword", if_absent=True),
            FieldMapping("syslog.program", ("log.syslog.appname",), "keyword"),
            FieldMapping("syslog.pid", ("log.syslog.procid",), "keyword"),
            FieldMapping("syslog.msgid", ("log.syslog.msgid",), "keyword"),
        ]
        if self.process:
            found += [
                FieldMapping("syslog.program", ("process.name",), "keyword"),
                # RFC 5424 allows any text as process id
                FieldMapping("syslog.pid", ("process.pid",), "long", quiet=True),
            ]
        return found

    @property
    def emits(self) -> Mapping[str, Any]:
        """Nothing beyond its mappings."""
        return {}

    def declared_format(self, line: str) -> str | None:  # noqa: ARG002  # the protocol's signature
        """Syslog declares nothing."""
        return None

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the call that splits the header off, and the check of the program."""
        zone = str(options.get("timezone") or "UTC")
        zones = available_timezones()  # none where the machine has no time zone database
        if not _OFFSET.fullmatch(zone) and zones and zone not in zones:
            raise UsageError(f"{zone!r} is no time zone", hint="For example UTC, Europe/Berlin or +01:00.")
        script.params["timezone"] = zone
        lines = [f"String[] h = new String[{len(_PARTS)}];", "text = syslog(text, h);"]
        lines += [f"{script.slot(f'syslog.{part}')} = h[{index}];" for index, part in enumerate(_PARTS)]
        program = script.slot("syslog.program")
        conditions = [f"{literal(name)}.equals({program})" for name in self.programs]
        if self.bare:
            conditions.append(f"({program} == null && {script.slot('syslog.time')} == null)")
        if self.programs:
            refusal = literal(f"syslog: {self.error}")
            lines.append(f"if (!({' || '.join(conditions)})) {{ {script.fault} = {refusal}; }}")
        return "\n".join(lines) + "\n"


def read(reader: Reader) -> Syslog:
    """Read the settings of a syslog step."""
    reader.is_mapping({"programs", "error", "bare", "process"})
    return Syslog(
        programs=reader.texts("programs"),
        error=reader.text("error", default="a line of another program"),
        bare=reader.flag("bare"),
        process=reader.flag("process"),
    )
