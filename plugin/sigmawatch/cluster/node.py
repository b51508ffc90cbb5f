"""Why one `elasticsearch` client can talk to Elasticsearch 8, Elasticsearch 9 and OpenSearch.

Two HTTP headers stand in the way, and nothing else (measured with the clients 8.19.3 and 9.5.1 against
Elasticsearch 8.16.1, 8.19.21, 9.4.3 and OpenSearch 3.7.0):

- A client of major version N asks for `application/vnd.elasticsearch+json; compatible-with=N`. Elasticsearch
  8 refuses `compatible-with=9` with 400 `media_type_header_exception`, OpenSearch refuses any with 406. All
  of them take plain `application/json`, so that is what is sent.
- The client raises UnsupportedProductError where an answer lacks `x-elastic-product: Elasticsearch`, which
  OpenSearch does not send. The check is of use to nobody here: `ClusterInfo` looks at what the server says
  it is, so the header is added.

A third header is taken out: `Warning`, which the client would raise as a Python warning for each answer. The
texts (deprecations, mostly) go to the log of this module, each once.

Only public names of `elastic_transport` are used.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any

from elastic_transport import HttpHeaders, NodeConfig, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT

__all__ = ["CompatibleNode"]

_log = logging.getLogger(__name__)
_COMPATIBLE_WITH = re.compile(r"application/vnd\.elasticsearch\+(json|x-ndjson)\s*;\s*compatible-with=\d+")
_MAX_KNOWN_WARNINGS = 1_000


class CompatibleNode(Urllib3HttpNode):
    """A connection to one node of a cluster, with the headers settled."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._known_warnings: set[str] = set()

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: Any = DEFAULT,
    ) -> Any:
        """Send one request. Raises the errors of `elastic_transport` when no answer comes."""
        if headers is not None:
            headers = HttpHeaders(
                {name: _COMPATIBLE_WITH.sub(r"application/\1", value) for name, value in headers.items()}
            )
        answer = super().perform_request(method, target, body, headers, request_timeout)
        settled = HttpHeaders(answer.meta.headers.items())
        settled["x-elastic-product"] = "Elasticsearch"
        if "warning" in settled:
            self._log_once(settled["warning"])
            del settled["warning"]
        meta = dataclasses.replace(answer.meta, headers=settled.freeze())
        return answer._replace(meta=meta)  # `_replace` is the public API of a named tuple

    def _log_once(self, warning: str) -> None:
        if warning not in self._known_warnings and len(self._known_warnings) < _MAX_KNOWN_WARNINGS:
            self._known_warnings.add(warning)
            _log.info("the cluster warns: %s", warning)
