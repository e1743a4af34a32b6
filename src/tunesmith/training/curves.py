"""The curves of a run, from its journal: a picture for people, and a drawing for the terminal.

The decision: both show the same three things, the training loss smoothed, the validation points and the best of them,
so that one look tells whether the run still learned, stood still or began to overfit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Points = list[tuple[int, float]]

INK, TRAIN, VALIDATION = "#3d4451", "#2f6fb3", "#d9622b"


@dataclass(frozen=True, slots=True)
class Curves:
    """(step, value) in order of steps; steps at which a value is missing or not finite are left out."""

    loss: Points
    smoothed: Points
    validation: Points
    rate: Points

    @property
    def best(self) -> tuple[int, float] | None:
        """The validation point with the lowest loss, the first of equals."""
        return min(self.validation, key=lambda point: point[1], default=None)


def curves(journal: Sequence[Mapping[str, Any]]) -> Curves:
    """The curves of journal entries (`step`, `loss`, `validation_loss`, `learning_rate`)."""
    loss = _points(journal, "loss")
    validation, rate = _points(journal, "validation_loss"), _points(journal, "learning_rate")
    return Curves(loss, smoothed(loss), validation, rate)


def smoothed(points: Points) -> Points:
    """Each value averaged with those around it, a twentieth of the run to either side; the ends are not shifted.

    >>> smoothed([(1, 4.0), (2, 2.0)])
    [(1, 4.0), (2, 2.0)]
    """
    reach = len(points) // 20
    return [
        (step, sum(value for _, value in near) / len(near))
        for place, (step, _) in enumerate(points)
        # The window shrinks at both ends alike, so that it stays centred and a falling curve is not flattened there.
        for side in [min(reach, place, len(points) - 1 - place)]
        for near in [points[place - side : place + side + 1]]
    ]


def picture(journal: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`path` is a PNG: the losses above, the learning rate small below."""
    # Imported here because matplotlib takes most of a second, and drawing is the last thing a run does.
    import matplotlib.ticker
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = curves(journal)
    figure = Figure(figsize=(8, 5), dpi=144)
    figure.subplots_adjust(left=0.1, right=0.98, top=0.97, bottom=0.1, hspace=0.12)  # a layout by rule draws it twice
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    above.plot(*_columns(found.loss), color=TRAIN, alpha=0.22, linewidth=1)
    above.plot(*_columns(found.smoothed), color=TRAIN, linewidth=2, label="training (smoothed)")
    if found.best is not None:
        above.plot(*_columns(found.validation), color=VALIDATION, marker="o", markersize=5, label="validation")
        label = f"best validation: {found.best[1]:.3f} at step {found.best[0]}"
        above.plot(*found.best, "o", markersize=12, markerfacecolor="none", markeredgecolor=VALIDATION, label=label)
    above.set_ylabel("loss (nats per target)")
    above.set_ylim(*_loss_range(found))
    above.legend(frameon=False, labelcolor=INK)
    below.plot(*_columns(found.rate), color=INK, linewidth=1.2)
    below.set_ylim(bottom=0)
    below.set_ylabel("rate")
    below.set_xlabel("step")
    below.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    below.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for axes in (above, below):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
    figure.savefig(path)


def drawing(journal: Sequence[Mapping[str, Any]], *, width: int = 72, height: int = 12) -> str:
    """The losses as lines of text: braille dots for the smoothed training loss, ● for validation, ★ for the best.

    `width` and `height` count the cells of the plot, without its labels.
    """
    found = curves(journal)
    if not found.loss:
        return "nothing measured yet"
    low, high = _loss_range(found)
    first, last = found.loss[0][0], max(step for step, _ in found.loss + found.validation)
    canvas = _Canvas(width, height, (first, max(last, first + 1)), (low, high))
    canvas.line(found.smoothed)
    for point in found.validation:
        canvas.mark(point, "●")
    if found.best is not None:
        canvas.mark(found.best, "★")
    labels = {0: f"{high:.2f}", height // 2: f"{(low + high) / 2:.2f}", height - 1: f"{low:.2f}"}
    margin = max(map(len, labels.values()))
    rows = [f"{labels.get(number, ''):>{margin}} ┤{row}" for number, row in enumerate(canvas.rows())]
    steps = f"{first}".ljust(width - len(str(last))) + str(last)
    legend = "⠤ training loss" + ("   ● validation   ★ best" if found.best is not None else "")
    return "\n".join(
        [*rows, " " * margin + " └" + "─" * width, " " * (margin + 2) + steps, " " * (margin + 2) + legend]
    )


class _Canvas:
    """A grid of cells with 2 by 4 dots each (Unicode's braille patterns), and marks that cover a cell."""

    # The bit of each dot, by column and row from the top, as Unicode numbers them (U+2800 and after).
    BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

    def __init__(self, width: int, height: int, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.width, self.height, self.x, self.y = width, height, x, y
        self.dots = [[0] * width for _ in range(height)]
        self.marks: dict[tuple[int, int], str] = {}

    def place(self, point: tuple[float, float]) -> tuple[int, int]:
        """The dot (column, row from the top) of a point; a point outside is moved to the border."""
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        down = (self.y[1] - point[1]) / (self.y[1] - self.y[0])
        column, row = round(across * (2 * self.width - 1)), round(down * (4 * self.height - 1))
        return min(max(column, 0), 2 * self.width - 1), min(max(row, 0), 4 * self.height - 1)

    def line(self, points: Points) -> None:
        """Dots from each point to the next."""
        places = [self.place(point) for point in points]
        for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):
            length = max(abs(x1 - x0), abs(y1 - y0), 1)
            for part in range(length + 1):
                column, row = round(x0 + (x1 - x0) * part / length), round(y0 + (y1 - y0) * part / length)
                self.dots[row // 4][column // 2] |= self.BITS[column % 2][row % 4]

    def mark(self, point: tuple[float, float], sign: str) -> None:
        """`sign` covers the cell of a point."""
        column, row = self.place(point)
        self.marks[row // 4, column // 2] = sign

    def rows(self) -> list[str]:
        """The lines from the top, without spaces at their ends."""
        return [
            "".join(
                self.marks.get((row, column)) or (chr(0x2800 + dots) if dots else " ")
                for column, dots in enumerate(line)
            ).rstrip()
            for row, line in enumerate(self.dots)
        ]


def _points(journal: Sequence[Mapping[str, Any]], key: str) -> Points:
    pairs = [(int(entry["step"]), entry.get(key)) for entry in journal]
    return [(step, float(value)) for step, value in pairs if value is not None and math.isfinite(value)]


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _loss_range(found: Curves) -> tuple[float, float]:
    """The lowest and highest loss shown, with a little air; from 0 where the losses come near it."""
    values = [value for _, value in found.smoothed + found.validation] or [0.0, 1.0]
    low, high = min(values), max(values)
    air = 0.05 * (high - low) or 0.05
    return (0.0 if low < 0.4 * high else low - air), high + air
