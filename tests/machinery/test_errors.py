"""What an error is, and what it says."""

from __future__ import annotations

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
    ("error", "predicates"),
    [
        (errors.not_found("pods", "a"), {"is_not_found", "is_write_overtaken"}),
        (errors.already_exists("pods", "a"), {"is_already_exists", "is_write_overtaken"}),
        (errors.conflict("pods", "a", "x"), {"is_conflict", "is_write_overtaken"}),
        (errors.gone("x"), {"is_expired"}),
        (answered(410, "Gone"), {"is_expired"}),
        (errors.unauthorized(), {"is_unauthorized"}),
        (errors.forbidden("pods", "a", "x"), {"is_forbidden"}),
        (errors.invalid("Pod", "", "a", [errors.required("spec")]), {"is_invalid"}),
        (errors.too_many_requests("x"), {"is_too_many_requests", "is_server_busy"}),
        (errors.unavailable("x"), {"is_server_busy"}),
        (errors.internal("x"), {"is_server_busy"}),
        # A reason that the API defines counts, whatever the number is.
        (answered(404, "Forbidden"), {"is_forbidden"}),
        (answered(409, "StorageReadError"), set()),
        # Without one the number does: proxies and webhooks answer so.
        (answered(404), {"is_not_found", "is_write_overtaken"}),
        (answered(409, "Unknown"), {"is_conflict", "is_write_overtaken"}),
        (answered(410, "Unknown"), {"is_expired"}),
        (answered(401), {"is_unauthorized"}),
        (answered(403), {"is_forbidden"}),
        (answered(422), {"is_invalid"}),
        (answered(429), {"is_too_many_requests", "is_server_busy"}),
        (ValueError("not found"), set()),
    ],
)
def test_what_an_error_is(error: Exception, predicates: set[str]) -> None:
    assert {name for name, predicate in PREDICATES.items() if predicate(error)} == predicates


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.not_found("deployments.apps", "a"), 404, 'deployments.apps "a" not found'),
        (errors.forbidden("pods", "", "no"), 403, "pods is forbidden: no"),
        (errors.forbidden("pods", "a", "no"), 403, 'pods "a" is forbidden: no'),
        (errors.too_old(3, 7), 410, "too old resource version: 3 (7)"),
        (errors.internal("x"), 500, "Internal error occurred: x"),
        (errors.already_exists("pods", "a"), 409, 'pods "a" already exists'),
        (errors.conflict("pods", "a", "no"), 409, 'Operation cannot be fulfilled on pods "a": no'),
        (errors.path_forbidden("u", "get", "/x"), 403, 'forbidden: User "u" cannot get path "/x"'),
        (errors.unauthorized(), 401, "Unauthorized"),
        (errors.bad_request("x"), 400, "x"),
        (
            errors.method_not_allowed("Pod", "get"),
            405,
            'get is not supported on resources of kind "Pod"',
        ),
        (
            errors.method_refused(),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (errors.not_acceptable("x"), 406, "x"),
        (errors.unsupported_media_type("x"), 415, "x"),
        (errors.too_large("x"), 413, "x"),
        (errors.too_many_requests("x"), 429, "x"),
        (errors.timeout("x"), 504, "x"),
        (errors.too_large_version(7, 3), 504, "Timeout: Too large resource version: 7, current: 3"),
        (errors.unavailable("x"), 503, "x"),
        (
            errors.invalid("Pod", "", "a", [errors.required("f")]),
            422,
            'Pod "a" is invalid: f: Required value',
        ),
    ],
)
def test_what_an_error_says(error: StatusError, code: int, message: str) -> None:
    assert (error.code, str(error)) == (code, message)


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
    ("error", "detail"),
    [
        (errors.required("a", "set it"), "Required value: set it"),
        (errors.not_supported("a", "x", {"c", "b"}), '"x": supported values: "b", "c"'),
        (errors.not_one_of("a", "x", ["c", "b"]), '"x": supported values: "c", "b"'),
        (errors.duplicate("a", 3), "Duplicate value: 3"),
        (errors.too_many("a", 3, 1), "Too many: 3: must have at most 1 item"),
        (errors.too_many("a", 3, 2), "Too many: 3: must have at most 2 items"),
        (errors.too_long("a", 2), "may not be more than 2 bytes"),
        (errors.invalid_value("a", True, "x"), "Invalid value: true: x"),
        (errors.invalid_value("a", None, "x"), "Invalid value: null: x"),
        (errors.invalid_value("a", {"b": "<&>"}, "x"), r'{"b":"\u003c\u0026\u003e"}: x'),
        (errors.field_not_found("a", "b"), 'Not found: "b"'),
    ],
)
def test_a_broken_rule_shows_the_value(error: errors.FieldError, detail: str) -> None:
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
