"""Taking values out of parsed JSON: the Painless that walks to the wanted places, and to no others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sigmawatch.datasets.parsers.paths import Element, Key, Select, alternatives, parse_path
from sigmawatch.datasets.script import TREE, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sigmawatch.datasets.parsers.paths import Step
    from sigmawatch.datasets.script import Script

__all__ = ["write_extraction"]

_LOOKUPS_A_FUNCTION = 60
"""Small functions: the JVM does not compile methods beyond 8,000 bytes of code."""

_TREE = "tree"
_SCALAR = "scalar"


@dataclass
class _Node:
    """A place in the JSON tree: what is taken there, and what lies below."""

    slots: dict[str, list[int]] = field(default_factory=dict)
    """What is taken here (the texts, the tree) -> slots."""
    below: dict[Step, _Node] = field(default_factory=dict)

    def add(self, path: str, kind: str, slot: int) -> None:
        """Add a path, or several of one meaning."""
        for alternative in alternatives(path):
            node = self
            for step in parse_path(alternative):
                # Extraction takes all elements of a list unless a step says which.
                if step != Element():
                    node = node.below.setdefault(step, _Node())
            node.slots.setdefault(kind, []).append(slot)


def write_extraction(script: Script, slots: Mapping[str, int], name: str) -> str:
    """Write the functions that put what is found at paths into slots; return the name of the first.

    It is called with the object, `f` and `r`. The name of a slot is a path, behind `TREE` for what is wanted whole.
    """
    root = _Node()
    for slot, number in slots.items():
        if slot.startswith(TREE):
            root.add(slot.removeprefix(TREE), _TREE, number)
        else:
            root.add(slot, _SCALAR, number)
    return _write_node(script, root, name)


def _write_node(script: Script, node: _Node, name: str) -> str:
    """Write the function that takes the values below an object; return its name."""
    lines: list[str] = []
    for step, child in node.below.items():
        if isinstance(step, Key):
            lines += _write_child(script, child, f"m.get({literal(step.name)})", f"{name}_{len(lines)}")
        elif isinstance(step, Select):
            test = "equals" if step.cased else "equalsIgnoreCase"
            inner = _write_child(script, child, "m", f"{name}_{len(lines)}")
            condition = f"{literal(step.text)}.{test}(wordOf(m.get({literal(step.key)})))"
            lines.append(f"if ({condition}) {{ {' '.join(inner)} }}")
    parts = []
    for start in range(_LOOKUPS_A_FUNCTION, len(lines), _LOOKUPS_A_FUNCTION):
        part = f"{name}p{start}"
        body = "\n".join(lines[start : start + _LOOKUPS_A_FUNCTION])
        script.function(part, "void", "Map m, String[] f, def[] r", body)
        parts.append(f"{part}(m, f, r);")
    own = "\n".join(lines[:_LOOKUPS_A_FUNCTION] + parts)
    script.function(
        name,
        "void",
        "def x, String[] f, def[] r",
        f"if (x instanceof Map) {{\nMap m = (Map)x;\n{own}\n}}"
        f" else if (x != null) {{ for (def e : inner(x)) {{ {name}(e, f, r); }} }}",
    )
    return name


def _write_child(script: Script, node: _Node, expression: str, name: str) -> Iterator[str]:
    """Yield the statements that take what a place has, given the expression of its value."""
    for slot in node.slots.get(_SCALAR, ()):
        yield f"take({expression}, f, r, {slot});"
    for slot in node.slots.get(_TREE, ()):
        yield f"keep({expression}, r, {slot});"
    for step, child in node.below.items():
        if isinstance(step, Element):
            element = f"element({expression}, {step.index})"
            yield from _write_child(script, child, element, f"{name}e{step.index}")
    if any(not isinstance(step, Element) for step in node.below):
        yield f"{_write_node(script, node, name)}({expression}, f, r);"
