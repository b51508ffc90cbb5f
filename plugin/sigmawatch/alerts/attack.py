"""ATT&CK tags of a Sigma rule as ECS `threat.*`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["threat"]

TACTICS = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resource-development": ("TA0042", "Resource Development"),
    "initial-access": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilege-escalation": ("TA0004", "Privilege Escalation"),
    "defense-evasion": ("TA0005", "Defense Evasion"),
    "stealth": ("TA0005", "Stealth"),
    "credential-access": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateral-movement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "command-and-control": ("TA0011", "Command and Control"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "impact": ("TA0040", "Impact"),
}
"""Tactics of MITRE ATT&CK for Enterprise, by the name that Sigma tags use (attack.mitre.org/tactics)."""

_TECHNIQUE = re.compile(r"attack\.(t[0-9]{4})(\.[0-9]{3})?", re.IGNORECASE)


def threat(tags: Iterable[str]) -> dict[str, Any]:
    """Return `threat.{framework,tactic,technique}` of `attack.*` tags, empty without any."""
    tactics: list[tuple[str, str]] = []
    techniques: list[str] = []
    subtechniques: list[str] = []
    for tag in tags:
        technique = _TECHNIQUE.fullmatch(tag)
        if technique is not None:
            name = technique[1].upper()
            techniques += [name] if name not in techniques else []
            if technique[2]:
                subtechniques.append(name + technique[2])
        elif tag.startswith("attack."):
            tactic = TACTICS.get(tag.removeprefix("attack.").replace("_", "-"))
            tactics += [tactic] if tactic is not None and tactic not in tactics else []
    if not tactics and not techniques:
        return {}
    found: dict[str, Any] = {"framework": "MITRE ATT&CK"}
    if tactics:
        found["tactic"] = {"id": [id_ for id_, _ in tactics], "name": [name for _, name in tactics]}
    if techniques:
        found["technique"] = {"id": techniques}
        if subtechniques:
            found["technique"]["subtechnique"] = {"id": subtechniques}
    return found
