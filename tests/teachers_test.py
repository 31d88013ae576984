import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency import teachers
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(0)


def batchnorm_student():
    """Weights: kernel, bias; gamma, beta, moving mean, moving variance; kernel, bias."""
    return keras.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dense(2),
        ]
    )


@keras.saving.register_keras_serializable(package="teachers_test")
class Counter(keras.layers.Layer):
    """A layer with an integer variable."""

    def build(self, input_shape):
        self.count = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros", name="count")

    def call(self, inputs):
        return inputs


def compiled(student, teacher, **kwargs):
    model = kc.ConsistencyModel(student, kc.Consistency(), teacher=teacher, **kwargs)
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def train(model):
    x, u = (NUMBERS.normal(1, 2, size=(n, 3)).astype("float32") for n in (4, 8))
    model.train_on_batch({"labeled": x, "unlabeled": u}, NUMBERS.integers(2, size=4))


def moved(student):
    for variable in student.weights:
        variable.assign_add(NUMBERS.normal(size=variable.shape))


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_average_follows_its_equation_and_warm_up(decay, warmup):
    student, teacher = batchnorm_student(), teachers.EMA(decay=decay, warmup=warmup)
    teacher.attach(student)
    expected = [weight.astype("float64") for weight in student.get_weights()]
    for step in range(1, 12):
        moved(student)
        teacher.update(student, tf.constant(step, tf.int64), applied=tf.constant(True))
        expected = reference.average(expected, student.get_weights(), step, decay=decay, warmup=warmup)
        for ours, theirs in zip(teacher.network.get_weights(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("statistics", ["ema", "copy", "own"])
def test_statistics_of_batch_normalisation(statistics):
    """In a training run: weights are averaged, statistics are treated as the argument says."""
    student = batchnorm_student()
    model = compiled(student, teachers.EMA(decay=0.9, statistics=statistics))
    expected = [weight.astype("float64") for weight in student.get_weights()]
    seen = []
    inner = model.teacher.network.layers[0]
    for step in range(1, 6):
        x, u = (NUMBERS.normal(1, 2, size=(n, 3)).astype("float32") for n in (4, 8))
        hidden = np.asarray(inner(u), "float64")
        model.train_on_batch({"labeled": x, "unlabeled": u}, NUMBERS.integers(2, size=4))
        before, source = expected, [weight.astype("float64") for weight in student.get_weights()]
        expected = reference.average(before, source, step, decay=0.9)
        if statistics == "copy":
            expected[4:6] = source[4:6]
        elif statistics == "own":
            expected[4] = 0.5 * before[4] + 0.5 * hidden.mean(0)
            expected[5] = 0.5 * before[5] + 0.5 * hidden.var(0)
        for ours, theirs in zip(model.teacher.network.get_weights(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        seen.append(np.abs(np.concatenate([a - b for a, b in zip(expected[4:6], source[4:6], strict=True)])).max())
    assert (max(seen) == 0) == (statistics == "copy")


def test_a_teacher_in_inference_mode_leaves_its_statistics_alone():
    student, teacher = batchnorm_student(), teachers.EMA()
    teacher.attach(student)
    teacher.look(student, tf.constant(NUMBERS.normal(5, size=(8, 3)), tf.float32))
    np.testing.assert_array_equal(teacher.network.layers[1].moving_mean, np.zeros(4))


def test_integer_variables_are_left_alone():
    student = keras.Sequential([keras.Input([3]), Counter(), keras.layers.Dense(2)])
    teacher = teachers.EMA(decay=0.5, warmup=False)
    teacher.attach(student)
    student.layers[0].count.assign(7)
    teacher.update(student, tf.constant(1), applied=tf.constant(True))
    assert int(teacher.network.layers[0].count) == 0


@pytest.mark.parametrize("statistics", ["ema", "copy"])
def test_a_call_that_changed_nothing_does_not_move_the_average(statistics):
    student, teacher = batchnorm_student(), teachers.EMA(decay=0.5, statistics=statistics)
    teacher.attach(student)
    before = teacher.network.get_weights()
    for variable in student.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    teacher.update(student, tf.constant(1), applied=tf.constant(False))
    for ours, theirs in zip(teacher.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_average_follows_optimizer_steps_under_gradient_accumulation():
    student = batchnorm_student()
    model = kc.ConsistencyModel(student, kc.Consistency(), teacher=teachers.EMA(decay=0.9))
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    kernel = student.get_weights()[0].astype("float64")
    for call in range(1, 7):
        train(model)
        if call % 2 == 0:
            (kernel,) = reference.average([kernel], [student.get_weights()[0]], call // 2, decay=0.9)
        np.testing.assert_allclose(model.teacher.network.get_weights()[0], kernel, atol=1e-5)


def test_average_is_a_network_of_its_own_that_starts_equal_and_is_not_trained():
    student = batchnorm_student()
    moved(student)
    model = compiled(student, teachers.EMA())
    assert model.teacher.network is not student
    for ours, theirs in zip(model.teacher.network.get_weights(), student.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not model.teacher.network.trainable_variables
    assert len(model.trainable_variables) == len(student.trainable_variables) == 6


def test_evaluate_and_predict_read_the_network_that_was_promised():
    x = NUMBERS.normal(size=(4, 3)).astype("float32")
    for teacher, expected in (
        (teachers.EMA(), "teacher"),
        (teachers.EMA(targets_from="student"), "teacher"),
        (teachers.Self(), "student"),
        (teachers.Frozen(batchnorm_student()), "student"),
    ):
        model = compiled(batchnorm_student(), teacher)
        for _ in range(3):
            train(model)
        promised = model.teacher.network if expected == "teacher" else model.student
        np.testing.assert_allclose(model.predict(x, verbose=0), promised(x), rtol=1e-5, atol=1e-6)
        if not isinstance(teacher, teachers.Self):
            assert np.abs(model.teacher.network(x) - model.student(x)).max() > 1e-3


def test_self_asks_the_student_and_frozen_never_moves():
    student, network = batchnorm_student(), batchnorm_student()
    itself, frozen = teachers.Self(training=False), teachers.Frozen(network)
    itself.attach(student)
    frozen.attach(student)
    x = tf.constant(NUMBERS.normal(size=(4, 3)), tf.float32)
    np.testing.assert_array_equal(itself.look(student, x), student(x, training=False))
    np.testing.assert_array_equal(frozen.look(student, x), network(x, training=False))
    model, before = compiled(student, teachers.Frozen(network)), network.get_weights()
    train(model)
    for ours, theirs in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_own_statistics_are_used_in_training_mode():
    student, teacher = batchnorm_student(), teachers.EMA(statistics="own")
    teacher.attach(student)
    x = tf.constant(NUMBERS.normal(5, size=(8, 3)), tf.float32)
    hidden = np.asarray(teacher.network.layers[0](x), "float64")
    normal = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3)
    kernel, bias = (np.asarray(weight) for weight in teacher.network.layers[2].weights)
    np.testing.assert_allclose(teacher.look(student, x), normal @ kernel + bias, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"decay": 1.0}, r"`decay` must be a number in \[0, 1\)"),
        ({"decay": -0.1}, "`decay`"),
        ({"decay": "0.9"}, "`decay`"),
        ({"statistics": "batch"}, "`statistics` must be 'copy', 'ema' or 'own'"),
        ({"targets_from": "both"}, "`targets_from` must be"),
        ({"statistics": "own", "targets_from": "student"}, "`statistics='own'` needs"),
        ({"statistics": "own", "training": False}, "`statistics='own'` needs"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, error):
    with pytest.raises(ValueError, match=error):
        teachers.EMA(**arguments)


def test_training_that_is_no_truth_value_is_refused():
    with pytest.raises(TypeError, match="`training` must be True or False"):
        teachers.Self(training=1)


def test_frozen_network_must_be_built():
    for network in (keras.Sequential([keras.layers.Dense(2)]), None):
        with pytest.raises(ValueError, match="`network` must be a built"):
            teachers.Frozen(network)


def test_a_teacher_belongs_to_one_model():
    teacher = teachers.EMA()
    compiled(batchnorm_student(), teacher)
    with pytest.raises(ValueError, match="`teacher` belongs to another model"):
        compiled(batchnorm_student(), teacher)
