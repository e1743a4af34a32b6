"""How a run is asked to end: Ctrl-C or SIGTERM once finishes the step and saves; twice stops now.

The decision: the first signal only sets a flag that the loop reads between steps, so a save is never cut short by
the very request that wants it.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_REQUEST = 1.0
"""Seconds in which a second signal is the first one again: terminals and launchers both pass it on."""
_ONCE = "Asked to stop: finishing this step, then saving. Once more stops at once and loses it."
_AGAIN = "Stopped at once; the run goes on from its last checkpoint when it is resumed."


@contextmanager
def stop_requests(say: Callable[[str], object]) -> Iterator[Callable[[], bool]]:
    """Within the block, a function that tells whether somebody asked to end."""
    asked: list[float] = []

    def ask(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if asked and now - asked[0] < SAME_REQUEST:
            return
        again = bool(asked)
        asked.append(now)
        with suppress(RuntimeError):  # it may come while another line is being written, which Python refuses to enter
            say(_AGAIN if again else _ONCE)
        if again:
            raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, ask)
    except ValueError:
        # Only a program's main thread may listen to signals; elsewhere its owner decides when to stop.
        before.clear()
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
