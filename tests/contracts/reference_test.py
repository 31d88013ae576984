"""Every recipe's losses and gradient against float64 NumPy, step by step.

The student is small enough for `numpy_reference` to differentiate; SGD at a rate of 1 shows the gradient as the change
of the weights. A recipe without a row in `RUNS` fails.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.ops import random
from tests.contracts import numpy_reference as reference

FEATURES, CLASSES, LABELED, UNLABELED, STEPS = 5, 3, 4, 8, 3


@keras.saving.register_keras_serializable(package="reference_test")
class Affine(keras.layers.Layer):
    """A view without randomness: `scale x + offset`."""

    def __init__(self, scale, offset, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, inputs, training=False):
        return self.scale * inputs + self.offset

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}

    def numpy(self, inputs):
        return self.scale * inputs + self.offset


class Draws(keras.layers.Layer):
    """A view that differs from call to call, and a record of what it made. For models that run eagerly."""

    def __init__(self):
        super().__init__()
        self.record = {LABELED: [], UNLABELED: []}
        self.number = 0

    def call(self, inputs, training=False):
        self.number += 1
        outputs = inputs + 0.3 * np.sin(self.number * np.arange(1, FEATURES + 1)).astype("float32")
        self.record[len(outputs)].append(outputs.numpy().astype("float64"))
        return outputs

    def take(self):
        """Views of the labelled and of the unlabelled examples since the last time, in the order of their making."""
        made = self.record[LABELED][:], self.record[UNLABELED][:]
        self.record[LABELED].clear()
        self.record[UNLABELED].clear()
        return made


@dataclasses.dataclass
class Scene:
    """A student and batches, and how many examples its mask lets through."""

    name: str
    threshold: float
    lean: float = 0.0

    def __post_init__(self):
        self.numbers = np.random.default_rng(7)

    def student(self):
        student = keras.Sequential(
            [keras.Input([FEATURES]), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(CLASSES)]
        )
        weights = [self.numbers.normal(size=weight.shape) for weight in student.weights]
        weights[-1][1] += self.lean
        student.set_weights(weights)
        return student

    def batch(self):
        """Labelled inputs, labels, unlabelled inputs."""
        x, u = (self.numbers.normal(size=(n, FEATURES)).astype("float32") for n in (LABELED, UNLABELED))
        return x, self.numbers.integers(CLASSES, size=LABELED), u

    def expect(self, rates):
        """Checks that the scene is the one that its name promises."""
        if self.name == "nothing passes":
            assert max(rates) == 0
        elif self.name == "everything passes":
            assert min(rates) == 1
        elif self.name == "some pass":
            assert any(0 < rate < 1 for rate in rates)


SCENES = {
    "some pass": {"threshold": 0.6},
    "nothing passes": {"threshold": 1.0},
    "everything passes": {"threshold": 0.0},
    "one class only": {"threshold": 0.97, "lean": 6.0},
}


def weak_and_strong():
    return Affine(0.9, 0.1, name="weak"), Affine(-0.7, 0.3, name="strong")


def compiled(model, **kwargs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), **{"loss": loss, **kwargs})
    return model


def network(model):
    return reference.Network([np.asarray(weight, "float64") for weight in model.get_weights()])


def train(model, x, y, u, **extra):
    """Logs and gradient of one step."""
    return train_on(model, {"labeled": x, "unlabeled": u, **extra}, y)


def train_on(model, inputs, y, sample_weight=None):
    model.reset_metrics()
    before = model.student.get_weights()
    logs = model.train_on_batch(inputs, y, sample_weight=sample_weight, return_dict=True)
    return logs, [b - a for b, a in zip(before, model.student.get_weights(), strict=True)]


def assert_same(expected, logs, gradient):
    assert set(expected.metrics) <= set(logs)
    for name, value in expected.metrics.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    for ours, theirs in zip(gradient, expected.gradient, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(theirs).max()))


# A row is a generator of (model, what the step must be, logs, gradient), a step at a time.


def pseudo_label(scene):
    weak, _ = weak_and_strong()
    model = compiled(
        kc.recipes.pseudo_label(scene.student(), threshold=scene.threshold, scale=0.7, ramp_up_steps=2, weak=weak)
    )
    for step in range(STEPS):
        x, y, u = scene.batch()
        expected = reference.pseudo_label(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            threshold=scene.threshold,
            scale=0.7,
            ramp=reference.linear_ramp(step, 2),
        )
        yield model, expected, *train(model, x, y, u)


def pi_model(scene):
    weak = Draws()
    model = compiled(kc.recipes.pi_model(scene.student(), scale=3.0, ramp_up_steps=2, weak=weak), run_eagerly=True)
    for step in range(STEPS):
        before = network(model.student)
        x, y, u = scene.batch()
        found = train(model, x, y, u)
        # The teacher looks first.
        (x,), (first, second) = weak.take()
        ramp = reference.sigmoid_ramp(step, 2)
        y = reference.one_hot(y, CLASSES)
        yield model, reference.pi_model(before, x, y, first, second, scale=3.0, ramp=ramp), *found


def mean_teacher(scene):
    weak = Draws()
    model = compiled(kc.recipes.mean_teacher(scene.student(), scale=8.0, ramp_up_steps=2, weak=weak), run_eagerly=True)
    for step in range(STEPS):
        before, teacher = network(model.student), network(model.teacher.network)
        x, y, u = scene.batch()
        found = train(model, x, y, u)
        (x,), (teacher_view, student_view) = weak.take()
        ramp = reference.sigmoid_ramp(step, 2)
        y = reference.one_hot(y, CLASSES)
        expected = reference.mean_teacher(before, teacher, x, y, student_view, teacher_view, scale=8.0, ramp=ramp)
        yield model, expected, *found


def vat(scene):
    weak, _ = weak_and_strong()
    record = []
    attack = kc.perturbations.VAT.__call__

    def recorded(self, inputs, logits, *, seed):
        perturbed = attack(self, inputs, logits, seed=seed)
        record.append((random.normal(seed, *tf.shape(inputs)[:1], tf.shape(inputs)[1:]).numpy(), perturbed.numpy()))
        return perturbed

    model = compiled(
        kc.recipes.vat(
            scene.student(),
            epsilon=0.4,
            xi=0.1,
            power_iterations=2,
            scale=0.8,
            entropy_scale=0.2,
            ramp_up_steps=2,
            weak=weak,
            value_range=(-1, 1),
        ),
        run_eagerly=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kc.perturbations.VAT, "__call__", recorded)
        for step in range(STEPS):
            before = network(model.student)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            ((start, perturbed),) = record
            record.clear()
            start = start.astype("float64") / np.linalg.norm(start, axis=1, keepdims=True)
            u = weak.numpy(u.astype("float64"))
            # The width of the value range is 2.
            direction = reference.vat_direction(before, u, start, probe=0.1 * 0.8, iterations=2)
            # Where the student is sure, differences of float32 probabilities leave few digits of the direction.
            np.testing.assert_allclose(perturbed, u + 0.8 * direction, atol=2e-2 if scene.lean else 2e-4)
            expected = reference.vat(
                before,
                weak.numpy(x),
                reference.one_hot(y, CLASSES),
                u,
                perturbed.astype("float64"),
                scale=0.8,
                ramp=reference.linear_ramp(step, 2),
                entropy_scale=0.2,
            )
            yield model, expected, *found


def uda(scene, **annealing):
    weak, strong = weak_and_strong()
    model = compiled(
        kc.recipes.uda(
            scene.student(),
            threshold=scene.threshold,
            temperature=0.4,
            scale=1.3,
            weak=weak,
            strong=strong,
            **annealing,
        )
    )
    for step in range(STEPS):
        x, y, u = scene.batch()
        annealed = None
        if annealing:
            annealed = reference.annealing(annealing["annealing"], step, annealing["annealing_steps"])
        expected = reference.uda(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            strong.numpy(u),
            threshold=scene.threshold,
            temperature=0.4,
            scale=1.3,
            annealed=annealed,
        )
        yield model, expected, *train(model, x, y, u)


def fixmatch(scene):
    weak, strong = weak_and_strong()
    model = compiled(
        kc.recipes.fixmatch(scene.student(), threshold=scene.threshold, scale=1.3, weak=weak, strong=strong)
    )
    for _ in range(STEPS):
        x, y, u = scene.batch()
        expected = reference.fixmatch(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            strong.numpy(u),
            threshold=scene.threshold,
            scale=1.3,
        )
        yield model, expected, *train(model, x, y, u)


def flexmatch(scene, examples=40, steps=25):
    """Five passes over 40 unlabelled examples, in another order each time."""
    weak, strong = weak_and_strong()
    model = compiled(
        kc.recipes.flexmatch(
            scene.student(), threshold=scene.threshold, examples=examples, scale=0.5, weak=weak, strong=strong
        )
    )
    algorithm = reference.FlexMatch(classes=CLASSES, threshold=scene.threshold, examples=examples)
    pool = scene.numbers.normal(size=(40, FEATURES)).astype("float32")
    order = np.concatenate([scene.numbers.permutation(40) for _ in range(5)]).reshape(-1, UNLABELED)
    for index in order[:steps]:
        x, y, _ = scene.batch()
        u = pool[index]
        expected = algorithm(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            strong.numpy(u),
            index,
            scale=0.5,
        )
        yield model, expected, *train(model, x, y, u, index=index)
        status = model.terms[0].weight.status().numpy()
        np.testing.assert_allclose(scene.threshold * status / (2 - status), algorithm.thresholds(), atol=1e-6)


def mixmatch(scene):
    weak = Draws()
    record = []
    mix = kc.mixers.MixUp.__call__

    def recorded(self, inputs, targets, *, seed):
        sizes = [len(each) for each in inputs]
        rows, _ = mix(self, tf.split(tf.eye(sum(sizes)), sizes), targets, seed=seed)
        record.append(np.concatenate(rows).astype("float64"))
        return mix(self, inputs, targets, seed=seed)

    model = compiled(
        kc.recipes.mixmatch(scene.student(), temperature=0.6, alpha=0.75, scale=7.0, ramp_up_steps=2, weak=weak),
        run_eagerly=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kc.mixers.MixUp, "__call__", recorded)
        for step in range(STEPS):
            before = network(model.student)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            (x,), (first, second) = weak.take()
            expected = reference.mixmatch(
                before,
                x,
                reference.one_hot(y, CLASSES),
                first,
                second,
                record.pop(),
                temperature=0.6,
                scale=7.0,
                ramp=reference.linear_ramp(step, 2),
            )
            yield model, expected, *found


# recipe: (run, whether it has a mask, default decay of the evaluated average)
RUNS = {
    "fixmatch": (fixmatch, True, 0.999),
    "flexmatch": (flexmatch, True, 0.999),
    "mean_teacher": (mean_teacher, False, 0.999),
    "mixmatch": (mixmatch, False, 0.999),
    "pi_model": (pi_model, False, 0.999),
    "pseudo_label": (pseudo_label, True, 0.999),
    "uda": (uda, True, 0.9999),
    "vat": (vat, False, 0.999),
}


def test_every_recipe_has_a_reference():
    assert sorted(RUNS) == kc.recipes.available()


@pytest.mark.parametrize(
    ("recipe", "scene"),
    [
        (recipe, scene)
        for recipe, (_, masked, _) in RUNS.items()
        for scene in SCENES
        if masked or scene in ("some pass", "one class only")
    ],
)
def test_recipe_equals_its_equations(recipe, scene):
    run, masked, decay = RUNS[recipe]
    scene = Scene(scene, **SCENES[scene])
    average, rates = None, []
    for number, (model, expected, logs, gradient) in enumerate(run(scene), start=1):
        assert_same(expected, logs, gradient)
        rates.append(expected.metrics["consistency_mask_rate"])
        # The evaluated average, from the first weights on.
        after = model.student.get_weights()
        if average is None:
            average = [a + g for a, g in zip(after, gradient, strict=True)]
        average = reference.average(average, after, number, decay=decay)
        for ours, theirs in zip(model.network.get_weights(), average, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert number >= STEPS
    # FlexMatch's thresholds start at zero and end where a class is learnt: nothing is never, and all is always.
    if masked and not (recipe == "flexmatch" and scene.name == "nothing passes"):
        scene.expect(rates)


def test_only_one_class_is_predicted_in_the_scene_of_that_name():
    scene = Scene("one class only", **SCENES["one class only"])
    student = scene.student()
    assert set(network(student).logits(scene.batch()[2]).argmax(-1)) == {1}


@pytest.mark.parametrize("recipe", ["pseudo_label", "vat", "mixmatch"])
def test_first_step_of_a_linear_ramp_is_supervised(recipe):
    _, expected, logs, _ = next(RUNS[recipe][0](Scene("some pass", **SCENES["some pass"])))
    entropy = 0.2 * logs["entropy_loss"] if recipe == "vat" else 0.0
    np.testing.assert_allclose(logs["loss"], logs["supervised_loss"] + entropy, rtol=1e-6)
    assert logs["consistency_loss"] > 0


@pytest.mark.parametrize("shape", ["linear", "exp", "log"])
def test_uda_with_training_signal_annealing_equals_its_equations(shape):
    scene = Scene("some pass", **SCENES["some pass"])
    annealed = []
    for _, expected, logs, gradient in uda(scene, annealing=shape, annealing_steps=3):
        assert_same(expected, logs, gradient)
        annealed.append(expected.metrics["supervised_loss"])
    plain = [step.metrics["supervised_loss"] for _, step, *_ in uda(Scene("some pass", **SCENES["some pass"]))]
    assert annealed[0] > plain[0] + 0.1, "no label was held back: the comparison says nothing"


def test_flexmatch_without_a_known_data_set_size_equals_its_equations():
    scene = Scene("some pass", **SCENES["some pass"])
    for _, expected, logs, gradient in flexmatch(scene, examples=None):
        assert_same(expected, logs, gradient)


@pytest.mark.parametrize("examples", [40, None])
def test_flexmatch_run_of_the_reference_meets_differing_thresholds(examples):
    # Else the comparisons above would hold for FixMatch too.
    seen = []
    for model, _, _, _ in flexmatch(Scene("some pass", **SCENES["some pass"]), examples=examples, steps=20):
        seen.append(model.terms[0].weight.status().numpy())
    assert len(np.unique(np.round(seen, 6))) > 10
    assert np.ptp(seen[-1]) > 0.1


# Compositions of terms.


def term_model(scene, *terms, **kwargs):
    return compiled(kc.ConsistencyModel(scene.student(), list(terms), **kwargs))


@pytest.fixture
def scene():
    return Scene("some pass", **SCENES["some pass"])


def fixmatch_term(weak, strong, **kwargs):
    return kc.Consistency(
        teacher_view=weak,
        student_view=strong,
        target=kc.targets.Hard(),
        weight=kc.weights.Confidence(threshold=0.6),
        divergence=kc.divergences.CrossEntropy(),
        **kwargs,
    )


def expected_term(net, weak, strong, scale):
    p = net.probabilities(weak)
    mask = (p.max(-1) >= 0.6).astype(float)
    return reference.term(net, scale, reference.cross_entropy, mask, reference.hard(p), strong)


@pytest.mark.parametrize("given", ["dictionary", "plain"])
@pytest.mark.parametrize("pool", ["unlabeled", "labeled", "all"])
@pytest.mark.parametrize("scale", [1.0, -0.4])
def test_pool_and_scale_of_a_term(scene, pool, scale, given):
    weak, strong = weak_and_strong()
    model = term_model(scene, fixmatch_term(weak, strong, pool=pool, scale=scale))
    net = network(model.student)
    x, y, u = scene.batch()
    pools = {"unlabeled": u, "labeled": x, "all": np.concatenate([x, u])} if given == "dictionary" else {}
    seen = pools.get(pool, x)
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=expected_term(net, weak.numpy(seen), strong.numpy(seen), scale),
    )
    found = train(model, x, y, u) if given == "dictionary" else train_on(model, x, y)
    assert_same(expected, *found)


def test_signed_terms_add_up_as_in_defixmatch(scene):
    weak, strong = weak_and_strong()
    model = term_model(
        scene,
        fixmatch_term(weak, strong, name="consistency"),
        fixmatch_term(weak, strong, name="debiasing", pool="labeled", scale=-0.5),
    )
    net = network(model.student)
    x, y, u = scene.batch()
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=expected_term(net, weak.numpy(u), strong.numpy(u), 1.0),
        debiasing=expected_term(net, weak.numpy(x), strong.numpy(x), -0.5),
    )
    assert_same(expected, *train(model, x, y, u))


@pytest.mark.parametrize("mixer", [None, kc.mixers.MixUp(alpha=1e-6)])
def test_supervised_loss_is_weighted_by_sample_weight(scene, mixer):
    """With MixUp at an alpha that gives all of the share to the example itself, the same loss is expected."""
    weak, strong = weak_and_strong()
    model = term_model(scene, fixmatch_term(weak, strong), mixer=mixer)
    net = network(model.student)
    x, y, u = scene.batch()
    weight = np.array([0.0, 2.0, 0.5, 1.0], "float32")
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES), weight),
        consistency=expected_term(net, weak.numpy(u), strong.numpy(u), 1.0),
    )
    assert_same(expected, *train_on(model, {"labeled": x, "unlabeled": u}, y, weight))


def test_scale_follows_a_schedule_and_a_keras_schedule(scene):
    weak, strong = weak_and_strong()
    model = term_model(
        scene,
        fixmatch_term(weak, strong, scale=kc.schedules.SigmoidRampUp(steps=2, value=-1.5), name="ours"),
        fixmatch_term(weak, strong, scale=keras.optimizers.schedules.InverseTimeDecay(1.0, 1, 1.0), name="keras"),
    )
    for step in range(4):
        net = network(model.student)
        x, y, u = scene.batch()
        expected = reference.train_step(
            net,
            reference.labelled(x, reference.one_hot(y, CLASSES)),
            ours=expected_term(net, weak.numpy(u), strong.numpy(u), -1.5 * reference.sigmoid_ramp(step, 2)),
            keras=expected_term(net, weak.numpy(u), strong.numpy(u), 1 / (1 + step)),
        )
        assert_same(expected, *train(model, x, y, u))


def test_regularisation_counts_once_and_in_the_supervised_loss(scene):
    student = keras.Sequential(
        [
            keras.Input([FEATURES]),
            keras.layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.1)),
            keras.layers.Dense(CLASSES),
        ]
    )
    weak, strong = weak_and_strong()
    model = compiled(kc.ConsistencyModel(student, fixmatch_term(weak, strong), teacher=kc.teachers.EMA()))
    net = network(student)
    x, y, u = scene.batch()
    fit = reference.labelled(x, reference.one_hot(y, CLASSES))
    p = network(model.teacher.network).probabilities(weak.numpy(u))
    mask = (p.max(-1) >= 0.6).astype(float)
    expected = reference.train_step(
        net,
        lambda moved: fit(moved) + 0.1 * (moved.parameters[0] ** 2).sum(),
        consistency=reference.term(net, 1.0, reference.cross_entropy, mask, reference.hard(p), strong.numpy(u)),
    )
    assert_same(expected, *train(model, x, y, u))


def test_several_views_average_targets_and_losses(scene):
    weak, strong = weak_and_strong()
    views = [weak, strong]
    model = term_model(
        scene,
        kc.Consistency(
            teacher_view=views,
            student_view=views,
            target=kc.targets.Soft(temperature=0.7),
            weight=kc.weights.Confidence(threshold=0.5),
            divergence=kc.divergences.SquaredError(),
        ),
    )
    net = network(model.student)
    x, y, u = scene.batch()
    a, b = weak.numpy(u), strong.numpy(u)
    p = (net.probabilities(a) + net.probabilities(b)) / 2
    mask = (p.max(-1) >= 0.5).astype(float)
    target = reference.sharpen(p, 0.7)
    assert 0 < mask.mean() < 1

    def loss(moved):
        return (mask * sum(reference.squared_error(target, moved.logits(view)) for view in (a, b)) / 2).mean()

    agree = [target.argmax(-1) == net.logits(view).argmax(-1) for view in (a, b)]
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=(1.0, loss, {"mask_rate": mask.mean(), "agreement": np.mean(agree)}),
    )
    assert_same(expected, *train(model, x, y, u))


def test_frozen_teacher_makes_the_targets(scene):
    weak, strong = weak_and_strong()
    frozen = scene.student()
    model = term_model(scene, fixmatch_term(weak, strong), teacher=kc.teachers.Frozen(frozen))
    net, teacher = network(model.student), network(frozen)
    x, y, u = scene.batch()
    p = teacher.probabilities(weak.numpy(u))
    mask = (p.max(-1) >= 0.6).astype(float)
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=reference.term(net, 1.0, reference.cross_entropy, mask, reference.hard(p), strong.numpy(u)),
    )
    assert_same(expected, *train(model, x, y, u))
    for after, before in zip(frozen.get_weights(), teacher.parameters, strict=True):
        np.testing.assert_array_equal(after, before)


def test_terms_that_share_a_view_make_it_once(scene):
    weak = Draws()
    strong = Affine(-0.7, 0.3, name="strong")
    model = compiled(
        kc.ConsistencyModel(
            scene.student(),
            [
                fixmatch_term(weak, strong, name="one"),
                fixmatch_term(weak, strong, name="two"),
                kc.Consistency(teacher_view=weak, student_view=weak, name="three"),
            ],
        ),
        run_eagerly=True,
    )
    calls = []
    student_call = model.student.call
    model.student.call = lambda inputs, **kwargs: calls.append(len(inputs)) or student_call(inputs, **kwargs)
    train(model, *scene.batch())
    labelled, unlabelled = weak.take()
    assert (len(labelled), len(unlabelled)) == (0, 1)
    # One forward: the labelled examples, and each of the two views of the unlabelled once.
    assert calls == [LABELED + 2 * UNLABELED]


def test_another_draw_of_a_view_is_made_anew(scene):
    weak = Draws()
    term = kc.Consistency(teacher_view=kc.View(weak), student_view=kc.View(weak, draw=1))
    model = compiled(kc.ConsistencyModel(scene.student(), term, labeled_view=weak), run_eagerly=True)
    train(model, *scene.batch())
    labelled, (first, second) = weak.take()
    assert len(labelled) == 1
    assert np.abs(first - second).max() > 0.01


def test_pipeline_views_are_read_from_the_batch(scene):
    model = term_model(scene, fixmatch_term("easy", "hard"))
    net = network(model.student)
    x, y, u = scene.batch()
    easy, hard = u + 1, 2 * u
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=expected_term(net, easy, hard, 1.0),
    )
    assert_same(expected, *train(model, x, y, u, easy=easy, hard=hard))


@pytest.mark.parametrize("labels", ["dictionary", "plain"])
def test_term_reads_the_named_output_of_a_student_with_several(scene, labels):
    inputs = keras.Input([FEATURES])
    hidden = keras.layers.Dense(4, activation="tanh")(inputs)
    outputs = {"logits": keras.layers.Dense(CLASSES)(hidden), "features": hidden}
    student = keras.Model(inputs, outputs)
    student.set_weights(scene.student().get_weights())
    weak, strong = weak_and_strong()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = compiled(kc.ConsistencyModel(student, fixmatch_term(weak, strong, output="logits")), loss={"logits": loss})
    net = network(student)
    x, y, u = scene.batch()
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=expected_term(net, weak.numpy(u), strong.numpy(u), 1.0),
    )
    assert_same(expected, *train(model, x, {"logits": y} if labels == "dictionary" else y, u))


@keras.saving.register_keras_serializable(package="reference_test")
class Subclassed(keras.Model):
    """The student as a subclass that says nothing of its output shape."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(4, activation="tanh")
        self.head = keras.layers.Dense(CLASSES)

    def build(self, input_shape):
        self.hidden.build(input_shape)
        self.head.build((None, 4))

    def call(self, inputs, training=False):
        return self.head(self.hidden(inputs))


@pytest.mark.parametrize("teacher", [None, kc.teachers.EMA(decay=0.9)])
def test_student_may_be_a_subclass(scene, teacher):
    student = Subclassed()
    student(np.zeros([1, FEATURES], "float32"))
    student.set_weights(scene.student().get_weights())
    weak, strong = weak_and_strong()
    model = compiled(kc.ConsistencyModel(student, fixmatch_term(weak, strong), teacher=teacher))
    net = network(student)
    x, y, u = scene.batch()
    expected = reference.train_step(
        net,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=expected_term(net, weak.numpy(u), strong.numpy(u), 1.0),
    )
    assert_same(expected, *train(model, x, y, u))


def test_entropy_term_works_beside_a_mixer(scene):
    weak, strong = weak_and_strong()
    model = term_model(
        scene,
        kc.Consistency(student_view=weak, divergence=kc.divergences.Entropy(), scale=0.5, name="entropy"),
        mixer=kc.mixers.MixUp(alpha=0.5),
    )
    logs, _ = train(model, *scene.batch())
    assert 0 < logs["entropy_loss"] < np.log(CLASSES)


def test_gradient_of_the_reference_equals_finite_differences(scene):
    """The complex step against central differences, on every divergence."""
    net = network(scene.student())
    x, y, u = scene.batch()
    target = net.probabilities(u + 0.3)
    for divergence in (reference.cross_entropy, reference.squared_error, reference.kullback_leibler):
        step = reference.train_step(
            net,
            reference.labelled(x, reference.one_hot(y, CLASSES)),
            consistency=reference.term(net, 0.7, divergence, np.ones(len(u)), target, u),
            entropy=(0.2, lambda moved: reference.entropy(moved.logits(u)).mean(), {}),
        )

        def total(parameters, divergence=divergence):
            moved = reference.Network(parameters)
            supervised = reference.cross_entropy(reference.one_hot(y, CLASSES), moved.logits(x)).mean()
            unlabelled = divergence(target, moved.logits(u)).mean()
            return supervised + 0.7 * unlabelled + 0.2 * reference.entropy(moved.logits(u)).mean()

        for number, slope in enumerate(step.gradient):
            for place in np.ndindex(slope.shape):
                up, down = ([p.copy() for p in net.parameters] for _ in range(2))
                up[number][place] += 1e-6
                down[number][place] -= 1e-6
                np.testing.assert_allclose(slope[place], (total(up) - total(down)) / 2e-6, atol=1e-8)
