from collections import Counter

import pytest
import torch

from tunesmith.generation.sampling import chosen, draw
from tunesmith.generation.settings import GenerationSettings

PROBABILITY = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])


def shares(settings: GenerationSettings, n: int = 4000) -> list[float]:
    logits = PROBABILITY.log().repeat(n, 1)
    counts = Counter(chosen(logits, settings, [(i, 0) for i in range(n)]))
    return [counts[token] / n for token in range(5)]


def test_temperature_zero_takes_the_likeliest_and_the_smaller_id_of_equals() -> None:
    assert chosen(torch.tensor([[0.0, 3.0, 3.0]]), GenerationSettings(), [(0, 0)]) == [1]


def test_temperature_one_draws_from_the_models_distribution() -> None:
    assert shares(GenerationSettings(temperature=1.0)) == pytest.approx(PROBABILITY.tolist(), abs=0.025)


def test_a_temperature_sharpens_the_distribution() -> None:
    expected = (PROBABILITY**2 / (PROBABILITY**2).sum()).tolist()
    assert shares(GenerationSettings(temperature=0.5)) == pytest.approx(expected, abs=0.025)


def test_top_p_draws_from_the_fewest_tokens_that_reach_it() -> None:
    assert shares(GenerationSettings(temperature=1.0, top_p=0.6)) == pytest.approx([0, 4 / 7, 0, 3 / 7, 0], abs=0.025)


def test_a_tiny_top_p_is_greedy() -> None:
    assert shares(GenerationSettings(temperature=1.0, top_p=1e-9), 50) == [0, 1, 0, 0, 0]


def test_a_draw_depends_on_the_seed_the_prompt_and_the_token_alone() -> None:
    places = [(prompt, token) for prompt in range(3) for token in range(3)]
    draws = {draw(seed, place) for seed in range(3) for place in places}
    assert len(draws) == 27
    assert all(0 <= number < 1 for number in draws)
    assert draw(1, (2, 0)) == draw(1, (2, 0))


def test_a_row_does_not_see_its_neighbours() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
    settings = GenerationSettings(temperature=1.3, top_p=0.9)
    places = [(i, i) for i in range(6)]
    alone = [chosen(logits[i : i + 1], settings, places[i : i + 1])[0] for i in range(6)]
    assert chosen(logits, settings, places) == alone


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_in_deterministic_mode_no_running_sum_is_left_to_the_device(
    top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, here = torch.Tensor.cpu, []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda z: here.append(z.shape) or plain(z))
    settings, logits = GenerationSettings(temperature=1.0, top_p=top_p), PROBABILITY.log()[None]
    drawn = chosen(logits, settings, [(0, 0)])
    assert not here
    torch.use_deterministic_algorithms(True)
    try:
        assert chosen(logits, settings, [(0, 0)]) == drawn
    finally:
        torch.use_deterministic_algorithms(False)
    assert here == [(1, 5)]
