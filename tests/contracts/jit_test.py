"""`jit_compile=True` trains what plain eager steps do; of the recipes in `recipes.FAMILIAR`, in the slow run."""

import keras
import numpy as np
import pytest

from tests.contracts import recipes

STEPS = 3


def run(name, jit_compile, *, images):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    compiled = {"jit_compile": jit_compile, "run_eagerly": not jit_compile}
    model = recipes.model(name, images=images, compiled=compiled)
    history = model.fit(
        recipes.batches(images=images or recipes.takes_images(name)).take(STEPS), verbose=0, shuffle=False
    ).history
    return model, history


def assert_same(name, *, images=False):
    plain, expected = run(name, False, images=images)
    compiled, logs = run(name, True, images=images)
    assert compiled.jit_compile and not plain.jit_compile
    recipes.assert_equal_state(plain, compiled, atol=1e-5)
    assert logs.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(logs[key], values, rtol=0, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", recipes.COSTLY)
def test_recipe_trains_the_same(name):
    assert_same(name)


def test_image_views_in_the_model_are_the_same():
    assert_same("fixmatch", images=True)
