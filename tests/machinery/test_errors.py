"""What an error is, and what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tiphys.api.meta_v1 import Status
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.fielderrors import FieldError, field_path, first

PREDICATES = {
    name: value
    for name, value in vars(errors).items()
    if name.startswith("is_") and callable(value)
}


def answered(code: int, reason: str = "") -> StatusError:
    return StatusError(Status(status="Failure", code=code, reason=reason))


@pytest.mark.parametrize(
    ("build", "predicates"),
    [
        (lambda: errors.not_found("pods", "a"), {"is_not_found", "is_write_overtaken"}),
        (lambda: errors.already_exists("pods", "a"), {"is_already_exists", "is_write_overtaken"}),
        (lambda: errors.conflict("pods", "a", "x"), {"is_conflict", "is_write_overtaken"}),
        (lambda: errors.gone("x"), {"is_expired"}),
        (lambda: answered(410, "Gone"), {"is_expired"}),
        (lambda: errors.unauthorized(), {"is_unauthorized"}),
        (lambda: errors.forbidden("pods", "a", "x"), {"is_forbidden"}),
        (lambda: errors.invalid("Pod", "", "a", [errors.required("spec")]), {"is_invalid"}),
        (lambda: errors.too_many_requests("x"), {"is_too_many_requests", "is_server_busy"}),
        (lambda: errors.unavailable("x"), {"is_server_busy"}),
        (lambda: errors.internal("x"), {"is_server_busy"}),
        # A reason that the API defines counts, whatever the number is.
        (lambda: answered(404, "Forbidden"), {"is_forbidden"}),
        (lambda: answered(409, "StorageReadError"), set()),
        # Without one the number does: proxies and webhooks answer so.
        (lambda: answered(404), {"is_not_found", "is_write_overtaken"}),
        (lambda: answered(409, "Unknown"), {"is_conflict", "is_write_overtaken"}),
        (lambda: answered(410, "Unknown"), {"is_expired"}),
        (lambda: answered(401), {"is_unauthorized"}),
        (lambda: answered(403), {"is_forbidden"}),
        (lambda: answered(422), {"is_invalid"}),
        (lambda: answered(429), {"is_too_many_requests", "is_server_busy"}),
        (lambda: ValueError("not found"), set()),
    ],
)
def test_what_an_error_is(build: Callable[[], Exception], predicates: set[str]) -> None:
    error = build()
    assert {name for name, predicate in PREDICATES.items() if predicate(error)} == predicates


@pytest.mark.parametrize(
    ("build", "code", "message"),
    [
        (lambda: errors.not_found("deployments.apps", "a"), 404, 'deployments.apps "a" not found'),
        (lambda: errors.forbidden("pods", "", "no"), 403, "pods is forbidden: no"),
        (lambda: errors.forbidden("pods", "a", "no"), 403, 'pods "a" is forbidden: no'),
        (lambda: errors.too_old(3, 7), 410, "too old resource version: 3 (7)"),
        (lambda: errors.internal("x"), 500, "Internal error occurred: x"),
        (lambda: errors.already_exists("pods", "a"), 409, 'pods "a" already exists'),
        (
            lambda: errors.conflict("pods", "a", "no"),
            409,
            'Operation cannot be fulfilled on pods "a": no',
        ),
        (
            lambda: errors.path_forbidden("u", "get", "/x"),
            403,
            'forbidden: User "u" cannot get path "/x"',
        ),
        (lambda: errors.unauthorized(), 401, "Unauthorized"),
        (lambda: errors.bad_request("x"), 400, "x"),
        (
            lambda: errors.method_not_allowed("Pod", "get"),
            405,
            'get is not supported on resources of kind "Pod"',
        ),
        (
            lambda: errors.method_refused(),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (lambda: errors.not_acceptable("x"), 406, "x"),
        (lambda: errors.unsupported_media_type("x"), 415, "x"),
        (lambda: errors.too_large("x"), 413, "x"),
        (lambda: errors.too_many_requests("x"), 429, "x"),
        (lambda: errors.timeout("x"), 504, "x"),
        (
            lambda: errors.too_large_version(7, 3),
            504,
            "Timeout: Too large resource version: 7, current: 3",
        ),
        (lambda: errors.unavailable("x"), 503, "x"),
        (
            lambda: errors.invalid("Pod", "", "a", [errors.required("f")]),
            422,
            'Pod "a" is invalid: f: Required value',
        ),
    ],
)
def test_what_an_error_says(build: Callable[[], StatusError], code: int, message: str) -> None:
    error = build()
    assert (error.code, str(error)) == (code, message)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: errors.gone("x"), "Expired"),
        (lambda: errors.unspecified("x"), ""),
        (lambda: errors.internal("x"), "InternalError"),
        (lambda: errors.timeout("x"), "Timeout"),
        (lambda: errors.unavailable("x"), "ServiceUnavailable"),
        (lambda: errors.page_not_found(), "NotFound"),
        (lambda: errors.not_routed(405, "MethodNotAllowed", "x"), "MethodNotAllowed"),
        (lambda: errors.method_refused(), "MethodNotAllowed"),
        (lambda: errors.method_not_allowed("Pod", "get"), "MethodNotAllowed"),
        (lambda: errors.not_acceptable("x"), "NotAcceptable"),
        (lambda: errors.unsupported_media_type("x"), "UnsupportedMediaType"),
        (lambda: errors.too_large("x"), "RequestEntityTooLarge"),
        (lambda: errors.bad_request("x"), "BadRequest"),
        (lambda: errors.path_forbidden("u", "get", "/x"), "Forbidden"),
    ],
)
def test_an_error_has_a_reason(build: Callable[[], StatusError], reason: str) -> None:
    error = build()
    assert (error.reason, error.status.status) == (reason, "Failure")


@pytest.mark.parametrize(
    ("build", "seconds"),
    [
        (lambda: errors.too_many_requests("x"), 1),
        (lambda: errors.too_many_requests("x", 7), 7),
        (lambda: errors.timeout("x"), 0),
        (lambda: errors.timeout("x", 3), 3),
        (lambda: errors.too_large_version(7, 3), 1),
    ],
)
def test_an_error_says_when_to_come_again(build: Callable[[], StatusError], seconds: int) -> None:
    details = build().status.details
    assert details is not None and details.retry_after_seconds == seconds


def test_causes_say_more_for_programs() -> None:
    details = errors.too_large_version(7, 3).status.details
    assert details is not None
    assert [(cause.reason, cause.message) for cause in details.causes] == [
        ("ResourceVersionTooLarge", "Too large resource version")
    ]
    details = errors.internal("x").status.details
    assert details is not None and [cause.message for cause in details.causes] == ["x"]


def test_a_list_that_cannot_be_read_says_what_is_wrong_with_each_key() -> None:
    error = errors.store_read("pods", [("/core/pods/ns/a", "broken")])
    assert (error.code, error.reason) == (500, "StorageReadError")
    assert str(error) == "failed to read one or more pods from the storage"
    details = error.status.details
    assert details is not None and details.name == "list"
    [cause] = details.causes
    assert (cause.reason, cause.field, cause.message) == (
        "UnexpectedServerResponse",
        "/core/pods/ns/a",
        "broken",
    )


def test_an_error_names_the_resource_and_its_group() -> None:
    details = errors.not_found("deployments.apps", "a").status.details
    assert details is not None
    assert (details.kind, details.group, details.name) == ("deployments", "apps", "a")


def test_one_broken_rule_stands_alone_and_several_in_brackets() -> None:
    broken = [errors.required("spec"), errors.too_long("metadata.name", 1)]
    one = errors.invalid("Pod", "", "a", broken[:1])
    both = errors.invalid("Job", "batch", "a", [*broken, broken[0]])
    assert str(one) == 'Pod "a" is invalid: spec: Required value'
    assert str(both) == (
        'Job.batch "a" is invalid: [spec: Required value, '
        "metadata.name: Too long: may not be more than 1 byte]"
    )
    assert both.status.details is not None and len(both.status.details.causes) == 3


@pytest.mark.parametrize(
    ("build", "detail"),
    [
        (lambda: errors.required("a", "set it"), "Required value: set it"),
        (lambda: errors.not_supported("a", "x", {"c", "b"}), '"x": supported values: "b", "c"'),
        (lambda: errors.not_one_of("a", "x", ["c", "b"]), '"x": supported values: "c", "b"'),
        (lambda: errors.duplicate("a", 3), "Duplicate value: 3"),
        (lambda: errors.too_many("a", 3, 1), "Too many: 3: must have at most 1 item"),
        (lambda: errors.too_many("a", 3, 2), "Too many: 3: must have at most 2 items"),
        (lambda: errors.too_long("a", 2), "may not be more than 2 bytes"),
        (lambda: errors.invalid_value("a", True, "x"), "Invalid value: true: x"),
        (lambda: errors.invalid_value("a", None, "x"), "Invalid value: null: x"),
        (lambda: errors.invalid_value("a", {"b": "<&>"}, "x"), r'{"b":"\u003c\u0026\u003e"}: x'),
        (lambda: errors.field_not_found("a", "b"), 'Not found: "b"'),
    ],
)
def test_a_broken_rule_shows_the_value(build: Callable[[], errors.FieldError], detail: str) -> None:
    error = build()
    assert error.detail.endswith(detail) and str(error) == f"a: {error.detail}"


def test_a_list_that_cannot_be_read_names_a_hundred_keys() -> None:
    for count, causes in ((100, 100), (101, 101), (300, 101)):
        error = errors.store_read("pods", [(f"/core/pods/ns/{n}", "broken") for n in range(count)])
        assert error.status.details is not None and len(error.status.details.causes) == causes


# --- as many as fit ---


def test_an_answer_ends_with_how_it_goes_on_when_not_all_fit() -> None:
    broken = [errors.invalid_value(f"x[{n}]", "v" * 1000, "is bad") for n in range(1000)]
    causes = errors.invalid("A", "", "a", broken).status.details.causes  # type: ignore[union-attr]
    assert [cause.field for cause in causes[:2]] == ["x[0]", "x[1]"]
    assert 200 < len(causes) < 300
    last = (causes[-1].reason, causes[-1].message)
    assert last == ("FieldValueTooMany", "too many errors, the list is truncated")


def test_one_error_is_told_however_large_it_is() -> None:
    large = errors.invalid_value("x", "v" * 1_000_000, "is bad")
    assert first([large]) == [large]


def test_what_is_not_told_is_not_written() -> None:
    def unread() -> str:
        raise AssertionError("nobody reads this")

    written = errors.invalid_value("x", "v" * 1_000_000, "is bad")
    assert len(first([written, FieldError("FieldValueInvalid", "y", unread)])) == 2


@pytest.mark.parametrize(
    ("path", "name", "told"),
    [
        ("", "a", "a"),
        ("a", "b", "a.b"),
        ("a", "b" * 257, "a." + "b" * 256 + "..."),
        ("a" * 4096, "b", "a" * 4096 + ".b"),
        ("a" * 4097, "b", "a" * 4097),
    ],
)
def test_paths_do_not_grow_for_ever(path: str, name: str, told: str) -> None:
    assert field_path(path, name) == told
