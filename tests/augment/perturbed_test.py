"""Attacks as a layer of the input pipeline: what comes of them directly, with the weights that the network has then."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.augment import Perturbed
from tests.contracts import numpy_reference as reference

P = kc.perturbations
NUMBERS = np.random.default_rng(0)
X = NUMBERS.uniform(0.3, 0.7, size=(6, 5)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2])
SEED = tf.constant([3, 4], tf.int64)
# Keras's own way to write a variable, under NumPy 2.
SAVING = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ATTACKS = {
    "FGSM": P.FGSM(radius=0.1, clip_range=(0, 1)),
    "PGD": P.PGD(radius=0.1, steps=3, clip_range=(0, 1)),
    "PGD_l2": P.PGD(radius=0.3, steps=3, norm="l2", target="prediction"),
    "VAT": P.VAT(radius=0.5),
    "GaussianNoise": P.GaussianNoise(stddev=0.1),
    "Masking": P.Masking(ratio=0.5),
}
attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=[*ATTACKS])


def network(seed=1):
    """A student with what differs in inference mode: dropout and batch normalisation."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inside = [layers.Dense(4, activation="tanh"), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3)]
    made = keras.Sequential([keras.Input([5]), *inside])
    made(2 * X - 1, training=True)
    return made


def options(attack):
    return {"labels": Y} if attack.reads_labels else {}


@attacks
def test_it_is_what_the_perturbation_makes_of_the_logits_in_inference_mode(attack):
    student = network()
    before = student.get_weights()
    found = Perturbed(attack, student)(X, **options(attack), seed=SEED)
    expected = attack(X, lambda x: student(x, training=False), seed=SEED, **options(attack))
    np.testing.assert_array_equal(found, expected)
    assert np.any(found != X) and found.dtype == tf.float32
    for one, other in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_step_equals_the_formula():
    student = keras.Sequential([keras.Input([5]), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)])
    same = reference.Network([np.asarray(each, "float64") for each in student.get_weights()])

    def loss(arrays):
        return reference.cross_entropy(np.eye(3)[Y], same.logits(arrays[0])).sum()

    (slope,) = reference.gradient(loss, [X.astype("float64")])
    found = Perturbed(ATTACKS["FGSM"], student)(X, labels=Y)
    np.testing.assert_allclose(found, X + 0.1 * np.sign(slope), atol=1e-6)


@attacks
@pytest.mark.parametrize("calls", [None, 4])
def test_views_in_a_pipeline_are_those_of_direct_calls(attack, calls):
    student = network()
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2, drop_remainder=True)
    mapped, direct = (Perturbed(attack, student, seed=5) for _ in range(2))

    def view(layer, x, y, number):
        labels = {"labels": y} if attack.reads_labels else {}
        seed = {} if calls is None else {"seed": tf.stack([number, 7])}
        return layer(x, training=True, **labels, **seed)

    numbered = data.enumerate().map(lambda number, xy: (xy[0], xy[1], number))
    views = list(numbered.map(lambda x, y, number: view(mapped, x, y, number), num_parallel_calls=calls))
    for (x, y, number), found in zip(numbered, views, strict=True):
        # The direction of VAT is made of differences of near probabilities.
        atol = 1e-4 if isinstance(attack, P.VAT) else 1e-6
        np.testing.assert_allclose(found, view(direct, x, y, number), atol=atol)
    assert np.any(np.concatenate(views) != X)


def test_views_follow_the_network_as_it_learns():
    student = network()
    layer = Perturbed(ATTACKS["FGSM"], student)
    views = tf.data.Dataset.from_tensors((X, Y)).map(lambda x, y: layer(x, labels=y))
    (before,), first = views, student.get_weights()
    student.layers[-1].kernel.assign(-student.layers[-1].kernel)
    (after,) = views
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_array_equal(after, layer(X, labels=Y))
    student.set_weights(first)
    np.testing.assert_array_equal(next(iter(views)), before)


def batches():
    unlabeled = np.linspace(0.3, 0.7, 120, dtype="float32").reshape([24, 5])
    return kc.data.pair((X, Y), unlabeled, batch_size=2, ratio=2, shuffle=False)


def test_views_beside_labelled_and_unlabelled_examples():
    student = network()
    attack = ATTACKS["PGD_l2"]
    found = []
    for calls in (1, 4):
        keras.utils.set_random_seed(0)
        data = kc.data.with_views(batches(), adversarial=Perturbed(attack, student), seed=3, num_parallel_calls=calls)
        found.append([inputs for inputs, _ in data])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one["adversarial"], other["adversarial"], atol=1e-6)
        lengths = np.linalg.norm(one["adversarial"] - one["unlabeled"], axis=1)
        assert np.all(lengths > 0.01) and np.all(lengths <= 0.3 + 1e-6)


def test_a_model_trains_on_views_of_its_own_student():
    student = network()
    layer = Perturbed(ATTACKS["PGD_l2"], student)
    data = kc.data.with_views(batches(), adversarial=layer, seed=3)
    model = kc.ConsistencyModel(student, kc.Consistency(student_view="adversarial"))
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(data, epochs=2, verbose=0, shuffle=False).history
    assert np.all(np.array(history["consistency_loss"]) > 0) and np.isfinite(history["loss"]).all()


def test_bytes_become_floats_in_their_range():
    attack = P.PGD(radius=8.0, steps=2, target="prediction", clip_range=(0, 255))
    student = keras.Sequential(
        [keras.Input([4, 4, 1]), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    images = NUMBERS.integers(0, 256, [6, 4, 4, 1]).astype("uint8")
    layer = Perturbed(attack, student)
    found = layer(images, seed=SEED)
    np.testing.assert_array_equal(found, layer(images.astype("float32"), seed=SEED))
    assert found.dtype == tf.float32 and np.abs(found - images.astype("float32")).max() <= 8
    assert 0 <= found.numpy().min() and found.numpy().max() <= 255
    assert layer(images, training=False).dtype == tf.uint8
    inputs = keras.Input([4, 4, 1], dtype="uint8")
    assert layer(inputs).dtype == "float32" and layer(inputs, training=False).dtype == "uint8"
    turned = Perturbed(P.Rotation())(images)
    assert turned.dtype == tf.uint8
    np.testing.assert_array_equal(turned[1], np.rot90(images[1]))
    assert Perturbed(P.Rotation())(inputs).dtype == "uint8"


@SAVING
@attacks
def test_functional_model_is_saved_with_the_network(attack, tmp_path):
    student = network()
    inputs, labels = keras.Input([5], name="x"), keras.Input([], dtype="int64", name="y")
    view = Perturbed(attack, student, seed=3)(inputs, labels=labels)
    model = keras.Model({"x": inputs, "y": labels}, view)
    assert view.shape == (None, 5) and view.dtype == "float32"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for _ in range(2):
        found = model({"x": X, "y": Y}, training=True)
        assert np.any(found != X)
        np.testing.assert_array_equal(loaded({"x": X, "y": Y}, training=True), found)
    np.testing.assert_array_equal(model({"x": X, "y": Y}, training=False), X)


def test_a_network_learns_from_views_of_itself_in_plain_keras():
    student = network()
    inputs, labels = keras.Input([5], name="x"), keras.Input([], dtype="int64", name="y")
    harder = Perturbed(ATTACKS["PGD"], student, seed=3)(inputs, labels=labels)
    model = keras.Model({"x": inputs, "y": labels}, student(harder))
    model.compile(keras.optimizers.Adam(0.05), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert len(model.trainable_variables) == len(student.trainable_variables)
    data = tf.data.Dataset.from_tensors(({"x": X, "y": Y}, Y)).repeat(30)
    before = [each.numpy() for each in student.trainable_variables]
    model.fit(data, verbose=0, shuffle=False)
    assert all(np.any(a != b) for a, b in zip(before, student.trainable_variables, strict=True))


def test_noise_needs_no_network_and_an_attack_does():
    found = Perturbed(P.GaussianNoise(stddev=0.1), seed=1)(X)
    assert np.any(found != X)
    with pytest.raises(ValueError, match="`network` must be a model .*Received: network=None, perturbation=VAT"):
        Perturbed(P.VAT(radius=1.0))(X)


def test_attack_on_labels_needs_them():
    with pytest.raises(ValueError, match="`labels` must be class numbers .*Received: labels=None"):
        Perturbed(ATTACKS["PGD"], network())(X)


def test_network_of_several_outputs_is_refused():
    inputs = keras.Input([5])
    several = keras.Model(inputs, {"logits": keras.layers.Dense(3)(inputs), "features": inputs})
    with pytest.raises(ValueError, match="`function` must return one tensor: of several outputs, .* the logits"):
        Perturbed(P.VAT(radius=1.0), several)(X)


@pytest.mark.parametrize("given", ["vat", P.VAT, None, 1.0])
def test_what_is_no_perturbation_is_refused(given):
    with pytest.raises(TypeError, match="`perturbation` must be a part of `kc.perturbations`. Received: perturbation="):
        Perturbed(given, network())


@pytest.mark.parametrize("given", [lambda x: x, keras.layers.Dense(3), keras.Sequential([keras.layers.Dense(3)])])
def test_what_is_no_built_model_is_refused(given):
    with pytest.raises(TypeError, match="`network` must be a built `keras.Model` that returns logits. Received:"):
        Perturbed(P.VAT(radius=1.0), given)
