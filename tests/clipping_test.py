import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.gradients import clip_over_replicas

NUMBERS = np.random.default_rng(0)
# Halves of a gradient, one a replica, whose sum is long.
HALVES = [[NUMBERS.normal(scale=3, size=shape).astype("float32") for shape in ((4, 2), (3,))] for _ in range(2)]
SUM = [a.astype("float64") + b for a, b in zip(*HALVES, strict=True)]

CLIPS = {
    "clipnorm": lambda bound: [g * min(1, bound / np.linalg.norm(g)) for g in SUM],
    "global_clipnorm": lambda bound: [g * min(1, bound / np.sqrt(sum((g**2).sum() for g in SUM))) for g in SUM],
    "clipvalue": lambda bound: [np.clip(g, -bound, bound) for g in SUM],
}


def applied(optimizer, scaled=1.0, clip=clip_over_replicas):
    """What two replicas apply: the change of variables that start at zero, by SGD at a rate of 1."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        variables = [keras.Variable(np.zeros(half.shape, "float32")) for half in HALVES[0]]
        optimizer = optimizer()
        optimizer.build(variables)

    def step():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradients = [tf.gather(tf.constant(np.stack(pair)), number) * scaled for pair in zip(*HALVES, strict=True)]
        clipped = clip(optimizer, [*gradients, None])
        assert clipped[-1] is None
        optimizer.apply_gradients(zip(clipped[:-1], variables, strict=True))

    tf.function(lambda: strategy.run(step))()
    return [-variable.numpy() for variable in variables]


@pytest.mark.parametrize("bound", [0.5, 1000.0])
@pytest.mark.parametrize("clip", CLIPS)
def test_two_replicas_apply_the_clipped_sum(clip, bound):
    found = applied(lambda: keras.optimizers.SGD(1.0, **{clip: bound}))
    for ours, theirs in zip(found, CLIPS[clip](bound), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_two_replicas_apply_the_clipped_sum_under_loss_scaling():
    def optimizer():
        inner = keras.optimizers.SGD(1.0, global_clipnorm=0.5)
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**10)

    for ours, theirs in zip(applied(optimizer, scaled=2.0**10), CLIPS["global_clipnorm"](0.5), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_keras_alone_applies_another_gradient():
    # Else the tests above would hold for a function that does nothing.
    found = applied(lambda: keras.optimizers.SGD(1.0, global_clipnorm=0.5), clip=lambda optimizer, gradients: gradients)
    assert max(np.abs(a - b).max() for a, b in zip(found, CLIPS["global_clipnorm"](0.5), strict=True)) > 0.01


def test_gradients_of_an_optimizer_that_does_not_clip_are_left_alone():
    given = [tf.IndexedSlices(tf.ones([2, 1]), tf.constant([1, 1]), dense_shape=tf.constant([3, 1])), None]
    assert clip_over_replicas(keras.optimizers.SGD(1.0), given) is given


def test_gradients_of_one_replica_are_only_made_dense():
    given = [tf.IndexedSlices(tf.ones([2, 1]), tf.constant([1, 1]), dense_shape=tf.constant([3, 1])), None]
    dense, absent = clip_over_replicas(keras.optimizers.SGD(1.0, clipnorm=0.1), given)
    np.testing.assert_array_equal(dense, [[0.0], [2.0], [0.0]])
    assert absent is None
