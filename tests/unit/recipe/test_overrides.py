"""`key=value` on the command line reads as it would in a recipe, without quotes beyond the shell's."""

import pytest

from tunesmith.errors import RecipeError
from tunesmith.generation.settings import GenerationSettings
from tunesmith.recipe import load_recipe
from tunesmith.recipe.faults import known
from tunesmith.recipe.loading import leaves
from tunesmith.recipe.overrides import apply_override, read_group


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.learning_rate=2e-5", 2e-5),
        ("training.clip=null", None),
        ("training.sharing=false", False),
        ("method.targets=[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("method.targets=all-linear", "all-linear"),
        ("revision=1234567", "1234567"),
        ("revision=1e5", "1e5"),
        ("revision=null", None),
        ("name=no", "no"),
        ("name=2026-01-01", "2026-01-01"),
        ("data.system=You are: # a bot", "You are: # a bot"),
        ("data.system={broken", "{broken"),
        ("data.system='quoted'", "quoted"),
        ("data.validation=0.1", 0.1),
        ("data.validation=v.jsonl", "v.jsonl"),
        ("data.train=[a.jsonl, b.jsonl]", ["a.jsonl", "b.jsonl"]),
        ("data.fields={prompt: q}", {"prompt": "q"}),
        ("model=a=b", "a=b"),
    ],
)
def test_a_value_fits_its_setting(override: str, value: object) -> None:
    assert apply_override({}, override)[1] == value


def test_every_setting_can_be_reached() -> None:
    reached = {setting.name for setting in known()}
    assert {name for name, _ in leaves(load_recipe("a.jsonl").recipe)} <= reached
    for name in reached:
        tree: dict[str, object] = {}
        assert apply_override(tree, f"{name}=1")[0] == name


@pytest.mark.parametrize("override", ["training.epochs", "=3", "", " =1"])
def test_what_is_not_an_assignment_is_answered_with_one(override: str) -> None:
    with pytest.raises(RecipeError, match="expected name=value"):
        apply_override({}, override)


def test_an_unknown_name_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean training\.learning_rate\?"):
        apply_override({}, "training.lerning_rate=1")


def test_broken_yaml_for_a_number_names_the_setting() -> None:
    with pytest.raises(RecipeError, match=r"training\.epochs"):
        apply_override({}, "training.epochs=[")


def test_a_group_of_its_own_reads_the_same_values() -> None:
    chosen = read_group(GenerationSettings, ["temperature=0.7", "max_new_tokens=64"])
    assert (chosen.temperature, chosen.max_new_tokens) == (0.7, 64)
    assert read_group(GenerationSettings, []) == GenerationSettings()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("temprature=1", "Did you mean temperature?"),
        ("zzz=1", "There are max_new_tokens"),
        ("top_p=2", "top_p must be a number > 0 and ≤ 1; it is 2"),
        ("seed", "expected name=value"),
    ],
)
def test_a_fault_in_a_group_of_its_own_is_told(override: str, said: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        read_group(GenerationSettings, [override])
    assert said in str(refusal.value)
