import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import random
from keras_consistency.perturbations import VAT
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(0)
NETWORK = reference.Network([NUMBERS.normal(scale=0.6, size=shape) for shape in ((5, 4), (4,), (4, 3), (3,))])
INPUTS = NUMBERS.normal(size=(6, 5))
SEED = (3, 9)


def logits(x):
    w1, b1, w2, b2 = (tf.constant(parameter, tf.float32) for parameter in NETWORK.parameters)
    return tf.tanh(x @ w1 + b1) @ w2 + b2


def perturb(inputs=INPUTS, function=logits, **arguments):
    return VAT(**arguments)(tf.constant(inputs, tf.float32), function, seed=tf.constant(SEED)).numpy()


def start():
    drawn = random.normal(tf.constant(SEED), 6, [5]).numpy().astype("float64")
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_direction_is_the_power_iteration_on_the_hessian_of_the_divergence(iterations):
    """With a short probe, one iteration multiplies by the Hessian, known in closed form."""
    found = perturb(radius=1.0, xi=0.01, power_iterations=iterations) - INPUTS
    for direction, first, x in zip(found, start(), INPUTS, strict=True):
        for _ in range(iterations):
            first = reference.kl_hessian(NETWORK, x) @ first
            first /= np.linalg.norm(first)
        assert direction @ first > 0.998


@pytest.mark.parametrize(("iterations", "jit_compile"), [(1, None), (2, True), (4, None)])
def test_direction_without_a_probe_is_the_hessian_s_to_rounding(iterations, jit_compile):
    attack = VAT(radius=1.0, xi=None, power_iterations=iterations)
    call = attack if jit_compile is None else tf.function(attack, jit_compile=jit_compile)
    found = call(tf.constant(INPUTS, tf.float32), logits, seed=tf.constant(SEED)).numpy() - INPUTS
    for direction, first, x in zip(found, start(), INPUTS, strict=True):
        for _ in range(iterations):
            first = reference.kl_hessian(NETWORK, x) @ first
            first /= np.linalg.norm(first)
        np.testing.assert_allclose(direction, first, atol=1e-5)


def test_hessian_of_values_and_of_an_image_network():
    def value(x):
        return tf.reduce_sum(tf.tanh(x) * tf.constant([1.0, 2.0, 0.0, -1.0, 0.5]), axis=1, keepdims=True)

    found = perturb(function=value, radius=1.0, xi=None) - INPUTS
    slope = (1 - np.tanh(INPUTS) ** 2) * np.array([1.0, 2.0, 0.0, -1.0, 0.5])
    cosines = (found * slope).sum(1) / np.linalg.norm(slope, axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-5)
    network = keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    images = NUMBERS.uniform(size=(4, 8, 8, 1))
    exact = perturb(images, network, radius=1.0, xi=None) - images
    probed = perturb(images, network, radius=1e-2, xi=0.3) - images
    cosines = (exact * probed).sum((1, 2, 3)) * 100
    assert (cosines > 0.99).all()


def test_hessian_of_a_loss_is_refused():
    with pytest.raises(ValueError, match="`function` must return logits .* for `xi=None`"):
        perturb(function=lambda x: tf.reduce_sum(x**2, axis=1), radius=1.0, xi=None)


def test_direction_nears_the_largest_eigenvector():
    found = perturb(radius=1.0, xi=0.02, power_iterations=20) - INPUTS
    for direction, x in zip(found, INPUTS, strict=True):
        assert abs(direction @ np.linalg.eigh(reference.kl_hessian(NETWORK, x))[1][:, -1]) > 0.99


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize(("radius", "xi"), [(1.0, 0.1), (0.2, 1.0), (4.0, 0.05)])
def test_direction_equals_algorithm_1_with_a_finite_probe(radius, xi, iterations):
    direction = reference.vat_direction(NETWORK, INPUTS, start(), probe=radius * xi, iterations=iterations)
    found = perturb(radius=radius, xi=xi, power_iterations=iterations)
    np.testing.assert_allclose(found, INPUTS + radius * direction, atol=1e-4 * radius)


@pytest.mark.parametrize("shape", [(6, 5), (2, 4, 4, 3)])
def test_length_is_the_radius_for_each_example(shape):
    inputs = NUMBERS.normal(size=shape)
    found = perturb(inputs, lambda x: tf.reshape(x, [shape[0], -1])[:, :3] * tf.range(1.0, 4.0), radius=2.5)
    lengths = np.linalg.norm((found - inputs).reshape(shape[0], -1), axis=1)
    np.testing.assert_allclose(lengths, 2.5, rtol=1e-4)


def test_it_raises_the_divergence_more_than_a_random_step():
    clean = NETWORK.probabilities(INPUTS)
    adversarial = reference.kullback_leibler(clean, NETWORK.logits(perturb(radius=0.5).astype("float64")))
    random_step = reference.kullback_leibler(clean, NETWORK.logits(INPUTS + 0.5 * start()))
    assert adversarial.mean() > 1.5 * random_step.mean()


@pytest.mark.parametrize("width", [3072, 150_528])
def test_probe_survives_float32_at_image_size(width):
    """At sizes where an absolute probe of 1e-6 would vanish, the direction is the one that the logits read."""
    axis = np.zeros([width, 2], "float32")
    axis[:, 0] = NUMBERS.normal(size=width) / np.sqrt(width)
    inputs = NUMBERS.uniform(0.2, 0.8, size=(2, width))
    found = perturb(inputs, lambda x: (x - 0.5) @ tf.constant(axis), radius=6.0) - inputs
    cosine = found @ axis[:, 0] / np.linalg.norm(axis[:, 0]) / 6
    assert (np.abs(cosine) > 0.99).all()


def test_tiny_gradients_neither_vanish_nor_overflow():
    steep = perturb(function=lambda x: logits(x) * tf.constant([1.0, 1e-3, 1.0]), radius=1.0)
    assert np.isfinite(steep).all()
    sure = perturb(function=lambda x: logits(x) * 1e-6, radius=1.0)
    np.testing.assert_allclose(np.linalg.norm(sure - INPUTS, axis=1), 1, rtol=1e-4)


def test_constant_prediction_keeps_the_random_direction():
    found = perturb(function=lambda x: 0.0 * x[:, :3], radius=2.0)
    np.testing.assert_allclose(found, INPUTS + 2 * start(), atol=1e-5)


def test_radius_zero_is_the_identity():
    np.testing.assert_array_equal(perturb(radius=0), INPUTS.astype("float32"))


def test_result_is_clipped_into_the_range():
    found = perturb(np.clip(INPUTS, -1, 1), radius=3.0, clip_range=(-1, 1))
    assert found.min() == -1 and found.max() == 1


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_are_refused(dtype):
    with pytest.raises(ValueError, match=f"`inputs`.*floating-point.*at='.*Received: inputs of dtype {dtype}"):
        VAT(radius=1.0)(tf.zeros([6, 5], dtype), logits, seed=tf.constant(SEED))


@pytest.mark.parametrize(("dtype", "shortest"), [("float32", 0.0), ("float16", 0.3), ("bfloat16", 1.0)])
def test_probe_is_longer_where_the_function_computes_in_half_precision(dtype, shortest):
    """By its answer, its own policy, or that of Keras."""
    inputs = tf.constant(INPUTS, tf.float32)

    def probes(function, xi):
        seen = []
        VAT(radius=2.0, xi=xi)(inputs, lambda x: seen.append(x) or function(x), seed=tf.constant(SEED))
        return np.linalg.norm(seen[1] - inputs, axis=1)

    def answer(x):
        return tf.cast(logits(x), dtype)

    for xi in (0.01, 0.5, 1.0):
        np.testing.assert_allclose(probes(answer, xi), 2.0 * max(xi, shortest), rtol=1e-4)
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    network = keras.Sequential([keras.Input([5]), keras.layers.Dense(3, dtype="float32")])
    keras.config.set_dtype_policy(policy)
    np.testing.assert_allclose(probes(network, 0.01), 2.0 * max(0.01, shortest), rtol=1e-4)
    network = keras.Sequential([keras.Input([5]), keras.layers.Dense(3, dtype="float32")])
    keras.config.set_dtype_policy("float32")
    network.compute = network.call
    seen = []

    def watched(inputs, **options):
        seen.append(inputs)
        return network.compute(inputs, **options)

    network.call = watched
    VAT(radius=2.0)(inputs, network, seed=tf.constant(SEED))
    np.testing.assert_allclose(np.linalg.norm(seen[1] - inputs, axis=1), 2.0 * max(0.01, shortest), rtol=1e-4)


def test_no_gradient_flows_into_the_perturbation():
    weight = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        found = VAT(radius=1.0)(tf.constant(INPUTS, tf.float32), lambda x: logits(x) * weight, seed=tf.constant(SEED))
    assert tape.gradient(found, weight) is None


def test_the_seed_decides_and_compilation_does_not():
    attack, x = VAT(radius=1.0), tf.constant(INPUTS, tf.float32)
    eager = attack(x, logits, seed=tf.constant(SEED))
    for jit in (False, True):
        compiled = tf.function(lambda x: attack(x, logits, seed=tf.constant(SEED)), jit_compile=jit)
        np.testing.assert_allclose(compiled(x), eager, atol=3e-3)
    assert np.abs(attack(x, logits, seed=tf.constant([1, 1])) - eager).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"radius": -1}, "`radius`"),
        ({"radius": float("inf")}, "`radius`"),
        ({"radius": 1, "xi": 0}, r"`xi` must be a number in \(0, 1\]"),
        ({"radius": 1, "xi": 1.5}, "`xi`"),
        ({"radius": 1, "power_iterations": 0}, "`power_iterations` must be an integer of at least 1"),
        ({"radius": 1, "clip_range": (1, 0)}, "`clip_range`"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, error):
    with pytest.raises(ValueError, match=error):
        VAT(**arguments)
