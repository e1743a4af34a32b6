"""Which beginnings are found, and how many are kept."""

import torch

from tunesmith.models.decoding import Trunk
from tunesmith.serving.prefixes import MINIMUM, Prefixes

SYSTEM = list(range(MINIMUM))


def _read(ids: list[int]) -> Trunk:
    """A trunk whose keys tell their position."""
    keys = torch.arange(len(ids)).float().view(1, -1, 1)
    return Trunk(tuple(ids), {0: (keys, -keys)})


def test_what_was_read_for_an_answer_is_the_beginning_of_the_next_turn() -> None:
    prefixes, read = Prefixes(1000), _read([*SYSTEM, 100, 101, 102])
    prefixes.keep(None, read)
    assert prefixes.trunk_for(None, [*read.ids, 103]) is read
    assert prefixes.trunk_for("adapter", [*read.ids, 103]) is None


def test_a_part_of_what_was_read_is_not_read_again() -> None:
    prefixes = Prefixes(1000)
    prefixes.keep(None, _read([*SYSTEM, 100, 101]))
    found = prefixes.trunk_for(None, [*SYSTEM, 200, 201])
    assert found is not None
    assert list(found.ids) == SYSTEM
    assert found.layers[0][0].flatten().tolist() == [float(n) for n in range(MINIMUM)]
    assert prefixes.trunk_for(None, [*SYSTEM, 200, 202]) is found


def test_at_least_one_token_stays_above_and_short_beginnings_are_read_again() -> None:
    prefixes, read = Prefixes(1000), _read(SYSTEM)
    prefixes.keep(None, read)
    assert prefixes.trunk_for(None, SYSTEM) is None
    assert prefixes.trunk_for(None, [*SYSTEM, 1]) is read
    assert prefixes.trunk_for(None, SYSTEM[:5]) is None


def test_what_was_not_used_for_longest_is_given_up_first() -> None:
    first, second, third = (_read([*range(at, at + 40)]) for at in (0, 100, 200))
    prefixes = Prefixes(100)
    prefixes.keep(None, first)
    prefixes.keep(None, second)
    assert prefixes.trunk_for(None, [*first.ids, 1]) is first
    prefixes.keep(None, third)
    assert [prefixes.trunk_for(None, [*trunk.ids, 1]) for trunk in (first, second, third)] == [first, None, third]
