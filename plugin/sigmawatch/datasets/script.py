"""Writing the Painless script of a pipeline: slots for raw values, objects to write to, functions, literals.

The script is text that a server compiles, so what a description says gets into it only through `literal`. Raw values
live in an array of texts (`f[3]`), lists and objects among them in an array
beside it (`r[3]`), and the objects of the document in an array of maps (`o[2]`): the positions are
known when the script is written, and an array access is the cheapest thing Painless has.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from string import ascii_letters
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = [
    "IN_ELEMENT",
    "MAX_SOURCE_BYTES",
    "TEXT_TYPES",
    "TREE",
    "Script",
    "compact",
    "java_length",
    "literal",
]

MAX_SOURCE_BYTES = 65_535
"""What both engines accept as a script's source (`script.max_size_in_bytes`)."""

TREE = "(tree) "
"""Before the name of a raw value: the slot of the value as a whole, an object or a list, in the array `r`."""

IN_ELEMENT = " > "
"""Between the name of a list of objects and that of a value in each of them."""

TEXT_TYPES = frozenset({"keyword", "wildcard", "match_only_text", "constant_keyword"})
"""Mapping types that take any text."""

_KINDS = {
    "ip": "ip",
    "date": "date",
    "flattened": "object",
    "nested": "object",
    "object": "object",
    "geo_point": "object",
}
"""Mapping type -> what `admit` is to look at, where that is not just whether the value is no object."""

_FUNCTION = re.compile(r"^[A-Za-z][\w\[\]]* (\w+)\([^)]*\) \{\n.*?^\}\n", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\b[A-Za-z]\w*(?=\()")
_INDENTATION = re.compile(r"^ +", re.MULTILINE)
_TEXT = re.compile(r"('(?:[^'\\]|\\.)*')", re.DOTALL)
_DEFINED = re.compile(r"^[A-Za-z][\w\[\]]* (\w+)\([^)]*\) \{$", re.MULTILINE)
_CALLED = re.compile(r"(?<![\w.])[A-Za-z]\w*(?=\()")
_DECLARED = re.compile(
    r"(?<![\w.])(?:String|def|int|long|double|boolean|char|byte|Map|List|Set|Matcher|Object|Exception)(?:\[\] ?| )"
    r"(\w+)(?=\s*[=;,):])"
)
"""Where a variable or a parameter gets its name."""

_NAME = re.compile(r"(?<![\w.])[A-Za-z]\w*\b(?!\()")
_REMARK = re.compile(r"//[^\n]*")
_AROUND = re.compile(r"\s*([=*<>!&|?:;,(){}\[\]])\s*")
_BLANKS = re.compile(r"\s+")
_COMMENT = re.compile(r"^\s*//.*\n", re.MULTILINE)


def literal(value: str | bool | int | None) -> str:
    """Return a value as Painless source.

    Painless knows two escapes in a quoted text, for the quote and for the backslash; every other character,
    line breaks included, stands for itself.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L"
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def compact(source: str) -> str:
    """Return a script without what only people need: white space, comments, long names.

    For the few that would be larger than engines accept; texts in it stay as they are.
    """
    names = {
        name: f"_{number}"
        for number, name in enumerate(dict.fromkeys(_DEFINED.findall(source)))
        if len(name) > len(f"_{number}")
    }
    parts = _TEXT.split(source)
    # Every other part is a text. Blanks around + and - stay: `a - -1`.
    for index in range(0, len(parts), 2):
        part = _AROUND.sub(r"\1", _REMARK.sub("", parts[index]))
        parts[index] = _CALLED.sub(lambda match: names.get(match[0], match[0]), _BLANKS.sub(" ", part))
    short = _short_variables(parts[::2])
    for index in range(0, len(parts), 2):
        parts[index] = _NAME.sub(lambda match: short.get(match[0], match[0]), parts[index])
    return "".join(parts)


def _short_variables(code: Sequence[str]) -> Mapping[str, str]:
    """Return shorter names for the variables that cost most. No other name begins with an underscore and a letter."""
    declared = {name for part in code for name in _DECLARED.findall(part)}
    used = Counter(name for part in code for name in _NAME.findall(part) if name in declared)
    most = sorted(used, key=lambda name: (-len(name) * used[name], name))
    letters = [f"_{letter}" for letter in ascii_letters]
    short = [*letters, *(f"{first}{letter}" for first in letters for letter in ascii_letters)]
    return {name: new for name, new in zip(most, short, strict=False) if len(new) < len(name)}


def java_length(text: str) -> int:
    """Return the length of a text as Java counts it."""
    return len(text.encode("utf-16-le")) // 2


@cache
def _library() -> Mapping[str, str]:
    """Return the functions of the `painless` folder by name, without comments and indentation."""
    functions: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / "painless").glob("*.painless")):
        for match in _FUNCTION.finditer(_COMMENT.sub("", path.read_text(encoding="utf-8"))):
            # Indentation counts against the size that engines accept.
            functions[match[1]] = _INDENTATION.sub("", match[0])
    return functions


class Script:
    """A script being written."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        """Tables that the script reads; the engine keeps them, they are not rebuilt for every document."""
        self.lists = False
        """Whether raw values may be lists or objects, as in JSON: then they are in `r`, too."""
        self.single = False
        """Whether what is being written reads fields as single values: of a list, the first counts."""
        self.listed: frozenset[str] = frozenset()
        """Raw values whose names the parsers know beforehand."""
        self.mapped: tuple[str, ...] = ()
        """Raw values that field mappings name."""
        self.dates: tuple[str, ...] = ()
        """Formats of times as the machines' locale has them, before those of the description."""
        self.hands_over = False
        """Whether the script leaves the rest to that of a part, which it gives what was parsed in `parsed`."""
        self.rests: Mapping[str, tuple[str, tuple[str, ...]]] = {}
        """Value of `kind` (empty: any) -> the object for what no mapping names, and what mappings name."""
        self.kind = ""
        """The raw value that chose the part which the script is for."""
        self.elsewhere: tuple[str, ...] = ()
        """Raw values that the scripts of parts ask for."""
        self.declared: Mapping[str, str] = {}
        """Fields of the dataset -> mapping type."""
        self._slots: dict[str, int] = {"": 0}  # slot 0 says why the line as a whole is refused
        self._objects: dict[str, int] = {"": 0}  # object 0 is the document itself
        self._functions: dict[str, str] = {}

    @property
    def fault(self) -> str:
        """The place of the reason why the whole line is refused; null while it is not."""
        return "f[0]"

    @property
    def slots(self) -> Mapping[str, int]:
        """Raw value -> its slot."""
        return {name: slot for name, slot in self._slots.items() if name}

    def slot(self, name: str) -> str:
        """Return the place of a raw value: a text, or null."""
        return f"f[{self.slot_number(name)}]"

    @property
    def objects(self) -> Collection[str]:
        """The objects of the document that the script may write to."""
        return [path for path in self._objects if path and "[]" not in path]

    @property
    def places(self) -> Mapping[str, int]:
        """The objects of the document that the script may write to -> their numbers."""
        return {path: index for path, index in self._objects.items() if path and "[]" not in path}

    def place_of(self, path: str) -> tuple[int, Mapping[str, int]]:
        """Return the number of an object, and those of the objects right below it by their keys."""
        self.object(path)
        places = self.places
        return places[path], {
            name.rpartition(".")[2]: number
            for name, number in places.items()
            if name.rpartition(".")[0] == path
        }

    def objects_below(self, path: str) -> Mapping[str, str]:
        """Return an object that belongs to the element of a list, and those in it, each with its place."""
        return {
            name: f"o[{index}]"
            for name, index in self._objects.items()
            if name == path or name.startswith(f"{path}.")
        }

    def slot_number(self, name: str) -> int:
        """Return the number of a raw value's slot, for tables."""
        return self._slots.setdefault(name, len(self._slots))

    def member(self, field: str) -> tuple[int, str]:
        """Return the number of a field's object and its key there, for tables."""
        parent, _, name = field.rpartition(".")
        self.object(parent)
        return self._objects[parent], name

    def object(self, path: str) -> str:
        """Return the place of an object of the document, e.g. of `source.nat`; parents come before children.

        `dns.answers[]` is the element of a list that is being made: it is not opened and closed with the document.
        """
        if path not in self._objects:
            if not path.endswith("[]"):
                self.object(path.rpartition(".")[0])
            self._objects[path] = len(self._objects)
        return f"o[{self._objects[path]}]"

    def reserved(self, rest: str) -> dict[str, bool]:
        """Return the members of an object that a text of unknown meaning must not be put into, for tables.

        A mapping would ignore it there, or refuse the document where it has an object of that name.
        """
        below = {
            name.removeprefix(f"{rest}."): mapping_type
            for name, mapping_type in self.declared.items()
            if name.startswith(f"{rest}.")
        }
        return {
            name.partition(".")[0]: True
            for name, mapping_type in below.items()
            if "." in name or mapping_type not in TEXT_TYPES
        }

    def shape(self, below: str = "") -> dict[str, Any]:
        """Return the fields that documents may have below an object as the Painless function `admit` reads them."""
        prefix = f"{below}." if below else ""
        shape: dict[str, Any] = {}
        for name, mapping_type in sorted(self.declared.items()):
            # What comes to these is looked at as the line, or as the shipper's time.
            if not name.startswith(prefix) or name in ("message", "@timestamp", "event.original"):
                continue
            level = shape
            *parents, last = name.removeprefix(prefix).split(".")
            for parent in parents:
                if not isinstance(level.get(parent), dict):
                    level[parent] = {}
                level = level[parent]
            kind = _KINDS.get(mapping_type, "text" if mapping_type in TEXT_TYPES else "value")
            level.setdefault(last, kind)
        return shape

    def put(self, field: str, expression: str) -> str:
        """Return the statement that sets a field."""
        parent, _, name = field.rpartition(".")
        return f"{self.object(parent)}.put({literal(name)}, {expression});"

    def place(self, field: str) -> tuple[str, str]:
        """Return the place of a field's object and its key there."""
        parent, _, name = field.rpartition(".")
        return self.object(parent), name

    def get(self, field: str) -> str:
        """Return the expression of a field's value, null where it has none."""
        parent, _, name = field.rpartition(".")
        found = f"{self.object(parent)}.get({literal(name)})"
        return f"one({found})" if self.single else found

    def remove(self, field: str) -> str:
        """Return the statement that takes a field away."""
        parent, _, name = field.rpartition(".")
        return f"{self.object(parent)}.remove({literal(name)});"

    def add(self, field: str, expression: str) -> str:
        """Return the statement that adds a value to a list field, once."""
        parent, _, name = field.rpartition(".")
        return f"addOnce({self.object(parent)}, {literal(name)}, {expression});"

    def table(self, name: str, table: Any) -> str:
        """Put a table into `params` and return the expression for it inside a function."""
        self.params[name] = table
        return f"p.get({literal(name)})"

    def unique(self, name: str, table: Any) -> str:
        """Put a table into `params` under a name of its own, and return the expression for it inside a function."""
        number = sum(key.startswith(f"{name}#") for key in self.params)
        return self.table(f"{name}#{number}", table)

    def shared_table(self, name: str, table: Any) -> str:
        """Do as `unique` does, once for equal tables."""
        for key, known in self.params.items():
            if key.startswith(f"{name}#") and known == table:
                return f"p.get({literal(key)})"
        return self.unique(name, table)

    def function(self, name: str, result: str, parameters: str, body: str) -> None:
        """Add a function of this script's own."""
        self._functions[name] = f"{result} {name}({parameters}) {{\n{body.rstrip()}\n}}\n"

    def text(self, main: str) -> str:
        """Return the whole source: the functions that `main` needs, then `main`."""
        self._functions["open"] = self._open()
        self._functions["close"] = self._close()
        count = len(self._slots)
        size = f"String[] f = new String[{count}];\ndef[] r = new def[{count if self.lists else 0}];\n"
        return "".join(self._needed(main)) + size + main

    def library_text(self, main: str) -> str:
        """Return the whole source of a script that has no slots and opens no objects."""
        return "".join(self._needed(main)) + main

    def _needed(self, main: str) -> list[str]:
        known = {**_library(), **self._functions}
        needed: set[str] = set()
        waiting = [main]
        while waiting:
            for name in _WORD.findall(waiting.pop()):
                if name in known and name not in needed:
                    needed.add(name)
                    waiting.append(known[name])
        return [known[name] for name in known if name in needed]

    def _open(self) -> str:
        lines = [f"  Map[] o = new Map[{len(self._objects)}];", "  o[0] = d;"]
        for path, index in self._objects.items():
            if path and "[]" not in path:
                parent, _, name = path.rpartition(".")
                lines.append(f"  o[{index}] = objectAt(o[{self._objects[parent]}], {literal(name)});")
        return "Map[] open(Map d) {\n" + "\n".join(lines) + "\n  return o;\n}\n"

    def _close(self) -> str:
        lines = []
        for path, index in reversed(self._objects.items()):
            if path and "[]" not in path:
                parent, _, name = path.rpartition(".")
                lines.append(f"  attach(o[{self._objects[parent]}], {literal(name)}, o[{index}]);")
        return "void close(Map[] o) {\n" + "\n".join(lines) + "\n}\n"
