"""One Sigma value against one field, as Query DSL. The field's type decides which query is right.

A value that a type cannot hold matches nothing instead of breaking the search. What has no exact
construction is refused: the functions raise `Refused` with the reason.
"""

from __future__ import annotations

import ipaddress
import math
import re
import sys
from calendar import monthrange
from datetime import datetime
from typing import TYPE_CHECKING

from sigma.types import SigmaString, SpecialChars

from sigmawatch.compile import determinize
from sigmawatch.compile.addresses import Undecidable, network_expression, prefix_ranges
from sigmawatch.compile.cases import cases_of
from sigmawatch.compile.fieldtypes import FieldKind
from sigmawatch.compile.lookups import any_text
from sigmawatch.compile.refused import Refused

if TYPE_CHECKING:
    from sigmawatch.compile.plan import Query

__all__ = [
    "LUCENE_MAX_LENGTH",
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
    "utf16_length",
]

MATCH_NONE: Query = {"match_none": {}}

MAX_STATES = 100_000
"""States an expression's automaton may have; the engines' default of 10,000 is soon used up by repetitions."""

LUCENE_MAX_LENGTH = 1000
"""`index.max_regex_length`, in units of UTF-16: longer expressions are refused by the engine."""

_LONG = range(-(2**63), 2**63)

Part = str | SpecialChars


def utf16_length(text: str) -> int:
    """Return the length of a text as engines count it, in units of UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def all_of(queries: list[Query]) -> Query:
    """Return a query that matches where all do."""
    flat: list[Query] = []
    for query in queries:
        inner = query.get("bool", {})
        flat += inner["filter"] if set(inner) == {"filter"} else [query]
    return flat[0] if len(flat) == 1 else {"bool": {"filter": flat}}


def any_of(queries: list[Query]) -> Query:
    """Return a query that matches where at least one does: nowhere, where there is none."""
    if not queries:
        return MATCH_NONE
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


def string(field: str, kind: FieldKind, value: SigmaString, *, cased: bool, parent: str = "") -> Query:
    """Return the query for `field: value`, where the value may hold `*` and `?`.

    Without `cased`, letters match in either case, beyond ASCII as well. `parent`: the flattened object of which the
    field is a member. Raises Refused.
    """
    parts = parts_of(value)
    if parts == [SpecialChars.WILDCARD_MULTI]:
        return exists(field)
    plain = _plain(parts)
    match kind:
        case FieldKind.KEYWORD:
            return _keyword(field, parts, plain, cased=cased)
        case FieldKind.FLATTENED:
            return _flattened(field, parts, plain, cased=cased, parent=parent)
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
            if not _NUMBER.fullmatch(plain):
                return MATCH_NONE
            return number(field, kind, float(plain) if "." in plain else int(plain))
        case FieldKind.BOOLEAN:
            lowered = plain.lower()
            return truth(field, kind, lowered == "true") if lowered in ("true", "false") else MATCH_NONE
        case FieldKind.DATE:
            if not _is_date(plain):
                return MATCH_NONE
            if not 1970 <= int(plain[:4]) < 2262:
                raise Refused(f"{plain} in {field} is not between 1970 and 2262")
            return _date(field, plain)
    raise AssertionError(kind)


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
"""How JSON, and so an event, spells numbers; Python would take `1_0` and ` 5` for some, too."""

_DATE = re.compile(
    r"(?P<month>[0-9]{4}-[0-9]{2})(?P<day>-[0-9]{2})?"
    r"((?<=-[0-9]{2}-[0-9]{2})T(?P<time>[0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)?)(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
"""Dates that engines and this module read alike. Of others, engines take some for milliseconds and refuse the rest."""


def _is_date(text: str) -> bool:
    """Whether a text is a date of ISO 8601, of which engines take the whole: a day, an hour."""
    found = _DATE.fullmatch(text)
    if found is None:
        return False
    time = (found["time"] or "00").partition(".")[0]
    zone = found["zone"] or "Z"
    try:
        datetime.fromisoformat(f"{found['month']}{found['day'] or '-01'}T{time}")
    except ValueError:
        return False
    # java.time knows offsets of up to 18 hours.
    return zone == "Z" or (int(zone[1:3]) < 18 and int(zone[4:]) < 60)


_TIME = re.compile(r"(?P<hour>.*T[0-9]{2})(?P<minute>:[0-9]{2})?(?P<second>:[0-9.]+)?(?P<zone>|Z|[+-].*)")


def _date(field: str, text: str) -> Query:
    """Return the query for the whole of what a date names; bounds of ranges are taken for the whole, too."""
    if len(text) == len("2026-03"):
        # Engines take a month without a day for its first day.
        days = monthrange(int(text[:4]), int(text[5:]))[1]
        return {"range": {field: {"gte": f"{text}-01", "lte": f"{text}-{days}"}}}
    time = _TIME.fullmatch(text)
    if time is None or time["second"]:
        return {"term": {field: text}}
    # Elasticsearch 8 reads no times without seconds for `date_nanos`.
    hour, minute, zone = time["hour"], time["minute"], time["zone"]
    first = f"{hour}{minute or ':00'}:00{zone}"
    last = f"{hour}{minute or ':59'}:59.999999999{zone}"
    return {"range": {field: {"gte": first, "lte": last}}}


def _keyword(field: str, parts: list[Part], plain: str | None, *, cased: bool) -> Query:
    text = "".join(part for part in parts if isinstance(part, str))
    has_case = text.lower() != text or text.upper() != text
    if cased or not has_case:
        if plain is not None:
            return {"term": {field: plain}}
        return _searched(field, parts, cased=True)
    if not text.isascii():
        # case_insensitive folds ASCII only (Elasticsearch reference, term query), so spell the classes out.
        expression = _either_case(parts)
        if utf16_length(expression) > LUCENE_MAX_LENGTH:
            raise Refused(
                f"{text[:40]}… in {field}: so many letters beyond ASCII in either case are too long for the engine"
            )
        if len(text) <= _LONG_PATTERN:
            return {"regexp": {field: {"value": expression, "flags": "NONE"}}}
        if _effort(parts) > MAX_STATES // 2:
            raise Refused(f"{text[:40]}… in {field}: with its wildcards, it takes an engine too many states")
        return regular(field, [expression])
    if plain is not None and len(plain) > _LONGEST:
        return any_text(field, [plain.lower()], "equals", cased=False)
    if plain is not None:
        return {"term": {field: {"value": plain, "case_insensitive": True}}}
    return _searched(field, parts, cased=False)


_LONGEST = 900
"""Characters up to which engines take a text in either case, or with wildcards: "input automaton is too large"."""


_LONG_PATTERN = 60
"""Characters up to which no pattern is too much work."""

_WILDCARD_EFFORT = 5_000
"""Engines give up a wildcard query at 10,000, which cannot be raised; a regexp at `MAX_STATES`."""


def _searched(field: str, parts: list[Part], *, cased: bool) -> Query:
    """Return the query for a value with wildcards.

    Long texts that repeat themselves make many states: after a hundred times the same letter, the next one may be the
    end of it, or of any that began later. Such texts are looked up by script.
    """
    text = "".join(part for part in parts if isinstance(part, str))
    if len(text) > _LONGEST or (
        len(text) > _LONG_PATTERN and not _is_easy(parts) and _effort(parts) > _WILDCARD_EFFORT
    ):
        match [part if isinstance(part, SpecialChars) else "text" for part in parts]:
            case [SpecialChars.WILDCARD_MULTI, "text", SpecialChars.WILDCARD_MULTI]:
                how = "contains"
            case [SpecialChars.WILDCARD_MULTI, "text"]:
                how = "endswith"
            case ["text", SpecialChars.WILDCARD_MULTI]:
                how = "startswith"
            case _:
                raise Refused(
                    f"{text[:40]}… in {field}: with its wildcards, it takes an engine too many states"
                )
        return any_text(field, [text if cased else text.lower()], how, cased=cased)
    folded = {} if cased else {"case_insensitive": True}
    return {"wildcard": {field: {"value": _wildcard(parts)} | folded}}


def _is_easy(parts: list[Part]) -> bool:
    """Whether a pattern is far from too much work, which nearly all are: told at a hundredth of the cost of `_effort`.

    A state of one text that may begin anywhere is the places at which a beginning of it may have ended (its borders, as
    Knuth, Morris and Pratt count them).
    """
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) != 1 or SpecialChars.WILDCARD_SINGLE in parts:
        return False
    if parts[0] != SpecialChars.WILDCARD_MULTI:
        return True  # it begins at one place only
    text = texts[0].lower()
    border = [0] * len(text)
    depth = [1] * len(text)
    length = 0
    for at in range(1, len(text)):
        while length and text[at] != text[length]:
            length = border[length - 1]
        length += text[at] == text[length]
        border[at] = length
        depth[at] += depth[length - 1] if length else 0
    # Generously: each state is also there with the wildcards, and with the text found before.
    return 4 * sum(each + 5 for each in depth) < _WILDCARD_EFFORT


def _effort(parts: list[Part]) -> int:
    """Return how much work it is to make a pattern deterministic, as engines count it."""
    anything = ((0, sys.maxunicode),)
    places = []
    for part in parts:
        if part == SpecialChars.WILDCARD_MULTI:
            places.append(determinize.Part("repeat", (determinize.Part("chars", ranges=anything),)))
        elif part == SpecialChars.WILDCARD_SINGLE:
            places.append(determinize.Part("chars", ranges=anything))
        else:
            assert isinstance(part, str)
            places += [determinize.Part("chars", ranges=((ord(char),) * 2,)) for char in part.lower()]
    return determinize.determinized(determinize.Part("sequence", tuple(places)))


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
                forms = cases_of(char)
                out.append(escaped(char) if len(forms) == 1 else f"[{''.join(forms)}]")
    return "".join(out)


def _flattened(field: str, parts: list[Part], plain: str | None, *, cased: bool, parent: str) -> Query:
    """Return the query for a member of an object whose members are not mapped.

    Elasticsearch (`flattened`) answers term, prefix and exists there, but no wildcard, regexp or open range: 8.19 and
    9.4 say that they are "not currently supported on keyed [flattened] fields". OpenSearch (`flat_object`) would
    answer them, but a plan has to mean the same on both. Both let scripts read the values.
    """
    text = "".join(part for part in parts if isinstance(part, str))
    if not cased and not text.isascii() and (text.lower() != text or text.upper() != text):
        raise Refused(
            f"letters beyond ASCII in a value of {field}, which is a flattened field: not in any case"
        )
    folded = {} if cased else {"case_insensitive": True}
    if plain is not None and not cased and parent and len(plain) > _LONGEST:
        return any_text(field, [plain.lower()], "equals", cased=False, parent=parent)
    if plain is not None:
        return {"term": {field: {"value": plain} | folded}}
    if parts == [text, SpecialChars.WILDCARD_MULTI] and len(text) <= _LONGEST:
        return {"prefix": {field: {"value": text} | folded}}
    anything = SpecialChars.WILDCARD_MULTI
    shapes: dict[str, list[Part]] = {
        "startswith": [text, anything],
        "endswith": [anything, text],
        "contains": [anything, text, anything],
    }
    how = next((name for name, shape in shapes.items() if shape == parts), None)
    if how is not None and parent:
        return any_text(field, [text if cased else text.lower()], how, cased=cased, parent=parent)
    raise Refused(
        f"wildcards within a value of {field}, which is a flattened field: only a first and a last * can be searched"
    )


def _ip(field: str, parts: list[Part], plain: str | None) -> Query:
    if plain is not None:
        try:
            address = ipaddress.ip_address(plain)
        except ValueError:
            return MATCH_NONE
        # Fields of type `ip` hold no zones: Python keeps one (fe80::1%eth0), engines refuse it or leave it out.
        return MATCH_NONE if "%" in plain else {"term": {field: str(address)}}
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
    return any_of(found)


def number(field: str, kind: FieldKind, value: float) -> Query:
    """Return the query for `field: 22`. A number that the type cannot hold matches nothing.

    Raises Refused for whole numbers that pySigma has rounded on the way (it reads them as floats as well).
    """
    _require_exact(field, value)
    if kind is FieldKind.DATE:
        _require_moment(field, value)
    whole = not isinstance(value, float) or value.is_integer()
    match kind:
        case FieldKind.INTEGER:
            return {"term": {field: int(value)}} if whole and int(value) in _LONG else MATCH_NONE
        case FieldKind.FLOAT if math.isfinite(value):
            _require_float(field, value)
            return {"term": {field: value if abs(value) < 2**53 else _fraction(value)}}
        case FieldKind.DATE if math.isfinite(value):
            return {"term": {field: value}}
        case FieldKind.FLOAT | FieldKind.DATE:
            return MATCH_NONE
        case FieldKind.KEYWORD | FieldKind.FLATTENED:
            return {"term": {field: str(value)}}
        case FieldKind.IP | FieldKind.BOOLEAN:
            return MATCH_NONE
        case _:
            raise Refused(f"field {field} has a type that cannot be compared with a number")


def _require_exact(field: str, value: float) -> None:
    if isinstance(value, float) and value.is_integer() and abs(value) >= 2**53:
        raise Refused(f"{value:.0f} in {field} is beyond 2^53 and may have been rounded; write it in quotes")


_LARGEST_FLOAT = 3.4e38
"""Larger numbers are infinite in fields of type `float`, which then refuse the search."""


def _require_float(field: str, value: float) -> None:
    if abs(value) > _LARGEST_FLOAT:
        raise Refused(f"{value} in {field} is more than a field of type float can hold")


_LAST_MOMENT = 2**63 // 1_000_000
"""Milliseconds up to the year 2262: later ones, as those before 1970, make `date_nanos` refuse the search."""


def _require_moment(field: str, value: float) -> None:
    if not 0 <= value < _LAST_MOMENT:
        raise Refused(f"{value} in {field} is no moment between 1970 and 2262, in milliseconds")


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
    return any_of(found)


def cidr(field: str, kind: FieldKind, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Query:
    """Return the query for addresses within a network.

    On a keyword field, addresses are told by how they are spelled. Raises Refused on fields that hold no addresses,
    and where zeros of IPv6 can be abbreviated in too many ways.
    """
    if kind is FieldKind.IP:
        return _network(field, network)
    if kind is not FieldKind.KEYWORD:
        raise Refused(f"cidr on {field}, of type {kind}; map it as ip")
    try:
        return regular(field, [network_expression(network)])
    except Undecidable:
        raise Refused(
            f"cidr {network} on {field}, a keyword field: too many spellings; map it as ip"
        ) from None


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 within IPv6, as which fields of type `ip` keep all addresses of IPv4."""


def _network(field: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Query:
    if isinstance(network, ipaddress.IPv4Network) or not network.overlaps(_MAPPED):
        return {"term": {field: str(network)}}
    if network.subnet_of(_MAPPED):
        address = ipaddress.IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return {"term": {field: f"{address}/{network.prefixlen - 96}"}}
    sides = [
        (network.network_address, _MAPPED.network_address - 1),
        (_MAPPED.broadcast_address + 1, network.broadcast_address),
    ]
    return any_of([{"range": {field: {"gte": str(low), "lte": str(high)}}} for low, high in sides])


def comparison(field: str, kind: FieldKind, operator: str, value: float) -> Query:
    """Return the query for `field|gt: 5`; `operator` is lt, lte, gt or gte. Raises Refused."""
    if kind not in (FieldKind.INTEGER, FieldKind.FLOAT, FieldKind.DATE):
        raise Refused(f"{operator} on {field}, which is no numeric field; map it as a number")
    if math.isnan(value):
        return MATCH_NONE
    if kind is FieldKind.FLOAT:
        # JSON has no whole numbers that large; as fractions they are as exact as the field.
        bound = value if abs(value) < 2**53 else _fraction(value)
        if math.isfinite(bound):
            _require_float(field, bound)
            return {"range": {field: {operator: bound}}}
        return _beyond(field, operator, bound)
    if kind is FieldKind.DATE:
        _require_moment(field, value)
    if not math.isfinite(value) or abs(value) > 2**63:
        return _beyond(field, operator, value)
    _require_exact(field, value)
    whole = math.floor(value)
    if whole != value:
        operator = {"gte": "gt", "lt": "lte"}.get(operator, operator)
    return {"range": {field: {operator: whole}}}


def _fraction(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _beyond(field: str, operator: str, value: float) -> Query:
    """Return the query for values compared with what is larger, or smaller, than any of them."""
    return exists(field) if (operator in ("lt", "lte")) == (value > 0) else MATCH_NONE
