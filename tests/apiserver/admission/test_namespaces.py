"""NamespaceLifecycle: what may be created where, and which namespaces stay."""

from __future__ import annotations

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import registry_of
from tests.builders import config_map
from tiphys.api import authorization_v1, core_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Object, ObjectMeta
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.namespaces import NamespaceLifecycle
from tiphys.apiserver.http.request import User
from tiphys.machinery.errors import StatusError

JANE = User("jane")


def plugin() -> NamespaceLifecycle:
    living = core_v1.Namespace(metadata=ObjectMeta(name="living"))
    going = core_v1.Namespace(metadata=ObjectMeta(name="going"))
    going.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    registry = registry_of(stored(living, going))
    return NamespaceLifecycle(lambda: registry)


def write(obj: Object, operation: str = "CREATE") -> Attributes:
    resource = resource_of(type(obj))
    namespace = obj.metadata.namespace
    return Attributes(resource, operation, namespace, obj.metadata.name, obj, None, JANE)


@pytest.mark.parametrize(
    ("obj", "operation", "code", "message"),
    [
        (config_map("c", "living"), "CREATE", 0, ""),
        (config_map("c", "gone"), "CREATE", 404, 'namespaces "gone" not found'),
        (config_map("c", "gone"), "UPDATE", 0, ""),
        (config_map("c", "going"), "UPDATE", 0, ""),
        (
            config_map("c", "going"),
            "CREATE",
            403,
            'configmaps "c" is forbidden: unable to create new content in namespace going '
            "because it is being terminated",
        ),
        (core_v1.Node(metadata=ObjectMeta(name="n")), "CREATE", 0, ""),
        (
            authorization_v1.LocalSubjectAccessReview(metadata=ObjectMeta(namespace="going")),
            "CREATE",
            0,
            "",
        ),
    ],
)
async def test_where_objects_are_created(
    obj: Object, operation: str, code: int, message: str
) -> None:
    try:
        await plugin().mutate(write(obj, operation))
    except StatusError as error:
        assert (error.code, str(error)) == (code, message)
    else:
        assert code == 0


async def test_the_cause_is_named_for_the_namespace_controller() -> None:
    with pytest.raises(StatusError) as refused:
        await plugin().mutate(write(config_map("c", "going")))
    details = refused.value.status.details
    assert details is not None
    assert [cause.reason for cause in details.causes] == ["NamespaceTerminating"]


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("default", True),
        ("kube-system", True),
        ("kube-public", True),
        ("kube-node-lease", False),
        ("mine", False),
    ],
)
async def test_which_namespaces_stay(name: str, stays: bool) -> None:
    deletion = write(core_v1.Namespace(metadata=ObjectMeta(name=name)), "DELETE")
    if stays:
        with pytest.raises(StatusError, match="this namespace may not be deleted"):
            await plugin().validate(deletion)
    else:
        await plugin().validate(deletion)
    await plugin().validate(write(config_map(name), "DELETE"))
