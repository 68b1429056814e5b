"""The rules of how webhooks are called: by URL or through a service. Source: upstream's
`util/webhook`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.fielderrors import ENOUGH
from tiphys.machinery.names import dns_subdomain_errors

_FORM = "; desired format: https://host[/path]"


def client_errors(client: Any, path: str) -> list[FieldError]:
    """What is wrong with a client configuration: exactly one way to call."""
    if (client.url is None) == (client.service is None):
        return [errors.required(path, "exactly one of url or service is required")]
    if client.url is not None:
        return url_errors(client.url, f"{path}.url")
    return service_errors(client.service, f"{path}.service")


def url_errors(text: str, path: str) -> list[FieldError]:
    try:
        url = urlsplit(text)
        host = url.netloc.rpartition("@")[2]
    except ValueError as error:
        return [errors.required(path, f"url must be a valid URL: {error}{_FORM}")]
    violations = []
    if url.scheme != "https":
        violations.append(
            errors.invalid_value(path, url.scheme, f"'https' is the only allowed URL scheme{_FORM}")
        )
    if not host:
        violations.append(errors.invalid_value(path, "", f"host must be specified{_FORM}"))
    if "@" in url.netloc:
        user = url.netloc.rpartition("@")[0]
        violations.append(
            errors.invalid_value(path, user, "user information is not permitted in the URL")
        )
    if url.fragment:
        violations.append(
            errors.invalid_value(path, url.fragment, "fragments are not permitted in the URL")
        )
    if url.query:
        violations.append(
            errors.invalid_value(path, url.query, "query parameters are not permitted in the URL")
        )
    return violations


def service_errors(service: Any, path: str) -> list[FieldError]:
    violations = [
        errors.required(f"{path}.{key}")
        for key in ("name", "namespace")
        if not getattr(service, key)
    ]
    if service.port is not None and not 1 <= service.port <= 65535:
        detail = "port is not valid: must be between 1 and 65535, inclusive"
        violations.append(errors.invalid_value(f"{path}.port", service.port, detail))
    text = service.path
    if text in (None, "", "/"):
        return violations
    field = f"{path}.path"
    if text == "//":
        return [*violations, errors.invalid_value(field, text, "segment[0] may not be empty")]
    if not text.startswith("/"):
        violations.append(errors.invalid_value(field, text, "must start with a '/'"))
    for index, step in enumerate(text[1:].removesuffix("/").split("/")):
        problems = [" may not be empty"]
        if step:
            problems = [f": {detail}" for detail in dns_subdomain_errors(step)]
        violations += [
            errors.invalid_value(field, text, f"segment[{index}]{detail}") for detail in problems
        ]
        if len(violations) > ENOUGH:
            break
    return violations
