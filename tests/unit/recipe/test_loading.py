"""A recipe from a file, a data file or the command line; every value knows where it came from."""

from pathlib import Path

import pytest

from tunesmith.errors import RecipeError
from tunesmith.models.settings import Full, Lora
from tunesmith.recipe import Loaded, load_recipe
from tunesmith.training.settings import Sgd


def _recipe(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def _refusal(source: str | None, *overrides: str) -> str:
    with pytest.raises(RecipeError) as refusal:
        load_recipe(source, overrides)
    return str(refusal.value)


def test_a_data_file_alone_is_a_recipe_with_the_defaults() -> None:
    recipe = load_recipe("examples.jsonl").recipe
    assert recipe.data.train == "examples.jsonl"
    assert recipe.model == "smollm2-135m-instruct"
    assert recipe.method == Lora()


def test_a_list_in_yaml_is_a_tuple_in_the_recipe(tmp_path: Path) -> None:
    source = _recipe(tmp_path, "data: {train: [a.jsonl, b.jsonl]}\nmethod: {targets: [q_proj]}\n")
    recipe = load_recipe(source).recipe
    assert isinstance(recipe.data.train, tuple)
    assert isinstance(recipe.method, Lora)
    assert recipe.method.targets == ("q_proj",)


def test_every_value_remembers_where_it_was_written(tmp_path: Path) -> None:
    source = _recipe(tmp_path, "seed: 3\ndata:\n  train: a.jsonl\ntraining:\n  epochs: 2\n")
    loaded = load_recipe(source, ["training.batch_size=4"])
    told = {name: str(origin) for name, origin in loaded.origins.items()}
    assert told["seed"] == f"{source}:1"
    assert told["training.epochs"] == f"{source}:5"
    assert told["training.batch_size"] == "command line"
    assert told["training.learning_rate"] == "default"
    assert told["method.kind"] == "default"


def test_every_value_of_a_recipe_has_an_origin() -> None:
    loaded = load_recipe("a.jsonl", ["data.fields.prompt=question", "method={kind: full}"])
    assert "data.fields" in loaded.origins
    assert loaded.origins["data.fields"].source == "command line"
    assert loaded.origins["method.kind"].source == "command line"
    assert "method.rank" not in loaded.origins


def test_a_resolved_value_remembers_its_reason() -> None:
    loaded: Loaded = load_recipe("a.jsonl").resolve("training.learning_rate", 2e-4, "usual for LoRA")
    assert loaded.recipe.training.learning_rate == 2e-4
    assert str(loaded.origins["training.learning_rate"]) == "resolved: usual for LoRA"


def test_a_resolved_value_must_fit_its_setting() -> None:
    with pytest.raises(RecipeError, match=r"training\.epochs must be a whole number"):
        load_recipe("a.jsonl").resolve("training.epochs", "many", "no reason")


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    source = _recipe(tmp_path, "data: {train: a.jsonl}\ntraining: {epochs: 2}\n")
    assert load_recipe(source, ["training.epochs=5", "training.epochs=6"]).recipe.training.epochs == 6


def test_a_kind_on_the_command_line_drops_the_defaults_of_the_other_kind() -> None:
    assert load_recipe("a.jsonl", ["method.kind=full"]).recipe.method == Full()
    assert load_recipe("a.jsonl", ["training.optimizer.kind=sgd"]).recipe.training.optimizer == Sgd()


def test_a_kind_on_the_command_line_is_refused_when_the_file_sets_the_other_kind(tmp_path: Path) -> None:
    source = _recipe(tmp_path, "data: {train: a.jsonl}\nmethod:\n  kind: lora\n  rank: 8\n")
    said = _refusal(source, "method.kind=full")
    assert f"{source}:4: method.rank" in said
    assert "method.kind is full (the command line)" in said


def test_a_setting_of_the_default_kind_needs_no_kind() -> None:
    assert load_recipe("a.jsonl", ["method.rank=8"]).recipe.method == Lora(rank=8)


def test_a_group_with_nothing_below_it_says_nothing(tmp_path: Path) -> None:
    assert load_recipe(_recipe(tmp_path, "data: {train: a.jsonl}\ntraining:\n")).recipe.training.clip == 1.0


def test_paths_in_a_file_are_relative_to_the_file(tmp_path: Path) -> None:
    text = "model: ./base\nrun: out\ndata: {train: [a.jsonl, ../b.jsonl], validation: 0.1, test: t.jsonl}\n"
    recipe = load_recipe(_recipe(tmp_path, text + "supervision: {chat_template: chatml}\n")).recipe
    assert recipe.data.train == (str(tmp_path / "a.jsonl"), str(tmp_path.parent / "b.jsonl"))
    assert recipe.data.validation == 0.1
    assert recipe.data.test == str(tmp_path / "t.jsonl")
    assert recipe.run == str(tmp_path / "out")
    assert recipe.model == str(tmp_path / "base")
    assert recipe.supervision.chat_template == "chatml"


def test_paths_on_the_command_line_are_relative_to_the_working_folder(tmp_path: Path) -> None:
    source = _recipe(tmp_path, "data: {train: a.jsonl}\n")
    assert load_recipe(source, ["data.train=b.jsonl"]).recipe.data.train == "b.jsonl"


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    source = _recipe(tmp_path, "data: {train: a.jsonl}\ntraining:\n  batch_size: eight\n  epochs: 0\nfoo: 1\n")
    said = _refusal(source)
    assert f'{source}:3: training.batch_size must be a whole number ≥ 1, or null; it is "eight".' in said
    assert f"{source}:4: training.epochs must be a whole number ≥ 1, or null; it is 0." in said
    assert f"{source}:5: foo is not a setting." in said


def test_no_data_is_told_with_what_to_write() -> None:
    assert "data.train is missing" in _refusal(None, "seed=1")


def test_dots_in_a_file_are_answered_with_levels(tmp_path: Path) -> None:
    assert "write `training:` and below it" in _refusal(_recipe(tmp_path, "training.epochs: 3\n"))


def test_an_unknown_kind_is_answered_with_the_kinds() -> None:
    assert "method.kind must be one of 'full', 'frozen', 'lora'" in _refusal("a.jsonl", "method.kind=lroa")


@pytest.mark.parametrize("text", ["no", "1", "[1]", "true"])
def test_a_group_that_is_a_value_is_refused(text: str) -> None:
    assert "training must be a group of settings" in _refusal("a.jsonl", f"training={text}")


def test_a_number_does_not_pass_for_a_switch_nor_a_switch_for_a_number() -> None:
    assert "training.sharing must be true or false" in _refusal("a.jsonl", "training.sharing=1")
    assert "training.epochs must be a whole number" in _refusal("a.jsonl", "training.epochs=true")


def test_a_first_argument_with_an_equals_sign_is_a_setting_unless_it_is_a_file(tmp_path: Path) -> None:
    assert load_recipe("data.train=a.jsonl", ["seed=3"]).recipe.data.train == "a.jsonl"
    file = tmp_path / "a=b.jsonl"
    file.touch()
    assert load_recipe(str(file)).recipe.data.train == str(file)
