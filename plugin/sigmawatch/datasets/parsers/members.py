r"""Lines that are JSON objects in place of columns: the members are called as the columns are.

    - members:
        required: [srcaddr|pkt-srcaddr]   # columns that prove the format, even if empty; `a|b`: one of them
        error: no flow record             # what is said of objects that lack one
        names: {sourceaddress: srcaddr}   # what else members may be called
        null_values: ["-"]                # texts that mean there is no value, besides null and ""
        rest: aws.vpcflow                 # where members go that no field mapping names, as columns do
        escapes: true                     # values are written as the columns are: a backslash is `\x5C`

For a log that comes as columns or as objects, with one description for both: fields name the columns, and `src_addr`,
`src-addr` and `SRC_ADDR` are one. The raw value `form` is `json` for such a line, and nothing is left of it; any other
line is for the next step, which is taken `when: {form: false}`. A log whose every line is JSON has the step `json`.

The option `format` may be such an object with the variables of a server's configuration as values
(`{"ip": "$remote_addr"}`): it says what else members are called, `names` what the variables are.

Some servers put texts that are escaped for their own columns into the quotes of JSON (nginx without `escape=json`):
`\x22` in them, which is no JSON, is read for what it is with `escapes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.columns import FORMAT_FIELD, column_names
from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import literal
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["FORM", "Members", "read"]

FORM = "form"
"""The raw value that says that a line was such an object."""


@dataclass(frozen=True)
class Members(Plain):
    """An object with the values of columns."""

    required: tuple[tuple[str, ...], ...]
    """Columns, of each group one."""
    error: str
    """What is said of other objects."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What a member may be called beside the name of its column."""
    null_values: tuple[str, ...] = ()
    """Texts that mean there is no value."""
    rest: str = ""
    """The object that members without a mapping go to; empty: they are left out."""
    escapes: bool = False
    """Whether mappings undo the escapes of columns, so that values which have none must look as if they had."""
    kind: str = "members"
    options: Sequence[str] = ("format",)

    @property
    def raw_values(self) -> Sequence[str]:
        """The mark, and the columns that are named here."""
        named = [name for group in self.required for name in group]
        return tuple(dict.fromkeys([FORM, *named, *self.names.values()]))

    @property
    def spelled(self) -> tuple[tuple[str, ...], ...]:
        """The required columns as keys of objects may spell them."""
        also: dict[str, list[str]] = {}
        for name, column in self.names.items():
            also.setdefault(column, []).append(name)
        groups = []
        for group in self.required:
            names = [spelling for name in group for spelling in (name, *also.get(name, ()))]
            groups.append(tuple(dict.fromkeys([*names, *(name.replace("-", "_") for name in names)])))
        return tuple(groups)

    def write_input(self, script: Script) -> str:
        """Write the statements that find an object which a shipper parsed, where the document has no line."""
        required = script.table("members.keys", [list(group) for group in self.spelled])
        given = f"givenObject(ctx, raw, (List){script.table('parsed', ['json'])}, (List){required})"
        return f"if (raw == null || raw instanceof Map) {{ raw = {given}; }}\n"

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the table of names and the call that takes an object apart."""
        names = {**self.names, **self._declared(str(options.get("format") or ""), script.listed)}
        own = [name for name in script.listed if name != FORM]
        slots = {name: script.slots.get(name, -1) for name in own}
        # Columns under their own names come before what somebody else calls them.
        slots = {**slots, **{name: slots.get(column, -1) for name, column in names.items()}}
        table = script.table(
            "members",
            {
                "slots": slots,
                "required": [list(group) for group in self.required],
                "columns": names,
                "nulls": dict.fromkeys(self.null_values, True),
                "reserved": script.reserved(self.rest) if self.rest else {},
                "escapes": self.escapes,
            },
        )
        rest = script.object(self.rest) if self.rest else "null"
        fault = script.fault
        refusal = literal(f"members: {self.error}")
        return (
            "if (text.startsWith('{')) {\n"
            f"ctx.remove({literal(FORMAT_FIELD)});\n"
            f"{script.slot(FORM)} = 'json';\n"
            f"{fault} = members(text, f, {rest}, (Map){table}, {refusal}, problems);\n"
            "text = '';\n"
            "}\n"
        )

    def _declared(self, text: str, known: Collection[str]) -> Mapping[str, str]:
        """Return what members are called by the option `format`. Raises UsageError when it names none."""
        if not text.lstrip().startswith("{"):
            return {}
        found = {}
        for key, variable in _VARIABLE.findall(text):
            name, *_ = column_names(variable)
            column = self.names.get(name, name)
            if column in known:
                found.update(dict.fromkeys(column_names(key)[:1], column))
        if not found:
            raise UsageError(
                "the option `format` has no member whose value is a known variable",
                hint='For example {"ip": "$remote_addr", "request": "$request"}.',
            )
        return found


_VARIABLE = re.compile(r'"([^"]+)"\s*:\s*"?\$\{?(\w+)\}?"?\s*(?=[,}])')
"""A member of a format whose value is one variable."""


def read(reader: Reader) -> Members:
    """Read the settings of a members step."""
    reader.is_mapping({"required", "error", "names", "null_values", "rest", "escapes"})
    required = reader.texts("required")
    if not required:
        reader.problem(
            "'required' is missing", hint="name the columns that prove the format", code="missing-key"
        )
    names = {}
    given = reader.get("names")
    for name, member in given.items() if given else ():
        found = (column_names(name), column_names(member.as_text()))
        if any(len(one) != 1 for one in found):
            member.problem("names: expected the name of a member and that of its column")
        else:
            names[found[0][0]] = found[1][0]
    return Members(
        required=tuple(tuple(text.split("|")) for text in required),
        error=reader.text("error", default="an object of another format"),
        names=names,
        null_values=reader.texts("null_values"),
        rest=reader.text("rest", default=""),
        escapes=reader.flag("escapes"),
    )
