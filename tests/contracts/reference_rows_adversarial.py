"""The rows of `reference_test` for recipes that train on attacked inputs. Each attack is compared too.

A row is a generator of (model, what the step must be, logs, gradient), a step at a time.
"""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.ops import norms
from tests.contracts import numpy_reference as reference
from tests.contracts import numpy_reference_adversarial as adversarial
from tests.contracts.reference_scenes import CLASSES, STEPS, compiled, network, train

# Lengths count in widths of the range.
LOW, HIGH = -1.0, 1.0
WIDTH = HIGH - LOW
ATTACK = {"radius": 0.2, "step_size": 0.09, "steps": 3}


@keras.saving.register_keras_serializable(package="reference_test")
class Squashed(keras.layers.Layer):
    """A view without randomness within the range, and often so near to its bounds that attacks end there."""

    def call(self, inputs, training=False):
        return tf.tanh(1.5 * inputs)

    def numpy(self, inputs):
        return np.tanh(1.5 * inputs.astype("float64"))


class Attacks:
    """What the attacks of a model that runs eagerly were given and made, and the comparison with float64."""

    def __init__(self, options, *, share, **others):
        self.record = []
        self.share = share
        self.options = {
            "radius": WIDTH * options["radius"],
            "step_size": WIDTH * options["step_size"],
            "steps": options["steps"],
            "norm": options.get("norm", "linf"),
        }
        self.at_bounds = 0

    @contextlib.contextmanager
    def recorded(self):
        """Inside, attacks are recorded."""
        attack = kc.perturbations.PGD.__call__

        def recorded(part, inputs, function, *, labels=None, seed=None):
            perturbed = attack(part, inputs, function, labels=labels, seed=seed)
            self.record.append((seed, perturbed.numpy()))
            return perturbed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kc.perturbations.PGD, "__call__", recorded)
            yield
        assert self.at_bounds, "no attack ended at the range's bounds: the comparison does not see them"

    def take(self, net, inputs, raised):
        """The attacked inputs of the oldest attack on record, float64, compared with the steps of the reference.

        Args:
            net: the network that was attacked.
            inputs: float64, unperturbed.
            raised: what the attack was to raise.
        """
        seed, made = self.record.pop(0)
        radius, norm = self.options["radius"], self.options["norm"]
        drawn = norms.draw_within(seed, tf.constant(inputs, tf.float32), self.share * radius, norm)
        start = np.clip(inputs + drawn.numpy(), LOW, HIGH)
        expected = adversarial.pgd(net, inputs, start, raised, **self.options, low=LOW, high=HIGH)
        # Near the inputs themselves, differences of float32 probabilities leave fewer digits of the direction.
        np.testing.assert_allclose(made, expected, atol=1e-5 if norm == "linf" else 5e-5)
        offset = made.astype("float64") - inputs
        lengths = np.abs(offset).max(-1) if norm == "linf" else np.linalg.norm(offset, axis=-1)
        assert lengths.max() <= radius + 1e-6 and lengths.min() > radius / 4
        self.at_bounds += np.sum(np.isin(made, [LOW, HIGH]))
        return made.astype("float64")


def built(recipe, scene, **options):
    """The model, and its view in NumPy."""
    weak = Squashed(name="weak")
    made = getattr(kc.recipes, recipe)(scene.student(), **ATTACK, **options, weak=weak, value_range=(LOW, HIGH))
    return compiled(made, run_eagerly=True), weak.numpy


def on_labels(recipe, scene, expected, *, share, **options):
    """A recipe that attacks the labelled examples alone."""
    model, view = built(recipe, scene, **options)
    attacks = Attacks({**ATTACK, **options}, share=share)
    with attacks.recorded():
        for _ in range(STEPS):
            before = network(model.student)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            x, y = view(x), reference.one_hot(y, CLASSES)
            attacked = attacks.take(before, x, adversarial.of_labels(y))
            yield model, expected(before, x, attacked, y), *found


def on_predictions(recipe, scene, expected, *, share, **options):
    """A recipe that attacks the student's answers to all examples."""
    model, view = built(recipe, scene, **options)
    attacks = Attacks({**ATTACK, **options}, share=share)
    with attacks.recorded():
        for step in range(STEPS):
            before, teacher = network(model.student), network(model.teacher.network)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            pools = [view(x), view(u)]
            attacked = [attacks.take(before, pool, adversarial.of_prediction(before, pool)) for pool in pools]
            y = reference.one_hot(y, CLASSES)
            yield (
                model,
                expected(step, before, teacher, pools[0], y, np.concatenate(pools), np.concatenate(attacked)),
                *found,
            )


def adversarial_training(scene, clean_share=0.3, **options):
    def expected(net, clean, attacked, y):
        return adversarial.adversarial_training(net, clean, attacked, y, share=clean_share)

    return on_labels("adversarial_training", scene, expected, share=1.0, clean_share=clean_share, **options)


def alp(scene, clean_share=0.4, scale=0.7, **options):
    def expected(net, clean, attacked, y):
        return adversarial.alp(net, clean, attacked, y, share=clean_share, scale=scale)

    options = {"norm": "l2", **options}
    share = 0.5
    return on_labels(
        "alp", scene, expected, share=share, random_start=share, clean_share=clean_share, scale=scale, **options
    )


def trades(scene, scale=2.5, **options):
    def expected(step, net, teacher, x, y, clean, attacked):
        return adversarial.trades(net, x, y, clean, attacked, scale=scale)

    return on_predictions("trades", scene, expected, share=0.03, scale=scale, **options)


def adversarial_consistency(scene, scale=2.5, **options):
    def expected(step, net, teacher, x, y, clean, attacked):
        ramp = reference.linear_ramp(step, 2)
        return adversarial.adversarial_consistency(net, teacher, x, y, clean, attacked, scale=scale, ramp=ramp)

    return on_predictions(
        "adversarial_consistency", scene, expected, share=1.0, scale=scale, ramp_up_steps=2, ema=0.9, **options
    )
