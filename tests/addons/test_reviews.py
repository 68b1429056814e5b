"""Reviews of admission and of conversion, as add-ons answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tiphys.addons.reviews import Verdict, converted, invalid, object_of, refusal, reviewed
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
