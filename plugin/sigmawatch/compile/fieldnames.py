"""Where the fields that rules name are found: names of Sigma's taxonomy and of vendors, as ECS or Elastic's
integrations have them.

The tables are `taxonomies/*.yml`, one file a field of work. A file says which prefixes its vendors' own fields have
(`vendor_fields`), and for log sources:

- `fields`: target -> the name that rules use, or several names of the same fact. One target for a name, because a
  name with several would make "not equal" mean something else.
- `translated`: name -> target, with the values that are written differently there.
- `members`: target -> name of an object; whatever rules name below it is found below the target.
- `others`: the prefix of every name that nothing else lists, if it has no dot and is no ECS field.

What several log sources say adds up, the most specific first: `product: zeek, service: dns` before `product: zeek`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmawatch import yamlfile
from sigmawatch.ecs import ecs_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigma.rule import SigmaLogSource

__all__ = [
    "FieldNames",
    "Listing",
    "Translation",
    "field_names",
    "is_known_field",
    "listings",
    "vendor_fields",
]

_FOLDER = Path(__file__).with_name("taxonomies")


@dataclass(frozen=True)
class Translation:
    """A field whose values are written differently where it is found."""

    to: str
    values: Mapping[str, str | None]
    """Value as rules write it, in small letters -> as the field has it; None: then there is no such field."""
    otherwise: str | None = None
    """The field to search for values that are not listed; None: the values as they are, in `to`."""


@dataclass(frozen=True)
class Listing:
    """What one table says about one log source."""

    logsource: Mapping[str, str]
    """Some of category, product and service; a rule's log source must have all of them."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Name that rules use -> target."""
    translated: Mapping[str, Translation] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)
    """Object that rules name -> object below which its members are found."""
    others: str | None = None

    def covers(self, logsource: Mapping[str, str | None]) -> bool:
        """Whether all that the listing is about is true of a log source."""
        return all(logsource.get(key) == value for key, value in self.logsource.items())

    @property
    def weight(self) -> tuple[int, bool, bool]:
        """Greater for more specific ones; a product says more than a category, a service more than both."""
        return (len(self.logsource), "service" in self.logsource, "product" in self.logsource)


@dataclass(frozen=True)
class FieldNames:
    """The names that rules of one log source use."""

    listings: tuple[Listing, ...]
    """The most specific first."""

    def target(self, name: str) -> str | None:
        """Return where a field is found, None where its name stays as it is."""
        exact = self._listed(name)
        if exact is not None:
            return exact
        for found in sorted(self._members.items(), key=lambda item: -len(item[0])):
            source, target = found
            if name.lower().startswith(f"{source}."):
                return f"{target}{name[len(source) :]}"
        if is_known_field(name) or "." in name:
            return None
        return next((f"{each.others}.{name}" for each in self.listings if each.others is not None), None)

    def translation(self, name: str) -> Translation | None:
        """Return how the values of a field are to be translated, None where they stay as they are."""
        for each in self.listings:
            if name in each.fields:
                return None
            if name in each.translated:
                return each.translated[name]
        # Where the case of the name is not the listed one: only if no other name differs from it by case alone.
        listed = self._folded.get(name.lower())
        return self.translation(listed) if listed is not None and listed != name else None

    def _listed(self, name: str) -> str | None:
        for each in self.listings:
            if name in each.fields:
                return each.fields[name]
            if name in each.translated:
                return each.translated[name].to
        listed = self._folded.get(name.lower())
        return self._listed(listed) if listed is not None and listed != name else None

    @cached_property
    def _members(self) -> dict[str, str]:
        return {
            source.lower(): target
            for each in reversed(self.listings)
            for source, target in each.members.items()
        }

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Names by their small letters: rules write OperationName and operationName for the same field."""
        names = {name for each in self.listings for name in (*each.fields, *each.translated)}
        often = Counter(name.lower() for name in names)
        return {name.lower(): name for name in names if often[name.lower()] == 1}


def field_names(logsource: SigmaLogSource) -> FieldNames:
    """Return the names that rules of a log source use."""
    return _field_names(logsource.category, logsource.product, logsource.service)


@cache
def _field_names(category: str | None, product: str | None, service: str | None) -> FieldNames:
    asked = {"category": category, "product": product, "service": service}
    found = [each for each in listings() if each.covers(asked)]
    return FieldNames(tuple(sorted(found, key=lambda each: each.weight, reverse=True)))


def is_known_field(name: str) -> bool:
    """Whether a field is ECS or one of a vendor that the tables know."""
    return ecs_type(name) is not None or any(
        name == prefix or name.startswith(f"{prefix}.") for prefix in vendor_fields()
    )


@cache
def vendor_fields() -> frozenset[str]:
    """Return the prefixes of the fields that ECS does not have."""
    return frozenset(prefix for table in _tables() for prefix in table["vendor_fields"])


@cache
def listings() -> tuple[Listing, ...]:
    """Return everything that the tables say."""
    return tuple(listing for table in _tables() for entry in table["logsources"] for listing in _read(entry))


def _tables() -> Iterable[Mapping[str, Any]]:
    return [yamlfile.load(path).data for path in sorted(_FOLDER.glob("*.yml"))]


def _read(entry: Mapping[str, Any]) -> Iterable[Listing]:
    translated = {
        name: Translation(
            told["to"],
            {
                str(value).lower(): None if written is None else str(written)
                for value, written in told["values"].items()
            },
            told.get("otherwise"),
        )
        for name, told in entry.get("translated", {}).items()
    }
    members = {name: target for target, name in entry.get("members", {}).items()}
    for logsource in entry.get("logsources") or [entry["logsource"]]:
        yield Listing(logsource, _names(entry.get("fields", {})), translated, members, entry.get("others"))


def _names(fields: Mapping[str, str | list[str]]) -> dict[str, str]:
    return {
        name: target
        for target, names in fields.items()
        for name in ([names] if isinstance(names, str) else names)
    }
