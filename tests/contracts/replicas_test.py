"""Two and four replicas train what one would: weights, memories and the history.

Of the recipes in `recipes.FAMILIAR`, only the slow run says so; of four replicas, it says so of most.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import recipes

TOLERANCE = 1e-5
# A recipe of one term, one with a head and a mixer, and one with a memory.
SOME = [
    name if name in ("fixmatch", "remixmatch", "simmatch") else pytest.param(name, marks=pytest.mark.slow)
    for name in recipes.NAMES
]


class FourReplicas(tf.distribute.MirroredStrategy):
    """A second strategy numbers its collectives from the start again, where they meet those of the first one."""

    _collective_key_base = 1_000_000


@functools.cache
def strategy_of(replicas):
    """The one strategy of these tests for each number of replicas."""
    if replicas == 1:
        return tf.distribute.get_strategy()
    cls = {2: tf.distribute.MirroredStrategy, 4: FourReplicas}[replicas]
    return cls([f"CPU:{number}" for number in range(replicas)])


def run(replicas, build, *, images=False, epochs=1):
    """Trains what `build()` returns, eagerly on one replica, which saves a trace; returns it and its history."""
    strategy = strategy_of(replicas)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build()
        batches = recipes.batches(images=images)
    model.run_eagerly = replicas == 1
    history = model.fit(batches, epochs=epochs, verbose=0, shuffle=False).history
    assert model.optimizer.iterations.numpy() == 4 * epochs
    return model, history


def assert_same(build, *, replicas=2, images=False, epochs=1):
    """Trains on one and on several replicas, compares weights and history; returns the model and history of one."""
    one, expected = run(1, build, images=images, epochs=epochs)
    several, logs = run(replicas, build, images=images, epochs=epochs)
    recipes.assert_equal_state(one, several, atol=TOLERANCE)
    assert logs.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
    return one, expected


def train_the_same(name, *, replicas):
    """Trains a recipe on one and on several replicas; the test must see something move."""
    start = recipes.state(recipes.model(name))
    model, history = assert_same(
        lambda: recipes.model(name), replicas=replicas, images=recipes.takes_images(name), epochs=3
    )
    assert model.optimizer.iterations.numpy() >= 10
    moved = [np.abs(a - b).max() for a, b in zip(start, recipes.state(model), strict=True)]
    assert min(moved) > 1e-3, "a network or a memory has not moved: the comparison says nothing"
    assert not model.terms or history["loss"][-1] != history["supervised_loss"][-1]
    if "threshold" in recipes.RECIPES[name].options:
        assert 0 < np.mean(history[f"{model.terms[0].name}_mask_rate"]) < 1


def train_the_same_with_batch_normalisation(name, *, replicas):
    """Few steps, as every one of them divides by a deviation, which makes more of the last bit."""

    def build():
        return recipes.model(name, network=recipes.student_for(name, normalize=True))

    assert_same(build, replicas=replicas, images=recipes.takes_images(name))


@pytest.mark.parametrize("name", recipes.COSTLY)
def test_recipe_on_two_replicas(name):
    train_the_same(name, replicas=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_on_four_replicas(name):
    train_the_same(name, replicas=4)


@pytest.mark.parametrize("name", SOME)
def test_recipe_on_four_replicas_with_synchronised_batch_normalisation(name):
    train_the_same_with_batch_normalisation(name, replicas=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_on_two_replicas_with_synchronised_batch_normalisation(name):
    train_the_same_with_batch_normalisation(name, replicas=2)


@pytest.mark.parametrize("name", ["fixmatch", "mixmatch"])
def test_image_views_are_drawn_for_the_global_batch(name):
    assert_same(lambda: recipes.model(name, images=True), images=True)


@pytest.mark.parametrize(
    "clip", [{"global_clipnorm": 0.1}, {"clipnorm": 0.05}, {"clipvalue": 0.01}], ids=lambda clip: [*clip][0]
)
def test_clipping_acts_on_the_gradient_of_the_global_batch(clip):
    start = recipes.state(recipes.model("fixmatch"))
    model, _ = assert_same(lambda: recipes.model("fixmatch", optimizer=keras.optimizers.SGD(0.1, **clip)))
    free, _ = run(1, lambda: recipes.model("fixmatch", optimizer=keras.optimizers.SGD(0.1)))
    moved, moved_free = (
        sum(np.sum((a - b) ** 2) for a, b in zip(start[:4], recipes.state(each)[:4], strict=True))
        for each in (model, free)
    )
    assert 0 < moved < moved_free / 2, "nothing was clipped: the comparison says nothing"


def test_clipping_acts_on_the_unscaled_gradient_in_mixed_precision():
    def build():
        keras.config.set_dtype_policy("mixed_float16")
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.01, global_clipnorm=0.1), initial_scale=2.0**10, dynamic_growth_steps=2
        )
        return recipes.model("fixmatch", optimizer=optimizer)

    one, expected = run(1, build)
    two, logs = run(2, build)
    assert one.optimizer.dynamic_scale.numpy() == two.optimizer.dynamic_scale.numpy() == 2.0**12
    # The gradients themselves are rounded to float16, differently in half a batch.
    recipes.assert_equal_state(one, two, atol=2e-3)
    np.testing.assert_allclose(logs["loss"], expected["loss"], atol=1e-3)
