"""Reviews of admission and of conversion, as add-ons answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tiphys.addons.reviews import Verdict, converted, denied, invalid, object_of, refusal, reviewed
from tiphys.api import admission_v1
from tiphys.machinery.fielderrors import FieldError


def admission(**request: Any) -> bytes:
    head = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return msgspec.json.encode({**head, "request": {"uid": "u1", "object": {}, **request}})


def conversion(*objects: Any) -> bytes:
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"}
    request = {"uid": "u1", "desiredAPIVersion": "x/v2", "objects": list(objects)}
    return msgspec.json.encode({**head, "request": request})


def response(answer: bytes) -> dict[str, Any]:
    read = msgspec.json.decode(answer)
    assert read["response"]["uid"] == "u1"
    return dict(read["response"])


def test_what_is_allowed_may_be_patched_and_warned_of() -> None:
    operations = [{"op": "add", "path": "/x", "value": 1}]
    seen = response(reviewed(admission(), lambda asked: Verdict(operations, ["careful"])))
    assert seen["allowed"] is True and seen["warnings"] == ["careful"]
    assert seen["patchType"] == "JSONPatch" and seen["patch"]


def test_what_is_allowed_as_it_is_has_no_patch() -> None:
    seen = response(reviewed(admission(), lambda asked: Verdict()))
    assert seen["allowed"] is True and "patch" not in seen and "patchType" not in seen


def judge_of(error: Exception) -> Callable[[admission_v1.AdmissionRequest], Verdict]:
    def judge(asked: admission_v1.AdmissionRequest) -> Verdict:
        raise error

    return judge


def test_a_refusal_has_its_code_reason_and_message() -> None:
    seen = response(reviewed(admission(), judge_of(refusal("no", 403, "Forbidden"))))
    assert seen["allowed"] is False
    assert (seen["status"]["code"], seen["status"]["reason"]) == (403, "Forbidden")
    assert seen["status"]["message"] == "no"


def test_invalid_fields_are_named_as_the_api_server_names_them() -> None:
    errors = [FieldError("FieldValueInvalid", "spec.a", "bad"), FieldError("R", "spec.b", "worse")]
    status = response(reviewed(admission(), judge_of(invalid("g", "K", "n", errors))))["status"]
    assert status["message"] == "[spec.a: bad, spec.b: worse]" and status["code"] == 422
    assert status["details"]["causes"][0] == {
        "reason": "FieldValueInvalid",
        "message": "bad",
        "field": "spec.a",
    }


def test_one_invalid_field_stands_without_brackets() -> None:
    status = invalid("g", "K", "n", [FieldError("FieldValueInvalid", "spec.a", "bad")]).status
    assert (status.message, status.code, status.reason) == ("spec.a: bad", 422, "Invalid")
    assert status.details is not None
    assert (status.details.group, status.details.kind, status.details.name) == ("g", "K", "n")


def test_operators_in_go_say_it_without_causes_and_once() -> None:
    """controller-runtime's Denied: 403 with the joined errors as its reason."""
    bad, worse = FieldError("R", "spec.a", "bad"), FieldError("R", "spec.b", "worse")
    rows = (
        ([bad], "spec.a: bad"),
        ([bad, worse], "[spec.a: bad, spec.b: worse]"),
        ([bad, bad], "[spec.a: bad]"),
    )
    for errors, message in rows:
        status = denied(errors).status
        assert (status.message, status.code, status.reason) == (message, 403, "Forbidden")
        assert status.details is None


def test_a_refusal_is_of_what_is_invalid_unless_it_says_otherwise() -> None:
    status = refusal("no").status
    assert (status.message, status.code, status.reason) == ("no", 422, "Invalid")


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x"])
def test_what_is_no_conversion_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        converted(body, lambda obj, version: obj)


def test_why_a_conversion_failed_is_said_shortly() -> None:
    def convert(obj: dict[str, Any], version: str) -> dict[str, Any]:
        raise refusal("x" * 1000)

    assert response(converted(conversion({}), convert))["result"]["message"] == "x" * 500


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", admission(object=None)])
def test_what_is_no_review_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, ValueError)):
        reviewed(body, lambda asked: Verdict([{"object": object_of(asked)}]))


def test_all_objects_are_converted_or_none() -> None:
    def convert(obj: dict[str, Any], version: str) -> dict[str, Any]:
        if obj.get("bad"):
            raise refusal("cannot be said in x/v2")
        return {**obj, "apiVersion": version}

    seen = response(converted(conversion({"a": 1}, {"a": 2}), convert))
    assert [one["apiVersion"] for one in seen["convertedObjects"]] == ["x/v2"] * 2
    assert seen["result"]["status"] == "Success"
    seen = response(converted(conversion({"a": 1}, {"bad": True}), convert))
    assert seen["result"] == {
        **seen["result"],
        "status": "Failure",
        "message": "cannot be said in x/v2",
    }
    assert seen["convertedObjects"] == []


def test_an_object_of_the_wrong_shape_fails_the_conversion_alone() -> None:
    seen = response(converted(conversion({"spec": None}), lambda obj, version: obj["spec"]["x"]))
    assert seen["result"]["status"] == "Failure"
