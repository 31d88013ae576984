"""The stability example: what it says, what it refuses, what it writes."""

import functools
import json
import pathlib
import re

import numpy as np
import pytest
from absl import app

from tests.examples import running

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ("--rows=rate+monitor,all", "--steps=30", "--batch_size=8", "--ratio=1", "--runs=1", "--seed=3")
FLAGS = (
    "rows labels imbalance learning_rate bad_share bad_factor steps batch_size ratio runs seed [no]report output_dir"
)
NUMBERS = np.random.default_rng(0)
X = NUMBERS.integers(0, 255, [120, 28, 28, 1]).astype("uint8")
Y = np.arange(120) % 10

# tensorflow-datasets and its dependencies, on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


run = functools.partial(running.run, "stabilize")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a few steps: folder, output, results."""
    output = tmp_path_factory.mktemp("stabilize") / "new"
    status, out, err = run(*TINY, "--report", f"--output_dir={output}")
    assert status == 0, err[-2000:]
    return output, out, json.loads((output / "results.json").read_text())


@pytest.fixture(scope="module")
def example():
    """The example as a module, for what needs no process."""
    from examples import stabilize  # late: its imports may warn

    return stabilize


def result(accuracy, *, fall=0.0, finite=True, events=None):
    """What a training gives, as `train` returns it."""
    history = [0.5, 0.75, accuracy]
    rest = {"acted": 0, "steps": 30, "seconds": 2.0, "history": history}
    return {"accuracy": accuracy, "best": 0.75, "fall": fall, "finite": finite, "events": events or {}, **rest}


def test_run_writes_results_curves_table_and_report(tiny):
    output, out, results = tiny
    assert sorted(path.name for path in output.iterdir()) == ["curves.png", "report.html", "results.json"]
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "rate + clipping + regularization" in (output / "report.html").read_text()
    assert {"labels": 50, "steps": 30, "batch_size": 8, "bad_factor": 10.0, "seed": 3}.items() <= results.items()
    assert list(results["results"]) == ["rate+monitor", "all"]
    for name, runs in results["results"].items():
        (only,) = runs
        assert only["steps"] == 30 and len(only["history"]) == 30 and only["best"] == max(only["history"])
        figures = rf"{only['accuracy']:.1%} +{only['accuracy']:.1%} +{only['best']:.1%} +{only['fall']:.1%} +0/1"
        assert re.search(rf"^{re.escape(name)} +{figures}", out, re.MULTILINE)
    assert len({tuple(runs[0]["history"]) for runs in results["results"].values()}) == 2


def test_table_counts_what_was_lost_and_what_was_reported(example):
    lost = result(0.1, fall=0.5, finite=False, events={"not_finite": 1, "loss_spike": 2})
    results = {"nothing": [lost, result(0.7, events={"loss_spike": 1})], "all": [result(0.9), result(0.8)]}
    nothing, everything = example.table(results).splitlines()[2:]
    assert nothing.split() == "nothing 40.0% 10.0% 75.0% 25.0% 1/2 2 not_finite 1, loss_spike 3".split()
    assert everything.split() == "all 85.0% 80.0% 75.0% 0.0% 0/2 2 -".split()


def test_fall_is_from_a_value_to_a_later_one(example):
    assert example.largest_fall([0.2, 0.9, 0.6, 0.8, 0.5]) == pytest.approx(0.4)
    assert example.largest_fall([0.1, 0.1, 0.3]) == 0


def test_accuracy_counts_every_class_alike(example):
    answers = np.eye(3)[[0, 0, 0, 0, 1, 0]]  # of six examples, four of class 0
    labels = np.array([0, 0, 0, 0, 1, 2])
    assert example.balanced_accuracy(lambda x, training: answers, (X[:6], labels)) == pytest.approx(2 / 3)


def test_each_measure_is_built(example):
    models = {
        measure: example.build_model((measure,), example.build_student((28, 28, 1), 10))
        for measure in ("rate", "clipping", "regularization", "average", "consistency")
    }
    assert [name for name, model in models.items() if model.clipping is not None] == ["clipping"]
    assert [name for name, model in models.items() if model.teacher.network is not model.student] == ["average"]
    assert [name for name, model in models.items() if model.terms] == ["consistency"]
    assert [name for name, model in models.items() if model.student.losses] == ["regularization"]
    everything = example.build_model(example.ALL, example.build_student((28, 28, 1), 10))
    assert everything.clipping is not None and everything.terms and everything.student.losses
    assert everything.teacher.network is not everything.student


def test_bad_steps_have_large_weights_and_rows_see_the_same(example):
    budget = {"steps": 40, "batch_size": 8, "ratio": 1, "bad_share": 0.25, "bad_factor": 7.0, "seed": 1}
    plain = list(example.batches((), (X[:40], Y[:40]), X, **budget))
    both = list(example.batches(("consistency",), (X[:40], Y[:40]), X, **budget))
    wrong = example.bad_steps(0.25, 40, 1)
    assert 3 < wrong.sum() < 20 and not wrong[:2].any()
    for bad, (x, y, weights), (inputs, others, _) in zip(wrong, plain, both, strict=True):
        np.testing.assert_array_equal(weights, np.full(8, 7.0 if bad else 1.0, "float32"))
        np.testing.assert_array_equal(x, inputs["labeled"])
        np.testing.assert_array_equal(y, others)
    balanced = example.batches(("balance",), (X[:40], np.arange(40) // 30), X, **budget)
    assert all(np.sum(y) == 4 for _, y, _ in balanced)


def test_only_the_monitor_acts_and_weights_that_are_lost_are_seen(example):
    budget = {"labels": 8, "imbalance": 2.0, "steps": 60, "batch_size": 8, "ratio": 1, "learning_rate": 0.02}
    data = (X, Y), (X[:20], Y[:20]), (X[:20], Y[:20])
    found = {
        measures: example.train(measures, *data, bad_share=0.1, bad_factor=float("inf"), **budget)[1]
        for measures in ((), ("monitor",))
    }
    assert not found[()]["finite"] and found[()]["acted"] == 0 and "not_finite" in found[()]["events"]
    assert found["monitor",]["finite"] and found["monitor",]["acted"] > 0


def test_plot_has_a_panel_a_row(example, tmp_path, monkeypatch):
    figures = []
    close = example.pyplot.close
    monkeypatch.setattr(example.pyplot, "close", figures.append)
    rows = {name: [result(0.6), result(0.8)] for name in example.ROWS[:7]}
    example.plot(rows, 30, tmp_path / "curves.png")
    (figure,) = figures
    panels = [axes.get_title(loc="left") for axes in figure.axes]
    assert panels == [f"{name}: 70%" for name in example.ROWS[:7]]
    assert [len(axes.lines) for axes in figure.axes] == [2] + 6 * [4]
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    close(figure)


def test_rows_are_measures_joined(example):
    rows = example.chosen(["nothing", "monitor+rate", "all"])
    assert rows == {"nothing": (), "monitor+rate": ("rate", "monitor"), "all": example.ALL}
    for wrong in (["rate+cliping"], [""], ["nothing+rate"]):
        with pytest.raises(app.UsageError, match="--rows must be nothing, all, or some of rate, .*Received: "):
            example.chosen(wrong)
    with pytest.raises(app.UsageError, match="--rows must name at least one row"):
        example.chosen([])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 31}, "--steps must be a multiple of 30. Received: 31"),
        ({"labels": 13}, "--labels, --imbalance, .*`largest` must leave at most 12"),
        ({"labels": 3, "imbalance": 4.0}, "--labels, --imbalance, .*`largest`.*largest=3, imbalance=4"),
        ({"batch_size": 61, "ratio": 2}, "--labels, --imbalance, --batch_size and --ratio: .*12[02]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(example, wrong, words):
    sizes = {"labels": 12, "imbalance": 2.0, "steps": 30, "batch_size": 8, "ratio": 1}
    example.check((X, Y), **sizes)
    with pytest.raises(app.UsageError, match=words):
        example.check((X, Y), **(sizes | wrong))


def test_wrong_flags_end_without_a_traceback_or_a_folder(tmp_path):
    status, out, err = run("--labels=301", f"--output_dir={tmp_path}/new")
    assert status == 1 and "Traceback" not in out + err and "largest=301" in out + err
    assert not list(tmp_path.iterdir())


def test_help_names_every_flag():
    _, out, _ = run("--help")
    assert sorted(re.findall(r"^  --([\w\[\]]+):", out, re.MULTILINE)) == sorted(FLAGS.split())
    assert "python -m examples.stabilize" in out
