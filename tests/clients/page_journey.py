"""The server's own page in a real browser: upload → job → curve → chat with the tuned model → cancel another job.

python page_journey.py [FOLDER]     with SERVER, OPENAI_API_KEY and DATA in the environment; pictures go to the folder
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PATIENCE = 400_000
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


def shown(page: Any, text: str) -> None:
    """Wait until the chosen job's facts say this."""
    page.wait_for_function("t => document.getElementById('facts').textContent.includes(t)", arg=text, timeout=PATIENCE)


def opened(browser: Any, size: str, scheme: str, faults: list[str]) -> Any:
    """The page in a window of this size, its key entered."""
    width, height = SIZES[size]
    # Playwright's own waiting evaluates text, which the page's policy forbids to everybody.
    page = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
    ).new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(os.environ["SERVER"] + "/")
    page.fill("#key", os.environ["OPENAI_API_KEY"])
    page.click("#enter")
    page.wait_for_selector("#base option", state="attached")
    return page


def start(page: Any, suffix: str) -> None:
    """Upload the data and begin a job."""
    page.set_input_files("#train", os.environ["DATA"])
    page.set_input_files("#valid", os.environ["DATA"])
    page.fill("#suffix", suffix)
    page.fill("#epochs", "2")
    page.click("#create")


def journey(browser: Any, pictures: Path | None) -> list[str]:
    """Everything that a person does there; returns what went wrong in the page itself."""
    faults: list[str] = []
    page = opened(browser, "wide", "light", faults)
    start(page, "page")
    shown(page, "succeeded")
    page.wait_for_function("[...document.getElementById('talker').options].some(o => o.value.includes(':page:'))")
    assert page.locator("#curve polyline, #curve path").count() >= 2
    names = page.eval_on_selector_all("#talker option", "options => options.map(o => o.value)")
    page.select_option("#talker", next(name for name in names if ":page:" in name and "ckpt" not in name))
    page.fill("#say", "apple 1")
    page.click("#send")
    page.wait_for_function("document.getElementById('talk').children.length > 1")
    page.wait_for_function("document.getElementById('talk').lastChild.textContent.length > 3")
    for size in SIZES:
        for scheme in ("light", "dark"):
            other = opened(browser, size, scheme, faults)
            shown(other, "succeeded")
            assert other.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], "it scrolls sideways"
            if pictures is not None:
                other.wait_for_selector("#events li")
                other.screenshot(path=pictures / f"{size}-{scheme}.png", full_page=True)
    start(page, "given-up")
    page.wait_for_function("/validating|queued|running/.test(document.getElementById('facts').textContent)")
    page.click("[data-order=cancel]")
    shown(page, "cancelled")
    return faults


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=PATIENCE)
        wrong = journey(found, folder)
        found.close()
    assert not wrong, wrong
    print("page: uploaded, trained, drawn, answered, cancelled")
