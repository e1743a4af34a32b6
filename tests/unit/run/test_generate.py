import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import DataError
from tunesmith.generation.settings import GenerationSettings
from tunesmith.run.chat import Chat
from tunesmith.run.generate import generate

SHORT = GenerationSettings(max_new_tokens=5)


def answers(model: Path, data: Path, out: Path, **given: Any) -> list[dict[str, Any]]:
    count = generate(str(model), str(data), out, settings=SHORT, say=lambda _: None, **given)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == count
    return lines


def test_answers_stand_in_file_order_with_their_prompts_and_references(
    folder: Path, chats: Path, tmp_path: Path
) -> None:
    lines = answers(folder, chats, tmp_path / "new" / "out.jsonl")
    rows = [json.loads(line)["messages"] for line in chats.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == [row[:-1] for row in rows]
    assert [line["reference"] for line in lines] == [row[-1]["content"] for row in rows]
    assert all(line["finished"] in ("stop", "length") for line in lines)


def test_questions_without_answers_get_one(folder: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "ab"}]
    answered = [*turns, {"role": "assistant", "content": "c"}]
    data = tmp_path / "ask.jsonl"
    data.write_text("\n".join(json.dumps({"messages": row}) for row in (turns, answered, [*answered, *turns])))
    lines = answers(folder, data, tmp_path / "out.jsonl")
    assert [line["prompt"] for line in lines] == [turns, turns, [*answered, *turns]]
    assert [line.get("reference") for line in lines] == [None, "c", None]
    assert lines[0]["completion"] == lines[1]["completion"]


def test_a_run_answers_under_the_system_message_of_its_recipe(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "ask.jsonl"
    data.write_text(json.dumps({"prompt": "ab", "completion": "c"}))
    (line,) = answers(run, data, tmp_path / "out.jsonl")
    assert line["prompt"][0] == {"role": "system", "content": "Be short."}
    chat = Chat(str(run), settings=SHORT, say=lambda _: None)
    assert "".join(chat.reply("ab")) == line["completion"]
    assert chat.messages[0] == Message("system", "Be short.")


def test_plain_text_is_refused(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "text.txt"
    data.write_text("words")
    with pytest.raises(DataError, match="plain text or tokens ask nothing"):
        answers(folder, data, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
