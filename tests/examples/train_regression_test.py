"""The regression example: what it says, what it refuses, what it writes."""

import functools
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from absl import app

from tests.examples import running

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ("--labels=20", "--steps=5", "--batch_size=4", "--ratio=2", "--runs=2", "--seed=3")
NUMBERS = np.random.default_rng(0)
FLAGS = ["labels", "steps", "batch_size", "ratio", "learning_rate", "runs", "seed", "output_dir"]

# tensorflow-datasets and its dependencies, on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


run = functools.partial(running.run, "train_regression")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a few steps: folder, output, results."""
    output = tmp_path_factory.mktemp("regression") / "new"
    status, out, err = run(*TINY, f"--output_dir={output}")
    assert status == 0, err[-2000:]
    return output, out, json.loads((output / "results.json").read_text())


@pytest.fixture(scope="module")
def example():
    """The example as a module, for what needs no process."""
    from examples import train_regression  # late: its imports may warn

    return train_regression


def test_run_writes_results_table_and_model(tiny):
    output, out, results = tiny
    assert sorted(path.name for path in output.iterdir()) == ["results.json", "saved_model"]
    assert {"labels": 20, "steps": 5, "batch_size": 4, "ratio": 2, "runs": 2, "seed": 3}.items() <= results.items()
    assert list(results["results"]) == ["supervised", "consistency"]
    for name, runs in results["results"].items():
        errors = [each["error"] for each in runs]
        assert len(errors) == 2 and 0.5 < min(errors) < max(errors) < 20
        figures = rf"{np.mean(errors):.3f} ± {np.std(errors):.3f}"
        assert re.search(rf"^{name} +20 +5 +{figures} +\d+$", out, re.MULTILINE)
    assert results["results"]["supervised"] != results["results"]["consistency"]


def test_saved_model_serves_the_measured_network_in_plain_tensorflow(tiny, example):
    output, _, results = tiny
    x, y = example.numbers(example.kc.datasets.load("mnist5k")[1])
    archive = tf.saved_model.load(str(output / "saved_model"))
    error = np.abs(archive.serve(tf.constant(x, tf.float32)).numpy() - y).mean()
    assert error == pytest.approx(results["results"]["consistency"][-1]["error"], rel=1e-4)


def test_both_models_start_alike_and_the_baseline_sees_no_unlabelled_image(example):
    x, y = (NUMBERS.integers(0, 255, [40, 28, 28, 1]).astype("uint8"), NUMBERS.uniform(0, 9, [40, 1]).astype("float32"))
    budget = {"labels": 8, "steps": 1, "batch_size": 4, "ratio": 2, "learning_rate": 0.0, "seed": 1}
    answers = []
    for consistency in (False, True):
        model, _ = example.train(consistency, (x, y), (x, y), **budget)
        answers.append(model.predict(x, verbose=0))
    np.testing.assert_allclose(*answers, atol=1e-5)
    budget["learning_rate"] = 0.01
    others = x.copy()
    known = np.random.default_rng(1).permutation(40)[:8]
    others[np.setdiff1d(np.arange(40), known)] = 0
    for consistency in (False, True):
        one, other = (
            example.train(consistency, (images, y), (x, y), **budget)[0].predict(x, verbose=0) for images in (x, others)
        )
        assert (np.abs(one - other).max() > 1e-4) == consistency


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels=4001"], ("--labels must be at most 4000", "4001")),
        (["--batch_size=2000", "--ratio=3"], ("--batch_size times --ratio", "6000")),
    ],
)
def test_more_than_there_is_is_refused_before_anything_is_written(arguments, words, tmp_path):
    status, out, err = run(*arguments, f"--output_dir={tmp_path}/new")
    assert status == 1 and "Traceback" not in out + err
    for word in words:
        assert word in out + err
    assert not list(tmp_path.iterdir())


def test_output_that_is_not_empty_is_refused(example, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(app.UsageError, match="--output_dir must be a new or an empty directory.*with files"):
        example.outputs.prepare(tmp_path)
    with pytest.raises(app.UsageError, match="--output_dir must be a directory to write to"):
        example.outputs.prepare(tmp_path / "notes.txt")


def test_help_names_every_flag():
    _, out, _ = run("--help")
    assert re.findall(r"^  --(\w+):", out, re.MULTILINE) == sorted(FLAGS)
    assert "python -m examples.train_regression" in out
