"""Every recipe's metrics and gradient against float64 NumPy, step by step. A recipe without a row in `RUNS` fails."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest

import keras_consistency as kc
from tests.contracts import numpy_reference as reference
from tests.contracts import reference_rows as rows
from tests.contracts import reference_rows_adversarial as attacked
from tests.contracts import reference_rows_features as features
from tests.contracts import reference_rows_stateful as stateful
from tests.contracts.reference_scenes import SCENES, STEPS, Scene, Tilt, assert_metrics, assert_same, network


@dataclasses.dataclass(frozen=True)
class Row:
    """How a recipe is compared: the run, the scenes, whether these must hold there, the evaluated average's decay."""

    run: Callable
    scenes: tuple = tuple(SCENES)
    decay: float | None = 0.999


UNMASKED = ("some pass", "one class only")
RUNS = {
    "adamatch": Row(stateful.adamatch),
    "adversarial_consistency": Row(attacked.adversarial_consistency, UNMASKED, decay=0.9),
    "adversarial_training": Row(attacked.adversarial_training, UNMASKED),
    "alp": Row(attacked.alp, UNMASKED),
    "augmix": Row(rows.augmix, UNMASKED),
    "comatch": Row(features.comatch),
    "crmatch": Row(features.crmatch),
    "dash": Row(stateful.dash),
    "defixmatch": Row(rows.defixmatch),
    "fixmatch": Row(rows.fixmatch),
    "flexmatch": Row(stateful.flexmatch),
    "freematch": Row(stateful.freematch),
    "ict": Row(rows.ict, UNMASKED),
    "mean_teacher": Row(rows.mean_teacher, UNMASKED),
    "mixmatch": Row(rows.mixmatch, UNMASKED),
    "noisy_student": Row(rows.noisy_student, decay=None),
    "pi_model": Row(rows.pi_model, UNMASKED),
    "pseudo_label": Row(rows.pseudo_label),
    "refixmatch": Row(rows.refixmatch),
    "remixmatch": Row(features.remixmatch, UNMASKED),
    "sequencematch": Row(stateful.sequencematch),
    "simmatch": Row(features.simmatch),
    "softmatch": Row(stateful.softmatch, UNMASKED),
    "temporal_ensembling": Row(stateful.temporal_ensembling, UNMASKED),
    "trades": Row(attacked.trades, UNMASKED),
    "uda": Row(rows.uda, decay=0.9999),
    "vat": Row(rows.vat, UNMASKED),
}


def test_every_recipe_has_a_reference():
    assert sorted(RUNS) == kc.recipes.available()


@pytest.mark.parametrize(("recipe", "scene"), [(recipe, scene) for recipe, row in RUNS.items() for scene in row.scenes])
def test_recipe_equals_its_equations(recipe, scene):
    row = RUNS[recipe]
    scene = Scene(scene, **SCENES[scene])
    average, rates = None, []
    for number, (model, expected, logs, gradient) in enumerate(row.run(scene), start=1):
        assert set(logs) == set(expected.metrics)
        assert_metrics(expected, logs)
        if number <= 22 or number % 10 == 0:
            assert_same(expected, logs, gradient)
        rates.append(expected.metrics.get("consistency_mask_rate"))
        # The evaluated average, from the first weights on.
        after = model.student.get_weights()
        if average is None:
            average = [a + g for a, g in zip(after, gradient, strict=True)]
        average = after if row.decay is None else reference.average(average, after, number, decay=row.decay)
        for ours, theirs in zip(model.network.get_weights(), average, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert number >= STEPS
    # FlexMatch's thresholds start at zero and end where a class is learnt: nothing is never, and all is always.
    if row.scenes == tuple(SCENES) and not (row.run in CURRICULA and scene.name == "nothing passes"):
        scene.expect(rates)


CURRICULA = (stateful.flexmatch, stateful.sequencematch)


def test_only_one_class_is_predicted_in_the_scene_of_that_name():
    scene = Scene("one class only", **SCENES["one class only"])
    student = scene.student()
    assert set(network(student).logits(scene.batch()[2]).argmax(-1)) == {1}


@pytest.mark.parametrize("recipe", ["pseudo_label", "vat", "mixmatch"])
def test_first_step_of_a_linear_ramp_is_supervised(recipe):
    _, expected, logs, _ = next(RUNS[recipe].run(Scene("some pass", **SCENES["some pass"])))
    entropy = 0.2 * logs["entropy_loss"] if recipe == "vat" else 0.0
    np.testing.assert_allclose(logs["loss"], logs["supervised_loss"] + entropy, rtol=1e-6)
    assert logs["consistency_loss"] > 0


@pytest.mark.parametrize("shape", ["linear", "exp", "log"])
def test_uda_with_training_signal_annealing_equals_its_equations(shape):
    scene = Scene("some pass", **SCENES["some pass"])
    annealed = []
    for _, expected, logs, gradient in rows.uda(scene, annealing=shape, annealing_steps=3):
        assert_same(expected, logs, gradient)
        annealed.append(expected.metrics["supervised_loss"])
    plain = [step.metrics["supervised_loss"] for _, step, *_ in rows.uda(Scene("some pass", **SCENES["some pass"]))]
    assert annealed[0] > plain[0] + 0.1, "no label was held back: the comparison says nothing"


@pytest.mark.parametrize(
    ("run", "options"),
    [
        (rows.noisy_student, {"hard": True}),
        (rows.noisy_student, {"filtered": False}),
        (rows.noisy_student, {"every": 2}),
        (rows.refixmatch, {"aligned": True}),
        (stateful.dash, {"aligned": True}),
        (stateful.flexmatch, {"examples": None}),
        (stateful.freematch, {"aligned": True}),
        (stateful.softmatch, {"aligned": False}),
        (stateful.temporal_ensembling, {"examples": None}),
        (stateful.temporal_ensembling, {"momentum": 0.0}),
        (stateful.temporal_ensembling, {"repeated": True}),
        (rows.mixmatch, {"alignment": Tilt()}),
        (stateful.temporal_ensembling, {"alignment": Tilt()}),
        (features.comatch, {"aligned": False}),
        (features.simmatch, {"aligned": False}),
        (attacked.adversarial_training, {"clean_share": 0.0, "norm": "l2"}),
        (attacked.alp, {"clean_share": 1.0, "norm": "linf"}),
        (attacked.trades, {"norm": "l2"}),
        (attacked.adversarial_consistency, {"norm": "l2"}),
    ],
)
def test_recipe_with_other_options_equals_its_equations(run, options):
    scene = Scene("some pass", **SCENES["some pass"], steps=12)
    for _, expected, logs, gradient in run(scene, **options):
        assert_same(expected, logs, gradient)


# Recipes whose targets and weights are made of the aligned answer alone: as those of a network with other odds are.
ALIGNED = ["fixmatch", "flexmatch", "ict", "mean_teacher", "noisy_student", "pi_model", "pseudo_label", "uda"]
# Recipes with a comparison of their own under another alignment than the default.
ALIGNED_APART = [
    "comatch",
    "dash",
    "freematch",
    "mixmatch",
    "refixmatch",
    "simmatch",
    "softmatch",
    "temporal_ensembling",
]


def test_every_recipe_with_an_alignment_is_compared_with_one():
    takes = [name for name in RUNS if "alignment" in getattr(kc.recipes, name).__kwdefaults__]
    assert sorted(takes) == sorted(ALIGNED + ALIGNED_APART)


@dataclasses.dataclass
class Tilted(reference.Network):
    """A network whose probabilities, though not its logits, are those that `Tilt` makes of them."""

    def probabilities(self, x):
        return Tilt().numpy(super().probabilities(x))


@pytest.mark.parametrize("recipe", ALIGNED)
def test_alignment_is_seen_by_target_and_weight(recipe, monkeypatch):
    row = RUNS[recipe]
    monkeypatch.setattr(kc.recipes, recipe, functools.partial(getattr(kc.recipes, recipe), alignment=Tilt()))
    for module in (rows, stateful):
        monkeypatch.setattr(module, "network", lambda model: Tilted(network(model).parameters))
    for _, expected, logs, gradient in row.run(Scene("some pass", **SCENES["some pass"], steps=8)):
        assert_same(expected, logs, gradient)


@pytest.mark.parametrize("examples", [40, None])
def test_flexmatch_run_of_the_reference_meets_differing_thresholds(examples):
    # Else the comparisons above would hold for FixMatch too.
    seen = []
    for model, _, _, _ in stateful.flexmatch(Scene("some pass", **SCENES["some pass"]), examples=examples, steps=20):
        seen.append(model.terms[0].weight.status().numpy())
    assert len(np.unique(np.round(seen, 6))) > 10
    assert np.ptp(seen[-1]) > 0.1
