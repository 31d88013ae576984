"""What a training has shown so far, and the charts of it."""

import math

from keras_consistency.report import charts, page
from keras_consistency.report.series import Series

_SHARES = {"limits": (-0.02, 1.02)}
_LOGARITHMIC = {"logarithmic": True}
_MOST_EVENTS = 200


class History:
    """Curves by name, of steps, of epochs, and of what is measured when a page is written; and events.

    Attributes:
        last: dictionary, the logs of the last epoch.
    """

    def __init__(self):
        self.last = {}
        self._steps = {}
        self._epochs = {}
        self._measured = {}
        self._events = []

    def add_step(self, step, record):
        """Adds a step's record: floats by name, NaN for what the step did not have; a loss may be NaN itself."""
        for name, value in record.items():
            if name == "loss" or not math.isnan(value):
                self._steps.setdefault(name, Series()).add(step, value)

    def add_epoch(self, step, logs):
        """Adds an epoch's logs, floats by name; `step` is the epoch's last."""
        self.last = dict(logs)
        for name, value in logs.items():
            self._epochs.setdefault(name, Series()).add(step, value)

    def measure(self, step, values):
        """Adds what was measured for a page, floats by the titles of charts and the names of curves."""
        for (title, name), value in values.items():
            self._measured.setdefault(title, {}).setdefault(name, Series()).add(step, value)

    def add_event(self, step, event):
        """Adds a dictionary of a monitor's, found after a step."""
        self._events.append((step, event))

    def charts(self, *, teacher):
        """The HTML of all charts.

        Args:
            teacher: whether validation is another network's than training: the teacher's, where the student learns.
        """
        marks = [(step, number) for number, (step, _) in self._shown_events()]
        figures = [
            page.figure(
                title, charts.lines(curves, label=label, events=marks, **options), legend=charts.colours(curves)
            )
            for title, curves, label, options in self._groups(_roles(teacher))
            if curves
        ]
        key = "A cross on the axis: a value that was not finite. A dotted line: an event, by its number below."
        return page.dim(key) + page.grid(figures) if figures else page.dim("Nothing yet.")

    def _groups(self, roles):
        """Titles, curves by name, labels of axes and options. Each epoch's curve is in the first group that takes it,
        unless there is one of the steps by its name.
        """
        validation = {name: series for name, series in self._epochs.items() if name.startswith("val_")}
        left = {name: series for name, series in self._epochs.items() if name not in {*self._steps, *validation}}

        def of(*endings):
            found = {name: series for name, series in self._steps.items() if name.endswith(endings)}
            return found | {name: left.pop(name) for name in [*left] if name.endswith(endings)}

        def with_validation(curves):
            both = {}
            for name, series in curves.items():
                own = validation.pop(f"val_{name}", None)
                both[name if name in self._steps else name + roles[0]] = series
                if own is not None:
                    both[f"val_{name}{roles[1]}"] = own
            return both

        gap = {
            name.removeprefix("val_"): _difference(series, self._epochs[name.removeprefix("val_")])
            for name, series in validation.items()
            if name.removeprefix("val_") in self._epochs
        }
        losses = with_validation(of("loss"))
        accuracy = with_validation(of("accuracy", "acc"))
        skipped = self._steps.get("skipped", ())
        skips = {"skipped": skipped} if len(skipped) and max(skipped.curve()[3]) > 0 else {}
        groups = [
            ("Loss and its terms", losses, "loss", _LOGARITHMIC),
            ("Accuracy", accuracy | self._measured.get("Accuracy", {}), "accuracy", {}),
            ("Generalisation gap" + roles[2], {n: s for n, s in gap.items() if len(s)}, "validation - training", {}),
            ("Learning rate", of("learning_rate"), "rate", _LOGARITHMIC),
            ("Gradient norm", of("gradient_norm"), "norm", _LOGARITHMIC),
            ("Change of the weights", of("update_ratio", "teacher_distance"), "ratio", _LOGARITHMIC),
            ("Mask rate", of("_mask_rate"), "share", _SHARES),
            ("Agreement of student and target", of("_agreement"), "share", _SHARES),
            ("Clipping and skipped steps", of("clip_rate") | skips, "share", _SHARES),
        ]
        groups += [(title, c, "share", _SHARES) for title, c in self._measured.items() if title != "Accuracy"]
        others = with_validation(left) | {f"{name}{roles[1]}": series for name, series in validation.items()}
        return [*groups, ("Other metrics", others, "metric", {})]

    def events(self):
        """The HTML table of the events."""
        if not self._events:
            return page.dim("None.")
        shown = self._shown_events()
        rows = [
            (
                number,
                step,
                event["cause"].replace("_", " "),
                event["evidence"],
                event["advice"],
                "; ".join(event["actions"]),
            )
            for number, (step, event) in shown
        ]
        table = page.table(("", "Step", "Cause", "Evidence", "Advice", "Done"), rows, numbers=(0, 1))
        hidden = len(self._events) - len(rows)
        return (
            page.dim(f"{hidden} between the first and the last {len(rows) // 2} are left out.") if hidden else ""
        ) + table

    def _shown_events(self):
        """The numbered events, of very many the first and the last."""
        numbered = [*enumerate(self._events, start=1)]
        return (
            numbered
            if len(numbered) <= _MOST_EVENTS
            else numbered[: _MOST_EVENTS // 2] + numbered[-_MOST_EVENTS // 2 :]
        )


def _roles(teacher):
    """What stands behind the names of curves of training and of validation, and the title of their difference."""
    if teacher:
        return " (student)", " (teacher)", ", teacher's validation and student's training"
    return "", "", ""


def _difference(one, other):
    """The difference of two curves at the steps that both have."""
    found = Series(max(len(one), 1))
    known = dict(zip(*other.curve()[:2], strict=True))
    for step, value in zip(*one.curve()[:2], strict=True):
        if step in known:
            found.add(step, value - known[step])
    return found
