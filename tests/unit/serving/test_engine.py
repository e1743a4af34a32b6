"""The engine against one answer at a time."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_model import tiny_model

from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.adapters import put_on, save_adapter, target_layers
from tunesmith.models.load import load_model
from tunesmith.models.settings import Lora
from tunesmith.models.sources import resolve
from tunesmith.serving.asking import Ask, End, Token
from tunesmith.serving.engine import Engine

GREEDY = GenerationSettings(max_new_tokens=12)
SHARED = list(range(40, 80))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters on it that change what it says."""
    found = {}
    for seed, name in enumerate(("a", "b"), start=1):
        model, method = load_model(base, dtype=torch.float32), Lora(rank=4)
        put_on(model, target_layers(model, "all-linear"), method, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for key, value in model.named_parameters():
            if key.endswith("lora_B"):
                value.data.normal_(0, 0.5, generator=generator)
        found[name] = tmp_path_factory.mktemp(name)
        save_adapter(model, found[name], method, resolve(str(base)))
    return found


@pytest.fixture
def engine(base: Path, adapters: dict[str, Path]) -> Iterator[Engine]:
    """The base at work with both adapters."""
    engine = Engine(load_model(base, dtype=torch.float32), concurrency=4)
    for name, folder in adapters.items():
        engine.add_adapter(name, folder)
    yield engine
    engine.close()


def _alone(folder: Path, prompt: list[int]) -> list[int]:
    model = load_model(folder, dtype=torch.float32)
    return list(generate(model, [prompt], settings=GREEDY, stop_ids=frozenset())[0].ids)


def _ask(prompt: list[int], adapter: str | None = None) -> Ask:
    return Ask(prompt, adapter, GREEDY, frozenset(), lambda heard: None)


def _heard(engine: Engine, asks: list[Ask]) -> list[Ask]:
    """All of them, asked at once, when they are answered."""
    ended = [threading.Event() for _ in asks]

    def tell(number: int, heard: Token | End) -> None:
        if isinstance(heard, End):
            assert heard.reason != "error", heard.message
            ended[number].set()

    for number, ask in enumerate(asks):
        ask.tell = partial(tell, number)
    engine.ask(asks)
    assert all(event.wait(120) for event in ended)
    return asks


def _asked(engine: Engine, asked: list[tuple[str | None, list[int]]]) -> list[list[int]]:
    """The answers to all of them at once."""
    return [ask.ids for ask in _heard(engine, [_ask(prompt, adapter) for adapter, prompt in asked])]


def test_adapters_in_one_batch_answer_as_each_does_alone(engine: Engine, base: Path, adapters: dict[str, Path]) -> None:
    asked = [(name, [*SHARED, 30 + n]) for n, name in enumerate((None, "a", "b", "a", None, "b"))]
    folders = {None: base, **adapters}
    expected = [_alone(folders[name], prompt) for name, prompt in asked]
    assert _asked(engine, asked) == expected
    assert _asked(engine, asked) == expected  # now on beginnings that are already read
    assert len({tuple(ids) for ids in expected}) > 2


def test_the_next_turn_of_a_conversation_reads_only_what_is_new(engine: Engine, base: Path) -> None:
    prompt = [*SHARED, 30]
    (answer,) = _asked(engine, [(None, prompt)])
    following = [*prompt, *answer, 31, 32]
    asks = [_ask(following) for _ in range(3)]
    assert [ask.ids for ask in _heard(engine, asks)] == [_alone(base, following)] * 3
    # The last token of an answer is chosen and never read.
    assert [ask.cached for ask in asks] == [len(prompt) + len(answer) - 1] * 3
    assert [ask.copied for ask in asks] == [True, False, False]
    assert [ask.ids for ask in _heard(engine, [_ask(prompt)])] == [answer]


def test_an_adapter_does_not_go_on_from_what_another_has_read(engine: Engine, adapters: dict[str, Path]) -> None:
    prompt = [*SHARED, 30]
    _asked(engine, [(None, prompt), ("b", prompt)])
    assert _asked(engine, [("a", prompt)]) == [_alone(adapters["a"], prompt)]


def test_an_answer_that_nobody_wants_any_more_frees_its_place_at_the_next_token(engine: Engine) -> None:
    begun, over, heard = threading.Event(), threading.Event(), list[Token]()

    def tell(said: Token | End) -> None:
        if isinstance(said, End):
            return over.set()
        heard.append(said)
        begun.set()
        if len(heard) == 2:
            ask.cancelled = True
        return None

    ask = Ask(SHARED, "a", GenerationSettings(max_new_tokens=400), frozenset(), tell)
    engine.ask([ask])
    assert begun.wait(120)
    assert over.wait(120)
    assert len(heard) == 2
    assert engine.load == (0, 0)


def test_a_listener_that_fails_ends_its_own_answer_and_no_other(engine: Engine, base: Path) -> None:
    def fail(heard: Token | End) -> None:
        raise RuntimeError("nobody is here")

    engine.ask([Ask(SHARED, "a", GREEDY, frozenset(), fail)])
    assert _asked(engine, [(None, SHARED)]) == [_alone(base, SHARED)]


def test_a_prompt_beyond_the_context_is_refused(engine: Engine) -> None:
    from tunesmith.errors import RequestError

    with pytest.raises(RequestError) as error:
        _asked(engine, [(None, [40] * 513)])
    assert error.value.code == "context_length_exceeded"


def test_more_requests_than_may_wait_are_refused_with_429(engine: Engine) -> None:
    from tunesmith.errors import RequestError

    with pytest.raises(RequestError) as error:
        _asked(engine, [(None, [40])] * 65)
    assert error.value.status == 429
