"""Every recipe in mixed precision: finite, close to float32, and float32 where it decides.

Those in `recipes.FAMILIAR` in the slow run only.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from tests.contracts import recipes

POLICIES = ["mixed_float16", "mixed_bfloat16"]


def train(name, policy, steps=4):
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = recipes.model(name, compiled={"run_eagerly": True})
    images = recipes.takes_images(name)
    answer = model(recipes.examples(2, images=images)[0])
    assert answer.dtype == tf.as_dtype(keras.config.dtype_policy().compute_dtype)
    losses = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model.fit(recipes.batches(images=images).take(steps), verbose=0, shuffle=False, callbacks=[record])
    return model, losses


@pytest.mark.parametrize("name", recipes.COSTLY)
def test_recipe_trains_in_mixed_precision(name):
    _, (expected,) = train(name, "float32", steps=1)
    for policy in POLICIES:
        model, losses = train(name, policy)
        assert all(np.isfinite(value).all() for value in [losses, *recipes.state(model)])
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
        assert {variable.dtype for variable in model.network.trainable_variables} <= {"float32"}
        # A threshold may fall between two precisions; there are eight examples at it.
        np.testing.assert_allclose(losses[0], expected, rtol=0.02 if policy == "mixed_float16" else 0.15)


class Answers(keras.layers.Layer):
    """Logits of two classes that give the first one the probability in the input, in the policy's dtype."""

    def __init__(self):
        super().__init__(dtype="float32")
        self.bias = self.add_weight(shape=(2,), initializer="zeros")

    def call(self, inputs):
        return tf.concat([tf.math.log(inputs) - tf.math.log1p(-inputs), tf.zeros_like(inputs)], axis=-1) + self.bias


@pytest.mark.parametrize("policy", POLICIES)
def test_confidence_is_compared_in_float32(policy):
    # float16 has no number between .9497 and .9502: softmax in its precision would pass all or none.
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input([1])
    student = keras.Model(inputs, Answers()(inputs))
    view = keras.layers.Identity(dtype="float32")
    model = kc.recipes.fixmatch(student, ema=None, weak=view, strong=view)
    model.compile(keras.optimizers.SGD(0.0), loss=recipes.LOSS)
    u = np.array([[0.9498], [0.9502], [0.9498], [0.9502]], "float32")
    logs = model.train_on_batch({"labeled": u[:2], "unlabeled": u}, np.zeros(2, "int32"), return_dict=True)
    assert logs["consistency_mask_rate"] == 0.5


@pytest.mark.parametrize("policy", POLICIES)
def test_targets_weights_and_losses_are_float32(policy):
    keras.config.set_dtype_policy(policy)
    dtypes = []

    @keras.saving.register_keras_serializable(package="precision_test")
    class Spy(kc.divergences.KullbackLeibler):
        def __call__(self, target, logits):
            value = super().__call__(target, logits)
            dtypes.extend([target.dtype, logits.dtype, value.dtype])
            return value

    term = kc.Consistency(divergence=Spy(), target=kc.targets.Soft(temperature=0.5))
    model = kc.ConsistencyModel(recipes.student(), term, teacher=kc.teachers.EMA())
    model.compile("sgd", loss=recipes.LOSS)
    model.fit(recipes.batches().take(1), verbose=0, shuffle=False)
    assert dtypes and set(dtypes) == {tf.float32}


@pytest.mark.parametrize("policy", POLICIES)
def test_adversarial_perturbation_keeps_its_length_and_direction(policy):
    # In float16, a probe of a thousandth of the radius would vanish beside inputs of this size.
    perturbed = {}
    for each in ("float32", policy):
        keras.config.set_dtype_policy(each)
        network = recipes.student()
        x = tf.constant(recipes.examples(8)[0] + 4.0)
        perturbed[each] = kc.perturbations.VAT(radius=0.5, xi=1.0)(x, lambda v, n=network: n(v), seed=[1, 2]) - x
        assert perturbed[each].dtype == tf.float32
        np.testing.assert_allclose(tf.norm(perturbed[each], axis=-1), 0.5, rtol=1e-5)
    cosine = tf.reduce_sum(perturbed["float32"] * perturbed[policy], axis=-1) / 0.25
    assert np.median(cosine) > 0.95


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("margin", [0.0, 25.0])
def test_attack_on_a_sure_answer_keeps_its_direction(policy, norm, margin):
    # In float16, the gradient of an answer of probability 1 - 1e-8 would vanish.
    x, y = (tf.constant(each) for each in recipes.examples(8))
    attack = kc.perturbations.PGD(radius=0.5, step_size=0.1, steps=3, norm=norm, random_start=False)
    moved = {}
    for each in ("float32", policy):
        keras.config.set_dtype_policy(each)
        network = recipes.student()
        offset = tf.one_hot(y, recipes.CLASSES, on_value=margin)

        def logits(v, network=network, offset=offset):
            return tf.cast(network(v), tf.float32) + offset

        moved[each] = attack(x, logits, labels=y) - x
        assert moved[each].dtype == tf.float32
    lengths = {name: np.linalg.norm(value, axis=-1) for name, value in moved.items()}
    cosine = np.sum(moved["float32"] * moved[policy], axis=-1) / lengths["float32"] / lengths[policy]
    assert np.all(lengths[policy] > 0.2) and np.median(cosine) > 0.99 and np.all(cosine > 0.6)
