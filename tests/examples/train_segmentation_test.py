"""The segmentation example: what it says, what it refuses, what it writes."""

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


run = functools.partial(running.run, "train_segmentation")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a few steps: folder, output, results."""
    output = tmp_path_factory.mktemp("segmentation") / "new"
    status, out, err = run(*TINY, f"--output_dir={output}")
    assert status == 0, err[-2000:]
    return output, out, json.loads((output / "results.json").read_text())


@pytest.fixture(scope="module")
def example():
    """The example as a module, for what needs no process."""
    from examples import train_segmentation  # late: its imports may warn

    return train_segmentation


def test_run_writes_results_table_scenes_and_model(tiny):
    output, out, results = tiny
    assert sorted(path.name for path in output.iterdir()) == ["results.json", "saved_model", "scenes.png"]
    assert (output / "scenes.png").read_bytes().startswith(b"\x89PNG")
    assert {"labels": 20, "steps": 5, "batch_size": 4, "ratio": 2, "runs": 2, "seed": 3}.items() <= results.items()
    assert list(results["results"]) == ["supervised", "consistency"]
    for name, runs in results["results"].items():
        values = [each["mean_iou"] for each in runs]
        assert len(values) == 2 and 0 < min(values) <= max(values) < 0.5
        figures = rf"{np.mean(values):.3f} ± {np.std(values):.3f}"
        assert re.search(rf"^{name} +20 +5 +{figures} +\d+$", out, re.MULTILINE)


def test_saved_model_serves_the_measured_network_in_plain_tensorflow(tiny, example):
    output, _, results = tiny
    x, y = example.scenes(example.kc.datasets.load("mnist5k")[1], count=example.TEST, seed=2)
    archive = tf.saved_model.load(str(output / "saved_model"))
    found = archive.serve(tf.constant(x, tf.float32)).numpy().argmax(axis=-1)
    overlap = [np.sum((found == each) & (y == each)) for each in range(11)]
    union = [np.sum((found == each) | (y == each)) for each in range(11)]
    measured = results["results"]["consistency"][-1]["mean_iou"]
    assert np.divide(overlap, union).mean() == pytest.approx(measured, rel=1e-3)


def test_scenes_show_two_digits_and_masks_their_ink(example):
    digits = NUMBERS.integers(100, 255, [30, 28, 28, 1]).astype("uint8"), np.arange(30) % 10
    x, y = example.scenes(digits, count=15, seed=1)
    assert x.shape == (15, 16, 32, 1) and x.dtype == np.uint8 and y.shape == (15, 16, 32)
    assert np.bincount(y.ravel()).tolist()[:10] == [3 * 14 * 14] * 10, "each digit comes once, and all of it is ink"
    np.testing.assert_array_equal(x[..., 0] >= example.INK, y != example.BACKGROUND)
    for mask in y:
        assert [len(np.setdiff1d(half, [10])) for half in (mask[:, :16], mask[:, 16:])] == [1, 1]


def test_labelled_scenes_and_masks_move_together(example):
    ink = NUMBERS.uniform(size=[8, 4, 8]) < 0.5
    ink = ink.repeat(4, axis=1).repeat(4, axis=2)
    x = np.where(ink, 200, 0).astype("uint8")[..., np.newaxis]
    y = np.where(ink, 3, example.BACKGROUND)
    data = tf.data.Dataset.from_tensors(({"labeled": x, "unlabeled": x}, y))
    ((inputs, masks),) = example.moved(data, seed=1)
    assert np.mean(inputs["labeled"] != x) > 0.05
    np.testing.assert_array_equal(inputs["unlabeled"], x)
    assert set(np.unique(masks)) == {3, example.BACKGROUND}
    assert np.mean((masks == 3) == (inputs["labeled"][..., 0] >= 100)) > 0.99


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels=2001"], ("--labels must be at most 2000", "2001")),
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
    assert "python -m examples.train_segmentation" in out
