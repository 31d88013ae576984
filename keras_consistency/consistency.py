"""One term of the consistency loss."""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_consistency import divergences, targets, weights
from keras_consistency.parts import Look, Part, check_range
from keras_consistency.views import as_views

_POOLS = ("unlabeled", "labeled", "all")


@keras.saving.register_keras_serializable(package="keras_consistency")
class Consistency(Part):
    """How far the student's answer on its view is from a target made of the teacher's answer on its view.

    `scale(step) * mean_i weight_i * divergence(target_i, student_i)`, the mean over all examples of the pool, also
    those of weight zero.

    Args:
        teacher_view: what the teacher is shown: a `kc.View`, a layer, the key of a view made in the input pipeline,
            `None` for the inputs as they came, or a list of these, whose probabilities are averaged.
        student_view: what the student learns on, likewise; with a list, the divergence is averaged.
        target: part of `kc.targets`.
        weight: part of `kc.weights`.
        alignment: part of `kc.alignments`, applied to the teacher's answer before target and weight see it, or `None`.
        divergence: part of `kc.divergences`.
        scale: factor of the term: a number of any sign, or a schedule `step -> number`.
        pool: the examples: `"unlabeled"`, `"labeled"` or `"all"`. In batches where every example has a label,
            each means all.
        output: the name of the output to read where the student returns a dictionary; `None` where it returns one
            tensor.
        name: prefix of the term's metrics.
    """

    def __init__(
        self,
        *,
        teacher_view=None,
        student_view=None,
        target=None,
        weight=None,
        alignment=None,
        divergence=None,
        scale=1.0,
        pool="unlabeled",
        output=None,
        name="consistency",
    ):
        if pool not in _POOLS:
            raise ValueError(f"`pool` must be one of {list(_POOLS)}. Received: pool={pool!r}")
        if not (isinstance(scale, (int, float)) or callable(scale)):
            raise TypeError(f"`scale` must be a number or a schedule `step -> number`. Received: scale={scale!r}")
        if isinstance(scale, (int, float)):
            check_range("scale", scale, float("-inf"), float("inf"), open_low=True, open_high=True)
        for argument, view in (("teacher_view", teacher_view), ("student_view", student_view)):
            if isinstance(view, (list, tuple)) and not view:
                raise ValueError(f"`{argument}` must name at least one view. Received: {argument}={view!r}")
        self.teacher_view = teacher_view
        self.student_view = student_view
        self.target = target or targets.Soft()
        self.weight = weight or weights.Uniform()
        self.alignment = alignment
        self.divergence = divergence or divergences.KullbackLeibler()
        for argument in ("target", "weight", "divergence", *(() if alignment is None else ("alignment",))):
            if isinstance(getattr(self, argument), type) or not callable(getattr(self, argument)):
                raise TypeError(
                    f"`{argument}` must be a part of `kc.{argument}s`. Received: {argument}={getattr(self, argument)!r}"
                )
        self.scale = scale
        self.pool = pool
        self.output = output
        self.name = name
        self.teacher_views = as_views(teacher_view)
        self.student_views = as_views(student_view)
        if any(view.perturbation for view in self.teacher_views):
            raise ValueError(
                "`teacher_view` cannot be perturbed: perturbations are made after the teacher has looked. "
                f"Received: teacher_view={teacher_view!r}"
            )
        if pool != "unlabeled" and "index" in self.requires:
            raise ValueError(
                "`pool` must be 'unlabeled' for a part that needs the example index, which counts unlabelled examples. "
                f"Received: pool={pool!r}"
            )

    @property
    def parts(self):
        """The parts that may hold state."""
        return tuple(part for part in (self.alignment, self.target, self.weight, self.divergence) if part is not None)

    @property
    def requires(self):
        """Keys that the batch must hold for one of the parts."""
        return tuple(key for part in self.parts for key in getattr(part, "requires", ()))

    @property
    def metric_names(self):
        """Names of the term's metrics: its loss and, where it has a target, what `statistics` gives."""
        quantities = ("loss", "mask_rate", "agreement") if self.divergence.needs_target else ("loss",)
        return [f"{self.name}_{quantity}" for quantity in quantities]

    def teacher_streams(self, streams):
        """The streams that the teacher has to answer: none where the divergence looks at no target."""
        if not self.divergence.needs_target:
            return []
        return [stream for view in self.teacher_views for stream in streams.of(self.pool, view)]

    def student_streams(self, streams):
        """The streams that the student learns on: a tuple of them, one a source, for each student view."""
        return [streams.of(self.pool, view) for view in self.student_views]

    def logits(self, outputs):
        """The output that the term reads of what a network returned, float32 `(examples, classes)`."""
        return tf.cast(outputs if self.output is None else outputs[self.output], tf.float32)

    def judge(self, answers, streams, step):
        """What the student is to agree with, and how much each example counts.

        Args:
            answers: the teacher's outputs by stream.
            streams: the step's `Streams`.
            step: number of optimizer steps done.

        Returns:
            A `Verdict`, without gradient.
        """
        if not self.divergence.needs_target:
            return None
        views = [
            tf.concat([self.logits(answers[stream]) for stream in streams.of(self.pool, view)], axis=0)
            for view in self.teacher_views
        ]
        look = Look(logits=tf.stop_gradient(_mean_answer(views)), step=step, index=streams.batch.index)
        if self.alignment is not None:
            look = dataclasses.replace(look, logits=self.alignment(look))
        target = tf.stop_gradient(self.target(look))
        weight = tf.stop_gradient(tf.cast(self.weight(look), tf.float32))
        return Verdict([target] * len(self.student_views), weight)

    def loss(self, verdict, logits):
        """The mean over this replica's examples, unscaled, a float32 scalar.

        Args:
            verdict: a `Verdict`, or `None` where the divergence looks at no target.
            logits: the student's answers, a list of one a student view, each `(examples, classes)`.
        """
        targets_, weight = verdict or ([None] * len(logits), 1.0)
        per_view = [self.divergence(target, answer) for target, answer in zip(targets_, logits, strict=True)]
        return tf.reduce_mean(weight * tf.add_n(per_view) / len(per_view))

    def statistics(self, verdict, logits):
        """Share of the examples that count, and share, over all views, where student and target agree."""
        if verdict is None:
            return ()
        pairs = zip(verdict.targets, logits, strict=True)
        agree = tf.stack([tf.argmax(target, axis=-1) == tf.argmax(answer, axis=-1) for target, answer in pairs])
        return tf.reduce_mean(tf.cast(verdict.weight > 0, tf.float32)), tf.reduce_mean(tf.cast(agree, tf.float32))


class Verdict(NamedTuple):
    """What the first stage of a step decides for a term.

    Attributes:
        targets: what the student is to agree with, a list of one a student view, each float32 `(examples, classes)`.
        weight: how much each example counts, float32 `(examples,)`.
    """

    targets: list
    weight: tf.Tensor


def _mean_answer(logits):
    """Logits of the mean of several answers' probabilities: `log(mean_k softmax(logits_k))`; one stays as it is."""
    if len(logits) == 1:
        return logits[0]
    log_probabilities = tf.stack([tf.nn.log_softmax(each) for each in logits])
    return tf.reduce_logsumexp(log_probabilities, axis=0) - tf.math.log(float(len(logits)))
