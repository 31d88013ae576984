"""A callback that writes a page about the training."""

import os
import pathlib
import sys
import time
import warnings

import keras
import numpy as np

from keras_consistency import watch
from keras_consistency.callbacks.stability_monitor import StabilityMonitor
from keras_consistency.model import ConsistencyModel
from keras_consistency.parts import check_range
from keras_consistency.report import judge, page, run
from keras_consistency.report.history import History
from keras_consistency.report.tallies import Classes

_LENGTH = 20  # steps that the record holds
_SHARE = 0.02  # of the time, at most, for writing


class TrainingReport(keras.callbacks.Callback):
    """Writes a page about the training: one HTML file that needs no network, rewritten as training goes.

    It shows curves of the loss and its terms, of accuracy and validation, of rate, gradient norm, mask rate and
    agreement; the generalisation gap; the events of a monitor on the time axis, with advice; with `validation_data`,
    a confusion matrix, the calibration, and student beside teacher (of a regression, answers over labels); with
    `unlabeled_data`, how good the pseudo-labels are for each class; and the configuration, versions, and how to repeat
    the run, command line included.

    Each step of a `kc.ConsistencyModel` is shown, of other Keras models each epoch. Curves are kept in constant memory:
    of a long training, a point is the mean of several steps, and the range of these is shown behind it. A second `fit`
    of the same model goes on where the first ended; with another model the page starts anew.

    The file is replaced as a whole, so that it is readable whenever training is interrupted. Once training goes, it is
    never lost to the report: what fails is warned of once, and stands on the next page that can be written.

    Args:
        path: of the page to write, ending in `.html`. Its folder must be there and be writable; a file there is
            replaced when the first epoch is over.
        monitor: the `kc.callbacks.StabilityMonitor` of the same training, or `None`. Name it before the report in the
            list of callbacks.
        validation_data: arrays `(x, y)` or a `tf.data.Dataset` of batches of such, on which networks are judged when a
            page is written, or `None`. `y` are class numbers `(examples, ...)`, probabilities `(examples, ...,
            classes)`, or the numbers of a regression.
        unlabeled_data: the same for unlabelled examples whose classes are known after all, or `None`. The network that
            is evaluated is asked, without augmentation.
        prediction: where a model returns a dictionary, the name of the output to judge; `None` for the `prediction` of
            a `kc.ConsistencyModel`.
        threshold: confidence from which an unlabelled example counts as pseudo-labelled, in [0, 1].
        class_names: list of strings, or `None` for numbers.
        title: of the page; `None` for the model's name.
        every_seconds: least time from one writing to the next, at least 0. There is one after the first epoch and at
            the end of training. Where writing is slow, the time is longer, so that at most 2 % of it is spent on
            writing; with 0, a page is written after each epoch, whatever it takes.

    Raises:
        ValueError: where an argument lies outside its range or the page cannot be written: when the callback is made.
        TypeError: for a `path`, `monitor`, `class_names` or data of another kind.
        ImportError: where Matplotlib is missing (extra `[report]`).
    """

    def __init__(
        self,
        path,
        *,
        monitor=None,
        validation_data=None,
        unlabeled_data=None,
        prediction=None,
        threshold=0.95,
        class_names=None,
        title=None,
        every_seconds=60.0,
    ):
        super().__init__()
        self.path = _checked_path(path)
        if monitor is not None and not isinstance(monitor, StabilityMonitor):
            raise TypeError(
                f"`monitor` must be a `kc.callbacks.StabilityMonitor` or None. Received: monitor={monitor!r}"
            )
        check_range("threshold", threshold, 0, 1)
        check_range("every_seconds", every_seconds, 0, float("inf"))
        if class_names is not None and (
            not isinstance(class_names, (list, tuple)) or not all(isinstance(name, str) for name in class_names)
        ):
            raise TypeError(f"`class_names` must be a list of strings or None. Received: class_names={class_names!r}")
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError(
                "`TrainingReport` draws with Matplotlib: run `pip install keras-consistency[report]`."
            ) from None
        self.monitor = monitor
        given = {"validation_data": validation_data, "unlabeled_data": unlabeled_data}
        self._data = {name: judge.examples(name, data) for name, data in given.items() if data is not None}
        self.prediction = prediction
        self.threshold = threshold
        self.class_names = class_names
        self.title = title
        self.every_seconds = every_seconds
        self._shown = None

    def set_model(self, model):
        """Makes the record that the model's steps write, where the model keeps one and no other callback has."""
        super().set_model(model)
        if isinstance(model, ConsistencyModel) and model.watch is None:
            watch.watch(model, length=_LENGTH + int(model.steps_per_execution or 1), skip=False)

    def on_train_begin(self, logs=None):
        """Begins a history, or goes on with that of the same model."""
        if self._shown is not self.model:
            self._shown = self.model
            self._history = History()
            self._step = 0
            self._failures = {}
            self._answers = {}
            self._started = time.strftime("%Y-%m-%d %H:%M:%S")
            self._seconds = 0.0
        self._began = self._written = time.monotonic()
        self._took = 0.0
        self._unwritten = True
        self._offset = self._step  # Of this `fit` on the axis.
        self._batches = self._read_batches = 0
        # By now every callback has seen the model: another may have asked for a longer record.
        self._watch = getattr(self.model, "watch", None) if isinstance(self.model, ConsistencyModel) else None
        self._events_read = 0 if self.monitor is None else len(self.monitor.events)
        if self._watch is not None:
            self._first = self._read_from = int(self._watch.count.numpy())
            self._every = max(self._watch.length - int(self.model.steps_per_execution or 1), 2) // 2

    def on_epoch_begin(self, epoch, logs=None):
        """Counts batches anew."""
        self._batches = self._read_batches = 0

    def on_train_batch_begin(self, batch, logs=None):
        """Reads what the steps before have done, where it is time to, and rewrites the page if it is old enough."""
        # Not at the end of a batch: for a callback that listens then, Keras waits for the logs of every step.
        self._batches = batch
        if self._watch is None or self._batches - self._read_batches >= self._every:
            self._read()
            if self.every_seconds and self._old():
                self._write("training")

    def on_epoch_end(self, epoch, logs=None):
        """Takes the epoch's logs, and rewrites the page if it is old enough."""
        last = self._batches + int(getattr(self.model, "steps_per_execution", 1) or 1)
        # An execution of several steps ends with the data.
        self._batches = min(last, self.params.get("steps") or last)
        self._read()
        logs = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
        self._history.add_epoch(self._step, logs)
        if self._unwritten or self._old():
            self._write("training")

    def on_train_end(self, logs=None):
        """Writes the page for the last time."""
        self._read()
        self._write("finished")
        self._seconds += time.monotonic() - self._began
        if self._watch is not None:
            watch.release(self.model)

    def _old(self):
        least = max(self.every_seconds, self._took / _SHARE) if self.every_seconds else 0.0
        return time.monotonic() - self._written >= least

    def _read(self):
        if self._watch is None:
            self._step += self._batches - self._read_batches
        else:
            for step, record in self._watch.read(self._read_from):
                self._read_from = step + 1
                self._step = self._offset + self._read_from - self._first
                self._history.add_step(self._step, record)
        self._read_batches = self._batches
        if self.monitor is not None:
            for event in self.monitor.events[self._events_read :]:
                self._history.add_event(self._offset + event["step"], event)
            self._events_read = len(self.monitor.events)

    def _write(self, state):
        start = time.monotonic()
        try:
            text = self._page(state)
            page.write(self.path, text)
            self._unwritten = False
        except Exception as error:  # Whatever it is, training is worth more than a page about it.
            self._fail("the page", error)
        self._written = time.monotonic()
        self._took = self._written - start

    def _fail(self, what, error):
        """Warns of a failure once, and keeps it for the next page."""
        # The name of a temporary file differs each time.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        failure = f"{type(error).__name__}: {reason}"
        if what not in self._failures:
            text = f"The report {self.path} goes without {what}: {failure}"
            try:
                warnings.warn(text, stacklevel=2)
            except UserWarning:  # Where warnings are errors, this one is not.
                print(text, file=sys.stderr)
        self._failures[what] = failure
        return failure

    def _page(self, state):
        judged = self._judged()
        parts = {
            "Last epoch": lambda: page.cards({name: f"{value:.4g}" for name, value in self._history.last.items()}),
            "Curves": lambda: self._history.charts(teacher=self._teacher is not None),
            "Events": self._events,
            "Validation": lambda: self._validation(judged),
            "Pseudo-labels": lambda: self._pseudo_labels(judged),
            "Configuration": lambda: run.configuration(self.model, self.params),
            "How to repeat this run": run.repetition,
        }
        sections = []
        for heading, part in parts.items():
            try:
                content = part()
            except Exception as error:  # One part that fails does not take the others with it.
                content = page.note(f"This part failed: {self._fail(f'its part {heading!r}', error)}")
            if content:
                sections.append((heading, content))
        if self._failures:
            failed = "\n".join(f"{what}: {failure}" for what, failure in self._failures.items())
            sections.append(("What went wrong with this report", page.code(failed)))
        minutes, seconds = divmod(int(self._seconds + time.monotonic() - self._began), 60)
        written = time.strftime("%Y-%m-%d %H:%M:%S")
        subtitle = f"Begun {self._started}, {state} {written} after {minutes} min {seconds} s, {self._step} steps"
        return page.document(self.title or f"Training of {self.model.name}", subtitle, sections)

    @property
    def _teacher(self):
        """The teacher's network, where that is what validation reads, or `None`."""
        if not isinstance(self.model, ConsistencyModel) or self.model.network is self.model.student:
            return None
        return self.model.network

    def _judged(self):
        """What networks are worth on the data, by argument and network; `None` where answers are not finite."""
        judged = {}
        networks = {"model": self.model}
        if self._teacher is not None:
            networks["student"] = self.model.student
        measured = {}
        for name, data in self._data.items():
            for role, network in networks.items() if name == "validation_data" else [("model", self.model)]:
                try:
                    if (name, role) not in self._answers:
                        eagerly = bool(self.model.run_eagerly)
                        self._answers[name, role] = judge.answering(network, data, eagerly=eagerly)
                    judged[name, role] = judge.judge(
                        self._answers[name, role],
                        data,
                        name=name,
                        prediction=self.prediction or getattr(self.model, "prediction", None),
                        loss=self.model.loss,
                        threshold=self.threshold,
                    )
                except Exception as error:
                    self._fail(f"what `{name}` shows", error)
                    continue
                if isinstance(judged[name, role], Classes):
                    measured |= self._measures(name, role, judged[name, role])
        self._history.measure(self._step, measured)
        return judged

    def _measures(self, name, role, found):
        if name == "unlabeled_data":
            named, right = found.shares()
            title = "Pseudo-labels of unlabeled_data"
            return {(title, "named"): named, (title, "of these right"): right}
        role = {"student": " (student)", "model": "" if self._teacher is None else " (teacher)"}[role]
        return {("Accuracy", f"on validation_data{role}"): found.accuracy}

    def _events(self):
        if self.monitor is None:
            return page.dim("No monitor was given: kc.callbacks.StabilityMonitor finds trouble.")
        return self._history.events()

    def _validation(self, judged):
        if "validation_data" not in self._data:
            return ""
        if ("validation_data", "model") not in judged:
            return page.note("`validation_data` could not be judged: see the end of the page.")
        values = {}
        for role, network in (
            ("model", "" if self._teacher is None else " of the teacher"),
            ("student", " of the student"),
        ):
            found = judged.get(("validation_data", role))
            if isinstance(found, Classes):
                values[f"accuracy{network}"] = f"{found.accuracy:.4f}"
                values[f"calibration error{network}"] = f"{found.tally.record()['ece']:.4f}"
            elif found is not None:
                absolute, root = found.errors()
                values[f"mean absolute error{network}"] = f"{absolute:.4g}"
                values[f"root mean squared error{network}"] = f"{root:.4g}"
        found = judged["validation_data", "model"]
        if found is None:
            return page.cards(values) + page.note("The model's answers are not finite.")
        return page.cards(values) + found.validation(self.class_names)

    def _pseudo_labels(self, judged):
        if "unlabeled_data" not in self._data:
            return ""
        if ("unlabeled_data", "model") not in judged:
            return page.note("`unlabeled_data` could not be judged: see the end of the page.")
        found = judged["unlabeled_data", "model"]
        if found is None:
            return page.note("The model's answers are not finite.")
        if not isinstance(found, Classes):
            return page.note("The model answers numbers, not classes.")
        return found.pseudo_labels(self.class_names)


def _checked_path(path):
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be the path of a file. Received: path={path!r}")
    given, path = path, pathlib.Path(path)
    if path.suffix not in (".html", ".htm"):
        raise ValueError(f"`path` must end in .html. Received: path={str(given)!r}")
    try:
        if path.is_dir() or not path.parent.is_dir():
            raise ValueError(
                f"`path` must name a file in a folder that is there: make {path.parent} first. "
                f"Received: path={str(given)!r}"
            )
        page.check_writable(path)
    except OSError as error:
        raise ValueError(
            f"`path` must be a file that can be written ({error.strerror}). Received: path={str(given)!r}"
        ) from None
    return path.absolute()
