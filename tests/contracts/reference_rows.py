"""The rows of `reference_test` for recipes without memory.

A row is a generator of (model, what the step must be, logs, gradient), a step at a time.
"""

import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.ops import random
from tests.contracts import numpy_reference as reference
from tests.contracts import numpy_reference_losses as losses
from tests.contracts.numpy_reference_stateful import Alignment, unaligned
from tests.contracts.reference_scenes import (
    CLASSES,
    STEPS,
    Draws,
    compiled,
    network,
    train,
    weak_and_strong,
)


def pseudo_label(scene):
    weak, _ = weak_and_strong()
    model = compiled(
        kc.recipes.pseudo_label(scene.student(), threshold=scene.threshold, scale=0.7, ramp_up_steps=2, weak=weak)
    )
    for step in range(STEPS):
        x, y, u = scene.batch()
        expected = losses.pseudo_label(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            threshold=scene.threshold,
            scale=0.7,
            ramp=reference.linear_ramp(step, 2),
        )
        yield model, expected, *train(model, x, y, u)


def pi_model(scene):
    weak = Draws()
    model = compiled(kc.recipes.pi_model(scene.student(), scale=3.0, ramp_up_steps=2, weak=weak), run_eagerly=True)
    for step in range(STEPS):
        before = network(model.student)
        x, y, u = scene.batch()
        found = train(model, x, y, u)
        # The teacher looks first.
        (x,), (first, second) = weak.take()
        ramp = reference.sigmoid_ramp(step, 2)
        y = reference.one_hot(y, CLASSES)
        yield model, losses.pi_model(before, x, y, first, second, scale=3.0, ramp=ramp), *found


def augmix(scene):
    (weak, _), strong = weak_and_strong(), Draws()
    model = compiled(
        kc.recipes.augmix(scene.student(), scale=2.5, weak=weak, strong=strong),
        run_eagerly=True,
    )
    for _ in range(STEPS):
        before = network(model.student)
        x, y, u = scene.batch()
        found = train(model, x, y, u)
        labeled, unlabeled = strong.take()
        views = [np.concatenate(pair) for pair in zip(labeled, unlabeled, strict=True)]
        views.insert(0, np.concatenate([weak.numpy(x), weak.numpy(u)]))
        yield model, losses.augmix(before, weak.numpy(x), reference.one_hot(y, CLASSES), views, scale=2.5), *found


def mean_teacher(scene):
    weak = Draws()
    model = compiled(kc.recipes.mean_teacher(scene.student(), scale=8.0, ramp_up_steps=2, weak=weak), run_eagerly=True)
    for step in range(STEPS):
        before, teacher = network(model.student), network(model.teacher.network)
        x, y, u = scene.batch()
        found = train(model, x, y, u)
        (x,), (teacher_view, student_view) = weak.take()
        ramp = reference.sigmoid_ramp(step, 2)
        y = reference.one_hot(y, CLASSES)
        expected = losses.mean_teacher(before, teacher, x, y, student_view, teacher_view, scale=8.0, ramp=ramp)
        yield model, expected, *found


def vat(scene):
    weak, _ = weak_and_strong()
    record = []
    attack = kc.perturbations.VAT.__call__

    def recorded(self, inputs, logits, *, seed):
        perturbed = attack(self, inputs, logits, seed=seed)
        record.append((random.normal(seed, *tf.shape(inputs)[:1], tf.shape(inputs)[1:]).numpy(), perturbed.numpy()))
        return perturbed

    model = compiled(
        kc.recipes.vat(
            scene.student(),
            epsilon=0.4,
            xi=0.1,
            power_iterations=2,
            scale=0.8,
            entropy_scale=0.2,
            ramp_up_steps=2,
            weak=weak,
            value_range=(-1, 1),
        ),
        run_eagerly=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kc.perturbations.VAT, "__call__", recorded)
        for step in range(STEPS):
            before = network(model.student)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            ((start, perturbed),) = record
            record.clear()
            start = start.astype("float64") / np.linalg.norm(start, axis=1, keepdims=True)
            u = weak.numpy(u.astype("float64"))
            # The width of the value range is 2.
            direction = reference.vat_direction(before, u, start, probe=0.1 * 0.8, iterations=2)
            # Where the student is sure, differences of float32 probabilities leave few digits of the direction.
            np.testing.assert_allclose(perturbed, u + 0.8 * direction, atol=2e-2 if scene.lean else 2e-4)
            expected = losses.vat(
                before,
                weak.numpy(x),
                reference.one_hot(y, CLASSES),
                u,
                perturbed.astype("float64"),
                scale=0.8,
                ramp=reference.linear_ramp(step, 2),
                entropy_scale=0.2,
            )
            yield model, expected, *found


def uda(scene, **annealing):
    weak, strong = weak_and_strong()
    model = compiled(
        kc.recipes.uda(
            scene.student(),
            threshold=scene.threshold,
            temperature=0.4,
            scale=1.3,
            weak=weak,
            strong=strong,
            **annealing,
        )
    )
    for step in range(STEPS):
        x, y, u = scene.batch()
        annealed = None
        if annealing:
            annealed = reference.annealing(annealing["annealing"], step, annealing["annealing_steps"])
        expected = losses.uda(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            strong.numpy(u),
            threshold=scene.threshold,
            temperature=0.4,
            scale=1.3,
            annealed=annealed,
        )
        yield model, expected, *train(model, x, y, u)


def fixmatch(scene):
    weak, strong = weak_and_strong()
    model = compiled(
        kc.recipes.fixmatch(scene.student(), threshold=scene.threshold, scale=1.3, weak=weak, strong=strong)
    )
    for _ in range(STEPS):
        x, y, u = scene.batch()
        expected = losses.fixmatch(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            strong.numpy(u),
            threshold=scene.threshold,
            scale=1.3,
        )
        yield model, expected, *train(model, x, y, u)


def recorded_mixing(patch):
    """A list that gets, in each step from now on, what MixUp drew: the matrix that `mixmatch` takes."""
    record = []
    mix = kc.mixers.MixUp.__call__

    def recorded(self, inputs, targets, *, seed):
        sizes = [each.shape[0] for each in inputs]
        rows, _ = mix(self, tf.split(tf.eye(sum(sizes)), sizes), targets, seed=seed)
        tf.py_function(lambda drawn: record.append(drawn.numpy().astype("float64")), [tf.concat(rows, axis=0)], [])
        return mix(self, inputs, targets, seed=seed)

    patch.setattr(kc.mixers.MixUp, "__call__", recorded)
    return record


def mixmatch(scene, **options):
    weak = Draws()
    model = compiled(
        kc.recipes.mixmatch(
            scene.student(), temperature=0.6, alpha=0.75, scale=7.0, ramp_up_steps=2, weak=weak, **options
        ),
        run_eagerly=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        mixing = recorded_mixing(patch)
        for step in range(STEPS):
            before = network(model.student)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            (x,), (first, second) = weak.take()
            expected = losses.mixmatch(
                before,
                x,
                reference.one_hot(y, CLASSES),
                first,
                second,
                mixing.pop(),
                temperature=0.6,
                scale=7.0,
                ramp=reference.linear_ramp(step, 2),
                align=options["alignment"].numpy if options else unaligned,
            )
            yield model, expected, *found


def ict(scene):
    weak, _ = weak_and_strong()
    model = compiled(kc.recipes.ict(scene.student(), alpha=0.5, scale=8.0, ramp_up_steps=2, weak=weak))
    with pytest.MonkeyPatch.context() as patch:
        mixing = recorded_mixing(patch)
        for step in range(4):
            before, teacher = network(model.student), network(model.teacher.network)
            x, y, u = scene.batch()
            found = train(model, x, y, u)
            expected = losses.ict(
                before,
                teacher,
                weak.numpy(x),
                reference.one_hot(y, CLASSES),
                weak.numpy(u),
                mixing.pop(),
                scale=8.0,
                ramp=reference.sigmoid_ramp(step, 2),
            )
            yield model, expected, *found


def defixmatch(scene):
    weak, strong = weak_and_strong()
    model = compiled(
        kc.recipes.defixmatch(scene.student(), threshold=scene.threshold, scale=0.6, weak=weak, strong=strong)
    )
    for _ in range(STEPS):
        x, y, u = scene.batch()
        expected = losses.defixmatch(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            strong.numpy(x),
            weak.numpy(u),
            strong.numpy(u),
            threshold=scene.threshold,
            scale=0.6,
        )
        yield model, expected, *train(model, x, y, u)


def refixmatch(scene, aligned=False):
    weak, strong = weak_and_strong()
    options = {"alignment": kc.alignments.DistributionAlignment(momentum=0.9)} if aligned else {}
    align = Alignment(classes=CLASSES, momentum=0.9) if aligned else unaligned
    model = compiled(
        kc.recipes.refixmatch(
            scene.student(), threshold=scene.threshold, temperature=0.4, scale=0.6, weak=weak, strong=strong, **options
        )
    )
    for _ in range(STEPS):
        x, y, u = scene.batch()
        expected = losses.refixmatch(
            network(model.student),
            weak.numpy(x),
            reference.one_hot(y, CLASSES),
            weak.numpy(u),
            strong.numpy(u),
            threshold=scene.threshold,
            temperature=0.4,
            scale=0.6,
            align=align,
        )
        yield model, expected, *train(model, x, y, u)


def noisy_student(scene, hard=False, filtered=True, every=None):
    """With `every`, the student takes the teacher's place every so many steps."""
    _, strong = weak_and_strong()
    teacher = scene.student()
    threshold = scene.threshold if filtered else None
    model = compiled(
        kc.recipes.noisy_student(
            scene.student(),
            kc.teachers.Frozen(teacher, every=every) if every else teacher,
            hard=hard,
            threshold=threshold,
            scale=0.6,
            strong=strong,
        )
    )
    of_teacher = network(teacher)
    for step in range(2 * STEPS):
        if every and step and step % every == 0:
            of_teacher = network(model.student)
        x, y, u = scene.batch()
        expected = losses.noisy_student(
            network(model.student),
            of_teacher,
            strong.numpy(x),
            reference.one_hot(y, CLASSES),
            u,
            strong.numpy(u),
            hard_targets=hard,
            threshold=threshold or 0.0,
            scale=0.6,
        )
        yield model, expected, *train(model, x, y, u)
