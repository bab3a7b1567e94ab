"""Every operation of the OpenAPI document, with bodies that fit it and bodies that do not: no fault, no surprise."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from server.conftest import OPTIONS, make_models
from server.running import Running, run

pytestmark = pytest.mark.slow
# Bodies of an operation that fit, and as many that do not; a hundred by hand now and then.
EXAMPLES = int(os.environ.get("SEMEME_TEST_EXAMPLES", "6"))
# What refuses a body that does not fit. One with too many inputs is often too large before it is read: 413.
REFUSALS = ["400", "404", "405", "409", "413", "415", "422", "429", "504"]


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


@pytest.fixture(scope="module")
def collecting(
    embedder: Embedder, three_kinds: Embedder, reranker: Reranker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server with a collection, `docs`."""
    options = replace(OPTIONS, collections_dir=tmp_path_factory.mktemp("collections"))
    with run(make_models(embedder, three_kinds, reranker), options) as running:
        assert httpx2.post(f"{running.url}/v1/collections", json={"name": "docs"}).status_code == 201
        documents = [{"id": "a", "text": "refunds take five days", "metadata": {"year": 2020}}]
        url = f"{running.url}/v1/collections/docs/documents"
        assert httpx2.post(url, json={"documents": documents}, timeout=60).status_code == 200
        yield running


def _operations(url: str) -> Iterator[Any]:
    import schemathesis
    from schemathesis.config import SchemathesisConfig

    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json", config=config).get_all_operations():
        yield found.ok()


def _failures(operation: Any, checks: list[Any], aim: Callable[[Any], None]) -> Iterator[str]:
    """What fails, with bodies that fit and bodies that do not. aim: changes a case before it is sent."""
    from schemathesis.generation import GenerationMode

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
            aim(case)
            case.call_and_validate(checks=checks, timeout=60)

        try:
            holds()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # without a body, nothing can be wrong
        except BaseException as failure:
            yield f"{operation.label} {mode}: {type(failure).__name__} {str(failure)[:3000]}"


def test_the_document_says_what_is_answered(server: Running, checks: list[Any]) -> None:
    failures = [found for one in _operations(server.url) for found in _failures(one, checks, lambda case: None)]
    assert not failures, f"{len(failures)} operations\n" + "\n\n".join(failures)


def test_the_document_says_what_collections_answer(collecting: Running, checks: list[Any]) -> None:
    def aim(case: Any) -> None:
        """At the collection that there is, unless it would go."""
        if case.path_parameters and case.method.upper() != "DELETE" and len(case.path_parameters["name"]) % 3:
            case.path_parameters["name"] = "docs"

    # A whole Parquet file is nothing that is generated; its route has tests of its own.
    operations = [
        one for one in _operations(collecting.url) if "/v1/collections" in one.path and "/import" not in one.path
    ]
    assert len(operations) >= 10
    failures = [found for one in operations for found in _failures(one, checks, aim)]
    assert not failures, f"{len(failures)} operations\n" + "\n\n".join(failures)
