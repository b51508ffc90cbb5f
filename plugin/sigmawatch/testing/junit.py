"""Test results as JUnit XML, the form that CI systems show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.testing.ruletests import TestResult

__all__ = ["junit_xml"]

_NOT_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def junit_xml(results: Sequence[TestResult]) -> str:
    """Return one `testsuite` with a `testcase` for each result."""
    suite = ET.Element(
        "testsuite",
        name="sigmawatch",
        tests=str(len(results)),
        failures=str(sum(not result.passed for result in results)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_clean(result.rule),
            name=_clean(result.name),
            time=f"{result.seconds:.3f}",
        )
        if result.path is not None:
            case.set("file", _clean(str(result.path)))
        if not result.passed:
            failure = ET.SubElement(case, "failure", message=_clean(result.error or ""))
            seen = "".join(f"\nevent {number}: {event}" for number, event in enumerate(result.seen, 1))
            failure.text = _clean(f"expected: {result.expected}\ngot: {result.got}{seen}")
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
