"""Charts as SVG, drawn by Matplotlib."""

import contextlib
import io
import itertools
import re
import warnings

import numpy as np

_COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2", "#65a30d", "#7c3aed")
_EVENT = "#dc2626"
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",  # Text stays text: the browser has the letters that Matplotlib's own font lacks.
    "svg.hashsalt": "keras_consistency",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def _drawn(draw, *, width=6.4, height=2.7):
    """The SVG, a string, of what `draw(axes)` draws."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), _without_glyph_warnings():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = text.getvalue()
    # Two decimals of a point are enough, and half as long.
    return re.sub(r'<path d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg[svg.index("<svg") :])


@contextlib.contextmanager
def _without_glyph_warnings():
    """The letters that Matplotlib misses are only measured with its font, and shown with the browser's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def lines(curves, *, label, events=(), logarithmic=False, limits=None):
    """Curves over the steps, with the range of each run of steps behind it; a cross where a value was not finite.

    Args:
        curves: dictionary from names to `Series`.
        label: of the vertical axis.
        events: list of `(step, number)`, marked on the time axis.
        logarithmic: whether the vertical axis is, where all values are above 0.
        limits: `(low, high)` of the vertical axis, or `None`.
    """

    def draw(axes):
        lowest = []
        for series, colour in zip(curves.values(), colours(curves).values(), strict=True):
            steps, means, least, most = series.curve()
            marker = "o" if len(steps) < 40 else None
            axes.plot(steps, means, color=colour, linewidth=1.4, marker=marker, markersize=2.5)
            if least != most:
                axes.fill_between(steps, least, most, color=colour, alpha=0.13, linewidth=0)
            lowest += least
            bad = series.not_finite
            on_axis = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            axes.plot(bad, [0] * len(bad), "x", color=colour, markersize=5, **on_axis)
        if logarithmic and lowest and min(lowest) > 0:
            axes.set_yscale("log")
        if limits is not None:
            axes.set_ylim(*limits)
        axes.margins(x=0.01)
        _mark(axes, events)
        axes.set(xlabel="step", ylabel=label)

    return _drawn(draw)


def colours(names):
    """The colours that `lines` gives to curves, by their names."""
    return dict(zip(names, itertools.cycle(_COLOURS), strict=False))


def _mark(axes, events):
    """Marks events on the time axis, with numbers where there is room."""
    if not events:
        return
    upwards = axes.get_xaxis_transform()
    style = {"color": _EVENT, "linewidth": 0.8, "linestyle": ":", "alpha": min(1.0, 30 / len(events))}
    axes.vlines([step for step, _ in events], 0, 1, transform=upwards, **style)
    low, high = axes.get_xlim()
    last = -np.inf
    for step, number in sorted(events):
        if step - last >= 0.03 * (high - low):
            axes.text(step, 1, str(number), transform=upwards, fontsize=7, color=_EVENT, ha="center", va="bottom")
            last = step


def confusion(matrix, names):
    """A confusion matrix, counts `(true class, predicted class)`; shades are shares of the true class."""
    matrix = np.asarray(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def draw(axes):
        axes.grid(visible=False)
        # Squares, not `imshow`, which makes a bitmap.
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="#e5e7eb", linewidth=0.3)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        ticks = np.arange(len(names)) + 0.5
        shown = [_plain(name, 16) for name in names]
        axes.set_xticks(ticks, shown, rotation=90 if max(map(len, shown)) > 2 else 0)
        axes.set_yticks(ticks, shown)
        axes.set(xlabel="predicted", ylabel="true")
        if len(names) <= 20:
            for (row, column), count in np.ndenumerate(matrix):
                if count:
                    colour = "white" if shares[row, column] > 0.5 else "black"
                    axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", fontsize=6.5, color=colour)

    size = min(3.0 + 0.22 * len(names), 9.0)
    return _drawn(draw, width=size, height=size)


def calibration(bins, error):
    """A reliability diagram.

    Args:
        bins: list of `(confidence, accuracy, count)`, means of the examples of a bin.
        error: expected calibration error.
    """

    def draw(axes):
        confidence, accuracy, count = (np.array(column) for column in zip(*bins, strict=True))
        axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle="--")
        axes.scatter(confidence, accuracy, s=8 + 120 * count / count.sum(), color=_COLOURS[0], alpha=0.7)
        axes.plot(confidence, accuracy, color=_COLOURS[0], linewidth=1)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.set_title(f"expected calibration error {error:.3f}", fontsize=9)

    return _drawn(draw, width=3.6, height=3.4)


def scatter(labels, answers):
    """Answers over labels, one-dimensional arrays of numbers of one length, and the line where they are equal."""

    def draw(axes):
        ends = [min(labels.min(), answers.min()), max(labels.max(), answers.max())]
        axes.plot(ends, ends, color="gray", linewidth=0.8, linestyle="--")
        axes.scatter(labels, answers, s=6, color=_COLOURS[0], alpha=0.5)
        axes.set(xlabel="label", ylabel="answer")

    return _drawn(draw, width=3.6, height=3.4)


def _plain(text, most):
    """At most so many letters, which Matplotlib does not take for mathematics."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(text))
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")
