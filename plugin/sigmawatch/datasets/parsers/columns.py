"""Lines of columns separated by blanks, whose order is declared and never guessed from the values.

    - columns:
        formats: ["version account-id …", …]   # orders that are recognised by their number of columns
        rest: aws.vpcflow                      # where columns go that no field mapping names
        null_values: ["-"]                     # what a column holds when there is no value
        header: true                           # a line of column names declares the order of the lines after it
        known: [vpc-id, …]                     # further names a header may hold

The order of a line is the input field `FORMAT_FIELD` of its document, else the option `format` or the recognised format
that has as many columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.script import literal
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["FORMAT_FIELD", "Columns", "read"]

FORMAT_FIELD = "_format"
"""Input field with the declared order of the columns of a document's line; the pipeline reads and removes it."""

_SEPARATORS = re.compile(r"[ \t,${}]+")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.lower().replace("_", "-") for name in _SEPARATORS.split(text) if name)


@dataclass(frozen=True)
class Columns:
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
    mappings: Sequence[FieldMapping] = ()
    kind: str = "columns"
    options: Sequence[str] = ("format",)

    @property
    def raw_values(self) -> Sequence[str]:
        """Every known name of a column."""
        return tuple(dict.fromkeys([name for order in self.formats for name in order] + list(self.known)))

    @property
    def emits(self) -> Mapping[str, Any]:
        """Nothing by itself: what goes to `rest` depends on the columns."""
        return {}

    @property
    def drops(self) -> bool:
        """Headers are dropped."""
        return self.header

    def declared_format(self, line: str) -> str | None:
        """Return the header's own text."""
        text = line.removeprefix("\ufeff").strip()
        names = _names(text)
        columns = set(self.raw_values)
        known = sum(name in columns for name in names)
        # As the Painless function `isHeader` has it.
        edge = bool(names) and (names[0] in columns or names[-1] in columns)
        is_header = edge and known > 1 and known * 2 > len(names)
        return text if self.header and is_header else None

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the function that puts columns into their slots, and the call of it."""
        formats = {str(len(order)): list(order) for order in self.formats}
        declared = options.get("format")
        if declared is not None:
            order = _names(declared if isinstance(declared, str) else " ".join(map(str, declared)))
            if len(order) < 2 or len(set(order)) != len(order):
                raise UsageError(
                    "the option `format` must name two columns or more, each once",
                    hint="For example: version account-id interface-id srcaddr dstaddr …",
                )
            formats[str(len(order))] = list(order)
        # A column whose raw value nothing looks at has no slot and goes to `rest`.
        used = script.slots
        columns = {name: used.get(name, -1) for name in self.raw_values}
        nulls = " || ".join(f"{literal(null)}.equals(value)" for null in self.null_values) or "false"
        rest = "rest.put(vendorName(name), value);" if self.rest else ""
        # `p` holds the tables: the orders by number of columns, and the slots by column.
        script.function(
            "columns",
            "String",
            "String text, String[] f, Map rest, Map p, def declared",
            f"""\
  String[] values = words(text);
  int n = values.length;
  List names;
  if (declared == null) {{
    names = ((Map){script.table("formats", formats)}).get('' + n);
    if (names == null) {{
      return 'columns: ' + n + ' columns, as no known format has; declare theirs with the option format or the field '
        + {literal(FORMAT_FIELD)};
    }}
  }} else {{
    names = columnNames(declared.toString());
    if (names.size() != n) {{
      return 'columns: ' + n + ' columns, but the declared format has ' + names.size();
    }}
  }}
  Map columns = (Map){script.table("columns", columns)};
  for (int i = 0; i < n; ++i) {{
    String value = values[i];
    if (!({nulls})) {{
      String name = (String)names.get(i);
      def slot = columns.get(name);
      int at = slot == null ? -1 : ((Number)slot).intValue();
      if (at > 0) {{ f[at] = value; }} else {{ {rest} }}
    }}
  }}
  return null;""",
        )
        target = script.object(self.rest) if self.rest else "null"
        header = ""
        if self.header:
            header = "if (isHeader(text, (Map)params.get('columns'))) { ctx.put('_drop', true); return; }\n"
        return (
            f"def declared = ctx.get({literal(FORMAT_FIELD)});\n"
            f"if (declared != null) {{ ctx.remove({literal(FORMAT_FIELD)}); }}\n{header}"
            f"{script.fault} = columns(text, f, {target}, params, declared);\n"
        )


def read(reader: Reader) -> Columns:
    """Read the settings of a columns step."""
    reader.is_mapping({"formats", "rest", "null_values", "header", "known"})
    formats = tuple(_names(text) for text in reader.texts("formats"))
    counts = [len(order) for order in formats]
    if len(set(counts)) != len(counts) or any(len(set(order)) != len(order) for order in formats):
        reader.at("formats").problem(
            "formats must differ in their number of columns, and a column stands once in each",
            hint="an order that has as many columns as another can only be declared, not recognised",
        )
    return Columns(
        formats=formats,
        rest=reader.text("rest", default=""),
        null_values=reader.texts("null_values"),
        header=reader.flag("header"),
        known=tuple(name for text in reader.texts("known") for name in _names(text)),
    )
