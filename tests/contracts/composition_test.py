"""Compositions of terms, teachers, mixers and views against float64 NumPy, beyond what the recipes put together."""

import keras
import numpy as np
import pytest

import keras_consistency as kc
from keras_consistency.ops import random
from tests.contracts import numpy_reference as reference
from tests.contracts import numpy_reference_adversarial as adversarial
from tests.contracts.numpy_reference_stateful import Alignment
from tests.contracts.reference_scenes import (
    CLASSES,
    FEATURES,
    LABELED,
    SCENES,
    UNLABELED,
    Affine,
    Draws,
    Scene,
    assert_same,
    compiled,
    network,
    train,
    train_on,
    weak_and_strong,
)


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


FACTORS = (0.3, 1.2)


def test_labelled_views_have_factors_and_the_regularisation_has_none(scene):
    """With weights of the examples, and those of an imbalance passed the same way."""
    student = keras.Sequential(
        [
            keras.Input([FEATURES]),
            keras.layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.1)),
            keras.layers.Dense(CLASSES),
        ]
    )
    views = weak_and_strong()
    model = compiled(kc.ConsistencyModel(student, [], labeled_view=views, labeled_scale=FACTORS))
    net = network(student)
    x, y, u = scene.batch()
    weight = (np.array([0.0, 2.0, 0.5, 1.0]) * np.array([3.0, 1.0, 0.2])[y]).astype("float32")
    fits = [reference.labelled(view.numpy(x), reference.one_hot(y, CLASSES), weight) for view in views]
    expected = reference.train_step(
        net,
        lambda moved: (
            sum(factor * fit(moved) for factor, fit in zip(FACTORS, fits, strict=True))
            + 0.1 * (moved.parameters[0] ** 2).sum()
        ),
    )
    assert_same(expected, *train_on(model, {"labeled": x, "unlabeled": u}, y, weight))


@pytest.mark.parametrize("mixer", [None, kc.mixers.MixUp(alpha=1e-6)])
def test_factors_of_equal_shares_are_those_of_none(scene, mixer):
    """A mixer at an alpha that gives all of the share to the example itself makes no difference either."""
    views = weak_and_strong()
    net = network(scene.student())
    x, y, u = scene.batch()
    fits = [reference.labelled(view.numpy(x), reference.one_hot(y, CLASSES)) for view in views]
    expected = reference.train_step(net, lambda moved: (fits[0](moved) + fits[1](moved)) / 2)
    for scale in (None, [0.5, 0.5]):
        student = Scene("some pass", **SCENES["some pass"]).student()
        model = compiled(kc.ConsistencyModel(student, [], labeled_view=views, labeled_scale=scale, mixer=mixer))
        assert_same(expected, *train(model, x, y, u))


@pytest.mark.parametrize("weighted", ["not", "images", "pixels"])
def test_factors_of_labelled_views_of_pixels(weighted):
    numbers = np.random.default_rng(4)
    student = keras.Sequential([keras.Input([2, 3, FEATURES]), keras.layers.Conv2D(CLASSES, 1)])
    views = weak_and_strong()
    model = compiled(kc.ConsistencyModel(student, [], labeled_view=views, labeled_scale=FACTORS))
    kernel, bias = (np.asarray(each, "float64") for each in student.get_weights())
    x = numbers.normal(size=[LABELED, 2, 3, FEATURES]).astype("float32")
    y = numbers.integers(CLASSES, size=x.shape[:-1])
    shape = {"not": None, "images": [LABELED, 1, 1], "pixels": y.shape}[weighted]
    weight = None if shape is None else numbers.uniform(size=shape).astype("float32")
    of_pixels = 1.0 if weight is None else weight

    def supervised(parameters):
        answers = [view.numpy(x) @ parameters[0][0, 0] + parameters[1] for view in views]
        losses = [(of_pixels * reference.cross_entropy(reference.one_hot(y, CLASSES), each)).mean() for each in answers]
        return FACTORS[0] * losses[0] + FACTORS[1] * losses[1]

    logs, found = train_on(model, x, y, weight)
    np.testing.assert_allclose(logs["supervised_loss"], supervised([kernel, bias]), rtol=1e-5)
    for ours, theirs in zip(found, reference.gradient(supervised, [kernel, bias]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_factors_of_labelled_views_of_a_student_with_several_outputs(scene):
    inputs = keras.Input([FEATURES])
    outputs = {"a": keras.layers.Dense(CLASSES)(inputs), "b": keras.layers.Dense(1)(inputs)}
    student = keras.Model(inputs, outputs)
    views = weak_and_strong()
    loss = {"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "b": "mse"}
    model = compiled(kc.ConsistencyModel(student, [], labeled_view=views, labeled_scale=FACTORS), loss=loss)
    x, y, _ = scene.batch()
    value = scene.numbers.normal(size=[LABELED, 1]).astype("float32")
    weight = np.array([0.0, 2.0, 0.5, 1.0], "float32")
    expected = 0.0
    for factor, view in zip(FACTORS, views, strict=True):
        answer = {name: np.asarray(each, "float64") for name, each in student(view.numpy(x)).items()}
        of_class = reference.cross_entropy(reference.one_hot(y, CLASSES), answer["a"])
        expected += factor * (weight * (of_class + (answer["b"] - value)[:, 0] ** 2)).mean()
    logs, _ = train_on(model, x, {"a": y, "b": value}, weight)
    np.testing.assert_allclose(logs["supervised_loss"], expected, rtol=1e-5)


def test_adversarial_training_of_values_raises_and_learns_their_squared_error(scene):
    student = keras.Sequential(
        [keras.Input([FEATURES]), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    )
    for weight in student.weights:
        weight.assign(scene.numbers.normal(size=weight.shape))
    weak, _ = weak_and_strong()
    attack = {"radius": 0.3, "step_size": 0.2, "steps": 2}
    model = kc.recipes.adversarial_training(
        student, **attack, random_start=False, clean_share=0.25, weak=weak, value_range=None
    )
    compiled(model, loss="mse")
    net = network(student)
    given, _, u = scene.batch()
    y = scene.numbers.normal(size=[LABELED, 1])
    x = weak.numpy(given.astype("float64"))

    def squared_error(answer):
        return ((answer - y) ** 2)[:, 0]

    attacked = adversarial.pgd(net, x, x, squared_error, **attack, norm="linf")
    assert np.abs(attacked - x).max() > 0.29
    expected = reference.train_step(
        net,
        lambda moved: (
            0.75 * squared_error(moved.logits(attacked)).mean() + 0.25 * squared_error(moved.logits(x)).mean()
        ),
    )
    assert_same(expected, *train(model, given, y.astype("float32"), u))


def test_adversarial_consistency_beside_fixmatch_shares_the_look_at_the_weak_view(scene):
    weak, strong = Draws(), Affine(-0.7, 0.3, name="strong")
    attack = kc.perturbations.PGD(radius=0.4, step_size=0.3, steps=2, target="prediction")
    second = kc.Consistency(
        teacher_view=weak, student_view=kc.View(weak, perturbation=attack), scale=0.7, name="adversarial"
    )
    model = kc.recipes.fixmatch(
        scene.student(), threshold=0.6, scale=1.3, weak=weak, strong=strong, extra_terms=[second]
    )
    compiled(model, run_eagerly=True)
    made, calls = [], []
    with pytest.MonkeyPatch.context() as patch:
        steps = kc.perturbations.PGD.attack
        patch.setattr(kc.perturbations.PGD, "attack", lambda *args: made.append(steps(*args).numpy()) or made[-1])
        call = model.student.call
        patch.setattr(
            model.student,
            "call",
            lambda inputs, **options: calls.append((len(inputs), options["training"])) or call(inputs, **options),
        )
        before = network(model.student)
        x, y, u = scene.batch()
        found = train(model, x, y, u)
    (x,), (easy,) = weak.take()
    (attacked,) = made
    assert 0.3 < np.abs(attacked - easy).max() <= 0.4 + 1e-6
    # The look; the attack, which knows the clean answer in inference mode first; and what is learnt.
    assert calls == [(UNLABELED, True), *[(UNLABELED, False)] * 3, (LABELED + 2 * UNLABELED, True)]
    p = before.probabilities(easy)
    expected = reference.train_step(
        before,
        reference.labelled(x, reference.one_hot(y, CLASSES)),
        consistency=expected_term(before, easy, strong.numpy(u), 1.3),
        adversarial=reference.term(
            before, 0.7, reference.kullback_leibler, np.ones(UNLABELED), p, attacked.astype("float64")
        ),
    )
    assert_same(expected, *found)


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


def test_interpolated_logits_pass_gradient_through_both_batch_statistics(scene):
    """AdaMatch with batch normalisation, without which both calls of `kc.forwards.Interpolated` say the same."""
    weak, strong = weak_and_strong()
    student = keras.Sequential(
        [
            keras.Input([FEATURES]),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(epsilon=0.01),
            keras.layers.Activation("tanh"),
            keras.layers.Dense(CLASSES),
        ]
    )
    for weight in student.trainable_weights:
        weight.assign(scene.numbers.normal(size=weight.shape))
    model = compiled(kc.recipes.adamatch(student, ramp_up_steps=0, weak=weak, strong=strong), run_eagerly=True)
    parameters = [weight.numpy().astype("float64") for weight in student.trainable_weights]
    x, y, u = scene.batch()
    shares = []
    with pytest.MonkeyPatch.context() as patch:
        draw = random.uniform
        patch.setattr(random, "uniform", lambda *args: shares.append(draw(*args)) or shares[-1])
        logs, _ = train(model, x, y, u)
    labelled = np.concatenate([weak.numpy(x), strong.numpy(x)])
    y = reference.one_hot(np.concatenate([y, y]), CLASSES)
    share = np.concatenate([share.numpy() for share in shares])
    assert share.shape == y.shape and np.ptp(share) > 0.5

    def logits(parameters, inputs):
        w1, b1, gamma, beta, w2, b2 = parameters
        hidden = inputs @ w1 + b1
        centred = hidden - hidden.mean(0)
        return np.tanh(gamma * centred / np.sqrt((centred**2).mean(0) + 0.01) + beta) @ w2 + b2

    def answers(parameters):
        together = logits(parameters, np.concatenate([labelled, strong.numpy(u)]))
        between = share * together[: len(y)] + (1 - share) * logits(parameters, labelled)
        return between, together[len(y) :]

    of_labelled = reference.softmax(answers(parameters)[0][: len(x)])
    alignment = Alignment(classes=CLASSES, momentum=0.999)
    p = alignment(reference.softmax(logits(parameters, weak.numpy(u))), of_labelled.mean(0))
    mask = p.max(-1) >= 0.9 * of_labelled.max(-1).mean()
    assert 0 < mask.mean() < 1

    def supervised(parameters):
        return reference.cross_entropy(y, answers(parameters)[0]).mean()

    def unlabelled(parameters):
        return (mask * reference.cross_entropy(reference.hard(p), answers(parameters)[1])).mean()

    np.testing.assert_allclose(logs["supervised_loss"], supervised(parameters), rtol=1e-5)
    np.testing.assert_allclose(logs["consistency_loss"], unlabelled(parameters), rtol=1e-5)
    np.testing.assert_allclose(logs["consistency_mask_rate"], mask.mean())
    slopes = reference.gradient(lambda moved: supervised(moved) + unlabelled(moved), parameters)
    for before, weight, slope in zip(parameters, student.trainable_weights, slopes, strict=True):
        np.testing.assert_allclose(before - weight.numpy(), slope, atol=1e-5)
