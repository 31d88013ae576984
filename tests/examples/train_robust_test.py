"""The robustness example: what it says, what it refuses, what it writes."""

import functools
import json
import pathlib
import re

import numpy as np
import pytest
from absl import app

from tests.examples import running

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ("--recipes=plain,adversarial_training", "--steps=12", "--batch_size=8", "--attack_steps=1", "--images=40")
FLAGS = "recipes radius attack_steps steps batch_size learning_rate corruptions severities images seed output_dir"
NUMBERS = np.random.default_rng(0)

# tensorflow-datasets and its dependencies, on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


run = functools.partial(running.run, "train_robust")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of a few steps: folder, output, results."""
    output = tmp_path_factory.mktemp("robust") / "new"
    status, out, err = run(*TINY, "--corruptions=contrast,fog", "--severities=4", "--seed=3", f"--output_dir={output}")
    assert status == 0, err[-2000:]
    return output, out, json.loads((output / "results.json").read_text())


@pytest.fixture(scope="module")
def example():
    """The example as a module, for what needs no process."""
    from examples import train_robust  # late: its imports may warn

    return train_robust


def records(**accuracies):
    """Records of one condition a keyword, with these accuracies."""
    rest = {"level": None, "consistency": 1.0, "ece": 0.25, "examples": 8}
    return [{"condition": name, "accuracy": value, **rest} for name, value in accuracies.items()]


def test_run_writes_results_curves_and_tables(tiny):
    output, out, results = tiny
    assert sorted(path.name for path in output.iterdir()) == ["curves.png", "results.json"]
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    given = {"radius": 0.3, "attack_steps": 1, "steps": 12, "batch_size": 8, "seed": 3}
    assert given.items() <= results.items() and results["corruptions"] == ["contrast", "fog"]
    assert list(results["results"]) == ["plain", "adversarial_training"]
    plain, robust = (result["records"] for result in results["results"].values())
    for found in (plain, robust):
        assert {each["examples"] for each in found} == {40}
        assert [each["level"] for each in found if each["condition"] == "PGD"] == [0.1, 0.2, 0.3]
        conditions = {each["condition"] for each in found}
        assert conditions == {"clean", "noise", "masking", "contrast", "fog", "FGSM", "PGD"}
    figures = [
        f"{np.mean([each['ece'] for each in found if each['condition'] in ('contrast', 'fog')]):.1%}"
        for found in (plain, robust)
    ]
    assert re.search(rf"^corruptions +4 +{figures[0]} +{figures[1]}$", out.partition("Calibration")[2], re.MULTILINE)
    assert re.search(rf"^clean +{plain[0]['accuracy']:.1%} +{robust[0]['accuracy']:.1%}$", out, re.MULTILINE)


def test_table_has_a_row_a_condition_and_a_column_a_model(example):
    results = {"plain": {"records": records(clean=0.5, fog=0.25)}, "vat": {"records": records(clean=0.75, fog=0.5)}}
    assert [line.split() for line in example.table(results, "accuracy").splitlines()] == [
        ["Accuracy", "plain", "vat"],
        ["clean", "50.0%", "75.0%"],
        ["corruptions", "25.0%", "50.0%"],
    ]


@pytest.mark.parametrize("recipe", ["adversarial_training", "alp", "trades", "vat"])
def test_every_recipe_is_built_with_an_attack_within_the_radius(example, recipe):
    student = example.build_student((28, 28, 1), 10)
    model = example.build_model(recipe, student, example.build_view(0), radius=0.2, attack_steps=3, seed=0)
    views = [*model._labeled_views, *(view for term in model.terms for view in term.views)]
    (attack,) = {view.key: view.perturbation for view in views if view.perturbation is not None}.values()
    wanted = 2.0 if recipe == "vat" else 0.2
    assert attack.radius == pytest.approx(wanted * 255) and model.teacher.network is not student


def test_radius_grows_in_stages_around_one_student_and_one_optimizer(example, monkeypatch):
    x, y = NUMBERS.integers(0, 255, [24, 28, 28, 1]).astype("uint8"), np.arange(24) % 10
    built = []
    build = example.build_model

    def plain(recipe, student, weak, *, radius, **options):
        built.append((recipe, student, radius))
        return build("plain", student, weak, radius=radius, **options)

    monkeypatch.setattr(example, "build_model", plain)  # the stages matter here, not the attacks
    budget = {"radius": 0.3, "attack_steps": 1, "steps": 12, "batch_size": 8, "learning_rate": 0.01}
    model, took = example.train("trades", (x, y), **budget, verbose=0)
    assert [radius for _, _, radius in built] == pytest.approx([0.1, 0.2, 0.3])
    assert all(recipe == "trades" and student is model.student for recipe, student, _ in built)
    assert int(model.optimizer.iterations.numpy()) == 12 and took["seconds"] > 0


@pytest.mark.parametrize(
    ("corruptions", "severities", "words"),
    [
        (["frog"], ["3"], "--corruptions and --severities: `corruptions`.*frog"),
        (["fog"], ["7"], "--corruptions and --severities: `severities`.*7"),
        (["fog"], ["high"], "--severities must be integers.*high"),
    ],
)
def test_corruptions_that_do_not_exist_are_refused_before_the_training(example, corruptions, severities, words):
    with pytest.raises(app.UsageError, match=words):
        example.conditions(corruptions, severities)


def test_corruptions_are_optional(example):
    assert example.conditions([], ["3"]) == {"corruptions": (), "severities": (3,)}


def test_recipes_that_do_not_exist_are_refused(example):
    for wrong in (["plain", "tradse"], []):
        with pytest.raises(app.UsageError, match="--recipes must be some of plain,adversarial_training,.*Received: "):
            example.recipes(wrong)
    assert example.recipes(["vat", "plain", "vat"]) == ["vat", "plain"]


def test_output_that_is_not_empty_is_refused(example, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(app.UsageError, match="--output_dir must be a new or an empty directory.*with files"):
        example.outputs.prepare(tmp_path)


def test_help_names_every_flag():
    _, out, _ = run("--help")
    assert re.findall(r"^  --(?:\[no\])?(\w+):", out, re.MULTILINE) == sorted(FLAGS.split())
    assert "python -m examples.train_robust" in out
