"""Our attacks beside those of two other libraries, on one small network that was trained."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.perturbations import FGSM, PGD

pytestmark = [
    pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning"),  # foolbox's import
    pytest.mark.filterwarnings("ignore:PyTorch not found:UserWarning"),  # that of ART
]
ORDERS = {"linf": np.inf, "l2": 2}
RADII = {"linf": 0.1, "l2": 0.7}


@pytest.fixture(scope="module")
def judged():
    """A network of 96 % on handwritten digits, the images in [0, 1] to attack, and the two libraries' views of it."""
    with pytest.MonkeyPatch.context() as patch:
        # foolbox asks for it when it is imported; NumPy 2 has it no more.
        patch.setattr(np, "find_common_type", lambda arrays, scalars: np.result_type(*arrays), raising=False)
        import foolbox
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    (x, y), (x_test, y_test) = kc.datasets.load("digits")
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input([8, 8, 1]), keras.layers.Flatten(), keras.layers.Dense(32, "tanh"), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.01), loss)
    network.fit(x / 255, y, epochs=5, verbose=0)
    return SimpleNamespace(
        network=network,
        x=(x_test / 255).astype("float32"),
        y=y_test,
        success=lambda inputs: np.mean(network(inputs).numpy().argmax(axis=1) != y_test),
        evasion=evasion,
        art=TensorFlowV2Classifier(network, 10, (8, 8, 1), loss_object=loss, clip_values=(0, 1)),
        foolbox=foolbox,
        foolbox_model=foolbox.TensorFlowModel(network, bounds=(0, 1)),
    )


def of_art(judged, norm, *, steps, step_size, random_start):
    options = {"norm": ORDERS[norm], "eps": RADII[norm], "eps_step": step_size, "max_iter": steps, "verbose": False}
    attack = judged.evasion.ProjectedGradientDescentNumpy(
        judged.art, **options, num_random_init=int(random_start), batch_size=len(judged.x)
    )
    return attack.generate(judged.x, judged.y)


def of_foolbox(judged, norm, *, steps, step_size, random_start):
    attacks = {"linf": judged.foolbox.attacks.LinfPGD, "l2": judged.foolbox.attacks.L2PGD}
    attack = attacks[norm](abs_stepsize=step_size, steps=steps, random_start=random_start)
    labels = tf.constant(judged.y, tf.int64)
    return attack(judged.foolbox_model, tf.constant(judged.x), labels, epsilons=RADII[norm])[1].numpy()


def of_ours(judged, norm, **options):
    attack = PGD(radius=RADII[norm], norm=norm, clip_range=(0, 1), **options)
    return attack(judged.x, judged.network, labels=judged.y, seed=[1, 2]).numpy()


def assert_equal_but_for_sure_answers(ours, theirs):
    """Where the network is sure, rounding tells in the gradient of their cross-entropy, and so in an L2 step."""
    apart = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1)
    assert np.mean(apart < 1e-5) > 0.95 and np.all(apart < 1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_random_start_the_inputs_are_theirs(judged, norm):
    options = {"steps": 10, "step_size": RADII[norm] / 4, "random_start": False}
    ours, art = of_ours(judged, norm, **options), of_art(judged, norm, **options)
    assert_equal_but_for_sure_answers(ours, art)
    if norm == "linf":  # in L2, foolbox clips after it projects, and so ends elsewhere
        np.testing.assert_allclose(ours, of_foolbox(judged, norm, **options), atol=1e-5)
    assert np.abs(ours - judged.x).max() > RADII[norm] / 3


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("other", [of_art, of_foolbox])
def test_success_is_as_frequent_as_theirs(judged, norm, random_start, other):
    options = {"steps": 20, "step_size": RADII[norm] / 8, "random_start": random_start}
    ours, theirs = of_ours(judged, norm, **options), other(judged, norm, **options)
    assert judged.success(judged.x) < 0.06 and 0.4 < judged.success(ours) < 0.9
    assert abs(judged.success(ours) - judged.success(theirs)) <= 0.02


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fast_gradient_method_is_theirs(judged, norm, targeted):
    labels = (judged.y + 1) % 10 if targeted else judged.y
    ours = FGSM(radius=RADII[norm], norm=norm, targeted=targeted, clip_range=(0, 1))(
        judged.x, judged.network, labels=labels
    )
    options = {"norm": ORDERS[norm], "eps": RADII[norm], "targeted": targeted, "batch_size": len(judged.x)}
    art = judged.evasion.FastGradientMethod(judged.art, **options).generate(judged.x, np.eye(10)[labels])
    assert_equal_but_for_sure_answers(ours, art)
