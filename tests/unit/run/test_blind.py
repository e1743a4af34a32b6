"""The voting page: what it shows, whom it listens to, and that votes are kept."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.votes import Contest, swapped
from tunesmith.run.blind import Ballot, server_of

LEFT = [Item(f"left {i}", "ref", prompt=f"question {i}") for i in range(3)]
RIGHT = [Item(f"right {i}" if i else "left 0", "ref", prompt=f"question {i}") for i in range(3)]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    server = server_of(Ballot(Contest(("A", "B"), LEFT, RIGHT), tmp_path / "votes.jsonl"), "secret", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(url, data, timeout=10) as reply:
        return json.loads(reply.read())


def test_votes_are_taken_in_hidden_order_and_end_with_the_rate(page: str, tmp_path: Path) -> None:
    shown = asked(f"{page}/secret/next")
    assert shown["all"] == 2, "an item on which both said the same is no vote"
    for _ in range(2):
        first_is_right = swapped(shown["index"], shown["prompt"])
        assert shown["first"].startswith("right" if first_is_right else "left")
        vote = "first" if first_is_right else "second"
        shown = asked(f"{page}/secret/vote", {"index": shown["index"], "vote": vote})
    assert shown["result"].startswith("2 of 2 decided votes for the second")
    assert [json.loads(line)["vote"] for line in (tmp_path / "votes.jsonl").read_text().splitlines()] == ["right"] * 2
    with pytest.raises(DataError, match="a vote on other answers, A against B"):
        Ballot(Contest(("A", "C"), LEFT, LEFT), tmp_path / "votes.jsonl")
    assert Ballot(Contest(("A", "B"), LEFT, RIGHT), tmp_path / "votes.jsonl").following() is None


def test_a_browser_that_asks_for_an_icon_is_not_refused(page: str) -> None:
    with urllib.request.urlopen(f"{page}/favicon.ico") as reply:
        assert (reply.status, reply.read()) == (204, b"")


@pytest.mark.parametrize(("path", "body"), [("/", None), ("/other/next", None), ("/vote", {"index": 1, "vote": "tie"})])
def test_who_does_not_know_the_address_sees_and_votes_nothing(page: str, path: str, body: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        asked(page + path, body)
    caught.value.close()


@pytest.mark.parametrize("body", [{"index": 7, "vote": "first"}, {"index": 1, "vote": "best"}, {"vote": "tie"}, []])
def test_what_is_no_vote_is_refused(page: str, body: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        asked(f"{page}/secret/vote", body)
    caught.value.close()


def test_equal_answers_everywhere_leave_nothing_to_vote_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to vote on"):
        Ballot(Contest(("A", "A"), LEFT, LEFT), tmp_path / "votes.jsonl")


def test_answers_to_other_questions_are_not_voted_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the same on both sides"):
        Ballot(Contest(("A", "B"), LEFT, RIGHT[::-1]), tmp_path / "votes.jsonl")
