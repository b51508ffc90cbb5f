"""Modifiers that pySigma does not know, or reads otherwise than the specification (appendix of modifiers, 2.1)."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from sigma.modifiers import (
    SigmaBase64Modifier,
    SigmaBase64OffsetModifier,
    SigmaUTF16Modifier,
)
from sigma.rule import SigmaDetection, SigmaDetectionItem
from sigma.types import SigmaExpansion, SigmaString

if TYPE_CHECKING:
    from sigma.rule import SigmaRule

__all__ = ["encode_exactly", "spelled_for_pysigma"]

_OTHER_NAMES = {"utf16le": "wide"}
"""Modifiers of the specification under the names by which pySigma knows them."""


def spelled_for_pysigma(data: Any) -> Any:
    """Return a rule as pySigma reads it to mean the same."""
    if isinstance(data, list):
        return [spelled_for_pysigma(each) for each in data]
    if not isinstance(data, dict):
        return data
    found = {}
    for key, value in data.items():
        if isinstance(key, str) and "|" in key:
            name, spelled = _item(key, value)
        else:
            name, spelled = key, spelled_for_pysigma(value)
        found[name] = spelled
    return found


def _item(key: str, value: Any) -> tuple[str, Any]:
    field, *modifiers = key.split("|")
    modifiers = [_OTHER_NAMES.get(modifier, modifier) for modifier in modifiers]
    begin = "startswith" in modifiers
    end = "endswith" in modifiers
    if "re" in modifiers and (begin or end or "contains" in modifiers):
        modifiers = [each for each in modifiers if each not in ("contains", "startswith", "endswith")]
        values = value if isinstance(value, list) else [value]
        bound = [_bound(each, begin=begin, end=end) if isinstance(each, str) else each for each in values]
        value = bound if isinstance(value, list) else bound[0]
    return "|".join([field, *modifiers]), value


_FLAGS = re.compile(r"(\(\?[a-zA-Z]+\))*")


def _bound(pattern: str, *, begin: bool, end: bool) -> str:
    """Return an expression that is only found at the ends of a value.

    pySigma only adds `.*` at the other end, which means nothing where expressions are searched for.
    """
    if not begin and not end:
        return pattern
    flags = _FLAGS.match(pattern)
    assert flags is not None
    first, last = r"\A" if begin else "", "(?-m:$)" if end else ""
    return f"{flags[0]}{first}(?:{pattern[flags.end() :]}){last}"


class _Base64(SigmaBase64Modifier):
    """As pySigma 2 has it; before, it spells the byte order mark of UTF-16 in UTF-8."""

    def modify(self, val: SigmaString) -> SigmaString:
        """Return the encoded value."""
        super().modify(val)
        return SigmaString(b64encode(_bytes(val, self.applied_modifiers)).decode())


class _Base64Offset(SigmaBase64OffsetModifier):
    """As pySigma 2 has it; before, it counts characters where bytes count."""

    def modify(self, val: SigmaString) -> SigmaExpansion:
        """Return what the value is in Base64 wherever it begins."""
        super().modify(val)
        data = _bytes(val, self.applied_modifiers)
        return SigmaExpansion(
            [
                SigmaString(
                    b64encode(b" " * before + data)[
                        self.start_offsets[before] : self.end_offsets[(len(data) + before) % 3]
                    ].decode()
                )
                for before in range(3)
            ]
        )


def _bytes(value: SigmaString, modifiers: list[Any]) -> bytes:
    data = bytes(value)
    mark = "\ufeff".encode()
    if SigmaUTF16Modifier in modifiers and data.startswith(mark):
        return b"\xff\xfe" + data.removeprefix(mark)
    return data


_EXACT: dict[Any, Any] = {SigmaBase64Modifier: _Base64, SigmaBase64OffsetModifier: _Base64Offset}


def encode_exactly(rule: SigmaRule) -> None:
    """Encode the values of a rule anew where pySigma before version 2 does it wrongly."""
    for detection in rule.detection.detections.values():
        _encode(detection)


def _encode(detection: SigmaDetection) -> None:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            _encode(item)
        elif isinstance(item, SigmaDetectionItem) and any(each in _EXACT for each in item.modifiers):
            named = item.modifiers
            item.modifiers = [_EXACT.get(each, each) for each in named]
            item.value = list(item.original_value or [])
            item.apply_modifiers()
            item.modifiers = named
