"""Privacy: pseudonyms that are the same everywhere, nothing left beside them, and a key that is nowhere to be seen."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import only, sigmawatch, write
from datasets.dataset_server import Server
from sigmawatch.artifact import with_secrets
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.config import load_configuration
from sigmawatch.datasets import Dataset, build_pipeline, samples, without_hook
from sigmawatch.datasets.privacy import KEEP, Privacy, _is_user
from sigmawatch.datasets.pseudonyms import Pseudonyms, _compress
from sigmawatch.datasets.script import Script
from sigmawatch.engine import Node
from sigmawatch.errors import ContentError, UsageError

KEY = "e3b1c0a94f7d2586e3b1c0a94f7d2586"
PSEUDONYMS = Pseudonyms(KEY.encode())
HIDDEN = Privacy(users=True, addresses="all", key=PSEUDONYMS.id)


def of(datasets: list[Dataset], name: str) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == name)


def hidden(
    server: Server, dataset: Dataset, documents: list[dict[str, Any]], privacy: Privacy = HIDDEN
) -> list[Any]:
    pipeline = without_hook(build_pipeline(dataset, privacy=privacy))
    body = with_secrets(pipeline, {PSEUDONYMS.id: PSEUDONYMS.states()})
    found = server.simulate(body, [{"_source": document} for document in documents])
    return [None if one is None else one["doc"]["_source"] for one in found]


# The hash


def test_the_states_are_those_of_hmac_sha256() -> None:
    first = _compress(b"abc".ljust(64, b"\0"))
    assert len(first) == 8
    derived = hmac.new(KEY.encode(), b"sigmawatch: pseudonyms", hashlib.sha256).digest()
    expected = hmac.new(derived, b"user:anna", hashlib.sha256).hexdigest()[:20]
    assert PSEUDONYMS.user("Anna") == f"u-{expected}"


def test_a_padded_block_gives_the_hash_that_hashlib_gives() -> None:
    block = b"abc\x80".ljust(62, b"\0") + (24).to_bytes(2, "big")
    words = b"".join(word.to_bytes(4, "big") for word in _compress(block))
    assert words == hashlib.sha256(b"abc").digest()


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 200])
@pytest.mark.parametrize("sign", ["a", "ä", "€", "😀"])
def test_engines_make_the_same_hash_of_any_text(server: Server, sign: str, length: int) -> None:
    text = sign * length
    main = "int[] h = hmac((List)params.get('s'), ctx.t); String x = ''; for (int i = 0; i < 8; ++i) { x = x + hexWord(h[i]); } ctx.x = x;"
    (found,) = server.run(Script().library_text(main), [{"t": text}], s=PSEUDONYMS.states())
    derived = hmac.new(KEY.encode(), b"sigmawatch: pseudonyms", hashlib.sha256).digest()
    assert found["x"] == hmac.new(derived, text.encode(), hashlib.sha256).hexdigest()


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="fewer than 32"):
        Pseudonyms(b"secret")
    assert "secret" not in repr(Pseudonyms(b"secret" * 8))


# Pseudonyms of events


def ssh(address: str, user: str, text: str = "Failed password for") -> dict[str, Any]:
    return {
        "message": f"<38>1 2026-03-01T10:00:00Z web1 sshd 2000 - - {text} {user} from {address} port 40000 ssh2"
    }


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "2001:db8::/32"),
        ("81.2.69.142", "2001:db8::/32"),
        ("2a02:cf40::1", "2001:db8::/32"),
        ("10.1.2.3", "fd73:6967:6d61::/48"),
        ("192.168.1.1", "fd73:6967:6d61::/48"),
        ("fe80::1", "fd73:6967:6d61::/48"),
        ("::ffff:10.1.2.3", "fd73:6967:6d61::/48"),
    ],
)
def test_an_address_becomes_one_that_tells_inside_from_outside(
    server: Server, datasets: list[Dataset], address: str, network: str
) -> None:
    (found,) = hidden(server, of(datasets, "auth.sshd"), [ssh(address, "anna")])
    pseudonym = found["source"]["ip"]
    assert ip_address(pseudonym) in ip_network(network)
    assert ip_address(pseudonym) == ip_address(PSEUDONYMS.address(address))
    assert found["related"]["ip"] == [pseudonym]
    assert found["user"]["name"] == PSEUDONYMS.user("anna")
    assert found["related"]["user"] == [found["user"]["name"]]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "ff02::1"])
def test_addresses_that_are_nobodys_stay(server: Server, datasets: list[Dataset], address: str) -> None:
    (found,) = hidden(server, of(datasets, "auth.sshd"), [ssh(address, "root")])
    assert (found["source"]["ip"], found["user"]["name"]) == (address, "root")
    assert PSEUDONYMS.address(address) == address


def test_only_addresses_from_inside_where_that_is_asked_for(server: Server, datasets: list[Dataset]) -> None:
    privacy = Privacy(addresses="inside", key=PSEUDONYMS.id)
    documents = [ssh("198.51.100.7", "anna"), ssh("10.0.0.1", "anna")]
    outside, inside = hidden(server, of(datasets, "auth.sshd"), documents, privacy)
    assert (outside["source"]["ip"], outside["user"]["name"]) == ("198.51.100.7", "anna")
    assert inside["source"]["ip"] == str(ip_address(PSEUDONYMS.address("10.0.0.1")))


def test_datasets_agree_on_who_is_who(server: Server, datasets: list[Dataset]) -> None:
    nginx = {
        "message": '10.0.0.1 - Anna [01/Mar/2026:10:00:00 +0000] "GET /home/anna?by=anna HTTP/1.1" 200 1 "-" "curl"'
    }
    (web,) = hidden(server, of(datasets, "web.nginx"), [nginx])
    (login,) = hidden(server, of(datasets, "auth.sshd"), [ssh("10.0.0.1", "anna")])
    assert web["source"]["ip"] == login["source"]["ip"]
    assert web["user"]["name"] == login["user"]["name"]
    assert "anna" not in json.dumps(web).lower()
    assert web["url"]["path"] == f"/home/{PSEUDONYMS.user('anna')}"


def test_what_is_kept_by_name_and_what_is_hidden_beyond_the_usual_is_the_sites(
    server: Server, datasets: list[Dataset]
) -> None:
    privacy = Privacy(users=True, keep=("Backup",), fields=("host.hostname",), key=PSEUDONYMS.id)
    documents = [ssh("10.0.0.1", "backup"), ssh("10.0.0.1", "anna")]
    kept, other = hidden(server, of(datasets, "auth.sshd"), documents, privacy)
    assert kept["user"]["name"] == "backup"
    assert other["host"]["hostname"] == PSEUDONYMS.user("web1")


SHIPPERS = {
    "json": {"who": "anna"},
    "labels": {"owner": "anna"},
    "host": "web1",
    "_lookup": {"source": "10.0.0.1"},
}


@pytest.mark.parametrize(
    "document",
    [
        {"message": "anna is no line of nginx from 10.0.0.1"},
        {"message": '10.0.0.1 - anna [soon] "GET / HTTP/1.1" x'},
        {
            "message": '10.0.0.1 - anna [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" x 1 "-" "curl"',
            **SHIPPERS,
        },
        {"message": {"anna": "10.0.0.1"}},
        {"event": {"original": "anna from 10.0.0.1"}, "message": "anna"},
        {"event": "anna", "error": {"message": ["anna: from 10.0.0.1"]}, **SHIPPERS},
        {"message": "anna " * 3000},
    ],
)
def test_a_document_that_cannot_be_parsed_tells_nobody(
    server: Server, datasets: list[Dataset], document: dict[str, Any]
) -> None:
    (found,) = hidden(server, of(datasets, "web.nginx"), [document])
    assert "10.0.0.1" not in json.dumps(found)
    assert "original" not in found["event"]
    assert "message" not in found
    assert "anna" not in json.dumps(found).lower()
    assert found["event"]["dataset"] == "web.nginx"


def test_what_breaks_off_is_stored_as_no_more_than_that(server: Server, datasets: list[Dataset]) -> None:
    pipeline = with_secrets(
        without_hook(build_pipeline(of(datasets, "web.nginx"), privacy=HIDDEN)),
        {PSEUDONYMS.id: PSEUDONYMS.states()},
    )
    loop = {"script": {"source": "int i = 0; while (true) { i = i + 1; if (i < 0) { break; } }"}}
    broken = {**pipeline, "processors": [loop, *pipeline["processors"]]}
    document = {"message": "anna from 10.0.0.1", "user": {"name": "anna"}, "event": {"original": "anna"}}
    (found,) = server.simulate(broken, [{"_source": document}])
    kept = found["doc"]["_source"]
    assert set(kept) <= {"@timestamp", "event", "error"}
    assert kept["event"]["kind"] == "pipeline_error"
    assert "anna" not in json.dumps(kept)
    assert "10.0.0.1" not in json.dumps(kept)


def test_the_users_own_pipeline_sees_no_more_than_what_is_stored(datasets: list[Dataset]) -> None:
    body = build_pipeline(of(datasets, "web.nginx"), privacy=HIDDEN, options={"enrich": ["threat_intel"]})
    for processors in (body["processors"], body["on_failure"]):
        tags = [next(iter(one.values())).get("tag", "") for one in processors]
        assert tags.index("custom") > max(
            number for number, tag in enumerate(tags) if tag in {"privacy", "rescue-privacy", "threat-intel"}
        )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from leaves(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for element in value:
            yield from leaves(element, path)
    elif value not in (None, ""):
        yield path, value


COINCIDENCES = {"cloud.account.id", "event.action", "event.code", "event.provider"}
"""Accounts of clouds, and words that happen to be users of a sample, too."""


@pytest.mark.engine
def test_no_user_and_no_address_of_any_sample_is_left_anywhere(
    opensearch: Node, datasets: list[Dataset]
) -> None:
    from sigmawatch.datasets.templates import OPENSEARCH

    server = Server(opensearch.url, OPENSEARCH)
    left = []
    replaced = 0
    for dataset in datasets:
        users = {name for name in dataset.fields if _is_user(name)}
        addresses = {name for name, kind in dataset.fields.items() if kind == "ip"}
        for sample in samples(dataset):
            documents = list(dataset.documents(sample.lines))
            after = hidden(server, dataset, documents)
            for plain, found in zip(sample.expected or (), after, strict=True):
                secret = set()
                for path, value in leaves(plain):
                    if path in users and str(value).lower() not in KEEP and len(str(value)) > 1:
                        secret.add(str(value).lower())
                    if path in addresses and PSEUDONYMS.address(value) != value:
                        secret.add(value.lower())
                replaced += len(secret)
                for path, value in leaves(found):
                    text = str(value).lower()
                    left += [
                        (dataset.name, path, one, text)
                        for one in secret
                        if path not in COINCIDENCES
                        and re.search(
                            rf"(?<![a-z0-9\x80-\uffff]){re.escape(one)}(?![a-z0-9\x80-\uffff])", text
                        )
                    ]
    assert left == []
    assert replaced > 1000


# The key


def configured(folder: Path, *, key: str = "SOC_KEY") -> Path:
    path = only(folder, "auth.sshd")
    text = path.read_text().replace(
        "auth.sshd: {enabled: true}", "auth.sshd: {enabled: true, privacy: {users: true, addresses: all}}"
    )
    path.write_text(f"privacy: {{key: {{env: {key}}}}}\n{text}")
    return path


def secrets_of(key: str) -> list[str]:
    """Return how a key, and what is made of it, would look in JSON."""
    states = Pseudonyms(key.encode()).states()
    return [key, *(str(state) for state in states)]


def test_a_brute_force_is_found_on_pseudonyms_and_the_key_is_nowhere_to_be_seen(
    each_cluster_url: str, tmp_path: Path
) -> None:
    config = configured(tmp_path)
    at: list[Any] = ["--url", each_cluster_url, "--config", config]
    env = {"SOC_KEY": KEY}

    missing = sigmawatch("plan", *at)
    assert (missing.code, "SOC_KEY is not set" in missing.err) == (2, True)
    file = tmp_path / "plan.json"
    planned = sigmawatch("plan", "--format", "json", "--out", file, *at, env=env)
    assert planned.code == 0, planned.err
    unable = sigmawatch("deploy", "--plan", file, "--yes", *at[:2])
    assert (unable.code, "of pseudonyms, which is not the one at hand" in unable.err) == (2, True)
    done = sigmawatch("deploy", "--plan", file, "--yes", *at, env=env)
    assert done.code == 0, done.err
    again = sigmawatch("plan", "--detailed-exitcode", "--format", "json", *at, env=env)
    assert again.code == 0, again.out

    lines = [
        ssh("198.51.100.7", "anna")["message"].replace("10:00:00", f"10:00:{second:02}")
        for second in range(12)
    ]
    log = write(tmp_path / "auth.log", "\n".join(lines) + "\n")
    assert sigmawatch("ingest", "--dataset", "auth.sshd", *at, log).code == 0
    with connect(ConnectionSettings(each_cluster_url)) as cluster:
        cluster.request("POST", "/_refresh")
        ran = sigmawatch(
            "run", "--once", "--at", "2026-03-01T10:05:00Z", "--format", "json", "--url", each_cluster_url
        )
        (alert,) = [one for one in ran.json["created"] if one["rule"]["name"] == "SSH brute force"]
        assert alert["source"]["ip"] == str(ip_address(PSEUDONYMS.address("198.51.100.7")))

        cluster.request("POST", "/_refresh")
        names = list(
            cluster.request(
                "GET", "/_cat/indices", params={"format": "json", "h": "index", "expand_wildcards": "all"}
            )
        )
        stored = json.dumps(
            [
                list(cluster.scan(one["index"]))
                for one in names
                if one["index"].startswith(("sigmawatch", "logs-", ".ds-logs-"))
            ]
        )
    assert "198.51.100.7" not in stored
    assert "anna" not in stored
    shown = [
        planned.out,
        file.read_text(),
        done.out,
        again.out,
        stored,
        sigmawatch("status", "--format", "json", *at).out,
    ]
    for secret in secrets_of(KEY):
        assert not [text for text in shown if secret in text]

    told = sigmawatch("pseudonym", "198.51.100.7", "Anna", "--config", config, "--format", "json", env=env)
    assert told.json == {"198.51.100.7": PSEUDONYMS.address("198.51.100.7"), "Anna": PSEUDONYMS.user("anna")}


@pytest.mark.engine
def test_another_key_is_a_change_and_going_back_needs_the_old_one(cluster_url: str, tmp_path: Path) -> None:
    other = "0" * 31 + "1"
    at: list[Any] = ["--url", cluster_url, "--config", configured(tmp_path)]
    for key in (KEY, other):
        done = sigmawatch("deploy", "--yes", *at, env={"SOC_KEY": key})
        assert done.code == 0, done.err
    assert "update ingest_pipeline sigmawatch-auth.sshd" in done.out
    assert Pseudonyms(other.encode()).id in done.out
    back = sigmawatch("rollback", "--yes", *at, env={"SOC_KEY": other})
    assert (back.code, f"the key {PSEUDONYMS.id}" in back.err) == (2, True)
    back = sigmawatch("rollback", "--yes", *at, env={"SOC_KEY": KEY})
    assert back.code == 0, back.err
    shown = sigmawatch("releases", "list", "--format", "json", *at).out + back.out
    assert not [secret for secret in (*secrets_of(KEY), *secrets_of(other)) if secret in shown]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("privacy: {key: hunter2}\n", "key: secrets do not stand in this file"),
        ("datasets:\n  auth.sshd: {privacy: {user: true}}\n", "unknown key 'user'"),
        ("datasets:\n  auth.sshd: {privacy: {addresses: some}}\n", "addresses: 'some' is none"),
        ("datasets:\n  auth.sshd: {privacy: {users: true, original: true}}\n", "what pseudonyms stand for"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ContentError) as caught:
        load_configuration(write(tmp_path / "sigmawatch.yml", text))
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_keywords_find_nothing_where_no_message_is_kept_and_check_says_so(tmp_path: Path) -> None:
    text = "title: A rule\nid: 0b8e0a3c-7f2e-4f67-8f1c-6c9d3a6a1c11\nlevel: high\nlogsource: {product: linux, service: sshd}\ndetection:\n  keywords: [Accepted]\n  condition: keywords\n"
    rule = write(tmp_path / "r.yml", text)
    plain = sigmawatch("check", rule)
    ran = sigmawatch("check", rule, "--config", configured(tmp_path))
    assert "message" not in plain.err
    assert "message" in ran.err
