"""Whose what is of a rule in Kibana: what we sent is ours, what analysts added or changed is theirs.

A PUT replaces a rule as a whole (`applyRuleUpdate` of Kibana's detection engine keeps only whether it is enabled), so
everything of theirs has to be known and sent along. What we sent last is remembered as claims, short texts in the
registry: names of fields, tags, exception lists and actions, and what notes were. Fields that say what a rule finds
need no claim: they are ours in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import content_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sigmawatch.deploy.kind import Body

__all__ = [
    "OWNER_TAG",
    "PACK_TAG",
    "RETIRED_TAG",
    "claims_of",
    "compared",
    "handed_on",
    "is_retired",
    "merged",
    "normal",
    "ours",
    "theirs_on",
]

OWNER_TAG = "managed-by:sigmawatch"
PACK_TAG = "sigmawatch-pack:"
RETIRED_TAG = "sigmawatch-retired"
"""On a rule that left its pack and is kept, switched off, for what analysts put into it."""

_ALWAYS_OURS = frozenset(
    {
        "author",
        "data_view_id",
        "description",
        "event_category_override",
        "false_positives",
        "filters",
        "from",
        "index",
        "interval",
        "language",
        "license",
        "max_signals",
        "name",
        "query",
        "references",
        "risk_score",
        "saved_id",
        "severity",
        "threat",
        "threshold",
        "tiebreaker_field",
        "timestamp_field",
        "timestamp_override",
        "timestamp_override_fallback_disabled",
        "to",
        "type",
    }
)
"""What a rule finds and says: changed by somebody else, it has drifted."""

_ALWAYS_THEIRS = frozenset({"enabled", "response_actions", "throttle"})
"""What only people who work with the rule decide, once it is there."""

_GUIDE = frozenset({"investigation_fields", "note", "setup"})
"""What analysts write for each other: ours until they change it."""

_ITEMS = ("actions", "exceptions_list", "tags")
"""Lists that hold items of both."""

_SERVERS = frozenset(
    {
        "created_at",
        "created_by",
        "execution_summary",
        "id",
        "immutable",
        "meta",
        "revision",
        "rule_id",
        "rule_source",
        "updated_at",
        "updated_by",
        "version",
    }
)
_DEFAULTS: Mapping[str, Any] = {
    "actions": [],
    "author": [],
    "exceptions_list": [],
    "false_positives": [],
    "license": "",
    "max_signals": 100,
    "note": "",
    "output_index": "",
    "references": [],
    "related_integrations": [],
    "required_fields": [],
    "risk_score_mapping": [],
    "setup": "",
    "severity_mapping": [],
    "threat": [],
    "to": "now",
}
"""What Kibana fills in: left out where it has this value, to keep differences short."""

_WORK = {
    "exceptions_list": "exceptions",
    "actions": "actions",
    "response_actions": "response actions",
    "alert_suppression": "a suppression of alerts",
    "note": "a note",
    "setup": "a setup guide",
    "investigation_fields": "fields to look at",
    "tags": "tags",
}
"""Work of analysts for which a rule is kept when it leaves its pack, in words."""


def normal(body: Mapping[str, Any]) -> Body:
    """Return what a rule finds and says, without what servers add, our marks, and what is always theirs."""
    left_out = _SERVERS | _ALWAYS_THEIRS | frozenset(_ITEMS)
    plain = {
        name: value
        for name, value in body.items()
        if name not in left_out and value is not None and (name not in _DEFAULTS or value != _DEFAULTS[name])
    }
    for name in _ITEMS:
        items = [_plain_item(name, one) for one in body.get(name) or () if not _is_mark(one)]
        if items or name == "tags":
            plain[name] = items
    return plain


def claims_of(body: Mapping[str, Any]) -> frozenset[str]:
    """Return what becomes ours by sending a body."""
    plain = normal(body)
    found = {name for name in plain if name not in _ALWAYS_OURS | _GUIDE | frozenset(_ITEMS)}
    found |= {_guide_claim(name, plain[name]) for name in _GUIDE & plain.keys()}
    found |= {claim for name in _ITEMS for one in body.get(name) or () for claim in _item_claims(name, one)}
    return frozenset(found)


def ours(live: Mapping[str, Any], claims: Collection[str]) -> Body:
    """Return what of a live rule is ours and has to stay as it is: its change is drift. Guides are not among it."""
    found = {name: value for name, value in normal(live).items() if name in _ALWAYS_OURS or name in claims}
    return found | _our_items(live, claims)


def compared(
    live: Mapping[str, Any], wanted: Mapping[str, Any], claims: Collection[str]
) -> tuple[Body, Body]:
    """Return what is ours of a live rule, and what it shall be. A guide that analysts changed is in neither."""
    known = frozenset(claims) | claims_of(wanted)
    before, after, plain = ours(live, known), normal(wanted), normal(live)
    for name in _GUIDE:
        if _taken(name, live, wanted, claims):
            after.pop(name, None)
        elif name in plain and (name in after or _was_sent(name, plain[name], claims)):
            before[name] = plain[name]
    if is_retired(live) != is_retired(wanted):
        # Only then it is us who switch.
        before["enabled"] = bool(live.get("enabled"))
        after["enabled"] = not is_retired(wanted) and wanted.get("enabled", True)
    return before, after


def merged(live: Mapping[str, Any], wanted: Mapping[str, Any], claims: Collection[str]) -> Body:
    """Return what to send to make a live rule what is wanted, with all that is theirs sent along.

    `claims`: what was ours until now, so that what we no longer want goes.
    """
    known = frozenset(claims) | claims_of(wanted)
    found = dict(wanted)
    for name, value in live.items():
        if value is None or name in _SERVERS | _ALWAYS_OURS | _GUIDE or name in _ITEMS:
            continue
        if name in _ALWAYS_THEIRS or (name not in wanted and name not in claims):
            found[name] = value
    for name in _GUIDE:
        if _taken(name, live, wanted, claims):
            found.pop(name, None)
            if live.get(name):
                found[name] = live[name]
    for name in _ITEMS:
        added = _their_items(name, live, known)
        if added:
            found[name] = [*(wanted.get(name) or ()), *added]
    if live.get("meta") or wanted.get("meta"):
        found["meta"] = {**(live.get("meta") or {}), **(wanted.get("meta") or {})}
    if is_retired(wanted):
        found["enabled"] = False
    elif is_retired(live):
        # We had switched it off, not they.
        found["enabled"] = wanted.get("enabled", True)
    return found


def theirs_on(live: Mapping[str, Any], claims: Collection[str]) -> list[str]:
    """Return in words what analysts put into a rule; nothing where it is as it was deployed."""
    plain = normal(live)
    found = []
    for name, words in _WORK.items():
        if name in _ITEMS:
            there = bool(_their_items(name, live, frozenset(claims)))
        elif name in _GUIDE:
            there = bool(live.get(name)) and _taken(name, live, {}, claims)
        else:
            there = bool(live.get(name)) and (
                name in _ALWAYS_THEIRS or (name in plain and name not in claims)
            )
        if there:
            found.append(words)
    return found


def handed_on(live: Mapping[str, Any], claims: Collection[str]) -> Body:
    """Return what a rule that leaves its pack is to be: as it is, marked as retired."""
    body, _ = compared(live, {}, claims)
    for name in _ITEMS:
        body.pop(name, None)
        kept = [one for one in live.get(name) or () if _is_claimed(name, one, claims)]
        if kept:
            body[name] = kept
    return {**body, "tags": [*body.get("tags", ()), RETIRED_TAG]}


def is_retired(body: Mapping[str, Any]) -> bool:
    """Return whether a rule is kept only for what analysts put into it."""
    return RETIRED_TAG in (body.get("tags") or ())


def _is_mark(item: Any) -> bool:
    return isinstance(item, str) and (item == OWNER_TAG or item.startswith(PACK_TAG))


def _plain_item(name: str, item: Any) -> Any:
    """Return an item as it compares: without what Kibana gives it."""
    if name == "exceptions_list":
        return {key: item[key] for key in ("list_id", "namespace_type", "type") if key in item}
    if name == "actions":
        return {key: value for key, value in item.items() if key != "uuid" and value is not None}
    return item


def _item_claims(name: str, item: Any) -> tuple[str, ...]:
    """Return the texts by which an item is known as ours; any of them does."""
    if name == "tags":
        return () if _is_mark(item) else (f"tags={item}",)
    if name == "exceptions_list":
        return (f"exceptions_list={item.get('namespace_type')}/{item.get('list_id')}",)
    # Kibana keeps the id of an action, so it stays known when somebody changes its text.
    own = (f"actions={item['uuid']}",) if item.get("uuid") else ()
    return (*own, f"actions={content_hash(_plain_item(name, item))[:16]}")


def _our_items(live: Mapping[str, Any], claims: Collection[str]) -> Body:
    found: Body = {}
    for name in _ITEMS:
        mine = [_plain_item(name, one) for one in live.get(name) or () if _is_claimed(name, one, claims)]
        if mine or name == "tags":
            found[name] = mine
    return found


def _their_items(name: str, live: Mapping[str, Any], claims: Collection[str]) -> list[Any]:
    return [
        one
        for one in live.get(name) or ()
        if not _is_mark(one) and one != RETIRED_TAG and not _is_claimed(name, one, claims)
    ]


def _is_claimed(name: str, item: Any, claims: Collection[str]) -> bool:
    return any(claim in claims for claim in _item_claims(name, item))


def _guide_claim(name: str, value: Any) -> str:
    return f"{name}={content_hash(value)[:16]}"


def _was_sent(name: str, value: Any, claims: Collection[str]) -> bool:
    return _guide_claim(name, value) in claims


def _taken(name: str, live: Mapping[str, Any], wanted: Mapping[str, Any], claims: Collection[str]) -> bool:
    """Return whether a guide is what analysts made of it, neither what we sent nor what we want."""
    value = live.get(name)
    if value in (None, "", {}):
        # Emptied by them: it was ours, and is gone.
        return any(claim.startswith(f"{name}=") for claim in claims)
    return value != wanted.get(name) and not _was_sent(name, value, claims)
