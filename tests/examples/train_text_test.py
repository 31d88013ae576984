"""The text example: what it says, what it refuses, what it writes."""

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
TINY = ("--labels=20", "--steps=10", "--batch_size=4", "--ratio=2", "--seed=3")
FLAGS = "recipe dataset labels steps batch_size ratio learning_rate lexicon runs seed output_dir".split()
LEXICON = ROOT / "tests" / "augment" / "text" / "lexicon.tsv"

# tensorflow-datasets and its dependencies, on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


run = functools.partial(running.run, "train_text")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a few steps: folder, output, results."""
    output = tmp_path_factory.mktemp("text") / "new"
    status, out, err = run(*TINY, f"--output_dir={output}")
    assert status == 0, err[-2000:]
    return output, out, json.loads((output / "results.json").read_text())


@pytest.fixture(scope="module")
def example():
    """The example as a module, for what needs no process."""
    from examples import train_text  # late: its imports may warn

    return train_text


def reviews(count):
    """Made-up reviews that one word tells apart, and their labels."""
    labels = np.arange(count) % 2
    texts = [f"Film {number % 7}.<br />It is {['a bore', 'a joy'][label]}!" for number, label in enumerate(labels)]
    return np.array([text.encode() for text in texts], dtype=object), labels


def test_run_writes_results_curves_and_table(tiny):
    output, out, results = tiny
    assert sorted(path.name for path in output.iterdir()) == ["curves.png", "results.json", "saved_model"]
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    expected = {"dataset": "imdb25k", "labels": 20, "steps": 10, "batch_size": 4, "ratio": 2, "seed": 3}
    assert expected.items() <= results.items()
    assert list(results["runs"]) == ["supervised", "uda"]
    for name, (result,) in results["runs"].items():
        curve = result["history"]["val_accuracy"]
        assert len(curve) == 10 and 0.4 < min(curve) <= max(curve) < 0.9
        assert result["accuracy"] == curve[-1], "the last step counts, not the best one"
        shown = f"{result['accuracy']:.1%}"
        assert re.search(rf"^{name} +20 +10 +{shown} +{result['seconds']:.0f} +{shown}$", out, re.MULTILINE)


def test_table_and_curves_show_every_run(example, tmp_path):
    runs = [{"accuracy": value, "seconds": 7.0, "history": {"val_accuracy": [value] * 10}} for value in (0.6, 0.7)]
    shown = example.table({"uda": runs}, 100, 600).splitlines()[1]
    assert shown.split() == ["uda", "100", "600", "65.0%", "7", "60.0%", "70.0%"]
    example.plot({"uda": runs}, 600, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_saved_model_serves_texts_in_plain_tensorflow(tiny, example):
    output, _, results = tiny
    texts, labels = example.kc.datasets.load("imdb25k")[1]
    archive = tf.saved_model.load(str(output / "saved_model"))
    answers = np.concatenate([archive.serve(tf.constant(part)).numpy() for part in np.split(texts, 10)])
    assert answers.shape == (5000, 2)
    measured = results["runs"]["uda"][-1]["accuracy"]
    assert np.mean(answers.argmax(axis=-1) == labels) == pytest.approx(measured, abs=1e-6)


def test_vocabulary_holds_what_is_neither_rare_nor_common(example):
    texts = [b"The good, the bad<br />film", b"The GOOD film", "L'été: the film".encode(), b"the end; it's bad-bad"]
    words, weights = example.vocabulary(texts, least=0.5, most=0.75)
    assert words == [b"bad", b"film", b"good"]
    np.testing.assert_allclose(weights, np.log([2, 4 / 3, 2]), rtol=1e-6)
    assert b"l'\xc3\xa9t\xc3\xa9" in example.vocabulary(texts, least=0.25, most=0.25)[0]
    with pytest.raises(ValueError, match="No word stands in 30.0% to 40% of the 4 texts"):
        example.vocabulary(texts, least=0.3, most=0.4)


def test_reader_numbers_known_words_to_the_end_of_a_text(example):
    read = example.Reader([b"bad", b"film", b"good"])
    long = b"the " * 500 + b"good " + b"bad " * 200
    numbers = read(tf.constant([b"A good<br />FILM.", b"", b"none of these", long])).numpy()
    assert numbers.shape == (4, example.WORDS)
    assert numbers[0, :3].tolist() == [3, 2, 0] and not numbers[1:3].any()
    assert numbers[3].tolist() == [3] + [1] * (example.WORDS - 1)


def test_student_sums_embeddings_weighted_to_unit_length(example):
    student = example.build_student(np.float32([3, 4]), 2)
    numbers = np.zeros([3, example.WORDS])
    numbers[1, 0], numbers[2, :2] = 1, [2, 1]
    (embeddings,) = (
        weights for weights in student.trainable_weights if len(weights.shape) == 2 and weights.shape[0] == 3
    )
    kernel, bias = student.layers[-1].get_weights()
    _, first, second = embeddings.numpy()
    expected = np.stack([0 * first, first, 0.6 * first + 0.8 * second]) @ kernel + bias
    np.testing.assert_allclose(student(numbers), expected, atol=1e-5)


@pytest.mark.parametrize("recipe", [pytest.param("dash", marks=pytest.mark.slow), "flexmatch"])
def test_other_recipes_train_with_a_lexicon_too(example, recipe):
    data = reviews(40)
    budget = {"labels": 4, "steps": 10, "batch_size": 2, "ratio": 2, "learning_rate": 0.01, "seed": 1}
    words = example.vocabulary(data[0], most=0.6)
    model, result = example.train(recipe, data, data, words, lexicon=str(LEXICON), **budget)
    assert model(tf.constant([b"a joy"])).shape == (1, 2)
    assert np.isfinite(result["history"]["loss"]).all()


def test_both_models_start_alike_and_the_baseline_sees_no_unlabelled_text(example):
    texts, labels = reviews(40)
    words = example.vocabulary(texts, most=0.6)
    known = example.kc.datasets.labeled_indices(labels, 4, seed=1)
    others = texts.copy()
    others[np.setdiff1d(np.arange(40), known)] = b"film joy bore"
    budget = {"labels": 8, "steps": 10, "batch_size": 4, "ratio": 2, "seed": 1}

    def answers(recipe, x, learning_rate):
        data = (x, labels)
        model, _ = example.train(recipe, data, data, words, learning_rate=learning_rate, **budget)
        return model(tf.constant(texts)).numpy()

    np.testing.assert_allclose(answers(None, texts, 0.0), answers("uda", texts, 0.0), atol=1e-6)
    np.testing.assert_allclose(answers(None, texts, 0.1), answers(None, others, 0.1), atol=1e-6)


def test_what_cannot_be_is_refused(example, tmp_path):
    with pytest.raises(app.UsageError, match="--dataset must hold texts.*--dataset=digits, with uint8 inputs"):
        example.load_texts("digits")
    with pytest.raises(app.UsageError, match="--dataset: `name` must be"):
        example.load_texts("nosuch")
    labels = np.arange(40) % 2
    with pytest.raises(app.UsageError, match="--labels must be a multiple .* classes, 2, .* 40. Received: --labels=5"):
        example.check_sizes(labels, labels=5, unlabeled=4)
    with pytest.raises(app.UsageError, match="--batch_size times --ratio must be at most .* 40. .* 41"):
        example.check_sizes(labels, labels=4, unlabeled=41)
    with pytest.raises(app.UsageError, match="--lexicon: .*nosuch"):
        example.check_lexicon(tmp_path / "nosuch")
    (tmp_path / "bad.tsv").write_text("no tab\n")
    with pytest.raises(app.UsageError, match="--lexicon: .*bad.tsv"):
        example.check_lexicon(tmp_path / "bad.tsv")


def test_mistake_ends_before_anything_is_written(tmp_path):
    status, out, err = run("--labels=7", f"--output_dir={tmp_path}/new")
    assert status == 1 and "Traceback" not in out + err
    assert "--labels must be a multiple" in out + err
    assert not list(tmp_path.iterdir())


def test_help_names_every_flag():
    _, out, _ = run("--help")
    assert re.findall(r"^  --(\w+):", out, re.MULTILINE) == sorted(FLAGS)
    assert "python -m examples.train_text" in out


def test_flag_that_takes_no_such_value_ends_without_a_traceback():
    status, out, err = run("--steps=15")
    assert status == 1 and "multiple of 10" in out + err and "Traceback" not in out + err
