"""What went wrong between us and a cluster, in words: what it was, and what to do about it."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

from elastic_transport import ConnectionTimeout, TlsError, TransportError

from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ResponseError", "describe", "may_pass", "no_answer", "not_json", "refused_before_sending"]

_SHOWN = 300

TOO_MANY_COMPILATIONS = "Too many dynamic script compilations"
"""How both products begin the reason when they compile no more scripts for a while."""


class ResponseError(ClusterError):
    """The cluster answered a request with an error."""

    def __init__(
        self, method: str, path: str, status: int, body: Any, *, login: str = "", endpoint: str = "cluster"
    ) -> None:
        self.method = method
        self.path = path
        self.status = status
        """HTTP status."""
        self.body = body
        """The parsed answer."""
        self.retry_after: float | None = None
        """Seconds after which the server wants to be asked again, where it says so."""
        error = body.get("error") if isinstance(body, dict) else None
        self.error_type = ""
        """The server's name of the error, e.g. `illegal_argument_exception`; empty where it gave none."""
        self.reason = ""
        """The server's explanation, causes included."""
        if isinstance(error, dict):
            self.error_type = str(error.get("type", ""))
            self.reason = describe(error)
        elif isinstance(body, dict) and isinstance(body.get("message"), str | list):
            # Kibana: its `error` is only the name of the status.
            told = body["message"]
            self.reason = told if isinstance(told, str) else "; ".join(map(str, told))
        elif isinstance(error, str):
            self.reason = error
        elif isinstance(body, dict) and isinstance(body.get("reason"), str):
            # OpenSearch's security plugin, of a body that it does not take: beside the reason stands what is wrong.
            wrong = [
                f"{name}: {told['keys'] if isinstance(told, dict) and 'keys' in told else told}"
                for name, told in body.items()
                if name not in {"status", "reason"}
            ]
            self.reason = "; ".join([body["reason"], *wrong])
        elif isinstance(body, str):
            self.reason = _gist(body)
        reason = self.reason or (str(body)[:_SHOWN] if body else "no reason given")
        message = f"{method} {path}: {status} {reason}"
        super().__init__(message, hint=_hint(status, self.error_type, self.reason, login, endpoint))


def describe(error: dict[str, Any]) -> str:
    """Return an error object of the server as one line, with the causes that say something new."""
    parts: list[str] = []
    current: Any = error
    for _ in range(6):
        if not isinstance(current, dict):
            break
        reason = str(current.get("reason") or current.get("type") or "")
        if reason and all(reason not in known for known in parts):
            parts.append(reason)
        roots = current.get("root_cause")
        current = current.get("caused_by") or (roots[0] if isinstance(roots, list) and roots else None)
    return ": ".join(parts)


def _hint(status: int, error_type: str, reason: str, login: str, endpoint: str) -> str:
    if status == 401:
        if login in {"", "no credentials"}:
            return "It wants credentials: set SIGMAWATCH_API_KEY, or SIGMAWATCH_USERNAME and _PASSWORD."
        the_one = "Kibana" if endpoint == "Kibana" else "The cluster"
        return f"{the_one} does not accept our {login}: wrong, expired or revoked."
    if "cluster_block_exception" in error_type or "index_create_block" in error_type:
        if (
            "flood" in reason
            or "disk" in reason
            or "read_only_allow_delete" in reason
            or "read-only-allow" in reason
        ):
            return (
                "The disk of a node is (nearly) full and the cluster has made the index read-only "
                "(flood-stage watermark). Free space; the block then goes away, or remove "
                "index.blocks.read_only_allow_delete."
            )
        return "The cluster or the index is blocked; see cluster.blocks.* and index.blocks.* in its settings."
    if TOO_MANY_COMPILATIONS in reason:
        return (
            "The cluster limits how many scripts it compiles in five minutes; deploy again later, or raise "
            "script.context.ingest.max_compilations_rate."
        )
    if status == 403:
        granted = re.search(r"granted by the (\w+) privileges \[([^\]]+)\]", reason)
        if granted:
            names = granted.group(2).replace(",", ", ")
            return f"Our {login or 'login'} lacks one of the {granted.group(1)} privileges {names}."
        if missing := re.search(r"no permissions for \[(.+)\] and User ", reason):
            return f"Our {login or 'login'} lacks the permissions {missing.group(1)}."
        if "No permission to access REST API" in reason:
            return (
                "Who changes roles needs one of plugins.security.restapi.roles_enabled, or the permission "
                "restapi:admin/roles."
            )
        if "license is non-compliant" in reason:
            return "The cluster's licence does not include this; see GET _license."
        return f"Our {login or 'login'} lacks a privilege for this."
    if status == 429:
        return "The cluster is overloaded and refused this several times; try again later."
    if status in {502, 503, 504}:
        return (
            "The cluster is starting, has no master, or a proxy before it cannot reach it; try again later."
        )
    if status == 406 or "media_type_header" in error_type:
        return "The cluster does not take our media type: is a proxy changing headers?"
    return ""


def may_pass(error: ClusterError) -> bool:
    """Return whether a request failed because no answer came, which may be over soon: a restart, a broken network."""
    return isinstance(error.__cause__, TransportError) and not isinstance(error.__cause__, TlsError)


def not_json(method: str, url: str, status: int, content_type: str, text: str) -> ClusterError:
    """Return the error for an answer that is no JSON: some other program answered."""
    kind = content_type or "without a content type"
    return ClusterError(
        f"{method} {url}: answered {status} {kind}, not JSON: {_gist(text)!r}",
        hint="Something else than a cluster answers there (a proxy, a login page, Kibana).",
    )


def _gist(text: str) -> str:
    """Return the title of an HTML page, or the beginning of any other text, on one line."""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return " ".join((title.group(1) if title else text).split())[:_SHOWN]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that it was made from."""
    pending, seen = [error], set()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending.extend(getattr(one, "errors", ()) or ())
        pending.extend(cause for cause in (one.__cause__, one.__context__) if cause is not None)


def refused_before_sending(error: TransportError) -> bool:
    """Return whether the request certainly never reached the cluster, so that sending it again is safe."""
    return any(isinstance(one, ConnectionRefusedError | socket.gaierror) for one in _chain(error))


def no_answer(error: TransportError, method: str, url: str, timeout: float) -> ClusterError:
    """Return the error for a request that no answer came to."""
    place = f"{method} {url}"
    for one in _chain(error):
        if isinstance(one, socket.gaierror):
            return ClusterError(
                f"{place}: the host name is not known", hint="Check the address, DNS and VPN."
            )
        if isinstance(one, ConnectionRefusedError):
            return ClusterError(
                f"{place}: connection refused",
                hint="Nothing listens there. Elasticsearch and OpenSearch usually listen on port 9200.",
            )
        if isinstance(one, ssl.SSLCertVerificationError):
            return ClusterError(
                f"{place}: the certificate cannot be verified: {one.verify_message or one}",
                hint="Pass the authority that signed it (--ca or SIGMAWATCH_CA, a PEM file) or its SHA-256 "
                "(SIGMAWATCH_FINGERPRINT).",
            )
        if "ingerprints did not match" in str(one):
            return ClusterError(
                f"{place}: the certificate is not the one with our fingerprint",
                hint="It was renewed, or somebody else answers: compare with the cluster's own.",
            )
        if isinstance(one, ssl.SSLError) and ("WRONG_VERSION" in str(one) or "record layer" in str(one)):
            return ClusterError(
                f"{place}: no TLS there", hint="Use http:// if the cluster really has no TLS."
            )
    if isinstance(error, ConnectionTimeout):
        return ClusterError(
            f"{place}: no answer within {timeout:g} s",
            hint="The cluster is busy or a firewall drops packets; a longer --timeout may help.",
        )
    if isinstance(error, TlsError):
        return ClusterError(f"{place}: TLS failed: {error.message}")
    return ClusterError(
        f"{place}: the connection broke: {error.message}",
        hint="The cluster or a proxy closed it. If it speaks TLS only, use https://.",
    )
