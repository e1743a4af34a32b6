"""The short form of the fuzzing: some hundred hostile inputs for everything that reads what strangers send."""

import random
from contextlib import suppress

import pytest
from fuzz import mutated
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.errors import TunesmithError


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_meet_nothing_but_our_own_errors(name: str) -> None:
    target, seeds = TARGETS[name]
    changed = st.builds(mutated, st.sampled_from(seeds()), st.integers(0, 2**32).map(random.Random))

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.one_of(changed, st.binary(max_size=300)))
    def meets(data: bytes) -> None:
        with suppress(TunesmithError):
            target(data)

    meets()
