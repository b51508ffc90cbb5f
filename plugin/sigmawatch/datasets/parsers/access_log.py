r"""Lines of access logs: the Common Log Format of web servers and proxies, and what their users made of it.

    - access_log:
        formats:                       # tried in this order: the first that fits
          - 'vhost address:ip ident user* [time] "request" status bytes "referrer" "user-agent"'
          - 'address ident user* [time] "request" status bytes "referrer" "user-agent"'
        null_values: ["-"]
        next: true                     # a line that none fits is for the next step
        hex: true                      # a quote inside quotes is `\x22`; where one stands bare, none is escaped
        variables: {remote_addr: address}   # how the option `format` calls the columns

A format is written as its lines look: columns between blanks, some in brackets or quotes. `user*` may hold blanks (it
is what a client says of itself): what stands right of it is read from the right, up to the first quoted column. `:ip`
asks for an address, to tell formats apart. Behind the columns of the format there may be more.

The option `format` is another format, tried first. It may be copied from the configuration of nginx
(`$remote_addr - $remote_user [$time_local] "$request" …`) or Apache (`%h %l %u %t \"%r\" …`): `variables` says
which column each of their names is; columns that it does not know are skipped. One that begins with `{` is for the step
`members`.

With `hex` (nginx) a quote or a backslash that stands bare says that the server escapes nothing: then a client can write
what looks like the end of a column. Such a line is read as far as it can be, and `error.message` says so;
so it does of one with more columns than the option `format` declares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import literal
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["AccessLog", "LineFormat", "parse_format", "read"]

_COLUMN = re.compile(r'"(?P<quoted>[^"]*)"|\[(?P<bracketed>[^\]]*)\]|(?P<plain>\S+)')
_NAME = re.compile(r"(?P<name>-|[a-z][a-z0-9_.-]*)(?P<loose>\*?)(?P<address>(:ip)?)")


@dataclass(frozen=True)
class LineFormat:
    """How a line looks."""

    names: tuple[str, ...]
    """Its columns; `-` for one that does not matter."""
    left: int
    """How many of them stand left of the loose one, or of the first quoted one where none is loose."""
    loose: bool
    """Whether there is a column that may hold blanks."""
    right: tuple[bool, ...]
    """The columns between it and the first quoted one: whether each stands in brackets."""
    addresses: tuple[int, ...]
    """Columns that must be addresses."""
    quoted: bool
    """Whether the last column stands in quotes: a bare one is another."""

    def table(self, slots: Mapping[str, int]) -> dict[str, Any]:
        """Return what the Painless function `accessLine` reads."""
        return {
            "slots": [slots.get(name, -1) for name in self.names],
            "left": self.left,
            "loose": self.loose,
            "right": list(self.right),
            "addresses": list(self.addresses),
            "quoted": self.quoted,
        }


def parse_format(text: str) -> LineFormat:
    """Parse a format. Raises ValueError, whose message says what is wrong with it."""
    names: list[str] = []
    shapes: list[str] = []
    addresses = []
    loose = -1
    for match in _COLUMN.finditer(text):
        shape = str(match.lastgroup)
        column = _NAME.fullmatch(match[shape])
        if column is None:
            raise ValueError(f"{match[0]!r} is no column")
        if column["loose"]:
            if loose >= 0 or shape != "plain":
                raise ValueError("one column may be loose, and it stands bare")
            loose = len(names)
        if column["address"]:
            addresses.append(len(names))
        names.append(column["name"])
        shapes.append(shape)
    real = [name for name in names if name != "-"]
    if len(real) < 2 or len(set(real)) != len(real):
        raise ValueError("a format has two columns or more, each once")
    last = shapes[-1] == "quoted"
    quoted = shapes.index("quoted") if "quoted" in shapes else len(shapes)
    if loose >= quoted:
        raise ValueError("a loose column stands before the first quoted one")
    if loose < 0:
        # What stands in brackets may hold blanks: from there on the columns are found from the right.
        left = shapes.index("bracketed") if "bracketed" in shapes[:quoted] else quoted
        right = tuple(shape == "bracketed" for shape in shapes[left:quoted])
        return LineFormat(tuple(names), left, False, right, tuple(addresses), last)
    right = tuple(shape == "bracketed" for shape in shapes[loose + 1 : quoted])
    if "bracketed" in shapes[:loose]:
        raise ValueError("a column in brackets stands right of the loose one")
    return LineFormat(tuple(names), loose, True, right, tuple(addresses), last)


@dataclass(frozen=True)
class AccessLog(Plain):
    """Lines of an access log."""

    formats: tuple[str, ...]
    """Tried in this order."""
    null_values: tuple[str, ...]
    """Values that mean there is none."""
    next: bool
    """Whether a line that no format fits is for the next step; else it is refused."""
    variables: Mapping[str, str]
    """What a server's configuration calls a column -> the column."""
    hex: bool = False
    """Whether the server escapes quotes and backslashes as `\\x22` and `\\x5C`, if it does at all."""
    kind: str = "access_log"
    options: Sequence[str] = ("format",)

    @property
    def raw_values(self) -> Sequence[str]:
        """Every column of a format, and those that the option `format` may add."""
        names = [name for text in self.formats for name in parse_format(text).names if name != "-"]
        return tuple(dict.fromkeys([*names, *(column.rstrip("*") for column in self.variables.values())]))

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the tables of the formats and the call that tries them."""
        formats = list(self.formats)
        declared = options.get("format")
        own = declared is not None and not str(declared).lstrip().startswith("{")
        if own:
            formats.insert(0, self._translated(str(declared)))
        slots = {name: number for name, number in script.slots.items() if name in self.raw_values}
        script.params["access.formats"] = [parse_format(text).table(slots) for text in formats]
        script.params["access.nulls"] = list(self.null_values)
        lists = "(List)params.get('access.formats'), (List)params.get('access.nulls')"
        call = f"accessLine(text, {lists}, {literal(self.hex)}, {literal(own)}, f, problems)"
        refusal = f" else {{ {script.fault} = 'access_log: the line fits no known format'; }}"
        return f"if ({call}) {{ text = ''; }}{'' if self.next else refusal}\n"

    def _translated(self, text: str) -> str:
        """Return a format in our notation, with the names of a server's configuration replaced."""
        raw = set(self.raw_values)

        def column(match: re.Match[str]) -> str:
            shape = str(match.lastgroup)
            inner = match[shape]
            name = inner.rstrip("*").removesuffix(":ip")
            known = self.variables.get(inner)
            if known is None and name in raw:
                known = inner
            elif known is None:
                known = "-"
            if shape == "quoted":
                return f'"{known}"'
            # Apache writes the brackets of `%t` itself.
            return f"[{known}]" if shape == "bracketed" or inner == "%t" else known

        found = _COLUMN.sub(column, text.replace('\\"', '"').replace("%>s", "%s").replace("%<s", "%s"))
        try:
            parse_format(found)
        except ValueError as error:
            raise UsageError(
                f"the option `format` makes no sense: {error}", hint=f"It is read as: {found}"
            ) from error
        return found


def read(reader: Reader) -> AccessLog:
    """Read the settings of an access_log step."""
    reader.is_mapping({"formats", "null_values", "next", "variables", "hex"})
    formats = []
    listed = reader.get("formats")
    if listed is None:
        reader.problem("'formats' is missing", code="missing-key")
    for element in listed.elements() if listed else ():
        try:
            parse_format(element.as_text())
        except ValueError as error:
            element.problem(f"broken format: {error}", code="format")
        else:
            formats.append(element.as_text())
    variables = reader.get("variables")
    return AccessLog(
        formats=tuple(formats),
        null_values=reader.texts("null_values"),
        next=reader.flag("next"),
        hex=reader.flag("hex"),
        variables={name: member.as_text() for name, member in variables.items()} if variables else {},
    )
