"""What a router that knows every path answers for those it does not know."""

from __future__ import annotations

from tiphys.api.catalog import Resource
from tiphys.apiserver.http.request import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.goformat import quoted
from tiphys.machinery.names import path_segment_errors


def check_path(info: RequestInfo, resource: Resource, method: str) -> None:
    """Raises 404 for a path that no built-in resource has, and 405 for a method that it does not
    have.
    """
    name = info.path_name
    if name and resource.verbs == ("create",):
        raise errors.page_not_found()
    collection = len(info.parts) < 2
    outside = resource.namespaced and not info.namespace
    if info.namespace and not resource.namespaced and resource.plural != "namespaces":
        raise errors.page_not_found()
    if outside and (name or "list" not in resource.verbs):
        raise errors.page_not_found()
    if method == "HEAD" and info.subresource != "proxy":
        raise errors.method_refused()
    if collection and info.verb in ("update", "patch"):
        raise errors.method_refused()
    if outside and info.verb not in ("list", "watch"):
        raise errors.method_refused()


def check_name(info: RequestInfo) -> None:
    """Raises 400 for a name that no object can have."""
    name = info.path_name
    if "%" in name or name in (".", ".."):
        problems = ";".join(path_segment_errors(name))
        raise errors.bad_request(f"Name parameter invalid: {quoted(name)}: {problems}")


def has_empty_part(info: RequestInfo) -> bool:
    """Whether a path has an empty segment, which no router would match. What is
    behind a proxy is the other server's."""
    own = info.path.partition("/proxy/")[0].rstrip("/")
    return "//" in own.replace("/namespaces//", "/", 1)


def is_custom_path(info: RequestInfo, resource: Resource) -> bool:
    """Whether a custom resource has the path: in a namespace, or outside of all."""
    if info.namespace and not resource.namespaced:
        return False
    everything = info.verb in ("list", "watch") and not info.path_name
    return bool(info.namespace) or not resource.namespaced or everything


def check_creatable(info: RequestInfo, resource: Resource) -> None:
    """Raises 405 for an object of a definition that is being deleted."""
    if resource.terminating and info.verb == "create":
        raise _terminating(resource)


def _terminating(resource: Resource) -> StatusError:
    failure = errors.method_not_allowed(resource.group_resource, "create")
    failure.status.message = "create not allowed while custom resource definition is terminating"
    return failure
