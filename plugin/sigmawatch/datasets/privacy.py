"""Privacy of a dataset: pseudonyms in place of users and addresses, and nothing kept that nobody has looked at.

One script after all others does it, on what the parsers made of a line: so everything that needs real values (places,
indicators, directions) has them, and nothing that comes after has, the user's hook included. What it cannot look at is
not kept: the line itself, the message, whatever a shipper added that is no field of the dataset, and the words in
which a problem was told. See `docs/privacy.md` for what that does and does not protect from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import secret
from sigmawatch.datasets.derive import PRIVATE_NETWORKS, network_table
from sigmawatch.datasets.pseudonyms import EXEMPT
from sigmawatch.datasets.script import TEXT_TYPES, Script
from sigmawatch.ecs import ecs_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.model import Dataset

__all__ = ["ADDRESSES", "KEEP", "Privacy", "privacy_processors", "rescue_processors", "with_privacy"]

ADDRESSES = ("all", "inside", "none")
"""Of which addresses pseudonyms are made: all, those of private networks, or none."""

KEEP = (
    "root", "administrator", "admin", "system", "local service", "network service", "anonymous logon", "nobody",
    "guest", "daemon", "unknown", "s-1-5-7", "s-1-5-18", "s-1-5-19", "s-1-5-20", "0", "-",
)  # fmt: skip
"""Names that are nobody's own, and that many rules ask for. In small letters."""

_METADATA = (
    *("_index", "_id", "_version", "_version_type", "_routing", "_type", "_if_seq_no", "_if_primary_term"),
    *("_dynamic_templates", "_now", "_source", "_ingest"),
    *("@timestamp", "data_stream"),
)
"""Members of a document that are not fields of a dataset: the engine's own, and where it goes to."""

_TEXTS = (
    "event.reason",
    "process.args",
    "process.command_line",
    "process.executable",
    "process.title",
    "process.working_directory",
    "process.parent.args",
    "process.parent.command_line",
    "process.parent.executable",
    "process.parent.title",
    "url.full",
    "url.original",
    "url.path",
    "url.query",
    "url.fragment",
    "url.domain",
    "url.username",
    "http.request.body.content",
    "http.request.referrer",
    "http.response.body.content",
    "file.path",
    "file.directory",
    "file.target_path",
    "registry.path",
    "email.subject",
    "user_agent.original",
    "dns.question.name",
    "dns.answers",
    "dns.answers.data",
    "dns.answers.name",
    "group.id",
    "group.name",
    "related.hosts",
    "source.domain",
    "destination.domain",
    "client.domain",
    "server.domain",
    "log.syslog.hostname",
    "observer.hostname",
    "observer.name",
    "rule.name",
    "rule.description",
    "threat.enrichments",
    "threat.indicator.name",
    "threat.indicator.description",
    "threat.indicator.url.domain",
    "threat.indicator.url.full",
    "threat.indicator.url.original",
    "vulnerability.description",
)
"""ECS fields in whose texts names and addresses of the same event may stand."""

_NAMES = frozenset({"name", "id", "email", "full_name", "username", "password"})
_STEPS = (
    *(
        "input",
        "parse",
        "fields",
        "end",
        "access_log",
        "columns",
        "json",
        "kv",
        "patterns",
        "split",
        "syslog",
    ),
)
_ENDS = ("source", "destination", "client", "server", "host", "observer")

_HIDE = "hide(ctx, params);\n"

_RESCUE = """\
String now = Instant.ofEpochMilli(System.currentTimeMillis()).toString();
Map kept = (Map)params.get('others');
def ingested = ctx.get('event') instanceof Map ? ((Map)ctx.get('event')).get('ingested') : null;
List going = new ArrayList();
for (def entry : ctx.entrySet()) {
  if (!kept.containsKey(entry.getKey())) { going.add(entry.getKey()); }
}
for (int i = 0; i < going.size(); ++i) { ctx.remove(going.get(i)); }
ctx.event = new HashMap();
ctx.event.ingested = ingested instanceof String && isoMs((String)ingested) >= 0L ? ingested : now;
"""


@dataclass(frozen=True)
class Privacy:
    """What is hidden in the events of a dataset."""

    users: bool = False
    """Pseudonyms in place of users' names, ids and addresses of mail."""
    addresses: str = "none"
    """Of which addresses, one of `ADDRESSES`."""
    original: bool = True
    """Whether the line, its message and what nobody declared are kept; never with pseudonyms."""
    keep: tuple[str, ...] = ()
    """More names that are not replaced, in whatever case."""
    fields: tuple[str, ...] = ()
    """More fields that hold names of users."""
    key: str = ""
    """Id of the key."""

    @property
    def pseudonyms(self) -> bool:
        """Whether any are made, for which a key is needed."""
        return self.users or self.addresses != "none"

    @property
    def hides(self) -> bool:
        """Whether there is anything to do."""
        return self.pseudonyms or not self.original


def with_privacy(dataset: Dataset, privacy: Privacy) -> Dataset:
    """Return a dataset as rules find it then: without a message that keywords could be in."""
    if not privacy.hides:
        return dataset
    return replace(dataset, body=replace(dataset.body, message="remove"))


def _is_user(name: str) -> bool:
    parent, _, last = name.rpartition(".")
    return (f".{parent}.".find(".user.") >= 0 and last in _NAMES) or name in {
        "related.user",
        "url.username",
        "email.from.address",
        "email.to.address",
        "email.cc.address",
        "email.bcc.address",
        "email.sender.address",
        "email.reply_to.address",
    }


def _paths(dataset: Dataset, privacy: Privacy) -> list[dict[str, Any]]:
    """Return what the script looks at, in this order: users and addresses first, then texts that they may be in."""
    kinds: dict[str, str] = {}
    names = sorted(dataset.fields)
    if privacy.users:
        kinds |= {name: "user" for name in names if _is_user(name) or name in privacy.fields}
        kinds |= dict.fromkeys(privacy.fields, "user")
    if privacy.addresses != "none":
        kinds |= {name: "ip" for name in names if dataset.fields[name] == "ip"}
        kinds |= {name: "ip" for name in names if name.endswith(".address") and name not in kinds}
    texts = {name for name in names if name in _TEXTS}
    texts |= {
        name
        for name, info in dataset.field_info.items()
        if ecs_type(name) is None
        and (info.type in TEXT_TYPES or info.type in {"flattened", "object", "nested"})
    }
    kinds |= {name: "text" for name in sorted(texts) if name not in kinds}
    order = ("user", "ip", "text")
    return [
        {"path": name.split("."), "kind": kind}
        for name, kind in sorted(kinds.items(), key=lambda item: (order.index(item[1]), item[0]))
    ]


def privacy_processors(dataset: Dataset, privacy: Privacy) -> list[dict[str, Any]]:
    """Return the processor that hides what is to be hidden; none where nothing is."""
    if not privacy.hides:
        return []
    script = Script()
    script.declared = dataset.fields
    raw = {value for mapping in dataset.body.mappings for value in mapping.takes}
    params: dict[str, Any] = {
        "shape": script.shape(),
        "others": dict.fromkeys(_METADATA, True),
        "problems": dict.fromkeys([*_STEPS, *dataset.fields, *sorted(raw)], True),
        "paths": _paths(dataset, privacy) if privacy.pseudonyms else [],
        "ends": list(_ENDS),
    }
    if privacy.pseudonyms:
        params |= {
            "key": secret(privacy.key),
            "keep": dict.fromkeys([*KEEP, *(name.lower() for name in privacy.keep)], True),
            "exempt": network_table(EXEMPT),
            "inside": network_table(PRIVATE_NETWORKS),
        }
    if privacy.addresses != "none":
        params["addresses"] = privacy.addresses
    source = script.library_text(_HIDE)
    return [{"script": {"tag": "privacy", "lang": "painless", "source": source, "params": params}}]


def rescue_processors() -> list[dict[str, Any]]:
    """Return the processor for a document whose pipeline broke off: nothing stays but that there was one.

    Where not even this runs, the document is refused, and who sent it is told: neither is it stored as it is, nor does
    it vanish without a word.
    """
    params: Mapping[str, Any] = {"others": dict.fromkeys(_METADATA, True)}
    source = Script().library_text(_RESCUE)
    return [
        {"script": {"tag": "rescue-privacy", "lang": "painless", "source": source, "params": dict(params)}}
    ]
