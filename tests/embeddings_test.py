"""Perturbations inside a student that reads numbers of words: what is moved, by how much, and what is left behind."""

import functools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency import embeddings
from keras_consistency.batch import Batch, Streams
from keras_consistency.ops import norms, random
from tests.contracts import numpy_reference as reference
from tests.contracts import recipes
from tests.contracts.replicas_test import strategy_of

WORDS, LENGTH, UNITS, CLASSES = 12, 6, 3, 3
NUMBERS = np.random.default_rng(0)
WEIGHTS = [NUMBERS.normal(size=shape) for shape in ((WORDS, UNITS), (UNITS, 4), (4,), (4, CLASSES), (CLASSES,))]
LABELED, UNLABELED = 4, 6
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SEED = tf.constant([3, 9])


def sentences(rows, seed=0):
    """Numbers of words `(rows, LENGTH)`, 0 behind the last one of each sentence; the first fills its row."""
    numbers = np.random.default_rng(seed)
    lengths = np.concatenate([[LENGTH], numbers.integers(1, LENGTH, rows - 1)])
    return np.where(np.arange(LENGTH) < lengths[:, None], numbers.integers(1, WORDS, [rows, LENGTH]), 0)


X, U = sentences(LABELED, seed=1), sentences(UNLABELED, seed=2)
Y = np.array([0, 2, 1, 1])


# Students that all compute the mean of the words' embeddings, and two dense layers of that.


def table(**options):
    return keras.layers.Embedding(WORDS, UNITS, **{"mask_zero": True, "name": "words"} | options)


def tail():
    layers = keras.layers
    return [layers.GlobalAveragePooling1D(), layers.Dense(4, activation="tanh"), layers.Dense(CLASSES)]


def sequential(**options):
    return keras.Sequential([keras.Input([LENGTH], dtype="int32"), table(**options), *tail()])


def functional():
    inputs = keras.Input([LENGTH], dtype="int32")
    x = table()(inputs)
    for layer in tail():
        x = layer(x)
    return keras.Model(inputs, x)


def nested():
    """A model in a model."""
    inputs = keras.Input([LENGTH], dtype="int32")
    encoder = keras.Sequential([keras.Input([LENGTH], dtype="int32"), table()], name="encoder")
    x = encoder(inputs)
    for layer in tail():
        x = layer(x)
    return keras.Model(inputs, x)


@keras.saving.register_keras_serializable(package="embeddings_test")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = table()
        self.mean, self.hidden, self.out = tail()

    def call(self, inputs):
        return self.out(self.hidden(self.mean(self.words(inputs))))


def subclassed():
    student = Subclassed()
    student(X)
    return student


def with_weights(student):
    student.set_weights(WEIGHTS)
    return student


KINDS = {kind.__name__: kind for kind in (sequential, functional, nested, subclassed)}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=[*KINDS])


class Reader:
    """The students in float64 NumPy, with an offset of the embeddings `(rows, LENGTH, UNITS)`."""

    def __init__(self, parameters):
        self.parameters = [np.array(each, np.result_type(each, np.float64)) for each in parameters]

    def logits(self, words, offset=0.0):
        embedding, w1, b1, w2, b2 = self.parameters
        real = (words > 0)[..., None]
        mean = (real * (embedding[words] + offset)).sum(1) / real.sum(1)
        return np.tanh(mean @ w1 + b1) @ w2 + b2

    def probabilities(self, words):
        return reference.softmax(self.logits(words))

    def slope(self, words, offset, loss):
        """Gradient in the offset of the sum of a loss of the logits."""
        (found,) = reference.gradient(lambda arrays: loss(self.logits(words, arrays[0])).sum(), [offset])
        return found


def reader(student):
    return Reader([np.asarray(weight, "float64") for weight in student.get_weights()])


def hooked(model):
    """Names of the layers, however deep, whose `call` is not that of their class."""
    return [layer.name for layer in model._flatten_layers() if "call" in vars(layer)]


# Reading and moving what a layer makes.


@kinds
def test_what_a_layer_makes_is_read_and_moved(kind):
    student = with_weights(kind())
    made, mask = embeddings.read(student, "words", X)
    np.testing.assert_allclose(made, WEIGHTS[0][X], atol=1e-6)
    np.testing.assert_array_equal(mask, X > 0)
    offset = NUMBERS.normal(size=made.shape).astype("float32")
    moved = embeddings.call(student, embeddings.Shifted(X, {"words": offset}), training=False)
    np.testing.assert_allclose(moved, Reader(WEIGHTS).logits(X, offset), atol=1e-5)
    np.testing.assert_allclose(embeddings.call(student, X, training=False), Reader(WEIGHTS).logits(X), atol=1e-5)
    assert hooked(student) == []


@kinds
def test_a_compiled_function_moves_it_too(kind):
    student = with_weights(kind())
    offset = NUMBERS.normal(size=[*X.shape, UNITS]).astype("float32")

    @functools.partial(tf.function, jit_compile=True)
    def moved(words, offset):
        made, _ = embeddings.read(student, "words", words)
        return made, embeddings.call(student, embeddings.Shifted(words, {"words": offset}), training=False)

    made, answer = moved(tf.constant(X), tf.constant(offset))
    np.testing.assert_allclose(made, WEIGHTS[0][X], atol=1e-6)
    np.testing.assert_allclose(answer, Reader(WEIGHTS).logits(X, offset), atol=1e-5)


def test_the_output_of_a_model_within_the_student_keeps_its_mask():
    student = with_weights(nested())
    made, mask = embeddings.read(student, "encoder", X)
    np.testing.assert_array_equal(mask, X > 0)
    offset = NUMBERS.normal(size=made.shape).astype("float32")
    moved = embeddings.call(student, embeddings.Shifted(X, {"encoder": offset}), training=False)
    np.testing.assert_allclose(moved, Reader(WEIGHTS).logits(X, offset), atol=1e-5)


def test_recurrent_layers_read_moved_words_up_to_the_end_of_the_text():
    layers = [keras.Input([None], dtype="int32"), table(), keras.layers.LSTM(4), keras.layers.Dense(CLASSES)]
    student = keras.Sequential(layers)
    offset = NUMBERS.normal(size=[*X.shape, UNITS]).astype("float32")
    moved = embeddings.call(student, embeddings.Shifted(X, {"words": offset}), training=False)
    for words, ours, expected in zip(X, offset, moved, strict=True):
        end = np.count_nonzero(words)
        alone = embeddings.Shifted(words[None, :end], {"words": ours[None, :end]})
        np.testing.assert_allclose(embeddings.call(student, alone, training=False)[0], expected, atol=1e-6)


def test_inputs_that_are_moved_are_put_beside_those_that_are_not():
    moved = embeddings.Shifted(tf.constant(X), {"words": tf.ones([LABELED, LENGTH, UNITS])})
    made = embeddings.alike({"moved": moved, "plain": tf.constant(U)})
    np.testing.assert_array_equal(made["moved"].offsets["words"], np.ones([LABELED, LENGTH, UNITS]))
    np.testing.assert_array_equal(made["plain"].offsets["words"], np.zeros([UNLABELED, LENGTH, UNITS]))
    np.testing.assert_array_equal(made["plain"].inputs, U)
    plain = {"one": tf.constant(X)}
    assert embeddings.alike(plain) is plain


# What is left behind.


class Failing(keras.layers.Layer):
    """Passes its inputs on until it is told to fail."""

    failing = False

    def call(self, inputs):
        if self.failing:
            raise RuntimeError("on purpose")
        return inputs


def test_a_layer_is_itself_again_after_an_error():
    failing = Failing()
    student = keras.Sequential([keras.Input([LENGTH], dtype="int32"), table(mask_zero=False), failing, *tail()])
    failing.failing = True
    with pytest.raises(RuntimeError, match="on purpose"):
        embeddings.read(student, "words", X)
    assert hooked(student) == []
    shifted = embeddings.Shifted(X, {"words": tf.ones([LABELED, LENGTH, UNITS])})
    with pytest.raises(RuntimeError, match="on purpose"):
        embeddings.call(student, shifted, training=True)
    assert hooked(student) == []
    failing.failing = False
    assert np.any(student(X) != embeddings.call(student, shifted, training=False))


def test_a_call_of_the_users_own_is_put_back():
    student = with_weights(sequential())
    layer, calls = student.get_layer("words"), []
    plain = layer.call
    layer.call = own = lambda inputs: calls.append(1) or plain(inputs)
    made, _ = embeddings.read(student, "words", X)
    np.testing.assert_allclose(made, WEIGHTS[0][X], atol=1e-6)
    assert calls and layer.call is own


class Meeting(keras.layers.Layer):
    """Holds threads until all are here."""

    barrier = None

    def call(self, inputs):
        if self.barrier:
            self.barrier.wait(timeout=30)
        return inputs


def test_threads_move_a_layer_each_on_their_own():
    meeting = Meeting()
    student = keras.Sequential([keras.Input([LENGTH], dtype="int32"), table(mask_zero=False), meeting, *tail()])
    shape = [LABELED, LENGTH, UNITS]
    asked = [X, *(embeddings.Shifted(X, {"words": tf.fill(shape, value)}) for value in (0.5, -1.0))]
    expected = [embeddings.call(student, each, training=False).numpy() for each in asked]
    assert all(np.any(expected[0] != other) for other in expected[1:])
    meeting.barrier, found = threading.Barrier(len(asked)), {}

    def ask(number):
        for _ in range(5):  # All are inside the network together, and leave it in any order.
            found[number] = embeddings.call(student, asked[number], training=False).numpy()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for number, answer in enumerate(expected):
        np.testing.assert_array_equal(found[number], answer)
    assert hooked(student) == []


# Views.


def view_of(student, perturbation, words=X, labels=Y):
    """What a step makes of a perturbed view of labelled examples: `Shifted` inputs."""
    targets = tf.one_hot(labels, CLASSES)
    streams = Streams(
        Batch((words, labels)),
        {},
        lambda inputs: embeddings.call(student, inputs, training=False),
        SEED,
        inside=functools.partial(embeddings.read, student),
        labels=targets,
    )
    (stream,) = streams.of("labeled", kc.View(perturbation=perturbation, at="words"))
    return streams[stream]


def offset_of(*arguments, **options):
    return view_of(*arguments, **options).offsets["words"].numpy()


P = kc.perturbations
PERTURBATIONS = {
    "FGSM": (lambda **options: P.FGSM(radius=0.5, **options)),
    "PGD": (lambda **options: P.PGD(radius=0.5, steps=3, **options)),
    "PGD_l2": (lambda **options: P.PGD(radius=0.5, steps=3, norm="l2", target="prediction", **options)),
    "VAT": (lambda **options: P.VAT(radius=0.5, **options)),
    "GaussianNoise": (lambda **options: P.GaussianNoise(stddev=0.5, **options)),
    "Masking": (lambda **options: P.Masking(ratio=0.5, **options)),
}
perturbations = pytest.mark.parametrize("make", PERTURBATIONS.values(), ids=[*PERTURBATIONS])


@perturbations
def test_words_are_moved_and_padding_is_not(make):
    student = with_weights(sequential())
    offset = offset_of(student, make())
    assert np.all(offset[X == 0] == 0)
    assert all(np.any(moved[words > 0] != 0) for moved, words in zip(offset, X, strict=True))


@kinds
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_step_equals_the_formula(kind, norm):
    """A step that starts at the words themselves, where offset and words are the same tensor less itself."""
    offset = offset_of(with_weights(kind()), P.FGSM(radius=0.3, norm=norm))
    zero = np.zeros([*X.shape, UNITS])
    slope = Reader(WEIGHTS).slope(X, zero, lambda z: reference.cross_entropy(np.eye(CLASSES)[Y], z))
    length = np.sqrt((slope**2).sum((1, 2), keepdims=True))
    expected = 0.3 * (np.sign(slope) if norm == "linf" else slope / length)
    np.testing.assert_allclose(offset, expected, atol=1e-5)


def test_all_of_the_radius_of_vat_is_spent_on_words():
    offset = offset_of(with_weights(sequential()), P.VAT(radius=2.0))
    np.testing.assert_allclose(np.sqrt((offset**2).sum((1, 2))), 2, rtol=1e-5)


def test_masking_hides_whole_words():
    offset = offset_of(with_weights(sequential()), P.Masking(ratio=0.5))
    hidden = np.isclose(offset, -WEIGHTS[0][X], atol=1e-6)
    assert np.all(hidden | (offset == 0))
    np.testing.assert_array_equal(hidden.all(-1), hidden.any(-1))
    assert 0 < hidden.all(-1)[X > 0].mean() < 1


def test_noise_has_its_deviation_in_the_units_of_the_embedding():
    words = NUMBERS.integers(1, WORDS, [500, LENGTH])
    offset = offset_of(with_weights(sequential()), P.GaussianNoise(stddev=0.7), words=words, labels=np.zeros(500, int))
    np.testing.assert_allclose([offset.mean(), offset.std()], [0, 0.7], atol=0.02)


@pytest.mark.parametrize(
    ("make", "least"), [(PERTURBATIONS["FGSM"], 0.999), (lambda: P.VAT(radius=2.0, xi=0.3), 0.99)], ids=["FGSM", "VAT"]
)
def test_offsets_are_float32_and_point_the_same_way_in_mixed_precision(make, least):
    expected = offset_of(with_weights(sequential()), make())
    keras.config.set_dtype_policy("mixed_float16")
    student = with_weights(sequential())
    assert student(X).dtype == tf.float16
    made, _ = embeddings.read(student, "words", X)
    offset = offset_of(student, make())
    assert made.dtype == tf.float32 and offset.dtype == np.float32
    cosine = (offset * expected).sum((1, 2)) / np.sqrt((offset**2).sum((1, 2)) * (expected**2).sum((1, 2)))
    assert cosine.min() > least


# A step, against float64 NumPy.


class Record:
    """Keeps the seed of every call to a kind of perturbation."""

    def __init__(self, patch, cls):
        self.seeds = []
        attack = cls.__call__

        def recorded(perturbation, *arguments, **options):
            self.seeds.append(options["seed"])
            return attack(perturbation, *arguments, **options)

        patch.setattr(cls, "__call__", recorded)


def compiled(model, **options):
    model.compile(**{"optimizer": keras.optimizers.SGD(1.0), "loss": SPARSE, "metrics": ["accuracy"], **options})
    return model


def assert_step(model, total, **metrics):
    """One step from `WEIGHTS` at a rate of 1 follows the gradient of `total()`, a function of a `Reader`.

    `total` is asked for after the step, and of the functions in `metrics` the values before it are those reported.
    """
    logs = model.train_on_batch({"labeled": X, "unlabeled": U}, Y, return_dict=True)
    loss, network = total(), Reader(WEIGHTS)
    np.testing.assert_allclose(logs["loss"], loss(network), rtol=1e-5)
    for name, function in metrics.items():
        np.testing.assert_allclose(logs[name], function(network), rtol=1e-4, atol=1e-6, err_msg=name)
    expected = reference.gradient(lambda arrays: loss(Reader(arrays)), network.parameters)
    assert np.abs(expected[0]).max() > 1e-2
    for before, after, slope in zip(WEIGHTS, model.student.get_weights(), expected, strict=True):
        np.testing.assert_allclose(before - after, slope, rtol=1e-5, atol=1e-5)


def supervised(network, offset=0.0):
    return reference.cross_entropy(np.eye(CLASSES)[Y], network.logits(X, offset)).mean()


def lengths(offset):
    return np.sqrt((offset**2).sum((1, 2), keepdims=True))


def identity():
    return keras.layers.Identity(name="weak")


def test_step_of_vat_equals_its_equations(monkeypatch):
    record, radius, xi = Record(monkeypatch, P.VAT), 0.8, 0.1
    settings = {"epsilon": radius, "xi": xi, "scale": 0.7, "entropy_scale": 0.2, "ramp_up_steps": 0}
    model = kc.recipes.vat(with_weights(sequential()), at="words", weak=identity(), **settings)
    clean = Reader(WEIGHTS).probabilities(U)

    def total():
        (seed,) = record.seeds
        start = random.normal(seed, UNLABELED, [LENGTH, UNITS]).numpy().astype("float64")
        probe = xi * radius * start / lengths(start)
        slope = Reader(WEIGHTS).slope(U, probe, lambda z: reference.kullback_leibler(clean, z))
        offset = radius * slope / lengths(slope)

        def loss(network):
            moved = reference.kullback_leibler(clean, network.logits(U, offset)).mean()
            return supervised(network) + 0.7 * moved + 0.2 * reference.entropy(network.logits(U)).mean()

        return loss

    assert_step(
        compiled(model, run_eagerly=True),
        total,
        supervised_loss=supervised,
        entropy_loss=lambda network: reference.entropy(network.logits(U)).mean(),
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_step_of_adversarial_training_equals_its_equations(monkeypatch, norm):
    """Three steps of projected gradient descent from a random start, on words, and labels on words as they are."""
    record, radius, size = Record(monkeypatch, P.PGD), 0.5, 0.3
    settings = {"radius": radius, "step_size": size, "steps": 3, "norm": norm, "clean_share": 0.25}
    model = kc.recipes.adversarial_training(with_weights(sequential()), at="words", weak=identity(), **settings)
    real = (X > 0)[..., None]

    def within(offset):
        if norm == "linf":
            return np.clip(offset, -radius, radius)
        return offset * np.minimum(1, radius / np.maximum(lengths(offset), 1e-300))

    def total():
        (seed,) = record.seeds
        start = norms.draw_within(seed, tf.zeros([*X.shape, UNITS]), radius, norm).numpy().astype("float64")
        offset = within(start)
        for _ in range(3):
            # What is done to padding does not count against the words, but takes its part of the norm.
            slope = Reader(WEIGHTS).slope(X, offset, lambda z: reference.cross_entropy(np.eye(CLASSES)[Y], z))
            offset = within(offset + size * (np.sign(slope) if norm == "linf" else slope / lengths(slope)))
        return lambda network: 0.75 * supervised(network, real * offset) + 0.25 * supervised(network)

    assert_step(compiled(model, run_eagerly=True), total)


# Recipes.

RECIPES = {
    "adversarial_consistency": {"radius": 0.5, "step_size": 0.3, "steps": 2, "ramp_up_steps": 0},
    "adversarial_training": {"radius": 0.5, "step_size": 0.3, "steps": 2, "clean_share": 0.5},
    "alp": {"radius": 0.5, "step_size": 0.3, "steps": 2},
    "trades": {"radius": 0.5, "step_size": 0.3, "steps": 2},
    "vat": {"epsilon": 2.0, "xi": 0.1, "ramp_up_steps": 0},
}
recipe_names = pytest.mark.parametrize("name", RECIPES)


def make(name, *, student=sequential, weak=identity, optimizer=None, compiled_with=None, **options):
    recipe = getattr(kc.recipes, name)
    given = {"at": "words", "weak": weak(), "ema": 0.9, "seed": 3, **RECIPES[name], **options}
    optimizer = optimizer or keras.optimizers.SGD(0.5, momentum=0.9)
    return compiled(recipe(with_weights(student()), **given), optimizer=optimizer, **(compiled_with or {}))


def batches(steps=4):
    x, u = sentences(steps * LABELED, seed=3), sentences(steps * 8, seed=4)
    y = np.arange(len(x)) % CLASSES
    return kc.data.pair((x, y), u, batch_size=LABELED, ratio=2, shuffle=False)


def trained(name, **options):
    model = make(name, **options)
    return model, model.fit(batches(), verbose=0, shuffle=False).history


@functools.cache
def plainly(name):
    """A recipe's state before and after four plain steps, and its losses."""
    model = make(name, compiled_with={"run_eagerly": True})
    start = recipes.state(model)
    history = model.fit(batches(), verbose=0, shuffle=False).history
    assert hooked(model) == []
    return start, recipes.state(model), history


def assert_state(model, expected, atol=1e-5):
    for ours, theirs in zip(recipes.state(model), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@recipe_names
def test_recipe_learns_from_moved_words(name):
    start, end, history = plainly(name)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(start, end, strict=True))
    assert np.isfinite([*history.values()]).all()
    size = {"epsilon" if name == "vat" else "radius": 0.0}
    unmoved, _ = trained(name, **size, compiled_with={"run_eagerly": True})
    assert max(np.abs(a - b).max() for a, b in zip(end, recipes.state(unmoved), strict=True)) > 1e-3


@pytest.mark.parametrize(
    ("name", "forward"),
    [
        ("adversarial_training", kc.forwards.Separate()),
        ("trades", kc.forwards.Separate()),
        ("alp", kc.forwards.Interleaved()),
        ("vat", kc.forwards.Interleaved(groups=3)),
        ("adversarial_consistency", kc.forwards.Interpolated()),
        ("vat", kc.forwards.Interpolated()),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_forwards_agree_where_nothing_reads_the_batch(name, forward):
    """Without batch normalisation, how batches share a forward changes nothing."""
    _, end, history = plainly(name)
    model, other = trained(name, forward=forward, compiled_with={"run_eagerly": True})
    assert_state(model, end)
    np.testing.assert_allclose(other["loss"], history["loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adversarial_training", {"jit_compile": True}),
        ("vat", {"jit_compile": True}),
        ("alp", {"jit_compile": False}),
        ("adversarial_consistency", {"jit_compile": False}),
        ("trades", {"jit_compile": False, "steps_per_execution": 2}),
    ],
)
def test_compiled_steps_are_the_plain_ones(name, options):
    _, end, _ = plainly(name)
    model, _ = trained(name, compiled_with=options)
    assert model.optimizer.iterations.numpy() == 4 and hooked(model) == []
    assert_state(model, end)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, under NumPy 2
def test_saved_loaded_and_continued(tmp_path):
    eagerly = {"run_eagerly": True}
    expected = make("vat", compiled_with=eagerly)
    expected.fit(batches(), epochs=2, verbose=0, shuffle=False)
    model, _ = trained("vat", compiled_with=eagerly)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [view.at for view in loaded.terms[0].student_views] == ["words"]
    loaded.run_eagerly = True
    loaded.fit(batches(), epochs=2, initial_epoch=1, verbose=0, shuffle=False)
    recipes.assert_equal_state(loaded, expected)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_student_is_as_any_other_after_training(tmp_path):
    model, _ = trained("adversarial_training")
    student, expected = model.student, Reader(model.student.get_weights()).logits(X)
    assert hooked(model) == []
    words = student.get_layer("words")
    assert words.call.__func__ is keras.layers.Embedding.call
    student.save(tmp_path / "student.keras")
    copies = [keras.models.load_model(tmp_path / "student.keras"), keras.models.clone_model(student)]
    copies[1].set_weights(student.get_weights())
    for copy in (student, *copies):
        np.testing.assert_allclose(copy(X), expected, atol=1e-5)
    model.export(tmp_path / "served", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "served")
    served = loaded.serve(tf.constant(X, tf.int32))
    np.testing.assert_allclose(served, Reader(model.network.get_weights()).logits(X), atol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), served, atol=1e-5)


def test_consistency_on_moved_words_is_a_second_term_beside_another_recipe():
    attack = P.PGD(radius=0.5, steps=2, target="prediction")
    term = kc.Consistency(student_view=kc.View(perturbation=attack, at="words"), pool="all", name="robust")
    deletion = recipes.Noise(stddev=0.0, name="strong")
    deletion.augment = lambda inputs, seed: tf.concat([inputs[:, :2], tf.zeros_like(inputs[:, 2:])], axis=1)
    model = kc.recipes.uda(
        with_weights(sequential()), weak=identity(), strong=deletion, threshold=0.0, extra_terms=[term], seed=3
    )
    history = compiled(model).fit(batches(), verbose=0, shuffle=False).history
    assert history["robust_loss"][0] > 1e-3 and history["consistency_loss"][0] > 1e-3
    assert np.isfinite([*history.values()]).all()


def test_labels_alone_suffice_for_adversarial_training():
    model = make("adversarial_training", compiled_with={"jit_compile": False})
    x = sentences(16, seed=3)
    history = model.fit(x, np.arange(16) % CLASSES, batch_size=LABELED, epochs=20, verbose=0, shuffle=False).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]


def normalised(**options):
    """A student in which replicas wait for each other within a forward: threads change there."""
    # Keras does not synchronise the statistics of what has a mask.
    words = table(mask_zero=False)
    layers = [keras.Input([LENGTH], dtype="int32"), words, keras.layers.BatchNormalization(synchronized=True)]
    last = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(CLASSES, use_bias=False)]
    return keras.Sequential([*layers, *last])


@pytest.mark.parametrize("name", ["adversarial_training", "vat"])
def test_two_replicas_train_what_one_would(name):
    found = []
    # Of differences that are large enough for a normalisation.
    weights = [WEIGHTS[0], *normalised().get_weights()[1:]]
    for replicas in (1, 2):
        keras.utils.clear_session(free_memory=False)
        with strategy_of(replicas).scope():
            student = normalised()
            student.set_weights(weights)
            settings = {"at": "words", "weak": identity(), "ema": None, "seed": 3, **RECIPES[name]}
            model = compiled(getattr(kc.recipes, name)(student, **settings), optimizer=keras.optimizers.SGD(0.1))
            data = batches(steps=2)
        history = model.fit(data, epochs=2, verbose=0, shuffle=False).history
        assert hooked(model) == []
        found.append(([*recipes.state(model)], history))
    (one, expected), (two, logs) = found
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(weights, one, strict=False))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    for key, values in expected.items():
        np.testing.assert_allclose(logs[key], values, rtol=0, atol=1e-5, err_msg=key)


# Mistakes.


@keras.saving.register_keras_serializable(package="embeddings_test")
class Two(keras.layers.Layer):
    """Returns two tensors."""

    def call(self, inputs):
        return inputs, 2 * inputs


@keras.saving.register_keras_serializable(package="embeddings_test")
class Compiled(keras.layers.Layer):
    """Compiles what it does on its own, with a layer inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Identity(name="inner")
        self.compiled = tf.function(lambda inputs: self.inner(inputs))

    def call(self, inputs):
        return self.compiled(inputs)


def odd():
    """A student with all kinds of layers that cannot be moved."""
    inputs = keras.Input([LENGTH], dtype="int32", name="numbers")
    same = keras.layers.Identity(name="same", dtype="int32")
    x = table(mask_zero=False)(same(inputs))
    twice = keras.layers.Dense(UNITS, name="twice")
    first, second = Two(name="two")(twice(twice(x)))
    x = Compiled(name="compiled")(first + second)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.LSTM(4, name="loop")(x)))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("twice", "called 2 times"),
        ("numbers", "called 0 times"),
        ("two", "called 1 times and that returned .*tuple"),
        ("same", "called 1 times and that returned .*int32"),
        ("lstm_cell", "called [27] times"),  # a loop calls it for each word, and compiled, once to try it
        ("inner", "called 0 times"),  # what is compiled is not called again
    ],
)
@pytest.mark.parametrize("eagerly", [True, False])
def test_layer_that_cannot_be_moved_is_refused(name, why, eagerly):
    error = f"`at` must name a layer that the student calls once .*Received: at='{name}', .*{why}"
    student = odd()
    model = kc.recipes.vat(student, epsilon=1.0, at=name, weak=identity(), ema=None)
    with pytest.raises(ValueError, match=error):
        compiled(model, run_eagerly=eagerly).train_on_batch({"labeled": X, "unlabeled": U}, Y)
    assert hooked(student) == []


def test_name_of_no_layer_is_refused_at_construction():
    with pytest.raises(ValueError, match="`at` must be the name of one .*'words'.*Received: at='word', .* 0 layers"):
        kc.recipes.vat(sequential(), epsilon=1.0, at="word", weak=identity())


def test_name_of_two_layers_is_refused_at_construction():
    inputs = keras.Input([LENGTH], dtype="int32")
    encoders = [keras.Sequential([keras.Input([LENGTH], dtype="int32"), table()]) for _ in range(2)]
    x = keras.layers.Add()([encoder(inputs) for encoder in encoders])
    for layer in tail():
        x = layer(x)
    with pytest.raises(ValueError, match="`at` must be the name of one .*Received: at='words', the name of 2 layers"):
        kc.recipes.vat(keras.Model(inputs, x), epsilon=1.0, at="words", weak=identity())


def test_mixer_cannot_mix_numbers_of_words():
    view = kc.View(perturbation=P.VAT(radius=1.0), at="words")
    with pytest.raises(ValueError, match="`mixer` must be None where a view is perturbed inside .*Received: mixer="):
        kc.ConsistencyModel(sequential(), kc.Consistency(student_view=view), mixer=kc.mixers.MixUp(alpha=1.0))


def test_teacher_is_not_asked_about_words_moved_inside_the_student():
    moved = kc.View(perturbation=P.PGD(radius=0.1), at="words")

    def model_with(labeled_view):
        term = kc.Consistency(alignment=kc.alignments.DistributionAlignment(prior="predictions"))
        return kc.ConsistencyModel(sequential(), term, teacher=kc.teachers.EMA(), labeled_view=labeled_view)

    with pytest.raises(ValueError, match="`labeled_view` must begin with a view that is not perturbed inside"):
        model_with(moved)
    model = model_with([identity(), moved])
    logs = compiled(model, run_eagerly=True).train_on_batch({"labeled": X, "unlabeled": U}, Y, return_dict=True)
    assert np.isfinite([*logs.values()]).all()
