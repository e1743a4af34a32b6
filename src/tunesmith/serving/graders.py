"""Graders: a number for an answer, by comparing texts, asking a model, running a function, or a formula of these.

The decision: the kinds, fields and error flags are those of the OpenAI API. A template names values of the `item` and
of the `sample` and does nothing else (`{{ item.answer }}`), so no template language is run for strangers. Models are
asked in a form that holds exactly a score or a label, so what they answer can always be read.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.data.example import Message
from tunesmith.errors import RequestError
from tunesmith.generation.settings import GenerationSettings
from tunesmith.serving.answer import Written
from tunesmith.serving.confined import GraderFault, grade
from tunesmith.serving.constraint import Schema
from tunesmith.serving.formula import value
from tunesmith.serving.similarity import OFFERED, Metric, similarity

ModelAsk = Callable[[str, Sequence[Message], Schema, GenerationSettings], Written]
_TEMPLATE = re.compile(r"\{\{\s*([\w.\-]+)\s*\}\}")
FLAGS = (
    "formula_parse_error", "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
    "invalid_variable_error", "other_error", "python_grader_server_error", "python_grader_runtime_error",
    "model_grader_server_error", "model_grader_refusal_error", "model_grader_parse_error",
)  # fmt: skip


class _Grader(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    name: Annotated[str, Field(min_length=1, max_length=200)]


class StringCheck(_Grader):
    """1 where two texts are equal, differ, or one holds the other."""

    type: Literal["string_check"]
    input: str
    reference: str
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Grader):
    """How alike two texts are."""

    type: Literal["text_similarity"] = "text_similarity"
    input: str
    reference: str
    evaluation_metric: Metric


class Piece(BaseModel):
    """A piece of a message; only text is understood."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text", "input_text", "output_text"]
    text: str


class Said(BaseModel):
    """A message that a grader's model reads."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Piece | list[Piece | str]
    type: Literal["message"] = "message"

    def text(self) -> str:
        """Its words."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "".join(part if isinstance(part, str) else part.text for part in parts)


class Sampling(BaseModel):
    """How a grader's model draws."""

    model_config = ConfigDict(extra="forbid")
    seed: int | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_completions_tokens: Annotated[int, Field(ge=1)] | None = None

    def settings(self) -> GenerationSettings:
        """The same for our generation; the likeliest answer where nothing is said."""
        return GenerationSettings(
            max_new_tokens=self.max_completions_tokens or 256, temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0, seed=(self.seed or 0) % 2**63,
        )  # fmt: skip


class ScoreModel(_Grader):
    """The number that a model gives."""

    type: Literal["score_model"]
    model: str
    input: Annotated[list[Said], Field(min_length=1)]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    sampling_params: Sampling = Sampling()


class LabelModel(_Grader):
    """1 where a model gives one of the passing labels."""

    type: Literal["label_model"]
    model: str
    input: Annotated[list[Said], Field(min_length=1)]
    labels: Annotated[list[str], Field(min_length=1)]
    passing_labels: list[str]


class Python(_Grader):
    """What a function of the client's returns."""

    type: Literal["python"]
    source: Annotated[str, Field(max_length=256_000)]
    image_tag: str | None = None


Single = Annotated[StringCheck | TextSimilarity | ScoreModel | LabelModel | Python, Field(discriminator="type")]
Parts = Annotated[dict[str, Single], Field(min_length=1, max_length=16)]


class Multi(_Grader):
    """A formula of other graders, by their names."""

    type: Literal["multi"]
    graders: Parts | Annotated[list[Single], Field(min_length=1, max_length=16)] | Single
    calculate_output: str

    def named(self) -> dict[str, Any]:
        """The graders by the names that the formula uses."""
        if isinstance(self.graders, dict):
            return dict(self.graders)
        return {part.name: part for part in (self.graders if isinstance(self.graders, list) else [self.graders])}


Grader = Annotated[StringCheck | TextSimilarity | ScoreModel | LabelModel | Python | Multi, Field(discriminator="type")]


@dataclass(slots=True)
class Outcome:
    """A reward, its parts, what was asked of which model, and what went wrong."""

    reward: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    faults: set[str] = field(default_factory=set)
    details: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """What graders need: a way to ask models, which there are, and whether Python may run."""

    ask: ModelAsk
    knows: Callable[[str], bool]
    python: bool

    def refuse(self, grader: Any) -> None:
        """Nothing, if this grader can be run here.

        Raises:
            RequestError: it cannot, and why.
        """
        if isinstance(grader, Multi):
            if isinstance(grader.graders, list) and len(grader.named()) < len(grader.graders):
                raise RequestError("graders: expected a name of its own for each.", param="grader.graders")
            for part in grader.named().values():
                self.refuse(part)
            value(grader.calculate_output, dict.fromkeys(grader.named(), 1.0))
        elif isinstance(grader, Python) and not self.python:
            raise RequestError(
                "Python graders are off on this server; it is started with --python-graders to allow them.",
                param="grader", code="python_grader_off",
            )  # fmt: skip
        elif isinstance(grader, Python):
            _compiled(grader.source)
        elif isinstance(grader, TextSimilarity) and grader.evaluation_metric not in OFFERED:
            raise RequestError(f"cosine is not offered here; use one of {', '.join(OFFERED)}.", param="grader")
        elif isinstance(grader, ScoreModel | LabelModel) and not self.knows(grader.model):
            raise RequestError(f"The model `{grader.model}` does not exist.", code="model_not_found", param="grader")
        if isinstance(grader, LabelModel) and not set(grader.passing_labels) <= set(grader.labels):
            raise RequestError("passing_labels: expected some of the labels.", param="grader.passing_labels")
        if isinstance(grader, ScoreModel) and grader.range and grader.range[0] >= grader.range[1]:
            raise RequestError("range: expected the smaller number first.", param="grader.range")

    def run(self, grader: Any, sample: str, item: Mapping[str, Any]) -> Outcome:
        """The grade of an answer. What goes wrong inside is told by the outcome's faults, with a reward of 0."""
        outcome, values = Outcome(), {"item": dict(item), "sample": _sample(sample)}
        parts = grader.named() if isinstance(grader, Multi) else {grader.name: grader}
        for name, part in parts.items():
            outcome.parts[name] = self._one(part, values, outcome)
        if not isinstance(grader, Multi):
            outcome.reward = outcome.parts[grader.name]
        elif not outcome.faults:
            try:
                outcome.reward = value(grader.calculate_output, outcome.parts)
            except RequestError as error:
                outcome.faults.add("formula_parse_error")
                outcome.details = str(error)
        return outcome

    def _one(self, grader: Any, values: Mapping[str, Any], outcome: Outcome) -> float:
        try:
            return self._graded(grader, values, outcome)
        except _Missing as error:
            outcome.faults.add("sample_parse_error" if error.name.startswith("sample.") else "invalid_variable_error")
            outcome.details = f"{{{{ {error.name} }}}} has no value"
        except GraderFault as error:
            outcome.faults.add("python_grader_runtime_error")
            outcome.details = str(error)
        except RequestError as error:
            outcome.faults.add("model_grader_server_error")
            outcome.details = str(error)
        except ValueError:
            outcome.faults.add("model_grader_parse_error")  # the answer was cut off by its length
        return 0.0

    def _graded(self, grader: Any, values: Mapping[str, Any], outcome: Outcome) -> float:
        match grader:
            case StringCheck(input=text, reference=reference, operation=operation):
                return float(_compared(operation, filled(text, values), filled(reference, values)))
            case TextSimilarity(input=text, reference=reference, evaluation_metric=metric):
                return similarity(metric, filled(text, values), filled(reference, values))
            case Python(source=source):
                return grade(source, values["sample"], values["item"])
            case ScoreModel():
                low, high = grader.range or (0.0, 1.0)
                number = {"type": "number", "minimum": low, "maximum": high}
                return float(self._asked(grader, grader.sampling_params, number, values, outcome))
            case _:
                label = self._asked(grader, Sampling(), {"enum": grader.labels}, values, outcome)
                return float(label in grader.passing_labels)

    def _asked(
        self, grader: Any, sampling: Sampling, result: Schema, values: Mapping[str, Any], outcome: Outcome
    ) -> Any:
        roles = {"developer": "system"}
        messages = [Message(roles.get(m.role, m.role), filled(m.text(), values)) for m in grader.input]
        schema = {
            "type": "object", "properties": {"result": result}, "required": ["result"], "additionalProperties": False,
        }  # fmt: skip
        written = self.ask(grader.model, messages, schema, sampling.settings())
        outcome.tokens[grader.model] = outcome.tokens.get(grader.model, 0) + written.tokens
        return json.loads(written.text)["result"]


class _Missing(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with its names replaced by values; what is no text is written as JSON.

    >>> filled("{{ item.a.b }} and {{item.c}}", {"item": {"a": {"b": "x"}, "c": [1]}})
    'x and [1]'
    """
    return _TEMPLATE.sub(lambda match: _value(match[1], values), template)


def _value(name: str, values: Any) -> str:
    found = values
    for part in name.split("."):
        if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, dict) and part in found:
            found = found[part]
        else:
            raise _Missing(name)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _sample(text: str) -> dict[str, Any]:
    try:
        return {"output_text": text, "output_json": json.loads(text)}
    except (ValueError, RecursionError):
        return {"output_text": text}


def _compared(operation: str, text: str, reference: str) -> bool:
    if operation in ("eq", "ne"):
        return (text == reference) == (operation == "eq")
    return reference in text if operation == "like" else reference.casefold() in text.casefold()


def _compiled(source: str) -> None:
    try:
        compile(source, "grader", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RequestError(f"source: this is no Python: {error}.", param="grader.source") from error
