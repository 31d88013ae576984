"""One term of the consistency loss."""

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_consistency import divergences, targets, weights
from keras_consistency.alignments import Alignment
from keras_consistency.parts import Part, check_part, check_range, per_example
from keras_consistency.views import as_views

_POOLS = ("unlabeled", "labeled", "all")


@keras.saving.register_keras_serializable(package="keras_consistency")
class Consistency(Part):
    """How far the student's answer on its view is from a target made of the teacher's answer on its view.

    `scale(step) * mean_i weight_i * divergence(target_i, student_i)`, the mean over all examples of the pool, also
    those of weight zero. Where the student answers for each pixel, pixels count as examples do.

    Args:
        teacher_view: what the teacher is shown: a `kc.View`, a layer, the key of a view made in the input pipeline,
            `None` for the inputs as they came, or a list of these, whose probabilities are averaged (whose answers,
            where the target reads values).
        student_view: what the student learns on, likewise; with a list, the divergence is averaged.
        weight_view: what the teacher is shown for the weight to judge by, where that is not `teacher_view`.
        target: part of `kc.targets`.
        weight: part of `kc.weights`.
        alignment: part of `kc.alignments`, applied to the teacher's answer before target and weight see it; a list of
            them, applied in turn; or `None`.
        divergence: part of `kc.divergences`.
        scale: factor of the term: a number of any sign, or a schedule `step -> number`.
        pool: the examples: `"unlabeled"`, `"labeled"` or `"all"`. In batches where every example has a label,
            each means all.
        output: the name of the output to read where networks return a dictionary; `None` where they return one tensor.
        student_output: the name of the output to read of the student, where that is not `output`.
        mixed: whether the model's mixer, if it has one, mixes the student views of this term.
        name: prefix of the term's metrics.
    """

    def __init__(
        self,
        *,
        teacher_view=None,
        student_view=None,
        weight_view=None,
        target=None,
        weight=None,
        alignment=None,
        divergence=None,
        scale=1.0,
        pool="unlabeled",
        output=None,
        student_output=None,
        mixed=True,
        name="consistency",
    ):
        if pool not in _POOLS:
            raise ValueError(f"`pool` must be one of {list(_POOLS)}. Received: pool={pool!r}")
        if not (isinstance(scale, (int, float)) or callable(scale)):
            raise TypeError(f"`scale` must be a number or a schedule `step -> number`. Received: scale={scale!r}")
        if isinstance(scale, (int, float)):
            check_range("scale", scale, float("-inf"), float("inf"), open_low=True, open_high=True)
        if not isinstance(mixed, bool):
            raise TypeError(f"`mixed` must be True or False. Received: mixed={mixed!r}")
        views = {"teacher_view": teacher_view, "student_view": student_view, "weight_view": weight_view}
        for argument, view in views.items():
            if isinstance(view, (list, tuple)) and not view:
                raise ValueError(f"`{argument}` must name at least one view. Received: {argument}={view!r}")
        self.teacher_view = teacher_view
        self.student_view = student_view
        self.weight_view = weight_view
        self.target = target or targets.Soft()
        self.weight = weight or weights.Uniform()
        self.alignment = alignment
        self.divergence = divergence or divergences.KullbackLeibler()
        for argument in ("target", "weight"):
            check_part(argument, getattr(self, argument), f"{argument}s")
        check_part("divergence", self.divergence, "divergences", divergences.Divergence)
        self.alignments = _as_alignments(alignment)
        self.scale = scale
        self.pool = pool
        self.output = output
        self.student_output = student_output
        self.mixed = mixed
        self.name = name
        self.teacher_views = as_views(teacher_view)
        self.student_views = as_views(student_view)
        self.weight_views = self.teacher_views if weight_view is None else as_views(weight_view)
        if any(view.perturbation for view in (*self.teacher_views, *self.weight_views)):
            raise ValueError(
                "`teacher_view` cannot be perturbed: perturbations are made after the teacher has looked. "
                f"Received: teacher_view={teacher_view!r}, weight_view={weight_view!r}"
            )
        if pool != "unlabeled" and "index" in self.requires:
            raise ValueError(
                "`pool` must be 'unlabeled' for a part that needs the example index, which counts unlabelled examples. "
                f"Received: pool={pool!r}"
            )

    @property
    def views(self):
        """Every view that the term names."""
        return (*self.teacher_views, *self.weight_views, *self.student_views)

    @property
    def parts(self):
        """The parts, and those that they are made of, each once."""
        parts = (*self.alignments, self.target, self.weight, self.divergence)
        return list({id(part): part for each in parts for part in each.walk()}.values())

    @property
    def requires(self):
        """What the parts read of a `Look` beyond the teacher's answer."""
        return tuple(dict.fromkeys(key for part in self.parts for key in part.requires))

    @property
    def metric_names(self):
        """Names of the term's metrics: its loss and, where it has a target, what `statistics` gives."""
        quantities = ["loss"]
        if self.divergence.needs_target:
            quantities.append("mask_rate")
        if self._names_classes and (self.divergence.needs_target or self.divergence.compares_views):
            quantities.append("agreement")
        return [f"{self.name}_{quantity}" for quantity in quantities]

    @property
    def _names_classes(self):
        return self.divergence.of_classes and self.student_output in (None, self.output)

    def build_parts(self, shape):
        """Creates the state of the parts, unless another term has done it.

        Args:
            shape: function from the name of an output to its shape.
        """
        self.shape = shape(self.output)
        read = shape(self.student_output or self.output)
        of_student = {id(part) for part in self.divergence.walk()}
        for part in self.parts:
            if not part.variables:
                part.build((read if id(part) in of_student else self.shape)[-1])
        self._check_shapes(read)

    def _check_shapes(self, read):
        if not self.divergence.needs_target:
            return
        judges = [part for each in (*self.alignments, self.target, self.weight) for part in each.walk()]
        if self.shape[-1] < 2 and any(part.reads_classes for part in judges):
            raise ValueError(
                f"Term {self.name!r} reads one value, which has no class probabilities: take "
                "`target=kc.targets.Prediction()`, a divergence between values such as "
                "`kc.divergences.SquaredDistance()`, and a weight that does not ask for confidence. "
                f"Received: target={self.target!r}, weight={self.weight!r}, output shape {self.shape}"
            )
        if any(view.geometry is not None for view in self.views) and (len(self.shape), len(read)) != (4, 4):
            raise ValueError(
                f"`geometry` in a view of term {self.name!r} needs a student that answers for each pixel, (batch, "
                "height, width, classes): where it gives one answer an image, there is nothing to move back. Let a "
                f"layer move the image instead. Received: output shape {self.shape if len(self.shape) != 4 else read}"
            )

    def teacher_streams(self, looks):
        """The streams that the teacher has to answer: none where no part reads its answer."""
        if not self.divergence.needs_target:
            return []
        views = [
            *(self.teacher_views if _need_answer(*self.alignments, self.target) else ()),
            *(self.weight_views if _need_answer(*self.alignments, self.weight) else ()),
        ]
        return [*(stream for view in views for stream in looks.streams.of(self.pool, view)), *looks.labeled]

    def student_streams(self, streams):
        """The streams that the student learns on: a tuple of them, one a source, for each student view."""
        return [streams.of(self.pool, view) for view in self.student_views]

    def answer(self, outputs):
        """The output that the term reads of what the student returned, float32 `(examples, ..., classes)`."""
        name = self.student_output or self.output
        return tf.cast(outputs if name is None else outputs[name], tf.float32)

    def judge(self, looks):
        """What the student is to agree with, and how much each example counts.

        Args:
            looks: the step's `Looks`.

        Returns:
            A `Verdict`, without gradient, or `None` where the divergence looks at no target.
        """
        if not self.divergence.needs_target:
            return None
        seen = self._look(looks, self.teacher_views, "target")
        target = keras.tree.map_structure(tf.stop_gradient, seen.ask(self.target))
        judged = self._look(looks, self.weight_views, "weight")
        weight = tf.stop_gradient(tf.cast(judged.ask(self.weight), tf.float32))
        for coverage in {id(each): each for each in (seen.coverage, judged.coverage) if each is not None}.values():
            weight = per_example(weight, coverage.shape.rank) * coverage
        moved = []
        for view in self.student_views:
            motion = looks.streams.motion(self.pool, view)
            moved.append((target, weight) if motion is None else _moved(target, weight, view.geometry, motion))
        return Verdict(*map(list, zip(*moved, strict=True)))

    def _look(self, looks, views, aligned_for):
        look = looks.at(self.pool, views, self.output, self.shape, values=not self.target.reads_classes)
        return looks.aligned(look, [each for each in self.alignments if each.applies_to in ("both", aligned_for)])

    def loss(self, verdict, answers):
        """The mean over this replica's examples, unscaled, a float32 scalar.

        Args:
            verdict: a `Verdict`, or `None` where the divergence looks at no target.
            answers: the student's answers, a list of one a student view, each `(examples, ..., classes)`.
        """
        if verdict is None:
            nothing = [None] * len(answers)
            return self.divergence.loss(nothing, answers, [tf.ones(tf.shape(answer)[:-1]) for answer in answers])
        return self.divergence.loss(verdict.targets, answers, verdict.weights)

    def statistics(self, verdict, answers):
        """Share of the examples that count and, where classes are compared, share where they are the same."""
        found, pairs = [], []
        if verdict is not None:
            found = [tf.reduce_mean([tf.reduce_mean(tf.cast(weight > 0, tf.float32)) for weight in verdict.weights])]
            pairs = list(zip(verdict.targets, answers, strict=True))
        elif self.divergence.compares_views:
            pairs = [(answers[0], other) for other in answers[1:]]
        if pairs and self._names_classes:
            agree = [tf.argmax(target, axis=-1) == tf.argmax(answer, axis=-1) for target, answer in pairs]
            found.append(tf.reduce_mean(tf.cast(agree, tf.float32)))
        return found


class Verdict(NamedTuple):
    """What the first stage of a step decides for a term: a list each, of one a student view.

    Attributes:
        targets: what the student is to agree with, float32 `(examples, ..., classes)`, or a structure of tensors.
        weights: how much each example counts, float32 `(examples, ...)`.
    """

    targets: list
    weights: list


def _as_alignments(alignment):
    alignments = () if alignment is None else alignment if isinstance(alignment, (list, tuple)) else (alignment,)
    for each in alignments:
        check_part("alignment", each, "alignments", Alignment)
    if len({each.applies_to for each in alignments}) > 1:
        raise ValueError(
            "`alignment` must be parts with one `applies_to`, as each corrects what the one before it answers. "
            f"Received: alignment={alignment!r}"
        )
    return tuple(alignments)


def _need_answer(*parts):
    return any(each.needs_answer for part in parts for each in part.walk())


def _moved(target, weight, geometry, motion):
    """Target and weight, moved as the image was; what comes from outside it counts 0.

    Between pixels, the target is the mean of those around it that count, by their weights.
    """
    weight = tf.ones_like(target[..., :1]) * per_example(weight, target.shape.rank)
    together = geometry.apply(tf.concat([weight, weight * target, target], axis=-1), motion)
    weight, counted, plain = tf.split(together, [1, target.shape[-1], target.shape[-1]], axis=-1)
    return tf.where(weight > 0, tf.math.divide_no_nan(counted, weight), plain), weight[..., 0]
