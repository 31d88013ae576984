"""The page about a training: what stands in it, that a browser shows it, and that training never suffers from it."""

import csv
import html
import html.parser
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import warnings
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.callbacks import training_report
from keras_consistency.report import judge, page
from keras_consistency.report.history import History
from tests.contracts import recipes
from tests.contracts.replicas_test import strategy_of

NAMES = ["<script>alert(1)</script>", "A&B $x^$ \"q\" 'p'", "고양이 " + "long " * 30]
HEADINGS = ["Last epoch", "Curves", "Events", "Validation", "Pseudo-labels", "Configuration", "How to repeat this run"]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)


class Run:
    """A training of FixMatch with a spoilt batch, and its page."""

    def __init__(self, folder):
        keras.utils.set_random_seed(0)
        self.path = folder / "report.html"
        self.model = recipes.model("fixmatch")
        self.monitor = kc.callbacks.StabilityMonitor(react="skip", verbose=0)
        self.validation, self.unlabeled = recipes.examples(30, seed=3), recipes.examples(60, seed=4)
        report = kc.callbacks.TrainingReport(
            self.path,
            monitor=self.monitor,
            validation_data=self.validation,
            unlabeled_data=self.unlabeled,
            threshold=0.6,
            class_names=NAMES,
            title="<b>Title</b> & $co",
        )
        spoilt = recipes.batches().map(lambda x, y: (x | {"unlabeled": x["unlabeled"] * np.float32("nan")}, y)).take(1)
        data = recipes.batches().repeat(5).concatenate(spoilt).concatenate(recipes.batches())
        options = {"validation_data": self.validation, "verbose": 0, "shuffle": False}
        self.history = self.model.fit(data, epochs=2, callbacks=[self.monitor, report], **options).history
        self.text = self.path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("report"))


class Seen(html.parser.HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.dim = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if attrs == [("class", "dim")]:
            self.dim.add(len(self.text))

    def handle_data(self, data):
        self.text.append(data)

    def card(self, name):
        """The figure under a name."""
        places = [place for place, text in enumerate(self.text) if text == name and place in self.dim]
        return self.text[places[0] + 1]


def test_page_has_all_parts(run):
    assert re.findall("<h2>(.*?)</h2>", run.text) == HEADINGS
    seen = Seen(run.text)
    labels = [value for name, value in seen.attributes if name == "aria-label"]
    assert labels == [
        "Loss and its terms",
        "Accuracy",
        "Generalisation gap, teacher's validation and student's training",
        "Learning rate",
        "Gradient norm",
        "Change of the weights",
        "Mask rate",
        "Agreement of student and target",
        "Clipping and skipped steps",
        "Pseudo-labels of unlabeled_data",
        "Confusion matrix",
        "Calibration",
    ]
    assert {"accuracy (student)", "val_accuracy (teacher)"} <= set(seen.text)
    assert {"on validation_data (student)", "on validation_data (teacher)"} <= set(seen.text)
    assert ", finished " in run.text and ", 50 steps" in run.text
    assert keras.__version__ in seen.text and tf.__version__ in seen.text
    assert any(sys.orig_argv[-1] in text for text in seen.text) and '"threshold": 0.6' in "".join(seen.text)


def test_figures_are_those_of_the_networks(run):
    seen = Seen(run.text)
    x, y = run.validation
    for role, network in (("teacher", run.model.network), ("student", run.model.student)):
        right = np.mean(network.predict(x, verbose=0).argmax(axis=1) == y)
        assert seen.card(f"accuracy of the {role}") == f"{right:.4f}"
    assert seen.card("val_accuracy") == f"{run.history['val_accuracy'][-1]:.4g}"
    assert seen.card("loss") == f"{run.history['loss'][-1]:.4g}"
    x, y = run.unlabeled
    answers = keras.ops.convert_to_numpy(keras.ops.softmax(run.model.predict(x, verbose=0)))
    sure = answers.max(axis=1) >= 0.6
    right = np.sum(sure & (answers.argmax(axis=1) == y))
    row = [len(y), sure.sum(), f"{100 * right / sure.sum():.1f} %", f"{100 * right / len(y):.1f} %"]
    assert seen.text[seen.text.index("all") + 1 :][:4] == [str(each) for each in row]


def test_events_stand_in_the_table_and_on_the_axis(run):
    assert {21, 46} <= {event["step"] for event in run.monitor.events}  # Those of the spoilt batches.
    table = run.text[run.text.index("<h2>Events") : run.text.index("<h2>Validation")]
    for number, event in enumerate(run.monitor.events, start=1):
        assert f'<td class="number">{number}</td><td class="number">{event["step"]}</td>' in table
        assert html.escape(event["advice"]) in table
    chart = run.text[run.text.index("<figure") : run.text.index("</figure>")]
    assert len(re.findall("#dc2626", chart)) >= len(run.monitor.events) + 1  # lines and numbers


def test_page_needs_nothing_from_elsewhere_and_runs_nothing(run):
    seen = Seen(run.text)
    assert not {"script", "img", "link", "iframe", "object", "embed", "image", "base"} & set(seen.tags)
    for name, value in seen.attributes:
        assert name not in ("src", "srcset", "href", "action", "data") and not name.startswith("on"), name
        assert "http" not in value or name.startswith("xmlns"), (name, value)
        assert name != "xlink:href" or value.startswith("#")
    style = "".join(re.findall("<style.*?</style>", run.text, flags=re.DOTALL)) + "".join(
        re.findall('style="(.*?)"', run.text)
    )
    assert "@import" not in style and re.findall(r"url\((?!#)", style) == []
    assert "default-src 'none'; style-src 'unsafe-inline'" in dict(seen.attributes)["content"]
    assert "<b>Title" not in run.text and "<b>Title</b> & $co" in seen.text
    for name in NAMES[:2]:
        assert sum(name in text for text in seen.text) >= 1
    assert NAMES[2] in seen.text


def test_model_is_as_before(run):
    assert run.model.watch is None
    assert [path.name for path in run.path.parent.iterdir()] == ["report.html"]


def shades(path):
    """The number of colours of a PNG of 8 bits a channel."""
    data = path.read_bytes()
    place, width, packed = 8, 0, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        width = struct.unpack(">I", body[:4])[0] if kind == b"IHDR" else width
        packed += body if kind == b"IDAT" else b""
        place += length + 12
    rows = zlib.decompress(packed)
    return len(set(rows)) if width else 0


@pytest.mark.skipif(BROWSER is None, reason="no Chromium in PATH")
@pytest.mark.parametrize("width", [1250, 500])
def test_browser_shows_the_page(run, tmp_path, width):
    picture = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1600", "--enable-logging=stderr"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", "--dump-dom"]
    done = subprocess.run([BROWSER, *options, run.path.as_uri()], capture_output=True, text=True, timeout=120)
    if not picture.exists():  # Some versions do one thing at a time.
        subprocess.run([BROWSER, *options[:-1], run.path.as_uri()], capture_output=True, timeout=120, check=True)
    if "<h2>" not in done.stdout:
        command = [BROWSER, *options[:-2], "--dump-dom", run.path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert re.findall("<h2>(.*?)</h2>", done.stdout) == HEADINGS
    assert done.stdout.count("<svg") == done.stdout.count("</svg>") == 12
    assert "<script" not in done.stdout and "고양이" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr
    assert shades(picture) > 100


def network(outputs=3, activation=None):
    return keras.Sequential([keras.Input([5]), keras.layers.Dense(outputs, activation=activation)])


def plain(loss=recipes.LOSS, model=None, **options):
    model = network() if model is None else model
    model.compile(keras.optimizers.SGD(0.1), loss=loss, **options)
    return model


def fit(model, report, *callbacks, epochs=1, data=None, **options):
    x, y = recipes.examples(10) if data is None else data
    return model.fit(x, y, batch_size=2, epochs=epochs, verbose=0, callbacks=[*callbacks, report], **options).history


def test_other_keras_models_show_their_epochs(tmp_path):
    path = tmp_path / "a.html"
    data = recipes.examples(20)
    model = plain(metrics=["accuracy"])
    history = fit(model, kc.callbacks.TrainingReport(path), epochs=3, data=data, validation_data=data)
    seen = Seen(path.read_text(encoding="utf-8"))
    assert seen.card("val_loss") == f"{history['val_loss'][-1]:.4g}"
    labels = [value for name, value in seen.attributes if name == "aria-label"]
    assert labels == ["Loss and its terms", "Accuracy", "Generalisation gap"]
    assert "Validation" not in seen.text and any(text.endswith(", 30 steps") for text in seen.text)


def test_without_validation_there_is_no_gap(tmp_path):
    path = tmp_path / "a.html"
    fit(plain(), kc.callbacks.TrainingReport(path))
    assert Seen(path.read_text(encoding="utf-8")).attributes.count(("aria-label", "Loss and its terms")) == 1
    assert "Generalisation gap" not in path.read_text(encoding="utf-8")


def test_regression_shows_answers_over_labels(tmp_path):
    path = tmp_path / "a.html"
    x, _ = recipes.examples(20)
    y = x.sum(axis=1)
    model = plain("mse", network(1))
    report = kc.callbacks.TrainingReport(path, validation_data=(x, y), unlabeled_data=(x, y))
    fit(model, report, data=(x, y))
    seen = Seen(path.read_text(encoding="utf-8"))
    error = np.abs(model.predict(x, verbose=0)[:, 0] - y).mean()
    assert float(seen.card("mean absolute error")) == pytest.approx(error, rel=1e-3)
    assert ("aria-label", "Answers over labels") in seen.attributes
    assert "The model answers numbers, not classes." in seen.text


def test_answers_in_a_dictionary_are_judged_by_their_name(tmp_path):
    path, data = tmp_path / "a.html", recipes.examples(10)
    inputs = keras.Input([5])
    scores = keras.layers.Dense(3)(inputs)
    outputs = {"other": -scores, "scores": keras.layers.Softmax()(scores)}
    loss = {"scores": "sparse_categorical_crossentropy"}
    model = plain(loss, keras.Model(inputs, outputs))
    report = kc.callbacks.TrainingReport(path, validation_data=data, prediction="scores")
    fit(model, report, data=(data[0], {"scores": data[1]}))
    right = np.mean(model.predict(data[0], verbose=0)["scores"].argmax(axis=1) == data[1])
    assert Seen(path.read_text(encoding="utf-8")).card("accuracy") == f"{right:.4f}"


def test_what_cannot_be_judged_is_said_once_and_the_rest_is_shown(tmp_path):
    path = tmp_path / "a.html"
    x, y = recipes.examples(10)
    report = kc.callbacks.TrainingReport(path, validation_data=(x, y + 5), every_seconds=0)
    with pytest.warns(UserWarning, match="without what `validation_data` shows: ValueError") as caught:
        fit(plain(), report, epochs=3)
    assert len(caught) == 1
    text = path.read_text(encoding="utf-8")
    assert "labels from 5 to 7" in text and "What went wrong with this report" in text and "Loss and its terms" in text


def test_losses_that_are_not_finite_are_shown_as_such(tmp_path):
    path = tmp_path / "a.html"
    x, y = recipes.examples(10)
    report = kc.callbacks.TrainingReport(path, validation_data=(x, y))
    fit(plain(), report, data=(x * np.float32("nan"), y), epochs=2)
    seen = Seen(path.read_text(encoding="utf-8"))
    assert seen.card("loss") == "nan"
    assert ("aria-label", "Loss and its terms") in seen.attributes
    assert "The model's answers are not finite." in seen.text


def at_epoch(number, function):
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: function() if epoch == number else None)


@pytest.mark.parametrize("trouble", ["deleted", "a directory"])
def test_training_is_not_lost_to_a_page_that_cannot_be_written(tmp_path, monkeypatch, trouble):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "a.html"

    def spoil():
        path.unlink()
        shutil.rmtree(folder) if trouble == "deleted" else path.mkdir()

    monkeypatch.setattr(History, "charts", lambda *_, **__: "")  # Drawing takes time.
    report = kc.callbacks.TrainingReport(path, every_seconds=0)
    model = plain()
    with pytest.warns(UserWarning, match="goes without the page: (FileNotFound|IsADirectory)Error") as caught:
        history = fit(model, report, at_epoch(1, spoil), epochs=4)
    assert len(caught) == 1 and len(history["loss"]) == 4
    assert not folder.exists() or [each.name for each in folder.iterdir()] == ["a.html"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    fit(model, report)
    assert "the page: " in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_interruption_the_last_page_is_whole(tmp_path, error):
    path = tmp_path / "a.html"

    def interrupt():
        raise error("now")

    report = kc.callbacks.TrainingReport(path, every_seconds=0)
    with pytest.raises(error, match="now"):
        fit(plain(), report, at_epoch(2, interrupt), epochs=4)
    text = path.read_text(encoding="utf-8")
    assert text.endswith("</html>\n") and ", training " in text and ", 10 steps" in text


def test_another_fit_goes_on_and_another_model_starts_anew(tmp_path):
    path = tmp_path / "a.html"
    report, model = kc.callbacks.TrainingReport(path), plain(steps_per_execution=2)
    fit(model, report, epochs=2)  # Five steps an epoch, in executions of two.
    assert ", 10 steps" in path.read_text(encoding="utf-8")
    fit(model, report, epochs=3, initial_epoch=2)
    assert ", 15 steps" in path.read_text(encoding="utf-8")
    fit(plain(), report)
    assert ", 5 steps" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("replicas", "steps"), [(2, 1), (1, 2)])
def test_replicas_executions_of_several_steps_and_a_later_monitor(tmp_path, replicas, steps):
    path = tmp_path / "a.html"
    with strategy_of(replicas).scope():
        model = recipes.model("pi_model", compiled={"steps_per_execution": steps})
        batches = recipes.batches()
    monitor = kc.callbacks.StabilityMonitor(react="skip", verbose=0, every=2)
    report = kc.callbacks.TrainingReport(path, validation_data=recipes.examples(30), monitor=monitor)
    history = model.fit(batches, epochs=2, verbose=0, shuffle=False, callbacks=[report, monitor]).history
    curves = report._history._steps
    for name in ("loss", "consistency_loss"):
        steps, values, _, _ = curves[name].curve()
        assert steps == list(range(1, 9))
        np.testing.assert_allclose(np.reshape(values, [2, 4]).mean(axis=1), history[name], rtol=1e-5)
    assert set(curves["skipped"].curve()[1]) == {0.0} and model.watch is None
    # Another fit goes on.
    model.fit(batches, verbose=0, shuffle=False, callbacks=[report, monitor])
    assert curves["loss"].curve()[0] == list(range(1, 13))


def test_weights_are_those_without_a_report(tmp_path):
    data = recipes.examples(10)
    found = []
    for callbacks in ([], [kc.callbacks.TrainingReport(tmp_path / "a.html", validation_data=data, every_seconds=0)]):
        keras.utils.set_random_seed(1)
        model = plain(model=recipes.student(dropout=0.5))
        model.fit(*data, batch_size=2, epochs=3, verbose=0, callbacks=callbacks)
        found.append(model.get_weights())
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_csv_log_keeps_working(tmp_path):
    report = kc.callbacks.TrainingReport(tmp_path / "a.html", every_seconds=0)
    history = fit(plain(), report, keras.callbacks.CSVLogger(tmp_path / "log.csv"), epochs=2)
    with (tmp_path / "log.csv").open() as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == pytest.approx(history["loss"])


def test_tensorboard_keeps_working(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    report = kc.callbacks.TrainingReport(tmp_path / "a.html", every_seconds=0)
    fit(plain(), report, keras.callbacks.TensorBoard(tmp_path / "events"), epochs=2)
    assert [path for path in (tmp_path / "events").rglob("events.out*") if path.stat().st_size > 0]


class Clock:
    """A time in which an epoch takes 100 s and writing a page 30 s."""

    def __init__(self):
        self.now, self.written = 0.0, []

    def monotonic(self):
        return self.now

    def strftime(self, form):
        return f"{self.now:g}"

    def epoch(self):
        self.now += 100.0
        self.count = getattr(self, "count", 0) + 1

    def write(self, path, text):
        self.now += 30.0
        self.written.append(self.count)


@pytest.mark.parametrize(
    ("every", "expected"),
    [(60.0, [1, 16, 20]), (float("inf"), [1, 20]), (0, [*range(1, 21), 20])],
    ids=["minute", "never", "always"],
)
def test_time_for_writing_is_bounded_and_networks_are_judged_for_pages_only(tmp_path, monkeypatch, every, expected):
    clock, judged = Clock(), []
    report = kc.callbacks.TrainingReport(tmp_path / "a.html", validation_data=recipes.examples(10), every_seconds=every)
    monkeypatch.setattr(training_report, "time", clock)
    monkeypatch.setattr(page, "write", clock.write)
    monkeypatch.setattr(History, "charts", lambda *_, **__: "")  # Drawing takes time.
    monkeypatch.setattr(judge, "judge", lambda *_, **__: judged.append(clock.count))
    report.set_model(plain())
    report.set_params({"steps": 1})
    report.on_train_begin()
    for epoch in range(20):
        report.on_epoch_begin(epoch)
        clock.epoch()
        report.on_train_batch_begin(0)
        report.on_epoch_end(epoch, {"loss": 1.0})
    report.on_train_end()
    assert clock.written == judged == expected


def test_page_is_written_within_long_epochs(tmp_path, monkeypatch):
    clock = Clock()
    report = kc.callbacks.TrainingReport(tmp_path / "a.html", every_seconds=60.0)
    monkeypatch.setattr(training_report, "time", clock)
    monkeypatch.setattr(page, "write", clock.write)
    monkeypatch.setattr(History, "charts", lambda *_, **__: "")  # Drawing takes time.
    report.set_model(plain())
    report.set_params({"steps": 1000})
    report.on_train_begin()
    report.on_epoch_begin(0)
    for batch in range(3):
        clock.epoch()
        report.on_train_batch_begin(batch)
    assert clock.written == [1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": "a.txt"}, ValueError, "`path` must end in .html. Received: path="),
        ({"path": "missing/a.html"}, ValueError, "`path` must name a file in a folder that is there: make .*missing"),
        ({"path": "folder.html"}, ValueError, "`path` must name a file in a folder"),
        ({"path": "a" * 300 + ".html"}, ValueError, "`path` must be a file that can be written .*too long"),
        ({"path": 3}, TypeError, "`path` must be the path of a file. Received: path=3"),
        ({"monitor": "m"}, TypeError, "`monitor` must be a `kc.callbacks.StabilityMonitor` or None"),
        ({"threshold": 1.5}, ValueError, r"`threshold` must be a number in \[0, 1\]"),
        ({"every_seconds": -1}, ValueError, "`every_seconds` must be a number in"),
        ({"class_names": "abc"}, TypeError, "`class_names` must be a list of strings or None"),
        ({"class_names": [1]}, TypeError, "`class_names` must be a list of strings or None"),
        ({"validation_data": 3}, TypeError, "`validation_data` must be a tuple"),
        ({"unlabeled_data": (np.zeros(3),)}, ValueError, "`unlabeled_data` must have two parts"),
    ],
)
def test_bad_arguments(tmp_path, options, error, message):
    (tmp_path / "folder.html").mkdir()
    path = options.get("path", "a.html")
    path = tmp_path / path if isinstance(path, str) else path
    with pytest.raises(error, match=message):
        kc.callbacks.TrainingReport(path, **{name: value for name, value in options.items() if name != "path"})


def test_a_page_that_is_there_stays_until_the_first_epoch_is_over(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("of before")
    kc.callbacks.TrainingReport(path)
    assert path.read_text() == "of before" and [each.name for each in tmp_path.iterdir()] == ["a.html"]


def test_relative_path_is_that_of_the_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = kc.callbacks.TrainingReport("a.html")
    monkeypatch.chdir(pathlib.Path("/"))
    fit(plain(), report)
    assert (tmp_path / "a.html").exists()


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install keras-consistency\[report\]"):
        kc.callbacks.TrainingReport(tmp_path / "a.html")


def test_warnings_that_are_errors_do_not_come_from_drawing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = kc.callbacks.TrainingReport(
            tmp_path / "a.html", class_names=NAMES, validation_data=recipes.examples(10)
        )
        fit(plain(), report)
    assert NAMES[2] not in (tmp_path / "a.html").read_text(encoding="utf-8")  # in a matrix, names are cut
    assert "고양이" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_training_is_not_lost_where_warnings_are_errors(tmp_path, capsys):
    x, y = recipes.examples(10)
    report = kc.callbacks.TrainingReport(tmp_path / "a.html", validation_data=(x, y + 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(plain(), report)
    assert "goes without what `validation_data` shows" in capsys.readouterr().err
    assert ", finished " in (tmp_path / "a.html").read_text(encoding="utf-8")
