"""One Sigma value against one field, as Query DSL. The field's type decides which query is right.

A value that a type cannot hold matches nothing instead of breaking the search. What has no exact
construction is refused: the functions raise `Refused` with the reason.
"""

from __future__ import annotations

import ipaddress
import math
from datetime import datetime
from typing import TYPE_CHECKING

from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.types import SigmaString, SpecialChars

from sigmawatch.compile.addresses import Undecidable, network_expression, prefix_ranges
from sigmawatch.compile.fieldtypes import FieldKind

if TYPE_CHECKING:
    from sigmawatch.compile.plan import Query

__all__ = [
    "MATCH_NONE",
    "Refused",
    "all_of",
    "any_of",
    "cidr",
    "comparison",
    "escaped",
    "exists",
    "none_of",
    "number",
    "parts_of",
    "regular",
    "string",
    "truth",
]

MATCH_NONE: Query = {"match_none": {}}

MAX_STATES = 100_000
"""States an expression's automaton may have; the engines' default of 10,000 is soon used up by repetitions."""

_LONG = range(-(2**63), 2**63)

Part = str | SpecialChars


class Refused(SigmaFeatureNotSupportedByBackendError):
    """Something the rule asks for that has no exact counterpart; the message names it and the reason."""


def all_of(queries: list[Query]) -> Query:
    """Return a query that matches where all do."""
    flat: list[Query] = []
    for query in queries:
        inner = query.get("bool", {})
        flat += inner["filter"] if set(inner) == {"filter"} else [query]
    return flat[0] if len(flat) == 1 else {"bool": {"filter": flat}}


def any_of(queries: list[Query]) -> Query:
    """Return a query that matches where at least one does."""
    flat: list[Query] = []
    for query in queries:
        inner = query.get("bool", {})
        flat += inner["should"] if set(inner) == {"should", "minimum_should_match"} else [query]
    return flat[0] if len(flat) == 1 else {"bool": {"should": flat, "minimum_should_match": 1}}


def none_of(queries: list[Query]) -> Query:
    """Return a query that matches where none does, events that lack the fields included."""
    return {"bool": {"must_not": queries}}


def exists(field: str) -> Query:
    """Return a query for events that have the field."""
    return {"exists": {"field": field}}


def parts_of(value: SigmaString) -> list[Part]:
    """Return the texts and wildcards of a value; of several `*` beside each other one."""
    parts: list[Part] = []
    for part in value.s:
        assert isinstance(part, (str, SpecialChars)), "placeholders are replaced before"
        if part == SpecialChars.WILDCARD_MULTI and parts and parts[-1] == SpecialChars.WILDCARD_MULTI:
            continue
        if isinstance(part, str) and parts and isinstance(last := parts[-1], str):
            parts[-1] = last + part
        elif part != "":
            parts.append(part)
    return parts


def _plain(parts: list[Part]) -> str | None:
    """Return the text of a value without wildcards, None where it has some."""
    text = [part for part in parts if isinstance(part, str)]
    return "".join(text) if len(text) == len(parts) else None


def string(field: str, kind: FieldKind, value: SigmaString, *, cased: bool) -> Query:
    """Return the query for `field: value`, where the value may hold `*` and `?`.

    Without `cased`, letters match in either case, beyond ASCII as well. Raises Refused.
    """
    parts = parts_of(value)
    if parts == [SpecialChars.WILDCARD_MULTI]:
        return exists(field)
    plain = _plain(parts)
    match kind:
        case FieldKind.KEYWORD:
            return _keyword(field, parts, plain, cased=cased)
        case FieldKind.FLATTENED:
            return _flattened(field, parts, plain, cased=cased)
        case FieldKind.IP:
            return _ip(field, parts, plain)
        case FieldKind.TEXT:
            raise Refused(
                f"field {field} is analysed text, which no query compares exactly; "
                f"map it as keyword or wildcard, or name its keyword sub-field"
            )
        case FieldKind.OTHER:
            raise Refused(f"field {field} has a type that cannot be compared with a string")
        case _ if plain is None:
            raise Refused(
                f"wildcards in a value of {field}, of type {kind}: its values are no text to be searched"
            )
        case FieldKind.INTEGER | FieldKind.FLOAT:
            try:
                return number(field, kind, float(plain) if "." in plain else int(plain))
            except ValueError:
                return MATCH_NONE
        case FieldKind.BOOLEAN:
            lowered = plain.lower()
            return truth(field, kind, lowered == "true") if lowered in ("true", "false") else MATCH_NONE
        case FieldKind.DATE:
            try:
                datetime.fromisoformat(plain)
            except ValueError:
                return MATCH_NONE
            return {"term": {field: plain}}
    raise AssertionError(kind)


def _keyword(field: str, parts: list[Part], plain: str | None, *, cased: bool) -> Query:
    text = "".join(part for part in parts if isinstance(part, str))
    has_case = text.lower() != text or text.upper() != text
    if cased or not has_case:
        if plain is not None:
            return {"term": {field: plain}}
        return {"wildcard": {field: {"value": _wildcard(parts)}}}
    if not text.isascii():
        # case_insensitive folds ASCII only (Elasticsearch reference, term query), so spell the classes out.
        return {"regexp": {field: {"value": _either_case(parts), "flags": "NONE"}}}
    if plain is not None:
        return {"term": {field: {"value": plain, "case_insensitive": True}}}
    return {"wildcard": {field: {"value": _wildcard(parts), "case_insensitive": True}}}


def _wildcard(parts: list[Part]) -> str:
    out = []
    for part in parts:
        if part == SpecialChars.WILDCARD_MULTI:
            out.append("*")
        elif part == SpecialChars.WILDCARD_SINGLE:
            out.append("?")
        else:
            assert isinstance(part, str)
            out.append(part.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?"))
    return "".join(out)


_REGEXP_SPECIAL = str.maketrans({char: f"\\{char}" for char in '.?+*|{}[]()"\\#@&<>~^$-'})


def escaped(text: str) -> str:
    """Return a text as a Lucene regular expression that matches it."""
    return text.translate(_REGEXP_SPECIAL)


def _either_case(parts: list[Part]) -> str:
    """Return a Lucene regular expression that matches the parts whatever their case."""
    out = []
    for part in parts:
        if part == SpecialChars.WILDCARD_MULTI:
            out.append(".*")
        elif part == SpecialChars.WILDCARD_SINGLE:
            out.append(".")
        else:
            assert isinstance(part, str)
            for char in part:
                forms = sorted({form for form in (char, char.lower(), char.upper()) if len(form) == 1})
                out.append(escaped(char) if len(forms) == 1 else f"[{''.join(forms)}]")
    return "".join(out)


def _flattened(field: str, parts: list[Part], plain: str | None, *, cased: bool) -> Query:
    """Return the query for a member of an object whose members are not mapped.

    Elasticsearch (`flattened`) answers term, prefix and exists there, but no wildcard, regexp or open range;
    OpenSearch (`flat_object`) would answer them. A plan has to mean the same on both.
    """
    text = "".join(part for part in parts if isinstance(part, str))
    if not cased and not text.isascii() and (text.lower() != text or text.upper() != text):
        raise Refused(
            f"letters beyond ASCII in a value of {field}, which is a flattened field: not in any case"
        )
    folded = {} if cased else {"case_insensitive": True}
    if plain is not None:
        return {"term": {field: {"value": plain} | folded}}
    if parts == [text, SpecialChars.WILDCARD_MULTI]:
        return {"prefix": {field: {"value": text} | folded}}
    raise Refused(
        f"wildcards in a value of {field}, which is a flattened field: only a last * can be searched"
    )


def _ip(field: str, parts: list[Part], plain: str | None) -> Query:
    if plain is not None:
        try:
            return {"term": {field: str(ipaddress.ip_address(plain))}}
        except ValueError:
            return MATCH_NONE
    text = "".join(part for part in parts if isinstance(part, str))
    if any(char not in "0123456789abcdefABCDEF.:" for char in text):
        return MATCH_NONE
    if parts != [text, SpecialChars.WILDCARD_MULTI]:
        raise Refused(f"wildcards before the end of an address, in a value of {field}; use cidr")
    try:
        ranges = prefix_ranges(text)
    except Undecidable:
        raise Refused(
            f"{text}* in {field}: abbreviated zeros belong to no range of addresses; use cidr"
        ) from None
    found: list[Query] = [{"range": {field: {"gte": first, "lte": last}}} for first, last in ranges]
    return any_of(found) if found else MATCH_NONE


def number(field: str, kind: FieldKind, value: float) -> Query:
    """Return the query for `field: 22`. A number that the type cannot hold matches nothing.

    Raises Refused for whole numbers that pySigma has rounded on the way (it reads them as floats as well).
    """
    if isinstance(value, float) and value.is_integer() and abs(value) >= 2**53:
        raise Refused(f"{value:.0f} in {field} is beyond 2^53 and may have been rounded; write it in quotes")
    whole = not isinstance(value, float) or value.is_integer()
    match kind:
        case FieldKind.INTEGER:
            return {"term": {field: int(value)}} if whole and int(value) in _LONG else MATCH_NONE
        case FieldKind.FLOAT | FieldKind.DATE:
            return {"term": {field: value}} if math.isfinite(value) else MATCH_NONE
        case FieldKind.KEYWORD | FieldKind.FLATTENED:
            return {"term": {field: str(value)}}
        case FieldKind.IP | FieldKind.BOOLEAN:
            return MATCH_NONE
        case _:
            raise Refused(f"field {field} has a type that cannot be compared with a number")


def truth(field: str, kind: FieldKind, value: bool) -> Query:
    """Return the query for `field: true`."""
    match kind:
        case FieldKind.BOOLEAN:
            return {"term": {field: value}}
        case FieldKind.KEYWORD | FieldKind.FLATTENED:
            return {"term": {field: {"value": str(value).lower(), "case_insensitive": True}}}
        case FieldKind.TEXT | FieldKind.OTHER:
            raise Refused(f"field {field} has a type that cannot be compared with a boolean")
        case _:
            return MATCH_NONE


def regular(field: str, expressions: list[str], *, cased: bool = True) -> Query:
    """Return the query for values that match one of these expressions of Lucene's syntax as a whole.

    Without `cased`, letters of ASCII match in either case. (For engines with Lucene 10, the Kelvin sign is then a
    k and the long s an s, as Unicode has it.)
    """
    folded = {} if cased else {"case_insensitive": True}
    limits = {"flags": "NONE", "max_determinized_states": MAX_STATES}
    found: list[Query] = [{"regexp": {field: {"value": text, **folded, **limits}}} for text in expressions]
    return any_of(found) if found else MATCH_NONE


def cidr(field: str, kind: FieldKind, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Query:
    """Return the query for addresses within a network.

    On a keyword field, addresses are told by how they are spelled. Raises Refused on fields that hold no addresses,
    and where zeros of IPv6 can be abbreviated in too many ways.
    """
    if kind is FieldKind.IP:
        return {"term": {field: str(network)}}
    if kind is not FieldKind.KEYWORD:
        raise Refused(f"cidr on {field}, of type {kind}; map it as ip")
    try:
        return regular(field, [network_expression(network)])
    except Undecidable:
        raise Refused(
            f"cidr {network} on {field}, a keyword field: too many spellings; map it as ip"
        ) from None


def comparison(field: str, kind: FieldKind, operator: str, value: float) -> Query:
    """Return the query for `field|gt: 5`; `operator` is lt, lte, gt or gte. Raises Refused."""
    if kind not in (FieldKind.INTEGER, FieldKind.FLOAT, FieldKind.DATE):
        raise Refused(f"{operator} on {field}, which is no numeric field; map it as a number")
    return {"range": {field: {operator: value}}}
