"""Every operation of the OpenAPI document, with bodies that fit it and bodies that do not: no fault, no surprise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from server.running import Running

pytestmark = pytest.mark.slow
# Bodies of an operation that fit, and as many that do not; a hundred by hand now and then.
EXAMPLES = int(os.environ.get("SEMEME_TEST_EXAMPLES", "6"))


@pytest.fixture(scope="module")
def checks() -> list[Any]:
    """What must hold of every answer. What fits the schema may still be refused: a model that is not served."""
    pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi import checks

    return [
        _no_fault,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
        checks.unsupported_method,
    ]


def _no_fault(context: Any, response: Any, case: Any) -> None:
    """504 is the truth about a deadline of a millisecond."""
    assert response.status_code < 500 or response.status_code == 504, response.text


def _operations(url: str) -> Iterator[Any]:
    import schemathesis

    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        yield found.ok()


def test_the_document_says_what_is_answered(server: Running, checks: list[Any]) -> None:
    from schemathesis.generation import GenerationMode

    failures = []
    for operation in _operations(server.url):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def holds(case: Any) -> None:
                case.call_and_validate(checks=checks, timeout=60)

            try:
                holds()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # without a body, nothing can be wrong
            except BaseException as failure:
                failures.append(f"{operation.label} {mode}: {type(failure).__name__} {str(failure)[:3000]}")
    assert not failures, f"{len(failures)} operations\n" + "\n\n".join(failures)
