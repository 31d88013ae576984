"""Curves of how accuracy, consistency and calibration change with the level of a condition."""

import collections
import textwrap

import numpy as np

from keras_consistency.evaluation import corruptions, extras

METRICS = {"accuracy": "accuracy", "consistency": "consistency", "ece": "calibration error"}
_MARKERS = "osD^vPX*<>"
_CORRUPTIONS = "corruptions"
_UNITS = {
    "noise": "standard deviation",
    "masking": "share of patches",
    # By the names of their classes, where they were given as `attacks`.
    "GaussianNoise": "standard deviation",
    "Masking": "share of patches",
}


def plot_robustness(records, path, *, metrics=("accuracy", "consistency", "ece")):
    """Draws what `kc.evaluation.robustness` found: a row of panels a metric, a column a kind of condition, a line a
    model.

    Every line starts with the clean examples, at level 0. Corruptions share one column: the mean over them at each
    severity. Conditions without a level are left out.

    Args:
        records: what `kc.evaluation.robustness` returned, or a dictionary from the names of models to that.
        path: of the picture; its ending chooses the format, as in matplotlib (extra `[robustness]`).
        metrics: what to draw, out of `"accuracy"`, `"consistency"` and `"ece"`.

    Raises:
        ImportError: where matplotlib is missing.
        ValueError: for other metrics, and for records without any condition that has a level.
    """
    if isinstance(metrics, str) or not metrics or not set(metrics) <= set(METRICS):
        raise ValueError(f"`metrics` must be a list out of {list(METRICS)}. Received: metrics={metrics!r}")
    named = dict(records) if isinstance(records, dict) else {"": records}
    curves = {name: _curves(found, metrics) for name, found in named.items()}
    columns = list(dict.fromkeys(column for lines in curves.values() for column in lines))
    if not columns:
        raise ValueError(
            "`records` must hold at least one condition with a level besides the clean one, as "
            f"`kc.evaluation.robustness` returns them. Received: records={records!r}"
        )
    figure = extras.require("matplotlib.figure", "`plot_robustness`").Figure(
        figsize=(1.0 + 2.4 * len(columns), 0.9 + 2.1 * len(metrics)), layout="constrained"
    )
    panels = figure.subplots(len(metrics), len(columns), sharex="col", sharey="row", squeeze=False)
    for row, metric in enumerate(metrics):
        panels[row, 0].set_ylabel(METRICS[metric])
        panels[row, 0].set_ylim(0, 1.02 if metric != "ece" else _ceiling(curves, metric))
        for panel in panels[row]:
            panel.grid(color="0.9")
            panel.spines[["top", "right"]].set_visible(False)
    for column, (title, unit) in enumerate(columns):
        panels[0, column].set_title(textwrap.fill(title, 24), fontsize="medium")
        panels[-1, column].set_xlabel(unit)
        if unit == "severity":
            panels[-1, column].set_xticks((0, *corruptions.SEVERITIES))
        else:
            panels[-1, column].locator_params(axis="x", nbins=5)
        for number, (name, lines) in enumerate(curves.items()):
            points = lines.get((title, unit))
            if points is None:
                continue  # A line without points would make matplotlib lose the layout.
            for row, metric in enumerate(metrics):
                panels[row, column].plot(
                    [level for level, _ in points],
                    [values[metric] for _, values in points],
                    color=f"C{number % 10}",
                    marker=_MARKERS[number % len(_MARKERS)],
                    markersize=4,
                    linewidth=1.5,
                    alpha=0.9,
                    label=str(name),
                    clip_on=False,
                )
    if isinstance(records, dict):
        found = [panel.get_legend_handles_labels() for panel in panels[0]]
        shown = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
        labels = [name for name in map(str, curves) if name in shown]
        in_a_row = min(len(labels), max(1, int(figure.get_figwidth() / (0.7 + 0.09 * max(map(len, labels))))))
        handles = [shown[label] for label in labels]
        figure.legend(handles, labels, loc="outside upper center", ncols=in_a_row, frameon=False)
    figure.get_layout_engine().set(wspace=0.04)
    figure.savefig(path, dpi=150)


def _curves(records, metrics):
    """The lines of a model: `{(title, unit): [(level, {metric: value}), ...]}`, each from level 0 up."""
    clean = None
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    kinds = collections.defaultdict(set)
    for record in records:
        missing = {"condition", "level", *metrics} - set(record)
        if missing:
            raise ValueError(
                "`records` must be what `kc.evaluation.robustness` returns. Received: a record without "
                f"{sorted(missing)}: {record!r}"
            )
        values = {metric: record[metric] for metric in metrics}
        if record["condition"] == "clean":
            clean = values
        elif record["level"] is not None:
            column = _column(record["condition"])
            kinds[column].add(record["condition"])
            found[column][record["level"]].append(values)
    curves = {}
    for (title, unit), levels in found.items():
        if title == _CORRUPTIONS:
            names = kinds[title, unit]
            heading = names.copy().pop() if len(names) == 1 else f"{title}, mean of {len(names)}"
        else:
            heading = title
        line = [
            (level, {m: float(np.mean([v[m] for v in values])) for m in metrics}) for level, values in levels.items()
        ]
        start = [] if clean is None or 0 in levels else [(0, clean)]
        curves[heading, unit] = start + sorted(line, key=lambda point: point[0])
    return curves


def _column(condition):
    """The title of the column of a condition, and the unit of its level."""
    if condition in corruptions.NAMES:
        return _CORRUPTIONS, "severity"
    return condition, _UNITS.get(condition, "radius")


def _ceiling(curves, metric):
    """The end of the axis of a metric that stays far below 1 as a rule."""
    return 1.08 * max(
        [0.1, *(values[metric] for lines in curves.values() for points in lines.values() for _, values in points)]
    )
