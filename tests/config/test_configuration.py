"""`sigmawatch.yml`: what it says, what it must not say, and that every mistake is told with its line."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from sigmawatch.config import Configuration, Secret, find_configuration, load_configuration
from sigmawatch.errors import ContentError, UsageError
from sigmawatch.render.kibana import RuleAction

WHOLE = """\
placeholders:
  admins: [root, "svc-*"]
  ports: [22, 3389]
  domain: example.com
environments:
  dev:
  prod:
    url: [https://es1.example.com:9200, https://es2.example.com]
    auth:
      api_key: {env: PROD_KEY}
    tls: {ca: ca.pem, fingerprint: aa11}
    timeout: 12
    namespace: prod
    target: watcher
    kibana: {url: "https://kb.example.com/base/", space: soc}
    placeholders:
      admins: [anna]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "sigmawatch.yml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(ContentError) as caught:
        load_configuration(path)
    assert all(problem.path == path and problem.line for problem in caught.value.problems)
    return [f"{problem.line}: {problem.message}" for problem in caught.value.problems]


def test_a_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    found = load_configuration(written(tmp_path, WHOLE))
    assert dict(found.placeholders) == {
        "admins": ("root", "svc-*"),
        "ports": ("22", "3389"),
        "domain": ("example.com",),
    }
    dev, prod = found.environment("dev"), found.environment("prod")
    assert dev.url == ()
    assert dict(dev.placeholders) == dict(found.placeholders)
    assert prod.url == ("https://es1.example.com:9200", "https://es2.example.com")
    assert prod.login is not None
    assert prod.login.api_key == Secret("PROD_KEY")
    assert prod.ca_file == tmp_path / "ca.pem"
    assert (prod.fingerprint, prod.timeout, prod.namespace, prod.target) == ("aa11", 12, "prod", "watcher")
    assert prod.kibana is not None
    assert (prod.kibana.url, prod.kibana.space) == ("https://kb.example.com/base", "soc")
    assert prod.placeholders["admins"] == ("anna",)
    assert prod.placeholders["ports"] == ("22", "3389")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    assert load_configuration(path) == Configuration(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", ["1: the file: expected a mapping, found a list"]),
        ("placeholder: {}\n", ["1: unknown key 'placeholder'"]),
        ("placeholders:\n  a: []\n  b:\n", ["2: a: has no value", "3: b: has no value"]),
        ("placeholders:\n  a: [x,\n   1.10, yes]\n", ["3: 1.1 is not a text", "3: True is not a text"]),
        ("placeholders:\n  a: {b: c}\n", ["2: a: expected a list of values, found a mapping"]),
        ("placeholders:\n  a: ['']\n", ["2: 0: expected a text, found an empty text"]),
        ("placeholders:\n  '%a%': [x]\n", ["2: '%a%' cannot be a placeholder"]),
        ("environments: [prod]\n", ["1: environments: expected a mapping, found a list"]),
        ("environments:\n  a b: {}\n", ["2: 'a b' cannot be the name of an environment"]),
        ("environments:\n  p:\n    urls: x\n", ["3: unknown key 'urls'"]),
        ("environments:\n  p:\n    url: es.example.com\n", ["3: es.example.com: not an http or https address"]),
        ("environments:\n  p:\n    url: 'http://[::1'\n", ["3: not a valid address"]),
        ("environments:\n  p:\n    namespace: Prod\n", ["3: namespace: 'Prod' may have only lower-case letters, digits and - _ ."]),
        ("environments:\n  p:\n    target: splunk\n", ["3: target: 'splunk' is none"]),
        ("environments:\n  p:\n    timeout: 0\n", ["3: timeout: expected a number of seconds"]),
        ("environments:\n  p:\n    timeout: .inf\n", ["3: timeout: expected a number of seconds"]),
        ("environments:\n  p:\n    tls: {verify: 'no'}\n", ["3: verify: expected true or false, found a text"]),
        ("environments:\n  p:\n    kibana: {space: soc}\n", ["3: 'url' is missing"]),
        ("environments:\n  p:\n    kibana: {url: https://k, space: SOC}\n", ["3: space: 'SOC' may have only lower-case letters, digits, - and _"]),
        ("environments:\n  p:\n    auth: {}\n", ["3: auth: give one of api_key, bearer, and username with password"]),
        ("environments:\n  p:\n    auth: {username: u}\n", ["3: auth: username and password belong together"]),
        ("environments:\n  p:\n    auth:\n      api_key: {env: A, file: b}\n", ["4: api_key: give one of env and file"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_lines(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, text) == expected


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "placeholders: {a: []}\nenvironments:\n  p:\n    target: x\n    timeout: soon\n"
    assert len(problems(tmp_path, text)) == 3


def test_a_missing_certificate_is_told_where_it_is_named(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "environments:\n  p:\n    tls:\n      ca: none.pem\n")
    assert line == f"4: ca: {tmp_path / 'none.pem'} does not exist"


@pytest.mark.parametrize(
    "text",
    [
        "environments:\n  p:\n    auth:\n      api_key: hunter2\n",
        "environments:\n  p:\n    auth: {username: u, password: hunter2}\n",
        "environments:\n  p:\n    auth:\n      bearer: {env: hunter2 }\n      api_key: {env: 'hunter2=='}\n",
        "environments:\n  p:\n    url: https://u:hunter2@es.example.com\n",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ContentError) as caught:
        load_configuration(written(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_secrets_are_read_when_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("id:key\n")
    text = (
        "environments:\n"
        "  a: {url: https://a.example.com, auth: {api_key: {file: key}}}\n"
        "  b: {url: https://b.example.com, auth: {username: anna, password: {env: B_PASSWORD}}}\n"
        "  c: {url: https://c.example.com}\n"
        "  d: {auth: {bearer: {file: none}}}\n"
    )
    found = load_configuration(written(tmp_path, text))
    around = {"SIGMAWATCH_API_KEY": "other", "SIGMAWATCH_URL": "https://z.example.com"}
    # The login of the environment replaces the variables' one; it is not added to it.
    assert found.environment("a").connection(around).api_key == "id:key"
    b = found.environment("b").connection({**around, "B_PASSWORD": "secret"})
    assert (b.api_key, b.basic) == (None, ("anna", "secret"))
    assert b.urls == ("https://b.example.com:443",)
    assert found.environment("c").connection(around).api_key == "other"
    with pytest.raises(UsageError, match="environment variable B_PASSWORD is not set"):
        found.environment("b").connection(around)
    with pytest.raises(UsageError, match=r"none cannot be read: No such file"):
        found.environment("d").connection(around)


def test_an_unknown_environment_names_those_there_are(tmp_path: Path) -> None:
    found = load_configuration(written(tmp_path, "environments: {dev: {}, prod: {}}\n"))
    with pytest.raises(UsageError, match=r"sigmawatch.yml has no environment stage") as caught:
        found.environment("stage")
    assert caught.value.hint == "It has: dev, prod."
    with pytest.raises(UsageError, match=r"no sigmawatch.yml was found"):
        Configuration().environment("prod")


def test_where_a_configuration_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMAWATCH_CONFIG", raising=False)
    pack, here = tmp_path / "pack", tmp_path / "here"
    pack.mkdir()
    here.mkdir()
    assert find_configuration(folders=[pack, here]) == Configuration()
    written(here, "placeholders: {a: here}\n")
    assert find_configuration(folders=[pack, here]).path == here / "sigmawatch.yml"
    written(pack, "placeholders: {a: pack}\n")
    assert find_configuration(folders=[pack, here]).placeholders["a"] == ("pack",)
    other = tmp_path / "other.yml"
    other.write_text("placeholders: {a: other}\n")
    monkeypatch.setenv("SIGMAWATCH_CONFIG", str(other))
    assert find_configuration(folders=[pack]).placeholders["a"] == ("other",)
    assert find_configuration(here / "sigmawatch.yml").placeholders["a"] == ("here",)
    with pytest.raises(UsageError, match="there is no such configuration file"):
        find_configuration(tmp_path / "none.yml")


def test_an_environment_may_be_named_by_its_cloud_id(tmp_path: Path) -> None:
    known = "prod:" + base64.b64encode(b"eu.example.com$abc$def").decode()
    path = written(
        tmp_path, f"environments:\n  prod:\n    cloud_id: '{known}'\n    auth: {{api_key: {{env: K}}}}\n"
    )
    settings = load_configuration(path).environment("prod").connection({"K": "id:key"})
    assert settings.urls == ("https://abc.eu.example.com:443",)
    assert settings.kibana is not None
    assert settings.kibana.connection.urls == ("https://def.eu.example.com:443",)
    (told,) = problems(tmp_path, "environments:\n  prod:\n    cloud_id: nonsense\n")
    assert "cloud_id: that is no cloud id" in told
    (told,) = problems(tmp_path, f"environments:\n  prod:\n    url: http://a\n    cloud_id: '{known}'\n")
    assert "cloud_id: beside url" in told


def test_a_client_certificate_stands_beside_the_authority(tmp_path: Path) -> None:
    (told,) = problems(
        tmp_path, "environments:\n  prod:\n    url: http://a\n    tls: {certificate: me.pem}\n"
    )
    assert "me.pem does not exist" in told
    (tmp_path / "me.key").write_text("x")
    (told,) = problems(tmp_path, "environments:\n  prod:\n    url: http://a\n    tls: {key: me.key}\n")
    assert "key: without a certificate" in told


def test_connectors_that_rules_of_kibana_tell(tmp_path: Path) -> None:
    config = tmp_path / "sigmawatch.yml"
    head = "environments:\n  prod:\n    kibana:\n      url: https://k.example.com\n      actions:\n"
    config.write_text(
        head + "        - {connector: soc, type: .slack, levels: [high, critical], params: {message: Look}}\n"
    )
    kibana = load_configuration(config).environment("prod").kibana
    assert kibana is not None
    assert kibana.actions == (RuleAction("soc", ".slack", ("high", "critical"), {"message": "Look"}),)
    config.write_text(
        head
        + "        - {connector: soc, type: slack, levels: [urgent]}\n        - {connector: soc, type: .slack}\n"
        + "        - {type: .email, secrets: {password: x}}\n"
    )
    with pytest.raises(ContentError) as caught:
        load_configuration(config)
    assert [f"{one.line}: {one.message}" for one in caught.value.problems] == [
        "6: levels: 'urgent' is none",
        "6: type: 'slack' begins with no dot",
        "7: connector soc is there twice",
        "8: unknown key 'secrets'",
        "8: 'connector' is missing",
    ]
