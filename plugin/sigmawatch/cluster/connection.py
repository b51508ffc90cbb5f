"""One HTTP endpoint: JSON in, JSON out, retried where that is safe, errors in words."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import orjson
from elastic_transport import (
    ApiError,
    ConnectionTimeout,
    JsonSerializer,
    TextSerializer,
    TlsError,
    TransportError,
)
from elasticsearch import Elasticsearch

from sigmawatch.cluster import failures
from sigmawatch.cluster.retry import RETRIED_STATUSES, RetryPolicy, is_idempotent, retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from elastic_transport import ApiResponse, ApiResponseMeta

    from sigmawatch.cluster.node import CompatibleNode
    from sigmawatch.cluster.settings import ConnectionSettings
    from sigmawatch.errors import ClusterError

__all__ = ["Connection", "url_path"]


def url_path(*parts: str) -> str:
    """Join parts to a path, each quoted: `url_path("_doc", "a/b")` is `/_doc/a%2Fb`."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


class _Json(JsonSerializer):
    """JSON through orjson. What cannot be parsed comes back as text: status and headers stay known."""

    def json_dumps(self, data: Any) -> bytes:
        return orjson.dumps(data)

    def loads(self, data: bytes) -> Any:
        if not data:
            return None
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
        text = data.decode("utf-8", "replace")
        try:
            # A server passes on what somebody wrote into an event, such as the escape of half a character, which orjson
            # refuses: an answer must not become unreadable by that.
            whole = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
            return orjson.loads(whole)
        except (ValueError, RecursionError):
            return text


class _AnyText(TextSerializer):
    def loads(self, data: bytes) -> str:
        return data.decode("utf-8", "replace")


_OWN_STATUSES = frozenset({401, 403, 413, 429, 502, 503, 504})
"""Statuses that mean something whoever answers: proxies and gateways use them too, with a page of HTML."""

_SERIALIZERS = {
    "application/json": _Json(),
    "text/*": _AnyText(),
    "application/*": _AnyText(),
    "multipart/*": _AnyText(),
}


class Connection:
    """An endpoint that speaks JSON. Safe to use from several threads."""

    endpoint = "cluster"
    """What it is called in errors."""

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        node_class: type[CompatibleNode],
        retry: RetryPolicy,
        sleep: Callable[[float], None],
    ) -> None:
        self.settings = settings
        self._node_class = node_class
        self._retry = retry
        self._sleep = sleep
        self._answered = False
        self._asking = threading.RLock()
        self.client = _client(settings, node_class)
        """The official client, for what `request` is too low for. Its errors are not ours."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.client.close()

    @property
    def url(self) -> str:
        """The first address, without credentials."""
        return self.settings.urls[0]

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        ignore: Collection[int] = (),
        idempotent: bool | None = None,
        timeout: float | None = None,
        text: bool = False,
    ) -> Any:
        """Send a request and return the parsed JSON of its answer.

        `body`: bytes are sent as they are and taken for NDJSON, anything else becomes JSON. `ignore`:
        statuses for which None is returned instead of an error. HEAD returns True or, on 404, False.
        `idempotent`: whether it may be sent again when it is not known to have failed; default by method and
        path (`_bulk`: say so when every line has an id). `timeout`: seconds for one attempt. `text`: the answer is no
        JSON (NDJSON, for one) and is returned as it is.

        Raises ResponseError when the cluster answers with an error, another ClusterError when it does not
        answer or answers nonsense.
        """
        method = method.upper()
        path = path if path.startswith("/") else f"/{path}"
        if idempotent is None:
            idempotent = is_idempotent(method, path)
        sent_headers = {"accept": "application/json"}
        if body is not None:
            ndjson = isinstance(body, bytes)
            sent_headers["content-type"] = "application/x-ndjson" if ndjson else "application/json"
        sent_headers.update({name.lower(): value for name, value in (headers or {}).items()})
        client = self.client if timeout is None else self.client.options(request_timeout=timeout)

        def send() -> ApiResponse[Any]:
            return client.perform_request(method, path, params=params, headers=sent_headers, body=body)

        seconds = timeout or self.settings.timeout
        return self._until_answered(send, method, path, idempotent, frozenset(ignore), seconds, text)

    def _until_answered(
        self,
        send: Callable[[], ApiResponse[Any]],
        method: str,
        path: str,
        idempotent: bool,
        ignore: frozenset[int],
        timeout: float,
        text: bool,
    ) -> Any:
        failed = 0
        timed_out = 0
        while True:
            wait: float | None = None
            failure: Exception
            try:
                response = send()
            except ApiError as error:
                self._answered = True
                meta, answer = error.meta, error.body
                is_json = not isinstance(answer, str)
                if is_json and meta.status in ignore:
                    return None
                if is_json or meta.status in _OWN_STATUSES:
                    failure = failures.ResponseError(
                        method, path, meta.status, answer, login=self.settings.login, endpoint=self.endpoint
                    )
                else:
                    failure = self._not_json(error.meta, answer, method, path)
                cause: Exception = error
                again = idempotent and meta.status in RETRIED_STATUSES and not _lasts(failure)
                wait = retry_after_seconds(meta.headers.get("retry-after"))
                if isinstance(failure, failures.ResponseError):
                    failure.retry_after = wait
                if wait is not None and wait > self._retry.longest_retry_after:
                    again = False
            except TransportError as error:
                failure = failures.no_answer(error, method, self.url + path, timeout)
                cause = error
                again = self._worth_another_try(error, idempotent, failed, timed_out)
                timed_out += isinstance(error, ConnectionTimeout)
            else:
                self._answered = True
                return self._checked(response, method, path, text)
            failed += 1
            if not again or failed >= self._retry.attempts:
                raise failure from cause
            self._sleep(self._retry.wait(failed) if wait is None else wait)

    def _worth_another_try(
        self, error: TransportError, idempotent: bool, failed: int, timed_out: int
    ) -> bool:
        if isinstance(error, TlsError):
            return False
        if failures.refused_before_sending(error):
            # Before the first answer a refusal means a wrong address: say so now. Later, a restart.
            return self._answered or failed + 1 < len(self.settings.urls)
        if isinstance(error, ConnectionTimeout):
            return idempotent and timed_out == 0
        return idempotent

    def _checked(self, response: ApiResponse[Any], method: str, path: str, text: bool) -> Any:
        if method == "HEAD":
            return bool(response)
        if text and "html" not in (response.meta.headers.get("content-type") or ""):
            return response.body
        if isinstance(response.body, str):
            raise self._not_json(response.meta, response.body, method, path)
        return response.body

    def _not_json(self, meta: ApiResponseMeta, text: str, method: str, path: str) -> ClusterError:
        content_type = meta.headers.get("content-type") or ""
        return failures.not_json(method, self.url + path, meta.status, content_type, text)


def _lasts(failure: Exception) -> bool:
    """Whether a 429 is for what seconds do not change: a read-only block, or a limit that counts minutes."""
    return isinstance(failure, failures.ResponseError) and (
        "cluster_block" in failure.error_type or failures.TOO_MANY_COMPILATIONS in failure.reason
    )


def _client(settings: ConnectionSettings, node_class: type[CompatibleNode]) -> Elasticsearch:
    options: dict[str, Any] = {
        "node_class": node_class,
        "request_timeout": settings.timeout,
        "max_retries": 0,  # ours, in `request`, know what may be sent twice
        "serializers": _SERIALIZERS,
    }
    if settings.api_key is not None:
        key_id, colon, key = settings.api_key.partition(":")
        options["api_key"] = (key_id, key) if colon else settings.api_key
    if settings.basic is not None:
        options["basic_auth"] = settings.basic
    if settings.bearer is not None:
        options["bearer_auth"] = settings.bearer
    if any(url.startswith("https:") for url in settings.urls):
        options["verify_certs"] = settings.verify
        if not settings.verify:
            options["ssl_show_warn"] = False
        if settings.ca_file is not None:
            options["ca_certs"] = str(settings.ca_file)
        if settings.client_certificate is not None:
            options["client_cert"] = str(settings.client_certificate)
            options["client_key"] = str(settings.client_key or settings.client_certificate)
        if settings.fingerprint is not None:
            options["ssl_assert_fingerprint"] = settings.fingerprint
    return Elasticsearch(list(settings.urls), **options)
