"""Queries by stored script, and the script that looks up texts: for what no query of the engine finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigmawatch.compile.plan import Query

__all__ = ["any_text", "stored_script"]


def stored_script(name: str, params: dict[str, Any]) -> Query:
    """Return the query for events of which a stored script says yes."""
    return {"script": {"script": {"id": f"sigmawatch-{name}", "params": params}}}


def any_text(field: str, texts: list[str], how: str, *, cased: bool, parent: str = "") -> Query:
    """Return the query for values that hold any of many texts, at a cost that does not depend on how many they are.

    `how`: equals, startswith, endswith or contains. Without `cased`, the texts are in lower case. `parent`: the object
    whose members are not mapped, if the field is one of them.
    """
    params = {
        "field": field,
        "texts": dict.fromkeys(texts, True),
        "lengths": sorted({len(text.encode("utf-16-le")) // 2 for text in texts}),
        "how": how,
        "cased": cased,
        "object": parent,
    }
    return stored_script("any-text", params)
