from __future__ import annotations

import base64
from pathlib import Path

import certifi
import pytest

from sigmawatch.cluster import ConnectionSettings
from sigmawatch.errors import UsageError


def from_environment(**environ: str) -> ConnectionSettings:
    return ConnectionSettings.from_environment(environ=environ)


def test_credentials_in_the_address_are_moved_out_and_never_shown() -> None:
    settings = ConnectionSettings("https://elastic:p%40ss@es.example.com/prefix/")
    assert settings.urls == ("https://es.example.com:443/prefix",)
    assert settings.basic == ("elastic", "p@ss")
    assert "p@ss" not in repr(settings)
    assert "p%40ss" not in repr(settings)
    assert settings.login == "user elastic"


@pytest.mark.parametrize(
    "settings",
    [
        ConnectionSettings("http://es:9200", api_key="topsecret"),
        ConnectionSettings("http://es:9200", bearer="topsecret"),
        ConnectionSettings("http://es:9200", basic=("me", "topsecret")),
    ],
)
def test_secrets_are_redacted_in_repr(settings: ConnectionSettings) -> None:
    assert "topsecret" not in repr(settings)
    assert "***" in repr(settings)


def test_everything_can_come_from_the_environment() -> None:
    ca = Path(certifi.where())
    settings = from_environment(
        SIGMAWATCH_URL="https://a:9200, https://b:9200",
        SIGMAWATCH_USERNAME="me",
        SIGMAWATCH_PASSWORD="word",
        SIGMAWATCH_CA=str(ca),
        SIGMAWATCH_TIMEOUT="7.5",
        SIGMAWATCH_VERIFY="false",
    )
    assert settings == ConnectionSettings(
        ("https://a:9200", "https://b:9200"), basic=("me", "word"), ca_file=ca, timeout=7.5, verify=False
    )


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("abc==\n")
    settings = from_environment(SIGMAWATCH_URL="http://es:9200", SIGMAWATCH_API_KEY_FILE=str(file))
    assert settings.api_key == "abc=="


def test_options_win_over_the_environment() -> None:
    settings = ConnectionSettings.from_environment(
        url="http://option:1",
        timeout=3,
        environ={"SIGMAWATCH_URL": "http://env:2", "SIGMAWATCH_TIMEOUT": "9"},
    )
    assert (settings.urls, settings.timeout) == (("http://option:1",), 3)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "no cluster address"),
        ({"SIGMAWATCH_URL": "es.example.com:9200"}, "not an http or https address"),
        ({"SIGMAWATCH_URL": "http://user:pa:ss@[bad"}, "not a valid URL"),
        ({"SIGMAWATCH_URL": "http://es:port"}, "not a valid URL"),
        ({"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_USERNAME": "me"}, "SIGMAWATCH_PASSWORD is not set"),
        ({"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_API_KEY_FILE": "/no/such"}, "cannot be read"),
        (
            {"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_API_KEY": "a", "SIGMAWATCH_API_KEY_FILE": "b"},
            "both SIGMAWATCH_API_KEY and SIGMAWATCH_API_KEY_FILE",
        ),
        (
            {"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_API_KEY": "a", "SIGMAWATCH_BEARER": "b"},
            "more than one way",
        ),
        ({"SIGMAWATCH_URL": "http://me:you@es", "SIGMAWATCH_API_KEY": "a"}, "in the address and elsewhere"),
        ({"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_TIMEOUT": "soon"}, "expected a number"),
        ({"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_TIMEOUT": "0"}, "more than 0"),
        ({"SIGMAWATCH_URL": "http://es", "SIGMAWATCH_VERIFY": "maybe"}, "expected true or false"),
        ({"SIGMAWATCH_URL": "https://es", "SIGMAWATCH_CA": "/no/such.pem"}, "cannot be read: No such file"),
    ],
)
def test_nonsense_is_refused_with_what_to_do(environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        from_environment(**environ)
    assert "pa:ss" not in str(caught.value)


def cloud_id(text: str) -> str:
    return "my deployment:" + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "cluster", "kibana"),
    [
        ("eu.example.com$abc$def", "https://abc.eu.example.com:443", "https://def.eu.example.com:443"),
        ("eu.example.com:9243$abc$def", "https://abc.eu.example.com:9243", "https://def.eu.example.com:9243"),
        (
            "eu.example.com$abc:9244$def:5601",
            "https://abc.eu.example.com:9244",
            "https://def.eu.example.com:5601",
        ),
        ("eu.example.com$abc", "https://abc.eu.example.com:443", ""),
    ],
)
def test_a_cloud_id_says_where_the_cluster_and_its_kibana_are(text: str, cluster: str, kibana: str) -> None:
    variables = {"SIGMAWATCH_CLOUD_ID": cloud_id(text), "SIGMAWATCH_API_KEY": "id:key"}
    found = ConnectionSettings.from_environment(environ=variables)
    assert found.urls == (cluster,)
    assert (found.kibana.connection.urls if found.kibana else ("",)) == (kibana,)
    if found.kibana is not None:
        assert found.kibana.connection.api_key == "id:key"


@pytest.mark.parametrize("wrong", ["x", "name:!!!", "name:" + base64.b64encode(b"only").decode(), "name:"])
def test_what_is_no_cloud_id_is_told(wrong: str) -> None:
    with pytest.raises(UsageError, match="no cloud id"):
        ConnectionSettings.from_environment(environ={"SIGMAWATCH_CLOUD_ID": wrong})


def test_a_cloud_id_and_an_address_exclude_each_other() -> None:
    both = {"SIGMAWATCH_CLOUD_ID": cloud_id("a$b"), "SIGMAWATCH_URL": "http://localhost:9200"}
    with pytest.raises(UsageError, match="a cloud id and an address"):
        ConnectionSettings.from_environment(environ=both)
    chosen = ConnectionSettings.from_environment(
        url="http://localhost:1", environ={"SIGMAWATCH_CLOUD_ID": "x"}
    )
    assert chosen.urls == ("http://localhost:1",), "what the command line says wins"
