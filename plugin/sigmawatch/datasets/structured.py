"""Types of value that take an object or a list as a whole: lists of objects, flattened objects, JSON texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sigmawatch.datasets.parsers.extract import write_extraction
from sigmawatch.datasets.script import IN_ELEMENT, TREE, literal

if TYPE_CHECKING:
    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.script import Script

__all__ = ["Flattened", "JsonText", "Members", "Objects"]

MAX_LEAVES = 1000
"""Texts that a flattened object holds at most: each is a term or two of the index."""


@dataclass(frozen=True)
class Objects:
    """A list of objects, each with fields of its own."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the fields of the objects."""
        from sigmawatch.datasets.values import VALUE_TYPES

        return tuple(
            field.replace("[]", "")
            for member in mapping.fields
            if member.type in VALUE_TYPES
            for field in VALUE_TYPES[member.type].emits(member)
        )

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Make an object of each element; an element that is no object is taken for the first of the values."""
        # Here, because the types of value have this one among them.
        from sigmawatch.datasets.values import write_mapping

        target = mapping.to[0]
        prefix = f"{mapping.raw}{IN_ELEMENT}"
        number = script.slot_number(TREE + mapping.raw)
        script.object(f"{target}[]")
        calls = "".join(
            write_mapping(script, member, f"{number}_{index}") for index, member in enumerate(mapping.fields)
        )
        slots = {
            f"{TREE if name.startswith(TREE) else ''}{name.removeprefix(TREE).removeprefix(prefix)}": slot
            for name, slot in script.slots.items()
            if name.removeprefix(TREE).startswith(prefix)
        }
        extract = write_extraction(script, slots, f"element{number}")
        beside = " ".join(
            f"take(element(r[{script.slot_number(TREE + other)}], i), f, r, {slots[name]});"
            for name, other in mapping.beside.items()
            if name in slots
        )
        objects = script.objects_below(f"{target}[]")
        reset = " ".join(
            [f"forget(f, r, {slot});" for slot in slots.values()]
            + [f"{place} = new HashMap();" for place in objects.values()]
        )
        attach = " ".join(
            f"attach({objects[name.rpartition('.')[0]]}, {literal(name.rpartition('.')[2])}, {place});"
            for name, place in reversed(list(objects.items()))
            if not name.endswith("[]")
        )
        own = objects[f"{target}[]"]
        first = slots.get(mapping.fields[0].raw.removeprefix(prefix), 0) if mapping.fields else 0
        alone = f" else {{ take(x, f, r, {first}); }}" if first else ""
        # Several mappings may make objects of one list.
        return f"""\
List all = listOf(v);
  def before = {script.get(target)};
  List made = before instanceof List ? (List)before : new ArrayList();
  for (int i = 0; i < all.size() && i < 500; ++i) {{
    def x = all.get(i);
    {reset}
    if (x instanceof Map) {{ {extract}(x, f, r); }}{alone} {beside}
{calls}    {attach}
    if (!{own}.isEmpty()) {{ made.add({own}); }}
  }}
  if (!made.isEmpty()) {{ {script.put(target, "made")} }}"""


@dataclass(frozen=True)
class Flattened:
    """An object of any shape in a field of the type `flattened`: every leaf a text, bounded in depth and size."""

    fits: frozenset[str] = frozenset({"flattened"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Copy the object with texts for leaves; a list of names and values becomes an object first."""
        value = (
            f"pairsOf(v, {literal(mapping.pairs[0])}, {literal(mapping.pairs[1])})" if mapping.pairs else "v"
        )
        puts = " ".join(script.put(field, "t") for field in mapping.to)
        return f"def t = flattened(objectOf({value}), null, 0, new int[] {{{MAX_LEAVES}}}); if (t != null) {{ {puts} }}"


@dataclass(frozen=True)
class Members:
    """An object whose members become those of an object of the document under their own names, every leaf a text."""

    fits: frozenset[str] = frozenset({"object"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the objects; what members they may have `fields.yml` says."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Copy the members, bounded as flattened objects are."""
        puts = " ".join(
            f"admit((Map)t, (Map){script.table(f'shape.{target}', script.shape(target))}); "
            f"{script.object(target)}.putAll((Map)t);"
            for target in mapping.to
        )
        return (
            f"def t = v instanceof Map ? flattened(v, null, 0, new int[] {{{MAX_LEAVES}}}) : null; "
            f"if (t != null) {{ {puts} }}"
        )


@dataclass(frozen=True)
class JsonText:
    """An object or a list as JSON text, for rules that search in all of it."""

    fits: frozenset[str] = frozenset({"keyword", "wildcard", "match_only_text"})

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the mapping's fields."""
        return mapping.to

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Write the text."""
        puts = " ".join(script.put(field, "t") for field in mapping.to)
        return f"String t = jsonField(v); if (t != null) {{ {puts} }}"
