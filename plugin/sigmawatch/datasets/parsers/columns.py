r"""Lines of columns, whose order is declared and never guessed from the values.

    - columns:
        formats: ["version account-id …", …]   # orders that are recognised by their number of columns
        rest: aws.vpcflow                      # where columns go that no field mapping names
        null_values: ["-"]                     # what a column holds when there is no value
        header: true                           # a line of column names declares the order of the lines after it
        directive: "#Fields:"                  # … or a line that begins so; every line that begins with # is dropped
        known: [vpc-id, …]                     # further names a header may hold
        separator: blank                       # or tab, comma, semicolon, pipe; between blanks any number is one
        quotes: backslash                      # columns in quotes; a quote inside is `\"` (backslash),
                                               # `""` (doubled), or cannot be (plain)
        brackets: true                         # columns in [ ]
        tail: true                             # columns behind the known ones (newer versions append) are let pass
        short: true                            # … and a line may lack the last of them (older versions)
        by:                                    # further columns, chosen by the value of one before
          - {column: type, then: {TRAFFIC: "a b c", THREAT: "a d"}, otherwise: "a"}

The order of a line is the input field `FORMAT_FIELD` of its document, else the option `format` or the recognised format
that has as many columns (with `tail`, the longest that has no more). A line that ends within quotes was cut off on its
way: it is taken as far as it goes.
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

__all__ = ["BLANKS", "FORMAT_FIELD", "Choice", "Columns", "column_names", "read"]

FORMAT_FIELD = "_format"
"""Input field with the declared order of the columns of a document's line; the pipeline reads and removes it."""

_SEPARATORS = re.compile(r'[ \t,${}"]+')
BLANKS = "".join(map(chr, range(33)))
"""What Java's `trim` takes away."""
_SEPARATOR_NAMES = {"blank": " ", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_QUOTES = {"backslash": "\\", "doubled": '"', "plain": ""}


def column_names(text: str) -> tuple[str, ...]:
    """Return the names of columns in a text, as they are looked up: `Src_Addr` and `src-addr` are one."""
    return tuple(name.lower().replace("_", "-") for name in _SEPARATORS.split(text) if name)


@dataclass(frozen=True)
class Choice:
    """Columns that follow, by the value of one that came before."""

    column: str
    """The column whose value decides."""
    then: Mapping[str, tuple[str, ...]]
    """Value -> the columns that follow."""
    otherwise: tuple[str, ...] | None
    """Those that follow any other value; None: such a line is refused."""


@dataclass(frozen=True)
class Columns(Plain):
    """Columns in a declared order."""

    formats: tuple[tuple[str, ...], ...]
    """Orders that need no declaration: no two have the same number of columns."""
    rest: str
    """The object that columns without a mapping go to; empty: they are left out."""
    null_values: tuple[str, ...]
    """Values that mean there is none."""
    header: bool
    """Whether a line of column names declares the order of those after it."""
    known: tuple[str, ...]
    """Names of columns beyond those of the formats."""
    directive: str = ""
    """How a line begins that declares the order of those after it; empty: no line does."""
    separator: str = " "
    """What stands between columns."""
    quotes: str | None = None
    """What protects a quote inside quotes: a backslash, a quote, or nothing; None: quotes mean nothing."""
    brackets: bool = False
    """Whether columns may stand in brackets."""
    tail: bool = False
    """Whether there may be columns behind those that are known."""
    short: bool = False
    """Whether a line may lack the last of the columns that are known."""
    choices: tuple[Choice, ...] = ()
    """Columns behind those of the format, by the values of others."""
    kind: str = "columns"
    options: Sequence[str] = ("format",)

    @property
    def raw_values(self) -> Sequence[str]:
        """Every known name of a column."""
        names = [name for order in self.formats for name in order] + list(self.known)
        for choice in self.choices:
            names += [name for order in choice.then.values() for name in order]
            names += choice.otherwise or ()
        return tuple(dict.fromkeys(names))

    @property
    def drops(self) -> bool:
        """Headers and directives are dropped."""
        return self.header or bool(self.directive)

    def declared_format(self, line: str) -> str | None:
        """Return the names that a header or directive tells; empty for a directive that tells none."""
        text = line.removeprefix("\ufeff").strip(BLANKS)
        if self.directive and text.startswith("#"):
            return text.removeprefix(self.directive).strip() if text.startswith(self.directive) else ""
        names = column_names(text)
        columns = set(self.raw_values)
        known = sum(name in columns for name in names)
        # As the Painless function `isHeader` has it.
        edge = bool(names) and (names[0] in columns or names[-1] in columns)
        is_header = edge and known > 1 and known * 2 > len(names)
        return text if self.header and is_header else None

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the function that puts columns into their slots, and the call of it."""
        formats = {len(order): list(order) for order in self.formats}
        declared = options.get("format")
        if declared is not None:
            order = column_names(declared if isinstance(declared, str) else " ".join(map(str, declared)))
            if len(order) < 2 or len(set(order)) != len(order):
                raise UsageError(
                    "the option `format` must name two columns or more, each once",
                    hint="For example: version account-id interface-id srcaddr dstaddr …",
                )
            formats[len(order)] = list(order)
        # A column whose raw value nothing looks at has no slot and goes to `rest`.
        used = script.slots
        columns = {name: used.get(name, -1) for name in self.raw_values}
        target = script.object(self.rest) if self.rest else "null"
        parameters = "String text, String[] f, Map rest, Map p, def declared"
        formats_table = script.table("formats", {str(count): order for count, order in formats.items()})
        flags = f"{literal(self.tail)}, {'cut' if self._shaped else 'false'}, {literal(bool(self.choices))}"
        counts = script.table("formats.counts", sorted(formats, reverse=True))
        rest = ""
        if self.rest:
            reserved = script.table("reserved", script.reserved(self.rest))
            rest = f" else {{ putUnknown(rest, vendorName(name), value, (Map){reserved}); }}"
        script.function(
            "columns",
            "String",
            parameters,
            f"""\
{self._split()}\
  Map columns = (Map){script.table("columns", columns)};
  List names = null;
  if (declared != null) {{
    names = columnNames(declared.toString());
    boolean isKnown = false;
    for (String name : names) {{ if (columns.containsKey(name)) {{ isKnown = true; break; }} }}
    if (!isKnown) {{ return 'columns: the declared format has no column that is known'; }}
  }} else {{
    names = columnsOfCount((Map){formats_table}, (List){counts}, n, {flags});
    if (names == null) {{
      return 'columns: ' + n + ' columns, as no known format has; declare theirs with the option format or the field '
        + {literal(FORMAT_FIELD)};
    }}
  }}
{self._choose(script)}\
  int size = names.size();
  if ({self._wrong_count()}) {{
    return 'columns: ' + n + ' columns, but the declared format has ' + size;
  }}
  for (int i = 0; i < n && i < size; ++i) {{
    String value = {"(String)values.get(i)" if self._shaped else "values[i]"};
    if (!({self._nulls()})) {{
      String name = (String)names.get(i);
      def slot = columns.get(name);
      int at = slot == null ? -1 : ((Number)slot).intValue();
      if (at > 0) {{ f[at] = value; }}{rest}
    }}
  }}
  return null;""",
        )
        dropped = ""
        if self.header:
            dropped = "if (isHeader(text, (Map)params.get('columns'))) { ctx.put('_drop', true); return; }\n"
        if self.directive:
            dropped += "if (text.startsWith('#')) { ctx.put('_drop', true); return; }\n"
        return (
            f"def declared = ctx.get({literal(FORMAT_FIELD)});\n"
            f"if (declared != null) {{ ctx.remove({literal(FORMAT_FIELD)}); }}\n{dropped}"
            f"{script.fault} = columns(text, f, {target}, params, declared);\n"
        )

    @property
    def _shaped(self) -> bool:
        """Whether the line is more than words between blanks."""
        return self.separator != " " or self.quotes is not None or self.brackets

    def _split(self) -> str:
        if not self._shaped:
            return "  String[] values = words(text);\n  int n = values.length;\n"
        call = ", ".join(["text", *map(literal, (self.separator, self.quotes, self.brackets))])
        return f"""\
  List values = splitColumns({call});
  boolean cut = !values.isEmpty() && values.get(values.size() - 1) == null;
  if (cut) {{ values.remove(values.size() - 1); }}
  int n = values.size();
"""

    def _choose(self, script: Script) -> str:
        lines = []
        for number, choice in enumerate(self.choices):
            table = script.table(
                f"columns.by.{number}", {value: list(order) for value, order in choice.then.items()}
            )
            otherwise = "null" if choice.otherwise is None else f"(List)p.get('columns.otherwise.{number}')"
            if choice.otherwise is not None:
                script.params[f"columns.otherwise.{number}"] = list(choice.otherwise)
            value = "(String)values.get(at)" if self._shaped else "values[at]"
            lines.append(f"""\
  if (declared == null) {{
    int at = names.indexOf({literal(choice.column)});
    String value = at >= 0 && at < n ? {value} : '';
    def more = ((Map){table}).get(value);
    if (more == null) {{ more = {otherwise}; }}
    if (more == null) {{
      return 'columns: no columns are known for ' + {literal(choice.column)} + ' ' + shortened(value);
    }}
    names = new ArrayList(names);
    names.addAll((List)more);
  }}
""")
        return "".join(lines)

    def _wrong_count(self) -> str:
        if self.short and self.tail:
            return "size == 0"  # any number will do
        wrong = "size > n" if self.tail else "size < n" if self.short else "size != n"
        return f"{wrong} && !cut" if self._shaped else wrong

    def _nulls(self) -> str:
        nulls = [f"{literal(null)}.equals(value)" for null in self.null_values]
        if self._shaped:
            nulls.append("value.isEmpty()")
        return " || ".join(nulls) or "false"


def read(reader: Reader) -> Columns:
    """Read the settings of a columns step."""
    reader.is_mapping(
        {
            "formats", "rest", "null_values", "header", "known", "directive", "separator", "quotes", "brackets",
            "tail", "short", "by",
        }
    )  # fmt: skip
    formats = tuple(column_names(text) for text in reader.texts("formats"))
    counts = [len(order) for order in formats]
    if len(set(counts)) != len(counts) or any(len(set(order)) != len(order) for order in formats):
        reader.at("formats").problem(
            "formats must differ in their number of columns, and a column stands once in each",
            hint="an order that has as many columns as another can only be declared, not recognised",
        )
    found = Columns(
        formats=formats,
        rest=reader.text("rest", default=""),
        null_values=reader.texts("null_values"),
        header=reader.flag("header"),
        known=tuple(name for text in reader.texts("known") for name in column_names(text)),
        directive=reader.text("directive", default=""),
        separator=_SEPARATOR_NAMES[_one_of(reader, "separator", _SEPARATOR_NAMES) or "blank"],
        quotes=_QUOTES.get(_one_of(reader, "quotes", _QUOTES)),
        brackets=reader.flag("brackets"),
        tail=reader.flag("tail"),
        short=reader.flag("short"),
        choices=_read_choices(reader),
    )
    if found.directive and not found.directive.startswith("#"):
        reader.at("directive").problem("a directive begins with #")
    if found.choices and len(formats) != 1:
        reader.at("by").problem("with 'by', 'formats' is one format: the columns that all lines have")
    known = set(found.raw_values)
    for index, choice in enumerate(found.choices):
        if choice.column not in known:
            reader.at("by").at(index).problem(f"there is no column {choice.column!r}")
    return found


def _one_of(reader: Reader, key: str, known: Mapping[str, str]) -> str:
    text = reader.text(key, default="")
    if text and text not in known:
        reader.at(key).problem(f"{key}: {text!r} is unknown", hint=f"known: {', '.join(known)}")
        return ""
    return text


def _read_choices(reader: Reader) -> tuple[Choice, ...]:
    found = []
    entries = reader.get("by")
    for entry in entries.elements() if entries else ():
        if not entry.is_mapping({"column", "then", "otherwise"}):
            continue
        then = entry.get("then")
        if then is None:
            entry.problem("'then' is missing", code="missing-key")
        otherwise = entry.get("otherwise")
        found.append(
            Choice(
                column=next(iter(column_names(entry.text("column"))), ""),
                then={value: column_names(member.as_text()) for value, member in then.items()}
                if then
                else {},
                otherwise=None if otherwise is None else column_names(otherwise.as_text()),
            )
        )
    return tuple(found)
