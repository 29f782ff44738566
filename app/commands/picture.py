"""A picture of one prediction's explanations."""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from app.commands.printing import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from app.commands.explain import Story

_UP, _DOWN, _INK = "#c8413a", "#3a72b0", "#444444"
_MOST_LETTERS = 32
# Inches: each bar, and what stands above and below them.
_WIDTH, _BAR, _REST = 8.0, 0.42, 1.5
# Pixels between a mark and a feature's name.
_GAP = 8


def draw(story: Story, suffix: str) -> bytes:
    """A waterfall from the base to the prediction (SHAP), or bars (XEMP).

    suffix: .png or .svg. The same explanations give the same bytes.
    """
    # What it says is of fonts, and of folders that it keeps them in.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = len(story.items) + (story.sums is not None and story.untold > 0)
    with (
        warnings.catch_warnings(action="ignore"),
        # Whatever the user has set for other pictures, and no random names in an SVG.
        rc_context({"svg.hashsalt": "foretell", "font.family": "DejaVu Sans"}),
    ):
        figure = Figure(figsize=(_WIDTH, _REST + _BAR * bars), layout="constrained")
        # No display is looked for.
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        (_bars if story.sums is None else _waterfall)(axes, story)
        _finish(axes, story)
        _make_room(figure, axes)
        return _saved(figure, suffix)


def _saved(figure: Any, suffix: str) -> bytes:
    buffer = io.BytesIO()
    nothing = {"Software": None} if suffix == ".png" else {"Date": None}
    figure.savefig(buffer, format=suffix[1:], dpi=100, metadata=nothing)
    return buffer.getvalue()


def _bars(axes: Axes, story: Story) -> None:
    # The strongest on top.
    items = story.items[::-1]
    strengths = [item["strength"] for item in items]
    _draw(axes, [0.0] * len(items), strengths, list(map(_name, items)))
    for place, item in enumerate(items):
        _mark(axes, place, 0.0, item["strength"], item["qualitativeStrength"])
    axes.axvline(0.0, color=_INK, linewidth=0.8)


def _waterfall(axes: Axes, story: Story) -> None:
    base, remaining = story.sums or (0.0, 0.0)
    items = story.items[::-1]
    names, steps = list(map(_name, items)), [item["strength"] for item in items]
    if story.untold:
        others = "feature" if story.untold == 1 else "features"
        names.insert(0, f"{story.untold} other {others}")
        steps.insert(0, remaining)
    starts = [base + sum(steps[:place]) for place in range(len(steps))]
    _draw(axes, starts, steps, names)
    for place, (start, step) in enumerate(zip(starts, steps, strict=True)):
        _mark(axes, place, start, step, f"{step:+.3g}")
        if place:
            # From where the bar below ended.
            axes.plot([start] * 2, [place - 1, place], color=_INK, linewidth=0.6)
    for value, name, height in (
        (base, "base", -0.75),
        (story.total, "total", len(steps) - 0.25),
    ):
        axes.axvline(value, color=_INK, linewidth=0.8, linestyle=":")
        low, high = axes.get_xlim()
        side = "left" if value < (low + high) / 2 else "right"
        axes.text(
            *(value, height, f" {name} {value:.4g} "), va="center", ha=side, color=_INK
        )
    axes.set_ylim(-1.1, len(steps) + 0.1)


def _draw(
    axes: Axes, starts: list[float], steps: list[float], names: list[str]
) -> None:
    places = range(len(steps))
    colours = [_UP if step > 0 else _DOWN for step in steps]
    axes.barh(places, steps, left=starts, height=0.6, color=colours)
    # A name is a name, whatever dollars are in it.
    axes.set_yticks(places, names, parse_math=False)


def _mark(axes: Axes, place: int, start: float, step: float, text: str) -> None:
    axes.annotate(
        text,
        (start + step, place),
        xytext=(4 if step > 0 else -4, 0),
        textcoords="offset points",
        ha="left" if step > 0 else "right",
        va="center",
        color=_INK,
    )


def _make_room(figure: Figure, axes: Axes) -> None:
    """Let the axis end where the marks beside the bars do, or a little behind."""
    from matplotlib.text import Annotation

    # Only now is it known how much of the width the names leave.
    figure.draw_without_rendering()
    width = axes.get_window_extent().width
    left = right = 0.0
    for mark in axes.texts:
        if isinstance(mark, Annotation):
            end, _ = axes.transData.transform(mark.xy)
            box = mark.get_window_extent()
            left, right = max(left, end - box.x0), max(right, box.x1 - end)
    shares = [(each + _GAP) / width for each in (left, right)]
    low, high = axes.dataLim.intervalx
    # Names may leave too little for any bar.
    span = (high - low) / max(1 - sum(shares), 0.1)
    if span > 0:
        axes.set_xlim(low - span * shares[0], high + span * shares[1])


def _finish(axes: Axes, story: Story) -> None:
    shown = [f"{name} {value:.4g}" for name, value in story.values.items()]
    row = f"Row {story.answer['rowId']}: "
    title = row + (shown[0] if len(shown) == 1 else f"{story.prediction}")
    if 1 < len(shown) <= 3:
        title += f" ({', '.join(shown)})"
    axes.set_title(_short(title, 90), parse_math=False, loc="left")
    space = f"{story.algorithm.upper()} strength, {story.space}"
    axes.set_xlabel(_short(space, 90), parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def _name(item: dict[str, Any]) -> str:
    value = "missing" if item["featureValue"] is None else item["featureValue"]
    return f"{_short(item['feature'])} = {_short(value)}"


def _short(value: object, most: int = _MOST_LETTERS) -> str:
    text = printable(str(value))
    return text if len(text) <= most else text[: most - 1] + "…"
