"""A short form of the requests that the API is sent by the thousand; `python tests/api_fuzz.py` is the long one."""

import warnings

import pytest

pytestmark = pytest.mark.whole

pytest.importorskip("schemathesis")


def test_no_request_that_the_description_allows_or_forbids_is_our_fault() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators' own
        from api_fuzz import GUARD, fuzz

        told = fuzz(200, 7)
    assert told.total() >= 200
    assert sum(told[status] for status in GUARD) <= told.total() // 20
    assert told["200"] >= told.total() // 10
