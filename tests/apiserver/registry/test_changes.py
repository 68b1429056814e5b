"""The ways from an object as it stands to the one to store."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.catalog import BY_PATH
from tiphys.api.core_v1 import ConfigMap
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.http.request import collect_warnings
from tiphys.apiserver.registry.changes import Apply, Patched, Replace, Upsert, whole_object
from tiphys.apiserver.registry.kinds import FieldValidation
from tiphys.apiserver.registry.ownership import Author
from tiphys.apiserver.registry.patches import Patch, offered, read_patch
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery.errors import StatusError

RESOURCE = BY_PATH["", "v1", "configmaps"]
WRITE = Write(RESOURCE, "ns", "a")
NOW = "2026-01-01T00:00:00Z"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def config_map(**data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="a", namespace="ns"), data=data)


def patch(media: str, text: bytes) -> Patch:
    return read_patch(media, text, ConfigMap)


def patched(media: str, text: bytes, mode: str = "Warn") -> Patched:
    return Patched(WRITE, patch(media, text), whole_object, FieldValidation(mode), [])


def refused(change: Any, old: Any = None) -> StatusError:
    with pytest.raises(StatusError) as error:
        change.new(old or config_map(k="old"), NOW)
    return error.value


@pytest.mark.parametrize(
    ("media", "text"),
    [
        (MERGE, b'{"data":{"k":"new"}}'),
        (STRATEGIC, b'{"data":{"k":"new"}}'),
        (JSON, b'[{"op":"replace","path":"/data/k","value":"new"}]'),
    ],
)
def test_patches_change_what_they_name(media: str, text: bytes) -> None:
    old = config_map(k="old", other="stays")
    assert patched(media, text).new(old, NOW).data == {"k": "new", "other": "stays"}
    assert old.data["k"] == "old"


@pytest.mark.parametrize(
    ("media", "text", "code", "message"),
    [
        (JSON, b'[{"op":"test","path":"/data/k","value":"x"}]', 422, "rejected our request"),
        (MERGE, b'{"data":3}', 422, "patch: Invalid value"),
        (MERGE, b'{"metadata":{"name":"b"}}', 400, "does not match the name on the URL (a)"),
        (MERGE, b'{"metadata":{"name":""}}', 400, "name must be provided"),
        (MERGE, b'{"metadata":{"namespace":"x"}}', 400, "namespace of the provided object"),
        (MERGE, b'{"kind":"Pod"}', 400, "cannot be handled as a ConfigMap"),
    ],
)
def test_patches_that_do_not_fit_are_refused(
    media: str, text: bytes, code: int, message: str
) -> None:
    error = refused(patched(media, text))
    assert error.code == code
    assert message in error.status.message


def test_an_unknown_field_is_refused_warned_of_or_ignored() -> None:
    warnings: list[str] = []
    collect_warnings(warnings)
    text = b'{"unknown":1}'
    assert 'unknown field "unknown"' in refused(patched(MERGE, text, "Strict")).status.message
    patched(MERGE, text, "Ignore").new(config_map(), NOW)
    assert warnings == []
    patched(MERGE, text, "Warn").new(config_map(), NOW)
    assert warnings == ['unknown field "unknown"']


@pytest.mark.parametrize(
    ("media", "text", "code"),
    [
        (MERGE, b"[]", 400),
        (MERGE, b"null", 400),
        (MERGE, b"{", 400),
        (JSON, b"{}", 400),
        (JSON, b"[" + b"1," * 10_000 + b"1]", 413),
    ],
)
def test_bodies_that_are_no_patches_are_refused(media: str, text: bytes, code: int) -> None:
    with pytest.raises(StatusError) as error:
        patch(media, text)
    assert error.value.code == code


def test_a_json_patch_may_be_null_or_as_long_as_upstream_takes() -> None:
    assert patch(JSON, b"null").patched({"a": 1}) == {"a": 1}
    assert len(patch(JSON, b"[" + b"1," * 9_999 + b"1]").body) == 10_000


def test_only_copies_make_a_small_patch_a_large_object() -> None:
    assert patch(JSON, b'[{"op":"copy","from":"/data","path":"/data/x"}]').grows
    assert not patch(JSON, b'[{"op":"add","path":"/data/x","value":"copy"}]').grows
    assert not patch(MERGE, b'{"op":"copy"}').grows


def test_strategic_patches_are_offered_for_built_in_types_alone() -> None:
    assert STRATEGIC in offered(strategic=True)
    assert offered(strategic=False) == [JSON, MERGE, "application/apply-patch+yaml"]


def test_a_replacement_is_a_new_object_each_time() -> None:
    change = Replace(config_map(k="new"), whole_object)
    first = change.new(config_map(), NOW)
    first.data["k"] = "spoilt"
    assert change.new(config_map(), NOW).data == {"k": "new"}
    assert change.new(None, NOW).data == {"k": "new"}


def test_a_replacement_through_a_subresource_changes_its_part() -> None:
    def part(new: Any, old: Any) -> Any:
        old.data = {**old.data, "k": new.data["k"]}
        return old

    change = Replace(config_map(k="new", other="dropped"), part)
    assert change.new(config_map(k="old", kept="yes"), NOW).data == {"k": "new", "kept": "yes"}


def apply(config: dict[str, Any], manager: str = "m") -> Apply:
    whole_config = {"apiVersion": "v1", "kind": "ConfigMap", **config}
    return Apply(RESOURCE, whole_config, Author(manager))


def test_an_apply_says_who_manages_what() -> None:
    change = apply({"metadata": {"name": "a", "namespace": "ns"}, "data": {"k": "v"}})
    obj = change.new(None, NOW)
    [entry] = obj.metadata.managed_fields
    assert (entry.manager, entry.operation, entry.time) == ("m", "Apply", NOW)
    assert change.new(obj, NOW).data == {"k": "v"}
    assert change.manages_fields and change.upsert is Upsert.ALWAYS


def test_an_apply_insists_on_a_version_that_it_names() -> None:
    assert not apply({"metadata": {"name": "a"}}).insists
    assert apply({"metadata": {"name": "a", "resourceVersion": "3"}}).insists


def test_an_apply_with_a_uid_creates_nothing() -> None:
    error = refused_creation({"metadata": {"name": "a", "uid": "u"}})
    assert error.reason == "Conflict"
    assert "no existing object was found" in error.status.message


def refused_creation(config: dict[str, Any]) -> StatusError:
    with pytest.raises(StatusError) as error:
        apply(config).new(None, NOW)
    return error.value
