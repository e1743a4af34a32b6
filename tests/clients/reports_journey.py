"""The pages that people open from their disk, in a real browser: wide and narrow, by day and by night; votes by key.

python reports_journey.py [FOLDER]     with PAGES and BALLOT in the environment; pictures go to the folder
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from page_journey import PATIENCE, SIZES
from playwright.sync_api import sync_playwright

PAGES = {"report": "study/plain/report.html", "study": "study/retain.html", "compared": "compared.html"}
DRAWN = {"report": 2, "study": 2, "compared": 0}
"""The pictures of each page, at least."""
WHOLE = ("report", "study")
"""The pages whose pictures are looked at for numbers that are cut."""
KEYS = ("1", "2", "0", "1")
CUT = """() => [...document.querySelectorAll('svg')].flatMap(picture => {
  const frame = picture.getBoundingClientRect();
  return [...picture.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1;
  }).map(text => text.textContent);
})"""
"""What stands in a picture and reaches beyond it, where it is cut: half a number reads as another one."""
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


def opened(browser: Any, address: str, size: str, scheme: str, faults: list[str]) -> Any:
    """A page in a window of this size; what its script does wrong, or writes as an error, is noted."""
    width, height = SIZES[size]
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: faults.append(f"{address}: {error}"))
    page.on("console", lambda said: faults.append(f"{address}: {said.text}") if said.type == "error" else None)
    page.goto(address)
    return page


def fits(page: Any, name: str) -> None:
    """The page does not scroll sideways, neither closed nor with everything in it opened."""
    assert page.evaluate(FITS), f"{name} scrolls sideways"
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert page.evaluate(FITS), f"{name}, opened, scrolls sideways"


def drawn(page: Any, name: str) -> None:
    """The pictures of the page are there, and as large as can be seen."""
    boxes = [picture.bounding_box() for picture in page.locator("svg").all()]
    assert len(boxes) >= DRAWN[name], f"{name} has {len(boxes)} pictures"
    assert all(box and box["width"] > 200 and box["height"] > 60 for box in boxes), f"{name}: {boxes}"
    cut = page.evaluate(CUT) if name in WHOLE else []
    assert not cut, f"{name}: {cut} reach beyond their picture"


def journey(browser: Any, pages: Path, ballot: str, pictures: Path | None) -> list[str]:
    """Every page in every window, one vote by key in each; returns what went wrong in the pages themselves."""
    faults: list[str] = []
    windows = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    for done, (size, scheme) in enumerate(windows):
        found = {name: opened(browser, (pages / at).as_uri(), size, scheme, faults) for name, at in PAGES.items()}
        for name, page in found.items():
            drawn(page, name)
            fits(page, f"{name} ({size})")
        voting = found["blind"] = opened(browser, ballot, size, scheme, faults)
        voting.wait_for_function("document.getElementById('prompt').textContent.length > 0")
        fits(voting, f"blind ({size})")
        if pictures is not None:
            for name, page in found.items():
                page.screenshot(path=pictures / f"{name}-{size}-{scheme}.png", full_page=True)
        voting.keyboard.press(KEYS[done])
        told = f"{done + 1} of {len(KEYS) + 1} voted"
        voting.wait_for_function("told => document.getElementById('done').textContent === told", arg=told)
    voting.click("[data-vote=first]")
    voting.wait_for_function("document.body.textContent.startsWith('All voted.')")
    votes = [json.loads(line) for line in (pages / "votes.jsonl").read_text().splitlines()]
    assert [vote["index"] for vote in votes] == list(range(len(KEYS) + 1)), votes
    assert votes[2]["vote"] == "tie", votes
    assert "tie" not in {votes[0]["vote"], votes[1]["vote"]}, votes
    return faults


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=PATIENCE
        )
        wrong = journey(chromium, Path(os.environ["PAGES"]), os.environ["BALLOT"], folder)
        chromium.close()
    assert not wrong, wrong
    print("reports: opened wide and narrow, by day and by night; five votes kept")
