"""The HTML of a report: text stays text, nothing comes from elsewhere, files are replaced as a whole."""

import html
import html.parser
import os

import numpy as np
import pytest

from keras_consistency.report import charts, page
from keras_consistency.report.history import History
from keras_consistency.report.series import Series

NASTY = "<script>alert(1)</script> & $x^2$ $ \"q\" 'p' \\frac \x07 고양이 _"


class Seen(html.parser.HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def history(steps, names=("loss", "consistency_mask_rate")):
    found = History()
    values = np.random.default_rng(0).uniform(size=[steps, len(names)]).tolist()
    for step, row in enumerate(values, start=1):
        found.add_step(step, dict(zip(names, row, strict=True)))
    return found


def event(number):
    return {"cause": "loss_spike", "evidence": f"evidence {number}", "advice": NASTY, "actions": ["one", "two"]}


def test_text_of_users_is_escaped_wherever_it_stands():
    series = Series()
    series.add(1, 1.0)
    found = history(3, names=(f"{NASTY}loss",))
    found.add_event(1, event(1))
    sections = [
        (NASTY, page.cards({NASTY: NASTY}) + page.code(NASTY) + page.note(NASTY) + page.dim(NASTY)),
        ("b", page.figure(NASTY, charts.lines({NASTY: series}, label="loss"), legend=charts.colours([NASTY]))),
        ("c", page.figure("d", charts.confusion(np.eye(2, dtype=int), [NASTY, "e"]))),
        ("f", found.charts(teacher=False) + found.events() + page.table((NASTY,), [(NASTY,)])),
    ]
    seen = Seen(page.document(NASTY, NASTY, sections))
    assert "script" not in seen.tags and "frac" not in seen.tags
    assert sum(NASTY in text for text in seen.text) >= 12


def test_names_that_matplotlib_could_take_for_mathematics_are_drawn():
    for name in ("$", "$x", "$x^$", r"\$", "_hidden", "ᄒ" * 300, "\ud800"):
        assert charts.confusion(np.eye(2, dtype=int), [name, "b"]).startswith("<svg")


def test_a_long_training_makes_a_small_page():
    names = [f"term_{number}_{kind}" for number in range(3) for kind in ("loss", "mask_rate", "agreement")]
    found = history(100_000, names=("loss", "learning_rate", "gradient_norm", "update_ratio", *names))
    for number in range(1000):
        found.add_event(100 * number, event(number))
    text = page.document("a", "b", [("c", found.charts(teacher=True) + found.events())])
    assert text.count("<figure") == 6
    assert len(text.encode()) < 2_000_000
    assert "800 between the first and the last 100 are left out." in text


def test_each_curve_of_an_epoch_is_shown_once():
    found = History()
    logs = {"loss": 1.0, "my_error_rate": 0.5, "accuracy": 0.5, "learning_rate": 0.1, "clip_rate": 0.2, "odd": 3.0}
    logs |= {"val_loss": 2.0, "val_accuracy": 0.6, "val_my_error_rate": 0.5, "val_alone": 1.0}
    found.add_epoch(1, logs)
    titles = [title for title, curves, *_ in found._groups(("", "", "")) if curves]
    assert titles == [
        "Loss and its terms",
        "Accuracy",
        "Generalisation gap",
        "Learning rate",
        "Clipping and skipped steps",
        "Other metrics",
    ]
    curves = {title: curves for title, curves, *_ in found._groups(("", "", ""))}
    shown = [name for title, each in curves.items() for name in each if title != "Generalisation gap"]
    assert sorted(shown) == sorted(logs)
    gaps = {name: series.curve()[1][0] for name, series in curves["Generalisation gap"].items()}
    assert gaps == pytest.approx({"loss": 1.0, "accuracy": 0.1, "my_error_rate": 0.0})


def test_curves_that_are_never_finite_have_their_place():
    found = History()
    for step in (1, 2, 3):
        found.add_step(step, {"loss": float("nan"), "learning_rate": 0.1})
    assert found.charts(teacher=False).count("<figure") == 2


def test_interrupted_writing_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    page.write(path, "old")
    path.chmod(0o600)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            page.write(path, "new")
    assert path.read_text() == "old"
    page.write(path, "half a pair: \ud800")
    assert path.read_text() == r"half a pair: \ud800"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a.html"]
