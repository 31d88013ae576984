"""The bases of the divergences."""

import tensorflow as tf

from keras_consistency.parts import Part, per_example


class Divergence(Part):
    """Base of the divergences.

    Attributes:
        needs_target: whether the target is looked at; the teacher is not asked for one that is not.
        compares_views: whether it compares the student's answers on its views with each other.
        of_classes: whether target and answer name classes, at least two, so that one can ask whether they agree.
    """

    needs_target = True
    compares_views = False
    of_classes = True

    def build(self, classes):
        """Checks the number of classes; further as in `kc.parts.Part`.

        Raises:
            ValueError: for fewer than two classes, of which the softmax is constant.
        """
        if self.of_classes and classes < 2:
            raise ValueError(
                f"`{type(self).__name__}` compares class probabilities, so `student` must return at least 2 classes: "
                "give a binary classifier two outputs, or take `kc.divergences.SquaredDistance()` for values. "
                f"Received: {classes} output"
            )

    def loss(self, targets, answers, weights):
        """The mean over the examples and the views, examples of weight zero included; a scalar.

        Args:
            targets: list of one target a student view, `None`s where no target is looked at.
            answers: list of the student's answers, likewise.
            weights: list of weights, float32 `(examples, ...)`, likewise.
        """
        views = []
        for target, answer, weight in zip(targets, answers, weights, strict=True):
            values = self(target, answer)
            views.append(tf.reduce_mean(per_example(weight, values.shape.rank) * values))
        return tf.add_n(views) / len(views)


class ViewDivergence(Divergence):
    """Base of the divergences between the student's own answers on several views, with the gradient into all of them.

    A subclass implements `__call__(target, answers)` on the list of answers; target and weight are not looked at.
    """

    needs_target = False
    compares_views = True

    def loss(self, targets, answers, weights):
        """The mean over the examples of this replica."""
        if len(answers) < 2:
            raise ValueError(
                f"`student_view` must be a list of two or more views for `{type(self).__name__}`, which compares the "
                f"student's answers on them. Received: {len(answers)} view"
            )
        return tf.reduce_mean(self(None, answers))
