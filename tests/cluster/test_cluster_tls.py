from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from cluster.http_stand_in import Answer, HttpStandIn
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run([*command.split(), *names.split()], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@pytest.fixture
def server(certificate: Path) -> Iterator[HttpStandIn]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with HttpStandIn(Answer(body={"a": 1}), tls=context) as stand_in:
        yield stand_in


def test_an_unknown_authority_is_refused_and_how_to_pass_one_is_said(server: HttpStandIn) -> None:
    with pytest.raises(ClusterError, match=r"certificate cannot be verified: self.signed") as caught:
        connect(ConnectionSettings(server.url)).request("GET", "/")
    assert "SIGMAWATCH_CA" in caught.value.hint


def test_the_authority_can_be_passed(server: HttpStandIn, certificate: Path) -> None:
    assert connect(ConnectionSettings(server.url, ca_file=certificate)).request("GET", "/") == {"a": 1}


def test_a_fingerprint_will_do_and_a_wrong_one_will_not(server: HttpStandIn, certificate: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    right = hashlib.sha256(der).hexdigest()
    assert connect(ConnectionSettings(server.url, fingerprint=right)).request("GET", "/") == {"a": 1}
    with pytest.raises(ClusterError, match="not the one with our fingerprint"):
        connect(ConnectionSettings(server.url, fingerprint="0" * 64)).request("GET", "/")


def test_verification_can_be_switched_off(server: HttpStandIn) -> None:
    assert connect(ConnectionSettings(server.url, verify=False)).request("GET", "/") == {"a": 1}


@pytest.fixture
def mutual(certificate: Path) -> Iterator[HttpStandIn]:
    """A server that lets nobody in who shows no certificate of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    with HttpStandIn(Answer(body={"a": 1}), tls=context) as stand_in:
        yield stand_in


def test_a_client_certificate_is_shown_where_one_is_wanted(mutual: HttpStandIn, certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    settings = ConnectionSettings(
        mutual.url, ca_file=certificate, client_certificate=certificate, client_key=key
    )
    assert connect(settings).request("GET", "/") == {"a": 1}
    assert settings.login == "client certificate"
    with pytest.raises(ClusterError):
        connect(ConnectionSettings(mutual.url, ca_file=certificate)).request("GET", "/")


def test_certificate_and_key_may_be_in_one_file_and_come_from_the_environment(
    mutual: HttpStandIn, certificate: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + certificate.with_name("key.pem").read_text())
    variables = {
        "SIGMAWATCH_URL": mutual.url,
        "SIGMAWATCH_CA": str(certificate),
        "SIGMAWATCH_CLIENT_CERTIFICATE": str(both),
    }
    assert connect(ConnectionSettings.from_environment(environ=variables)).request("GET", "/") == {"a": 1}


def test_keys_that_cannot_be_used_are_told_before_anything_is_sent(
    server: HttpStandIn, certificate: Path, tmp_path: Path
) -> None:
    command = "openssl pkey -aes256 -passout pass:secret -in key.pem -out"
    locked = tmp_path / "locked.pem"
    subprocess.run([*command.split(), str(locked)], cwd=certificate.parent, check=True, capture_output=True)
    with pytest.raises(UsageError, match="wants a passphrase"):
        ConnectionSettings(server.url, client_certificate=certificate, client_key=locked)
    with pytest.raises(UsageError, match="no certificate and key that belong together"):
        ConnectionSettings(server.url, client_certificate=certificate)
    with pytest.raises(UsageError, match="a key without its certificate"):
        ConnectionSettings(server.url, client_key=locked)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        ConnectionSettings(server.url, client_certificate=tmp_path / "none.pem")
    assert server.seen == []


def test_a_file_that_is_no_certificate_is_a_message(server: HttpStandIn, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("nothing")
    with pytest.raises(UsageError, match="holds no certificate"):
        ConnectionSettings(server.url, ca_file=ca)
