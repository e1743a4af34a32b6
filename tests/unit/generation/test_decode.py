from typing import Any

import pytest

from tunesmith.errors import UsageError
from tunesmith.generation.decode import Completion, generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.reader import Reader

TRUNK = list(range(60, 90))
PROMPTS = [[*TRUNK, 5], [7], [*TRUNK, 9, 9, 9], [8] * 20, [*TRUNK, 5]]
EIGHT = GenerationSettings(max_new_tokens=8)


def answers(model: Any, settings: GenerationSettings = EIGHT, stop: frozenset[int] = frozenset()) -> list[Completion]:
    return generate(model, PROMPTS, settings=settings, stop_ids=stop)


def test_every_token_is_told_once_and_the_end_token_never(llama: Any) -> None:
    told: dict[int, list[int]] = {number: [] for number in range(len(PROMPTS))}
    end = answers(llama)[0].ids[3]
    found = generate(
        llama, PROMPTS, settings=EIGHT, stop_ids=frozenset({end}), on_token=lambda n, token: told[n].append(token)
    )
    assert [tuple(tokens) for tokens in told.values()] == [answer.ids for answer in found]
    assert found[0].finished == "stop"
    assert all(end not in answer.ids for answer in found)


def test_an_end_token_cuts_the_answer_and_changes_nothing_before(llama: Any) -> None:
    free = answers(llama)
    end = free[0].ids[3]
    for cut, whole in zip(answers(llama, stop=frozenset({end})), free, strict=True):
        length = whole.ids.index(end) if end in whole.ids else len(whole.ids)
        assert cut == Completion(whole.ids[:length], "stop" if end in whole.ids else "length")


def test_an_end_token_at_the_very_last_place_still_counts_as_a_stop(llama: Any) -> None:
    end = answers(llama)[0].ids[0]
    one = GenerationSettings(max_new_tokens=1)
    assert answers(llama, one, frozenset({end}))[0] == Completion((), "stop")


def test_an_answer_ends_where_its_tokens_say_so_and_the_others_go_on(llama: Any) -> None:
    free = answers(llama)
    pair = free[0].ids[2:4]
    found = generate(llama, PROMPTS, settings=EIGHT, stop_ids=frozenset(), ended=lambda ids: tuple(ids[-2:]) == pair)
    assert found[0] == Completion(free[0].ids[:4], "stop")
    ends = [at + 2 for at in range(7) if free[1].ids[at : at + 2] == pair]
    assert found[1].ids == free[1].ids[: ends[0] if ends else 8]


def test_an_answer_stays_inside_the_models_context(llama: Any) -> None:
    long = generate(llama, [[5] * 60], settings=GenerationSettings(max_new_tokens=50), stop_ids=frozenset())
    assert [len(answer.ids) for answer in long] == [4]


@pytest.mark.parametrize(("prompt", "message"), [([], "Prompt 2 is empty"), ([5] * 64, "Prompt 2 has 64 tokens")])
def test_a_prompt_without_room_is_refused(llama: Any, prompt: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate(llama, [[1], prompt], settings=EIGHT, stop_ids=frozenset())


def test_no_prompts_give_no_answers(llama: Any) -> None:
    assert generate(llama, [], settings=EIGHT, stop_ids=frozenset()) == []


def test_a_shared_beginning_is_read_once(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = llama.model.forward

    def counted(*args: Any, **given: Any) -> Any:
        read.append(given["input_ids"].shape[1])
        return whole(*args, **given)

    answers(llama)
    monkeypatch.setattr(llama.model, "forward", counted)
    answers(llama, GenerationSettings(max_new_tokens=1))
    assert read == [30 + 1 + 3 + 1 + 1 + 20]


def test_the_store_never_exceeds_its_tokens(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, int]] = []
    reserve = Reader.reserve

    def seen(reader: Reader, slots: int, capacity: int) -> None:
        shapes.append((slots, capacity))
        reserve(reader, slots, capacity)

    expected = answers(llama)
    monkeypatch.setattr(Reader, "reserve", seen)
    assert answers(llama, EIGHT.model_copy(update={"cache_tokens": 60})) == expected
    assert shapes
    assert all(slots * capacity <= 60 for slots, capacity in shapes)


def test_generating_leaves_the_model_as_it_was(llama: Any) -> None:
    llama.train()
    before = llama.config._attn_implementation
    answers(llama)
    assert llama.training
    assert llama.config._attn_implementation == before
    llama.eval()
