import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import keras_consistency as kc
from keras_consistency.ops import norms, random
from keras_consistency.perturbations import PGD
from tests.contracts import numpy_reference as reference
from tests.contracts import numpy_reference_adversarial as adversarial
from tests.contracts import recipes, replicas_test

NUMBERS = np.random.default_rng(1)
NETWORK = reference.Network([NUMBERS.normal(scale=0.6, size=shape) for shape in ((5, 4), (4,), (4, 3), (3,))])
INPUTS = NUMBERS.uniform(size=(6, 5))
LABELS = np.array([0, 1, 2, 0, 1, 2])
X = tf.constant(INPUTS, tf.float32)
SEED = tf.constant([3, 9])
NORMS = ["linf", "l2"]


def logits(x):
    w1, b1, w2, b2 = (tf.constant(parameter, tf.float32) for parameter in NETWORK.parameters)
    return tf.tanh(x @ w1 + b1) @ w2 + b2


def drawn(norm, radius, shape=(6, 5)):
    """The documented draw: even in the cube; or a normal direction, at `u ** (1 / numbers)` of the radius."""
    if norm == "linf":
        return radius * (2 * random.uniform(SEED, shape[0], shape[1:]).numpy().astype("float64") - 1)
    direction = random.normal(SEED, shape[0], shape[1:]).numpy().astype("float64")
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    share = random.uniform(random.fold(SEED, 1), shape[0]).numpy().astype("float64")
    return radius * (share ** (1 / shape[1]))[:, None] * direction


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("random_start", [False, True, 0.3, 3.0])
@pytest.mark.parametrize("clip_range", [None, (0, 1)])
@pytest.mark.parametrize("target", ["label", "label, towards", "least_likely", "prediction"])
def test_it_equals_the_algorithm(norm, random_start, clip_range, target):
    """Madry et al. 2018, section 2.1, with the start recomputed."""
    if target == "prediction":
        random_start = random_start or 0.5
        divergence = adversarial.of_prediction(NETWORK, INPUTS)
    else:
        classes = NETWORK.logits(INPUTS).argmin(axis=1) if target == "least_likely" else LABELS
        sign = 1 if target == "label" else -1

        def divergence(answer):
            return sign * reference.cross_entropy(np.eye(3)[classes], answer)

    radius, (low, high) = 0.4, clip_range or (-np.inf, np.inf)
    drawn_start = drawn(norm, float(random_start) * radius)
    start = np.clip(INPUTS + drawn_start, low, high)
    if random_start > 1:
        start = INPUTS + adversarial.within(start - INPUTS, radius, norm)
    lengths = {"radius": radius, "step_size": 0.17, "steps": 5, "norm": norm}
    expected = adversarial.pgd(NETWORK, INPUTS, start, divergence, **lengths, low=low, high=high)
    options = {"target": target.partition(",")[0], "targeted": target in ("label, towards", "least_likely")}
    attack = PGD(**lengths, **options, random_start=random_start, clip_range=clip_range)
    labels = {"labels": LABELS} if attack.reads_labels else {}
    found = attack(X, logits, seed=SEED, **labels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if clip_range:
        free = adversarial.pgd(NETWORK, INPUTS, INPUTS + drawn_start, divergence, **lengths)
        assert np.abs(expected - free).max() > 1e-3, "the range was never reached"
    if norm == "l2":
        assert np.any(np.abs(np.linalg.norm(expected - INPUTS, axis=1) - radius) < 1e-9), "nor was the radius"


def test_step_size_is_two_and_a_half_radii_in_all_steps_unless_given():
    steps = 4
    found = PGD(radius=0.4, steps=steps)(X, logits, labels=LABELS, seed=SEED)
    given = PGD(radius=0.4, steps=steps, step_size=2.5 * 0.4 / steps)(X, logits, labels=LABELS, seed=SEED)
    np.testing.assert_array_equal(found, given)
    other = PGD(radius=0.4, steps=steps, step_size=0.1)(X, logits, labels=LABELS, seed=SEED)
    assert np.abs(found - other).max() > 0.05


@pytest.mark.parametrize(("steps", "graph"), [(1, False), (7, False), (1, True), (7, True)])
def test_each_step_is_one_forward_pass(steps, graph):
    calls = tf.Variable(0)

    def counted(x):
        calls.assign_add(1)
        return logits(x)

    def run():
        return PGD(radius=0.4, steps=steps)(X, counted, labels=LABELS, seed=SEED)

    _ = (tf.function(run) if graph else run)()
    assert calls.numpy() == steps


def test_more_steps_raise_the_loss_more():
    def loss(steps):
        found = PGD(radius=0.5, steps=steps, step_size=0.05, random_start=False)(X, logits, labels=LABELS)
        return reference.cross_entropy(np.eye(3)[LABELS], NETWORK.logits(found.numpy().astype("float64")))

    clean = reference.cross_entropy(np.eye(3)[LABELS], NETWORK.logits(INPUTS))
    assert np.all(clean < loss(1)) and np.all(loss(1) < loss(5)) and np.all(loss(5) < loss(10))


# The random start.


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("share", [True, 0.03])
def test_start_is_even_in_the_ball(norm, share):
    """With a loss without gradient, what comes out is the start. Of even points, (length / radius) ** numbers is even
    in [0, 1], in any norm; and so is each number of the maximum norm.
    """
    numbers, radius = 4, 2.0
    found = PGD(radius=radius, norm=norm, steps=1, random_start=share)(
        tf.zeros([20_000, numbers]), lambda x: 0.0 * tf.reduce_sum(x, axis=1), seed=SEED
    ).numpy() / (radius * float(share))
    length = np.abs(found).max(axis=1) if norm == "linf" else np.linalg.norm(found, axis=1)
    assert stats.kstest(length**numbers, "uniform").pvalue > 0.01
    if norm == "linf":
        assert all(stats.kstest((column + 1) / 2, "uniform").pvalue > 0.01 for column in found.T)
    else:
        # The angle in a plane of two numbers.
        angle = np.arctan2(found[:, 0], found[:, 1]) / (2 * np.pi) + 0.5
        assert stats.kstest(angle, "uniform").pvalue > 0.01
    assert np.abs(np.corrcoef(found.T)[~np.eye(numbers, dtype=bool)]).max() < 0.03


@pytest.mark.parametrize("norm", NORMS)
def test_seed_decides(norm):
    attack = PGD(radius=0.4, steps=2, step_size=0.1, norm=norm)
    first = attack(X, logits, labels=LABELS, seed=SEED)
    np.testing.assert_array_equal(first, attack(X, logits, labels=LABELS, seed=[3, 9]))
    other = attack(X, logits, labels=LABELS, seed=[3, 10])
    assert np.all(np.abs(first - other).max(axis=1) > 1e-3)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_without_a_seed_draws_follow_that_of_keras(mode):
    attack = PGD(radius=0.4, steps=1, step_size=0.01)
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(4)

        def run(x):
            return attack(x, logits, labels=LABELS)

        call = run if mode == "eager" else tf.function(run, jit_compile=mode == "xla")
        runs.append([call(X).numpy() for _ in range(2)])
    if mode != "xla":  # which seeds its generator itself
        np.testing.assert_array_equal(*runs)
    assert np.all(np.abs(runs[0][0] - runs[0][1]).max(axis=1) > 1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_replicas_draw_as_one_would(norm):
    strategy, attack = replicas_test.strategy_of(2), PGD(radius=0.4, steps=2, step_size=0.1, norm=norm)
    parts = [
        strategy.experimental_distribute_values_from_function(
            lambda context, whole=whole: tf.constant(np.split(whole, 2)[context.replica_id_in_sync_group])
        )
        for whole in (X.numpy(), LABELS)
    ]
    found = tf.function(lambda: strategy.run(lambda x, y: attack(x, logits, labels=y, seed=SEED), args=tuple(parts)))()
    expected = attack(X, logits, labels=LABELS, seed=SEED)
    np.testing.assert_allclose(np.concatenate(strategy.experimental_local_results(found)), expected, atol=1e-6)


def test_draw_within_of_nothing_known_but_the_rank():
    draw = tf.function(lambda x: norms.draw_within(SEED, x, 1.0, "l2"), input_signature=[tf.TensorSpec([None, None])])
    np.testing.assert_allclose(draw(X), drawn("l2", 1.0), atol=1e-6)


# Inside a model.


def student(dropout=0.5):
    return keras.Sequential(
        [
            keras.Input([recipes.FEATURES]),
            keras.layers.Dense(6, activity_regularizer=keras.regularizers.L2(0.1), kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("tanh"),
            keras.layers.Dropout(dropout, seed=1),
            keras.layers.Dense(recipes.CLASSES),
        ]
    )


def trained(**compiled):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = kc.recipes.adversarial_training(
        student(), weak=keras.layers.Identity(), value_range=None, radius=0.5, step_size=0.2, steps=3, ema=None, seed=1
    )
    model.compile(keras.optimizers.SGD(0.1), loss=recipes.LOSS, **compiled)
    history = model.fit(*recipes.examples(16), batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return model, history


def test_student_with_state_and_regularisation_trains_the_same_in_a_graph():
    eager, expected = trained(run_eagerly=True)
    graph, history = trained(run_eagerly=False, jit_compile=False)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    recipes.assert_equal_state(eager, graph, atol=1e-5)


def test_student_with_state_and_regularisation_trains_under_xla():
    model, history = trained(jit_compile=True)
    assert model.jit_compile and np.all(np.isfinite(history["loss"]))


def test_regularisation_counts_the_training_forward_alone():
    x, y = recipes.examples(8)
    network, given = student(dropout=0.0), []
    model = kc.recipes.adversarial_training(
        network, weak=keras.layers.Identity(), value_range=None, radius=0.5, steps=3, ema=None, seed=1
    )
    model.compile(keras.optimizers.SGD(0.0), loss=recipes.LOSS, run_eagerly=True)
    answer = network.call

    def watched(inputs, training=None, **options):
        given.append((training, inputs.numpy()))
        return answer(inputs, training=training, **options)

    network.call = watched
    loss = model.train_on_batch(x, y, return_dict=True)["supervised_loss"]
    assert [training for training, _ in given] == [False] * 3 + [True]
    attacked = given[-1][1]
    assert np.abs(attacked - x).max() > 0.1
    kernel, bias = (weight.numpy().astype("float64") for weight in network.layers[0].weights)
    activity, weights = 0.1 * np.sum((attacked @ kernel + bias) ** 2) / len(x), 0.01 * np.sum(kernel**2)
    assert activity > 0.1
    expected = recipes.LOSS(y, answer(attacked, training=True)) + activity + weights
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
