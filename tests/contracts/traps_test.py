"""The known mistakes of consistency training, each with a test that names it. All of them have shipped somewhere.

1. The average and batch statistics.
2. Clipping before the gradients of the replicas meet.
3. Losses that grow with the number of replicas.
4. Memories that differ between replicas.
5. Distribution alignment averaged over every axis. Not here: no recipe aligns distributions yet.
6. Means over the mask instead of the batch.
7. Sharpening the wrong side.
8. A probe too short for its precision; gradients that vanish in half precision.
9. Radii in the wrong units, or over the batch; projections that leave the radius or the range.
10. Attacks that move batch statistics.
11. Thresholds in half precision.
12. Labelled examples without augmentation; mirrored digits.
13. Views of different examples.
14. One draw for a whole batch.
15. Forwards that split the batch unasked.
16. Looking at the test data.
17. An average that nothing reads.
18. A resumed run that is another run.
19. A term without a gradient.
20. A teacher that lags behind.
"""

import random as python_random
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from tests.contracts import recipes, replicas_test

CLASSES, FEATURES, LOSS = recipes.CLASSES, recipes.FEATURES, recipes.LOSS
X, Y = recipes.examples(4)
U, _ = recipes.examples(8, seed=1)
PAIR = {"labeled": X, "unlabeled": U, "index": np.arange(8)}


@keras.saving.register_keras_serializable(package="traps_test")
class Record(keras.layers.Layer):
    """Passes its inputs on and keeps them, with the mode it was called in. For models that run eagerly."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def call(self, inputs, training=False):
        self.seen.append(
            (bool(training), inputs.numpy() if tf.is_tensor(inputs) and tf.executing_eagerly() else inputs)
        )
        return inputs


def batch_of(name):
    """A batch as the recipe takes it, its labels, and the labelled inputs."""
    images = recipes.takes_images(name)
    (x, y), (u, _) = recipes.examples(4, images=images), recipes.examples(8, images=images, seed=1)
    return {"labeled": x, "unlabeled": u, "index": np.arange(8)}, y, x


def identities(name):
    return {view: keras.layers.Identity(name=view) for view in recipes.RECIPES[name].views}


def compiled(model, optimizer=None, **options):
    model.compile(keras.optimizers.SGD(0.1) if optimizer is None else optimizer, loss=LOSS, **options)
    return model


def softmax(logits):
    shifted = np.exp(np.float64(logits) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def fixed_student(logits, seed=0):
    """A student whose answers are near the given logits, and a little different for each example."""
    student = keras.Sequential([keras.Input([FEATURES]), keras.layers.Dense(len(logits))])
    kernel = np.random.default_rng(seed).normal(size=[FEATURES, len(logits)])
    student.set_weights([kernel, np.array(logits)])
    return student


def answers(student, x):
    kernel, bias = (value.astype("float64") for value in student.get_weights())
    return x.astype("float64") @ kernel + bias


# 1


@keras.saving.register_keras_serializable(package="traps_test")
class Counter(keras.layers.Layer):
    """A layer with a weight that is no float."""

    def build(self, _):
        self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="calls")

    def call(self, inputs):
        return inputs


@pytest.mark.parametrize("statistics", ["ema", "copy", "own"])
def test_trap_01_average_and_batch_statistics(statistics):
    student = keras.Sequential([keras.Input([2]), keras.layers.BatchNormalization(), Counter()])
    teacher = kc.teachers.EMA(decay=0.75, warmup=False, statistics=statistics)
    teacher.attach(student, (None, 2))
    gamma, beta, mean, variance, calls = range(5)
    student.set_weights([np.full(2, value) for value in (4.0, 8.0, 12.0, 16.0)] + [np.array(7)])
    teacher.network.set_weights([np.zeros(2)] * 4 + [np.array(3)])
    teacher.update(student, tf.constant(1), applied=tf.constant(True))

    found = teacher.network.get_weights()
    assert [found[gamma][0], found[beta][0]] == [1.0, 2.0]
    expected = {"ema": [3.0, 4.0], "copy": [12.0, 16.0], "own": [0.0, 0.0]}[statistics]
    assert [found[mean][0], found[variance][0]] == expected
    assert found[calls] == 3


def test_trap_01_own_statistics_need_forwards_that_move_them():
    with pytest.raises(ValueError, match="training"):
        kc.teachers.EMA(statistics="own", training=False)
    student = recipes.student(normalize=True)
    model = compiled(kc.recipes.mean_teacher(student, statistics="own", **identities("mean_teacher")))
    before = [
        variable.numpy() for variable in model.teacher.network.non_trainable_variables if "moving" in variable.path
    ]
    model.train_on_batch(PAIR, Y)
    after = [
        variable.numpy() for variable in model.teacher.network.non_trainable_variables if "moving" in variable.path
    ]
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))


# 2, 3, 4: two replicas and one.


def assert_replicas_agree(build, atol=1e-5):
    one, _ = replicas_test.run(1, build)
    two, _ = replicas_test.run(2, build)
    recipes.assert_equal_state(one, two, atol=atol)
    return one, two


def test_trap_02_clipping_of_the_gradient_of_all_replicas():
    def build(clip):
        return recipes.model("fixmatch", optimizer=keras.optimizers.SGD(0.1, global_clipnorm=clip))

    clipped, _ = assert_replicas_agree(lambda: build(0.05))
    free, _ = replicas_test.run(1, lambda: build(None))
    distance = [np.abs(a - b).max() for a, b in zip(recipes.state(clipped), recipes.state(free), strict=True)]
    assert max(distance) > 0.01, "the norm was never reached"


def test_trap_03_loss_scaling_on_two_replicas():
    # No optimizer that normalises the gradient's length, and terms that outweigh the labels.
    assert_replicas_agree(lambda: recipes.model("uda", optimizer=keras.optimizers.SGD(0.1), scale=5.0, temperature=0.9))


def test_trap_03_loss_scaling_in_mixed_precision():
    def run(optimizer):
        student = fixed_student([0.3, 0.1, 0.2])
        return compiled(kc.recipes.uda(student, threshold=0.0, **identities("uda")), optimizer), student

    states = []
    for optimizer in (
        keras.optimizers.SGD(0.1),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**12),
    ):
        model, student = run(optimizer)
        model.train_on_batch(PAIR, Y)
        states.append(student.get_weights())
    for plain, scaled in zip(*states, strict=True):
        np.testing.assert_allclose(scaled, plain, rtol=0, atol=1e-6)


def test_trap_04_memory_across_replicas():
    def memories(model):
        (memory,) = model.part_state
        values = getattr(memory.value, "values", [memory.value])
        return [value.numpy() for value in values]

    one, two = assert_replicas_agree(lambda: recipes.model("flexmatch"))
    first, second = memories(two)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, memories(one)[0])
    assert len(set(first.tolist())) > 2, "the memory holds nothing yet"


# 6, 7: the losses.


def test_trap_06_masked_mean_divides_by_the_batch():
    student = fixed_student([0.0, 0.5, 1.0])
    p = softmax(answers(student, U))
    threshold = float(np.mean(np.sort(p.max(axis=-1))[-3:-1]))  # two of eight pass
    expected = -np.log(p.max(axis=-1))[p.max(axis=-1) >= threshold].sum() / 8
    model = compiled(kc.recipes.fixmatch(student, threshold=threshold, **identities("fixmatch")))
    logs = model.train_on_batch(PAIR, Y, return_dict=True)
    assert logs["consistency_mask_rate"] == 2 / 8
    np.testing.assert_allclose(logs["consistency_loss"], expected, rtol=1e-5)


def test_trap_06_signal_annealing_counts_and_looks_at_the_true_label():
    annealing = kc.weights.SignalAnnealing(steps=10)
    # At step 5 the limit is 2/3. The first is sure and right, the second sure and wrong, the third unsure.
    logits = tf.constant([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    weight = annealing(tf.one_hot([0, 1, 2], 3), logits, tf.constant(5))
    np.testing.assert_allclose(
        weight, [0.0, 1.5, 1.5]
    )  # their mean over the batch is the mean over the two that remain


def test_trap_07_sharpening_is_of_the_target():
    student = fixed_student([0.3, 0.1, 0.2])
    z = answers(student, U)
    q, p = softmax(z / 0.4), softmax(z)
    expected = np.mean(np.sum(q * (np.log(q) - np.log(p)), axis=-1))
    wrong = np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=-1))
    model = compiled(kc.recipes.uda(student, threshold=0.0, temperature=0.4, **identities("uda")))
    logs = model.train_on_batch(PAIR, Y, return_dict=True)
    np.testing.assert_allclose(logs["consistency_loss"], expected, rtol=1e-5)
    assert abs(wrong - expected) > 0.01 * expected


# 8, 9, 10: the perturbation.


@pytest.fixture(scope="module")
def photographs():
    """Inputs of 3,072 numbers from 0 to 255."""
    return tf.random.stateless_uniform([4, 32, 32, 3], [1, 2], 0, 255)


def linear_logits(record=None):
    kernel = tf.random.stateless_normal([3072, CLASSES], [3, 4]) * 1e-3

    def logits(x):
        if record is not None:
            record.append(x)
        return tf.reshape(x, [-1, 3072]) @ kernel

    return logits


def recipe_perturbation(**options):
    """The perturbation of the recipe with its defaults."""
    model = kc.recipes.vat(recipes.student(images=True), **options)
    (view,) = model.terms[0].student_views
    return view.perturbation


def test_trap_08_probe_is_long_enough_for_float32(photographs):
    seen = []
    recipe_perturbation()(tf.cast(photographs, tf.float16), linear_logits(seen), seed=[5, 6])
    inputs = tf.cast(tf.cast(photographs, tf.float16), tf.float32)
    clean, probed = seen
    assert clean.dtype == probed.dtype == tf.float32
    np.testing.assert_array_equal(clean, inputs)
    assert np.mean(probed.numpy() != inputs.numpy()) > 0.99
    # The paper's probe, for comparison: of unit direction times 1e-6, nothing is left in inputs of this size.
    assert np.mean((inputs + 1e-6 / 3072**0.5).numpy() != inputs.numpy()) < 0.05


def test_trap_08_direction_is_the_most_sensitive_one(photographs):
    # For one direction of the logits the most sensitive direction of the inputs is known: that of the kernel.
    kernel = tf.random.stateless_normal([3072], [3, 4])
    kernel /= tf.norm(kernel)

    def logits(x):
        answer = tf.linalg.matvec(tf.reshape(x - 127.0, [-1, 3072]), kernel) / 1000
        return tf.stack([answer, tf.zeros_like(answer)], axis=-1)

    moved = recipe_perturbation()(photographs, logits, seed=[5, 6]) - photographs
    cosine = tf.linalg.matvec(tf.reshape(moved, [-1, 3072]), kernel) / tf.norm(tf.reshape(moved, [-1, 3072]), axis=-1)
    np.testing.assert_allclose(np.abs(cosine), 1.0, atol=1e-3)


def sure_student(policy, steepness):
    """A small network on the photographs, sure of its answers where it is steep; of the same weights in any policy."""
    keras.config.set_dtype_policy(policy)
    network = keras.Sequential(
        [
            keras.Input([32, 32, 3]),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 5, strides=3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(CLASSES),
        ]
    )
    numbers = np.random.default_rng(0)
    weights = [numbers.normal(size=each.shape) / np.prod(each.shape[:-1]) ** 0.5 for each in network.get_weights()]
    weights[-2] *= steepness
    weights[1::2] = [np.zeros(8), np.zeros(16), np.array([steepness - 1, 0, 0])]
    network.set_weights(weights)
    keras.config.set_dtype_policy("float32")
    return network


def cosines(one, other):
    one, other = (tf.math.l2_normalize(tf.reshape(each, [4, -1]), axis=1) for each in (one, other))
    return tf.reduce_sum(one * other, axis=1).numpy()


@pytest.mark.parametrize("steepness", [1.0, 60.0])
@pytest.mark.parametrize(("policy", "xi", "least"), [("mixed_float16", 0.3, 0.97), ("mixed_bfloat16", 1.0, 0.9)])
def test_trap_08_directions_survive_half_precision(photographs, policy, xi, least, steepness):
    """A short probe drowns in the rounding of the inputs and layers, and gradients of sure answers underflow."""
    half, exact = (sure_student(each, steepness) for each in (policy, "float32"))
    assert half(photographs).dtype == half.compute_dtype
    if steepness > 1:
        assert np.all(np.max(softmax(exact(photographs)), axis=1) > 1 - 1e-7)
    labels = np.argmax(exact(photographs), axis=1)
    for norm in ("linf", "l2"):
        attack = kc.perturbations.PGD(radius=8.0, steps=1, norm=norm, random_start=False)
        moved = [attack(photographs, network, labels=labels) - photographs for network in (half, exact)]
        assert np.all(cosines(*moved) > 0.95)
    moved = [
        kc.perturbations.VAT(radius=255.0, xi=length)(photographs, network, seed=[5, 6]) - photographs
        for network, length in ((half, 0.01), (exact, xi))
    ]
    # To either side, which is as sensitive.
    assert np.mean(np.abs(cosines(*moved))) > least


@pytest.mark.parametrize(("value_range", "unit"), [((0, 255), 255.0), ((0, 1), 1.0), ((-1, 1), 2.0)])
def test_trap_09_radius_is_l2_per_example_in_the_units_of_the_inputs(photographs, value_range, unit):
    perturbation = recipe_perturbation(epsilon=3.0, value_range=value_range)
    for batch in (photographs, photographs[:1]):
        inputs = batch / 255 * unit + value_range[0]
        moved = perturbation(inputs, linear_logits(), seed=[5, 6]) - inputs
        np.testing.assert_allclose(tf.norm(tf.reshape(moved, [-1, 3072]), axis=-1), 3.0 * unit, rtol=1e-3)


def test_trap_09_clipped_perturbation_stays_in_range_and_in_radius(photographs):
    moved = kc.perturbations.VAT(radius=500.0, clip_range=(0, 255))(photographs, linear_logits(), seed=[5, 6])
    assert moved.numpy().min() >= 0 and moved.numpy().max() <= 255
    distance = tf.norm(tf.reshape(moved - photographs, [-1, 3072]), axis=-1).numpy()
    assert np.all(distance > 0) and np.all(distance <= 500 * 1.001)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1), (-1, 1)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_trap_09_steps_end_in_range_and_in_radius(photographs, norm, low, high):
    """Of every example: clipping comes before the projection, and rounding after it leaves neither."""
    inputs, width = photographs / 255 * (high - low) + low, high - low
    for share in (8 / 255, 0.3):
        radius = share * width
        attack = kc.perturbations.PGD(radius=radius, steps=4, step_size=radius, norm=norm, clip_range=(low, high))
        for batch in (inputs, inputs[:1]):
            found = attack(batch, linear_logits(), labels=np.zeros(len(batch), int), seed=[5, 6])
            assert low <= found.numpy().min() and found.numpy().max() <= high
            moved = (found.numpy().astype("float64") - batch.numpy()).reshape(len(batch), -1)
            lengths = np.linalg.norm(moved, axis=1, ord=np.inf if norm == "linf" else 2)
            assert np.all(lengths <= radius + 1e-6 * width) and np.all(lengths > 0.9 * radius)


@pytest.mark.parametrize(("name", "norm"), [("adversarial_training", "linf"), ("alp", "l2"), ("trades", "linf")])
def test_trap_10_steps_leave_batch_statistics_alone(name, norm):
    """One forward moves them, that of the training; the steps are in inference mode, without dropout."""
    record, dropped = Record(), Record()
    student = keras.Sequential(
        [
            keras.Input([FEATURES]),
            record,
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dropout(0.9),
            dropped,
            keras.layers.Dense(CLASSES),
        ]
    )
    options = {"radius": 0.5, "step_size": 0.2, "steps": 3, "norm": norm, "value_range": None, "ema": None}
    views = {"weak": keras.layers.Identity(name="weak")}
    model = compiled(getattr(kc.recipes, name)(student, **options, **views), run_eagerly=True)
    record.seen.clear()
    dropped.seen.clear()
    mean = student.layers[1].moving_mean
    model.train_on_batch(PAIR, Y)
    learned = [x for training, x in record.seen if training]
    assert len(learned) == 1 and len([1 for training, _ in record.seen if not training]) >= 3
    np.testing.assert_allclose(mean.numpy(), learned[0].mean(axis=0) / 2, atol=1e-6)
    assert all(np.all(x != 0) for training, x in dropped.seen if not training)
    assert any(np.mean(x == 0) > 0.5 for training, x in dropped.seen if training)


def test_trap_10_attack_leaves_batch_statistics_alone():
    record = Record()
    student = keras.Sequential(
        [keras.Input([FEATURES]), record, keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(3)]
    )
    moving_mean = student.layers[1].moving_mean
    options = identities("vat") | {"epsilon": 3.0, "value_range": (0, 1), "power_iterations": 3}
    model = compiled(kc.recipes.vat(student, **options), run_eagerly=True)
    record.seen.clear()
    model.train_on_batch(PAIR, Y)
    attacks = [x for training, x in record.seen if not training]
    learned = [x for training, x in record.seen if training]
    assert len(attacks) == 4, "one clean answer and three steps, in inference mode"
    assert len(learned) == 1 and len(learned[0]) == 4 + 8 + 8
    np.testing.assert_allclose(moving_mean.numpy(), learned[0].mean(axis=0) / 2, atol=1e-6)


# 11


def test_trap_11_threshold_and_losses_in_float32_under_mixed_precision():
    logits = np.array([5.0, 1965 / 1024, 0.0], "float16")  # exact in float16
    p = softmax(logits)
    assert p[0] < 0.95 and np.float16(p[0]) >= np.float16(0.95), "the example must tell the precisions apart"
    keras.config.set_dtype_policy("mixed_float16")
    student = keras.Sequential([keras.Input([FEATURES]), keras.layers.Dense(3)])
    student.set_weights([np.zeros([FEATURES, 3]), logits.astype("float32")])
    assert student(X).dtype == "float16"
    for threshold, rate in ((0.95, 0.0), (0.9499, 1.0)):
        options = identities("fixmatch") | {"threshold": threshold}
        logs = compiled(kc.recipes.fixmatch(student, **options), keras.optimizers.SGD(0.0)).train_on_batch(
            PAIR, Y, return_dict=True
        )
        assert logs["consistency_mask_rate"] == rate
        np.testing.assert_allclose(logs["consistency_loss"], -np.log(p[0]) * rate, rtol=1e-5)


# 12, 13, 14: the views.


@pytest.mark.parametrize("name", recipes.NAMES)
def test_trap_12_labelled_examples_are_augmented_too(name):
    views = {view: Record(name=view) for view in recipes.RECIPES[name].views}
    recipe = getattr(kc.recipes, name)
    unbounded = {"value_range": None} if "radius" in recipe.__kwdefaults__ else {}
    student, teacher = recipes.student_for(name), recipes.teacher_for(name)
    model = compiled(recipe(student, **teacher, **views, **unbounded), run_eagerly=True)
    batch, y, labeled = batch_of(name)
    for view in views.values():
        view.seen.clear()
    model.train_on_batch(batch, tf.constant(y))
    seen = [each for view in views.values() for each in view.seen]
    assert any(training and len(x) == 4 and np.array_equal(x, labeled) for training, x in seen)


def test_trap_12_digits_are_not_mirrored():
    image = kc.augment.image
    for view in (image.weak(), image.strong()):
        assert not any(isinstance(layer, image.RandomFlip) for layer in view.layers)
    for view in (image.weak(flip=True), image.strong(flip=True)):
        assert any(isinstance(layer, image.RandomFlip) for layer in view.layers)


@pytest.mark.parametrize("name", ["fixmatch", "flexmatch", "uda"])
def test_trap_13_views_share_the_example_in_the_model(name):
    weak, strong = Record(name="weak"), Record(name="strong")
    model = compiled(getattr(kc.recipes, name)(recipes.student(), weak=weak, strong=strong), run_eagerly=True)
    weak.seen.clear()
    strong.seen.clear()
    batches = kc.data.pair((X, Y), U, batch_size=2, ratio=2, indexed=True)  # shuffled
    model.fit(batches, epochs=2, verbose=0, shuffle=False)
    of_weak, of_strong = ([x for _, x in record.seen if len(x) == 4] for record in (weak, strong))
    assert len(of_weak) == len(of_strong) == 4
    np.testing.assert_array_equal(of_weak, of_strong)


def test_trap_13_views_share_the_example_in_the_pipeline():
    batches = kc.data.pair((X, Y), U, batch_size=2, ratio=2, indexed=True)
    views = kc.data.with_views(batches, weak=lambda x: 2 * x, strong=lambda x: 3 * x)
    for inputs, _ in views:
        np.testing.assert_allclose(inputs["weak"] / 2, inputs["strong"] / 3, rtol=1e-6)
        np.testing.assert_array_equal(inputs["unlabeled"], U[inputs["index"].numpy()])


@pytest.mark.parametrize("preset", [kc.augment.image.weak, kc.augment.image.strong])
def test_trap_14_draws_are_per_image_and_seeded(preset):
    (image,), _ = recipes.examples(1, images=True)
    batch = np.repeat(image[None], 32, axis=0)

    def views(python_seed):
        python_random.seed(python_seed)
        return preset(seed=3)(batch).numpy()

    first = views(0)
    assert len({view.tobytes() for view in first}) > 4, "images of one batch must get draws of their own"
    np.testing.assert_array_equal(first, views(1))
    assert np.any(first != preset(seed=4)(batch).numpy())


def test_trap_14_order_does_not_depend_on_how_far_the_pipeline_reads_ahead():
    def labels(pause):
        keras.utils.set_random_seed(0)
        batches = kc.data.pair((np.arange(20.0), np.arange(20)), np.arange(50.0), batch_size=10, ratio=1, steps=1)
        seen = []
        for _ in range(8):
            for _, y in batches:
                time.sleep(pause)  # tf.data goes on shuffling meanwhile
                seen.append(y.numpy().tolist())
        return seen

    first = labels(0.0)
    assert first == labels(0.05)
    assert len({tuple(rows) for rows in first}) == 8


# 15


@pytest.mark.parametrize(
    ("forward", "rows"), [(None, [12]), (kc.forwards.Separate(), [4, 8])], ids=["concatenated", "separate"]
)
def test_trap_15_forward_is_one_unless_asked_otherwise(forward, rows):
    record = Record()
    student = keras.Sequential(
        [keras.Input([FEATURES]), record, keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    )
    options = identities("mean_teacher") | {"forward": forward}
    model = compiled(kc.recipes.mean_teacher(student, **options), run_eagerly=True)
    record.seen.clear()
    model.train_on_batch(PAIR, Y)
    assert [len(x) for training, x in record.seen if training] == rows


# 16, 17, 18: what comes out of a run.


def test_trap_16_validation_data_changes_nothing():
    states = []
    for options in ({}, {"validation_data": recipes.examples(6, seed=7)}):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        network = recipes.student(normalize=True, dropout=0.3)
        model = recipes.model("flexmatch", network=network, compiled={"run_eagerly": True})
        model.fit(recipes.batches(), epochs=2, verbose=0, shuffle=False, **options)
        states.append(recipes.state(model))
    for with_it, without in zip(*states, strict=True):
        np.testing.assert_array_equal(with_it, without)


@pytest.mark.parametrize("name", recipes.AVERAGED)
def test_trap_17_average_is_what_evaluate_and_predict_read(name):
    batch, y, x = batch_of(name)
    model = recipes.model(name, optimizer=keras.optimizers.SGD(1.0), compiled={"run_eagerly": True})
    for _ in range(3):
        model.train_on_batch(batch, y)
    student, average = (network(x) for network in (model.student, model.teacher.network))
    if recipes.RECIPES[name].heads:
        student, average = student["logits"], average["logits"]
    student, average = student.numpy(), average.numpy()
    assert model.teacher.network is not model.student
    assert np.abs(student - average).max() > 1e-3, "the two must differ for the test to tell"
    np.testing.assert_allclose(model.predict(x, verbose=0), average, atol=1e-6)
    np.testing.assert_allclose(model(x), average, atol=1e-6)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(loss, np.mean(-np.log(softmax(average)[np.arange(4), y])), rtol=1e-5)
    assert accuracy == np.mean(average.argmax(axis=-1) == y)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_trap_17_average_is_what_is_exported(tmp_path):
    model = recipes.model("fixmatch", optimizer=keras.optimizers.SGD(1.0))
    for _ in range(3):
        model.train_on_batch(PAIR, Y)
    model.export(str(tmp_path), verbose=False)
    archive = tf.saved_model.load(str(tmp_path))
    served = archive.serve(tf.constant(X))
    np.testing.assert_allclose(served, model.teacher.network(X), atol=1e-6)
    assert np.abs(served - model.student(X)).max() > 1e-3


# Keras's own way to write a variable, under NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_trap_18_resumed_run_is_the_same_run(tmp_path):
    model = recipes.model("flexmatch", network=recipes.student(dropout=0.5), optimizer=keras.optimizers.Adam(0.01))
    for _ in range(3):
        model.train_on_batch(PAIR, Y)
    model.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert resumed is not model
    for trained in (model, resumed):
        for _ in range(3):
            trained.train_on_batch(PAIR, Y)
    assert resumed.optimizer.iterations.numpy() == 6
    recipes.assert_equal_state(model, resumed)


# 19, 20: whether anything is learned at all.


# Without its term, a head of the student has no gradient.
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
# Adversarial training has no term: its supervised loss is what it is.
@pytest.mark.parametrize("name", [name for name in recipes.NAMES if name != "adversarial_training"])
def test_trap_19_every_term_moves_the_student(name):
    taken = getattr(kc.recipes, name).__kwdefaults__
    scales = [argument for argument in taken if argument.endswith("scale")]
    unit = 50.0 if recipes.takes_images(name) else 1.0
    # Nothing stops an example, and nothing waits.
    free = {"annealing": None, "annealing_steps": None, "threshold": 0.0, "warmup_steps": 0, "graph_threshold": 0.0}
    given = {key: value for key, value in (recipes.RECIPES[name].options | free).items() if key in taken}
    batch, y, _ = batch_of(name)

    def moved(**options):
        student = recipes.student_for(name)
        views = {
            view: recipes.Noise(stddev=0.5 * unit, seed=number, name=view)
            for number, view in enumerate(recipes.RECIPES[name].views)
        }
        views |= recipes.teacher_for(name, student)
        model = getattr(kc.recipes, name)(student, **views, **given | options, seed=1)
        compiled(model, run_eagerly=True)
        before = student.get_weights()
        for _ in range(3):  # what is remembered of the first steps moves the last
            model.train_on_batch(batch, y, sample_weight=np.zeros(4, "float32"))  # leaves nothing but the terms
        return max(np.abs(old - new).max() for old, new in zip(before, student.get_weights(), strict=True))

    nothing = dict.fromkeys(scales, 0.0)
    assert scales and moved(**nothing) == 0.0
    for scale in scales:
        assert moved(**nothing | {scale: 1.0}) > 1e-5, scale


def test_trap_20_teacher_does_not_lag_in_a_short_run():
    def lag(steps, **options):
        student = keras.Sequential([keras.Input([1]), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
        teacher = kc.teachers.EMA(**options)
        teacher.attach(student, (None, 1))
        student.set_weights([np.full(weight.shape, 5.0) for weight in student.weights])
        update = tf.function(lambda step: teacher.update(student, step, applied=True))
        for step in range(1, steps + 1):
            update(tf.constant(step))
        return max(np.abs(weight - 5.0).max() for weight in teacher.network.get_weights()) / 5.0

    assert lag(150) < 1e-6, "the initial weights are forgotten, those of batch normalisation too"
    assert lag(150, warmup=False) > 0.8


@pytest.mark.parametrize("name", recipes.AVERAGED)
def test_trap_20_recipes_warm_their_teacher_up(name):
    teacher = getattr(kc.recipes, name)(recipes.student_for(name), **identities(name)).teacher
    teacher = getattr(teacher, "teacher", teacher)  # that a memory is of
    assert isinstance(teacher, kc.teachers.EMA) and teacher.warmup and teacher.statistics == "ema"
