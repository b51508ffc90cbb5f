"""What all types of value write alike: the parameters of their functions, setting a field, telling what is unusable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sigmawatch.datasets.script import IN_ELEMENT, literal

if TYPE_CHECKING:
    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.script import Script

__all__ = ["ARGUMENTS", "ENVIRONMENT", "TIME_SLOT", "ValueType", "complaint", "put"]

ENVIRONMENT = "String[] f, def[] r, Map[] o, List problems, Map p, long now"
"""What the functions of a script are given: raw values, those that are lists or objects, objects of the document,
problems, tables, the present."""

ARGUMENTS = "f, r, o, problems, p, now"
"""The same, as a function gives them to another."""

TIME_SLOT = "(time)"
"""The slot for the time of the event: the document's own `@timestamp` is the shipper's until the end of the script."""


class ValueType(Protocol):
    """How a raw text becomes what a field holds."""

    @property
    def fits(self) -> frozenset[str]:
        """Mapping types of the fields it may go to."""

    def emits(self, mapping: FieldMapping) -> tuple[str, ...]:
        """Return the fields that a mapping of this type writes."""

    def write(self, script: Script, mapping: FieldMapping) -> str:
        """Return the statements that turn the text `v` into fields; `fail` stands for a value that is unusable."""


def complaint(script: Script, mapping: FieldMapping, what: str) -> str:
    """Return the statement for an unusable value."""
    text = literal(f"{mapping.raw}: {what}")
    if mapping.required:
        return f"{script.fault} = {text};"
    if mapping.quiet:
        return ""
    # Once, however many elements of a list are unusable.
    return f"complain(problems, {text});" if script.lists else f"problems.add({text});"


def put(script: Script, mapping: FieldMapping, field: str, expression: str) -> str:
    """Return the statement that sets a field; where the raw value is a list, `at` is the position of its element."""
    if field == "@timestamp":
        slot = script.slot(TIME_SLOT)
        statement = f"{slot} = {expression};"
        conditions = [f"{slot} == null"] if mapping.if_absent else []
        if script.lists and mapping.type != "keyword":
            conditions.append("at == 0")
        condition = " && ".join(conditions)
        return f"if ({condition}) {{ {statement} }}" if condition else statement
    if mapping.makes_list or (IN_ELEMENT in mapping.raw and "[]" not in field):
        statement = script.add(field, expression)
    elif script.lists:
        place, name = script.place(field)
        statement = f"set({place}, {literal(name)}, {expression}, at);"
    else:
        statement = script.put(field, expression)
    return f"if ({script.get(field)} == null) {{ {statement} }}" if mapping.if_absent else statement
