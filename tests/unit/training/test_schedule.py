import pytest

from tunesmith.errors import RecipeError
from tunesmith.training.schedule import learning_rate, warmup_steps
from tunesmith.training.settings import TrainingSettings


def rates(total: int, **settings: object) -> list[float]:
    chosen = TrainingSettings.model_validate({"learning_rate": 1.0, **settings})
    return [round(learning_rate(chosen, step, total), 6) for step in range(total)]


def test_the_first_update_already_learns_and_the_last_one_still_does() -> None:
    for schedule in ("constant", "linear", "cosine"):
        for warmup in (0, 2, 0.5):
            assert min(rates(8, schedule=schedule, warmup=warmup)) > 0


def test_cosine_rises_over_the_warmup_and_falls_by_half_a_cosine() -> None:
    assert rates(4, schedule="cosine", warmup=2) == [0.5, 1.0, 1.0, 0.5]


def test_linear_falls_in_equal_parts() -> None:
    assert rates(4, schedule="linear") == [1.0, 0.75, 0.5, 0.25]


def test_constant_stays_at_its_peak() -> None:
    assert rates(3, schedule="constant", warmup=1) == [1.0, 1.0, 1.0]


def test_a_fraction_counts_as_a_share_of_all_steps_and_an_integer_as_steps() -> None:
    assert warmup_steps(0.05, 200) == 10
    assert warmup_steps(10, 200) == 10
    assert warmup_steps(None, 200) == 0


@pytest.mark.parametrize("warmup", [4, 9, 1.5])
def test_a_warmup_without_room_after_it_is_refused(warmup: int | float) -> None:
    with pytest.raises(RecipeError, match=r"training\.warmup"):
        rates(4, warmup=warmup)


def test_a_rate_that_nobody_resolved_is_refused() -> None:
    with pytest.raises(RecipeError, match="learning_rate"):
        learning_rate(TrainingSettings(), 0, 4)
