"""What the attacks share: budgets, closures, the loss, errors."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.ops import random
from keras_consistency.ops.require import as_value_errors
from keras_consistency.perturbations import FGSM, PGD, VAT, GaussianNoise
from tests.contracts import numpy_reference as reference
from tests.contracts import numpy_reference_adversarial as adversarial
from tests.contracts import recipes

NUMBERS = np.random.default_rng(0)
NETWORK = reference.Network([NUMBERS.normal(scale=0.6, size=shape) for shape in ((5, 4), (4,), (4, 3), (3,))])
INPUTS = NUMBERS.uniform(size=(6, 5))
LABELS = np.array([0, 1, 2, 0, 1, 2])
X = tf.constant(INPUTS, tf.float32)
SEED = tf.constant([3, 9])
ATTACKS = {
    "fgsm": lambda **options: FGSM(radius=0.3, **options),
    "fgsm l2": lambda **options: FGSM(radius=0.3, norm="l2", **options),
    "pgd": lambda **options: PGD(radius=0.3, steps=3, **options),
    "pgd l2": lambda **options: PGD(radius=0.3, steps=3, norm="l2", **options),
    "vat": lambda **options: VAT(radius=0.3, **options),
}


def logits(x):
    w1, b1, w2, b2 = (tf.constant(parameter, tf.float32) for parameter in NETWORK.parameters)
    return tf.tanh(x @ w1 + b1) @ w2 + b2


def perturb(attack, inputs=X, function=logits, seed=SEED):
    return attack(inputs, function, seed=seed, **({"labels": LABELS} if attack.reads_labels else {}))


# Budgets.


def length(offset, norm):
    offset = offset.reshape(len(offset), -1)
    return np.abs(offset).max(axis=1) if norm == "linf" else np.sqrt((offset**2).sum(axis=1))


@pytest.mark.parametrize("width", [3072, 150_528])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_budget_and_range_are_kept_by_every_example(width, low, high, dtype):
    kernel = tf.constant(NUMBERS.normal(size=(width, 2)), tf.float32)
    inputs = tf.cast(tf.constant(NUMBERS.uniform(low, high, size=(2, width))), dtype)
    clean = tf.cast(inputs, tf.float64).numpy()
    for norm, shares in {"linf": (0.001, 0.3), "l2": (0.01, 3.0, 30.0)}.items():
        for radius in (share * (high - low) for share in shares):
            for clip_range in ((low, high), None):
                options = {"radius": radius, "clip_range": clip_range}
                attacks = [PGD(norm=norm, steps=2, **options)]
                for attack in attacks + [VAT(**options)] * (norm == "l2"):
                    labels = {"labels": [0, 1]} if attack.reads_labels else {}
                    found = attack(inputs, lambda x: (x - low) @ kernel, seed=SEED, **labels).numpy().astype("float64")
                    assert np.all(length(found - clean, norm) <= radius + 1e-6 * (high - low)), attack
                    assert np.all(length(found - clean, norm) > radius / 2), attack
                    assert clip_range is None or low <= found.min() <= found.max() <= high, attack


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_inputs_of_any_precision_are_taken_for_the_numbers_that_they_are(name, dtype):
    inputs = tf.cast(X, dtype)
    found = perturb(ATTACKS[name](), inputs)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, perturb(ATTACKS[name](), tf.cast(inputs, tf.float32)))


@pytest.mark.parametrize("attack", [PGD, FGSM, VAT])
def test_radius_zero_is_the_identity(attack):
    np.testing.assert_array_equal(attack(radius=0)(X, logits, seed=SEED), X)


def test_rounding_does_not_count_as_outside_the_range():
    """Scaled to a range in one precision, the ends are off by a little in another."""
    low, high = (0.0 - 0.4914) / 0.2470, (1.0 - 0.4914) / 0.2470
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        inputs = tf.cast(tf.constant([[low, high, 0.5]], tf.float64), dtype)
        for perturbation in (FGSM(radius=0.1, clip_range=(low, high)), GaussianNoise(stddev=0, clip_range=(low, high))):
            options = {"labels": [1]} if perturbation.reads_labels else {}
            found = perturbation(inputs, lambda x: x, seed=SEED, **options).numpy()
            assert np.float32(low) <= found.min() and found.max() <= np.float32(high)


# The function.


@pytest.mark.parametrize("name", ["fgsm", "fgsm l2", "pgd", "pgd l2"])
def test_loss_of_each_example_does_what_logits_and_labels_do(name):
    def loss(x):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits(x))

    expected = perturb(ATTACKS[name]())
    np.testing.assert_allclose(ATTACKS[name]()(X, loss, seed=SEED), expected, atol=1e-5)
    for labels in (LABELS[:, None], np.eye(3)[LABELS]):
        np.testing.assert_array_equal(ATTACKS[name]()(X, logits, labels=labels, seed=SEED), expected)
    assert np.abs(expected - X).max() > 0.1


def test_soft_labels_follow_their_gradient():
    soft = np.array([[0.6, 0.3, 0.1], [0.05, 0.9, 0.05], [0.4, 0.4, 0.2]] * 2)
    (slope,) = reference.gradient(lambda x: reference.cross_entropy(soft, NETWORK.logits(x[0])).sum(), [INPUTS])
    found = FGSM(radius=0.3, norm="l2")(X, logits, labels=soft) - INPUTS
    np.testing.assert_allclose(found, 0.3 * slope / np.linalg.norm(slope, axis=1, keepdims=True), atol=1e-5)


def test_logits_of_pixels():
    """Of a pixel that reads itself alone, with its own kernel; those without a class, -1, stay."""
    kernel, classes = NUMBERS.normal(size=3), np.array([[[0, 1], [2, -1]], [[1, 1], [0, 2]]])
    images = NUMBERS.uniform(size=(2, 2, 2, 1))
    known = (classes >= 0)[..., None]
    difference = (reference.softmax(images * kernel) - np.eye(3)[classes]) * known
    expected = images + 0.1 * np.sign((difference * kernel).sum(-1, keepdims=True))
    found = FGSM(radius=0.1)(
        tf.constant(images, tf.float32), lambda x: x * tf.constant(kernel, tf.float32), labels=classes
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.sum(found == images.astype("float32")) == 1


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_value_is_moved_away_from_its_label_or_towards_it(shape):
    kernel, labels = NUMBERS.normal(size=5), NUMBERS.normal(size=6)

    def values(x):
        return tf.linalg.matvec(x, tf.constant(kernel, tf.float32))[:, None]

    for targeted in (False, True):
        found = FGSM(radius=0.1, targeted=targeted)(X, values, labels=labels.reshape(shape).astype("float32"))
        away = np.sign((INPUTS @ kernel - labels)[:, None] * kernel) * (-1 if targeted else 1)
        np.testing.assert_allclose(found, INPUTS + 0.1 * away, atol=1e-6)


def test_value_of_its_own_prediction():
    found = PGD(radius=0.1, target="prediction")(X, lambda x: tf.reduce_sum(x, axis=1, keepdims=True), seed=SEED)
    np.testing.assert_allclose(np.abs(np.sum(found - INPUTS, axis=1)), 0.5, atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 20.0])
@pytest.mark.parametrize("name", ["fgsm", "fgsm l2", "pgd", "pgd l2", "vat"])
def test_answers_of_probability_one_have_a_direction(name, shift):
    """float32 holds nothing of `p - y` at `p = 1 - 1e-8`, where float64 does."""
    shifts = shift * np.eye(3)[LABELS]
    shifted = SimpleNamespace(logits=lambda x: NETWORK.logits(x) + shifts)
    shifted.probabilities = lambda x: reference.softmax(shifted.logits(x))
    if shift:
        assert np.all(np.abs(shifted.probabilities(INPUTS) - np.eye(3)[LABELS]) < 1e-7)
    if name == "vat":
        attack = VAT(radius=0.3, xi=1.0)
        start = random.normal(SEED, 6, [5]).numpy().astype("float64")
        start /= np.linalg.norm(start, axis=1, keepdims=True)
        expected = INPUTS + 0.3 * reference.vat_direction(shifted, INPUTS, start, probe=0.3, iterations=1)
    else:
        norm, steps = "l2" if "l2" in name else "linf", 3 if "pgd" in name else 1
        options = {"radius": 0.3, "steps": steps, "step_size": 0.2 if steps > 1 else 0.3, "norm": norm}
        attack = PGD(**options, random_start=False)
        expected = adversarial.pgd(shifted, INPUTS, INPUTS, adversarial.of_labels(np.eye(3)[LABELS]), **options)
    found = perturb(attack, function=lambda x: logits(x) + tf.constant(shifts, tf.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["pgd", "pgd l2", "vat"])
def test_compilation_changes_nothing(name):
    attack = ATTACKS[name](clip_range=(0, 1))
    eager = perturb(attack)
    for jit in (False, True):
        compiled = tf.function(lambda x: perturb(attack, x), jit_compile=jit)
        np.testing.assert_allclose(compiled(X), eager, atol=3e-3 if name == "vat" else 1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_batch_of_unknown_size(name):
    attack = ATTACKS[name]()
    signature = [tf.TensorSpec([None, 5]), tf.TensorSpec([None], tf.int64)]

    def run(x, y):
        return attack(x, logits, seed=SEED, **({"labels": y} if attack.reads_labels else {}))

    traced = tf.function(run, input_signature=signature)
    for rows in (6, 2):
        found = traced(X[:rows], LABELS[:rows])
        np.testing.assert_allclose(found, run(X[:rows], LABELS[:rows]), atol=3e-3 if name == "vat" else 1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_gradient_flows_into_the_perturbation(name):
    weight = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        tape.watch(X)
        found = perturb(ATTACKS[name](), function=lambda x: logits(x) * weight)
        loss = tf.reduce_sum(found * weight)
    slope, unmoved = tape.gradient(loss, [weight, X])
    np.testing.assert_allclose(slope, tf.reduce_sum(found), rtol=1e-5)
    assert unmoved is None


@pytest.mark.parametrize("name", ATTACKS)
def test_an_example_is_perturbed_by_itself(name):
    """Norms and losses are per example, whatever else the batch holds."""
    attack, other = ATTACKS[name](), tf.concat([X[:3], 100.0 * X[3:]], axis=0)
    np.testing.assert_allclose(perturb(attack, other)[:3], perturb(attack)[:3], atol=1e-5)


# Errors.

TABLE = {
    "integers": (lambda: FGSM(radius=1)(tf.constant([[1, 2]]), logits, labels=[0]), "`inputs`", "int32"),
    "bytes": (lambda: VAT(radius=1)(tf.zeros([6, 5], tf.uint8), logits), "`inputs`", "uint8"),
    "no batch": (lambda: FGSM(radius=1)(tf.zeros([5]), logits, labels=LABELS), "`inputs`", "(5,)"),
    "outside": (lambda: perturb(FGSM(radius=0.5, clip_range=(0, 1)), 3 * X), "`inputs`", "[0, 1]", "from, to: "),
    "NaN inputs": (lambda: perturb(FGSM(radius=0.5, clip_range=(0, 1)), X / 0.0 * 0.0), "`inputs`", "nan"),
    "long for the maximum norm": (lambda: PGD(radius=1.1, clip_range=(0, 1)), "`radius`", "radius=1.1"),
    "long for the L2 norm": (lambda: perturb(VAT(radius=2.3, clip_range=(0, 1))), "`radius`", "2.23607", "radius=2.3"),
    "negative": (lambda: FGSM(radius=-0.1), "`radius`", "[0, inf)", "radius=-0.1"),
    "infinite": (lambda: FGSM(radius=float("inf")), "`radius`", "[0, inf)", "radius=inf"),
    "a range of words": (lambda: FGSM(radius=1, clip_range=("0", "1")), "`clip_range`", "('0', '1')"),
    "a range without end": (lambda: FGSM(radius=1, clip_range=(0, float("inf"))), "`clip_range`", "inf"),
    "no steps": (lambda: PGD(radius=1, steps=0), "`steps`", "at least 1", "steps=0"),
    "norm": (lambda: PGD(radius=1, norm="l1"), "`norm`", "'l2'", "norm='l1'"),
    "target": (lambda: PGD(radius=1, target="class"), "`target`", "'least_likely'", "target='class'"),
    "start": (lambda: PGD(radius=1, random_start=-0.5), "`random_start`", "[0, inf)", "random_start=-0.5"),
    "a scalar": (lambda: perturb(FGSM(radius=1), function=lambda x: tf.reduce_mean(logits(x))), "`function`", "()"),
    "another size": (
        lambda: perturb(PGD(radius=1), function=lambda x: tf.reduce_mean(logits(x), axis=0)), "`function`", "(3,)"
    ),
    "several outputs": (lambda: perturb(VAT(radius=1), function=lambda x: {"a": x}), "`function`", "one tensor"),
    "NaN": (lambda: perturb(PGD(radius=1), function=lambda x: logits(x) * float("nan")), "`function`", "nan"),
    "NaN losses": (
        lambda: perturb(FGSM(radius=1), function=lambda x: tf.math.log(-tf.reduce_sum(x, axis=1))), "`function`", "nan"
    ),
    "a steep root": (
        lambda: perturb(FGSM(radius=1), function=lambda x: tf.sqrt(tf.reduce_sum(x - x, 1))), "`function`", "finite"
    ),
    "a constant": (lambda: perturb(PGD(radius=1), function=lambda x: np.ones([6, 3], "f4")), "`function`", "gradient"),
    "rounded": (
        lambda: perturb(FGSM(radius=1), function=lambda x: logits(tf.cast(tf.cast(x, tf.int32), tf.float32))),
        "`function`", "integers", "no gradient",
    ),
    "not followed": (
        lambda: perturb(FGSM(radius=1), function=lambda x: tf.stop_gradient(logits(x))), "`function`", "no gradient"
    ),
    "no labels": (lambda: PGD(radius=1)(X, logits), "`labels`", "target='label'", "labels=None"),
    "labels of a pair": (lambda: PGD(radius=1)(X, logits, labels=np.ones([6, 2])), "`labels`", "labels=(6, 2)"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_bad_input(case):
    wrong, *words = TABLE[case]
    with pytest.raises(ValueError, match="Received") as caught:
        wrong()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("function", "inputs", "word"),
    [
        (logits, 3 * X, "`inputs` must lie"),
        (lambda x: logits(x) * float("nan"), X, "finite"),
        (lambda x: logits(x)[: tf.shape(x)[0] - 1], X, "numbers of answers and inputs: 5 6"),
    ],
    ids=["outside", "NaN", "another size"],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_bad_values_in_a_graph(function, inputs, word, steps):
    attack = PGD(radius=0.5, steps=steps, clip_range=(0, 1))
    traced = tf.function(
        lambda x, y: attack(x, function, labels=y),
        input_signature=[tf.TensorSpec([None, 5]), tf.TensorSpec([None], tf.int64)],
    )
    with pytest.raises(ValueError, match=word), as_value_errors():
        traced(inputs, LABELS)


@pytest.mark.parametrize("eager", [False, True])
def test_inputs_outside_the_range_in_training(eager):
    model = kc.recipes.adversarial_training(recipes.student(), weak=keras.layers.Identity(), value_range=(0, 1))
    model.compile("sgd", loss=recipes.LOSS, run_eagerly=eager)
    with pytest.raises(
        ValueError, match=r"`inputs` must lie in `clip_range`, \[0, 1\].*`value_range=`.*from, to: -?\d"
    ):
        model.fit(*recipes.examples(8), batch_size=8, verbose=0)
