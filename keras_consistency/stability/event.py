"""What a detector reports: an event with its cause, the figures that speak for it, and what to do."""

import dataclasses

# Cause -> what to do about it.
ADVICE = {
    "not_finite": (
        "Lower the learning rate or clip the gradients; look for divisions, logarithms and roots of 0, and for inputs "
        "that are not finite. In float16, scale the loss."
    ),
    "loss_spike": (
        "Lower the learning rate, or warm it up for longer, and clip the gradients. If it comes from single batches, "
        "look at their data."
    ),
    "oscillation": (
        "Lower the learning rate or the momentum, or enlarge the batch: the steps overshoot. Where the rate follows a "
        "cycle, lower its peak."
    ),
    "teacher_divergence": (
        "Lower the learning rate or the scale of the consistency term; have the moving average follow sooner (a lower "
        "decay), and see that its batch statistics come from the student."
    ),
    "collapse": (
        "Raise the confidence threshold or align the distribution of the pseudo-labels (`kc.alignments`), lower the "
        "scale of the term, and check that every class is among the labels."
    ),
    "vanishing_gradient": (
        "Use ReLU-like activations, an initialization that fits them, normalization or residual connections; take the "
        "loss from logits. If units are saturated or dead, lower the learning rate and start anew."
    ),
    "exploding_gradient": (
        "Clip the gradients (`kc.Clipping`), lower the learning rate or warm it up for longer, and look for broken or "
        "unscaled inputs in the batches of these steps."
    ),
    "overfitting": (
        "Stop here and take the weights of the best epoch, or regularize more: stronger augmentation, dropout, weight "
        "decay, more data. Check the labels for errors."
    ),
    "plateau": (
        "Decay the learning rate if it was high, raise it if it is very low; check that inputs and labels belong "
        "together and that all layers train. If this is as good as it gets, stop."
    ),
}
CAUSES = tuple(ADVICE)


@dataclasses.dataclass(frozen=True)
class Event:
    """A trouble of a training, reported once.

    Attributes:
        step: number of the training step after which it was found; for an epoch's, its last step.
        cause: one of `CAUSES`.
        evidence: a sentence with the figures.
        advice: what to do.
        signal: name of the value that gave it away, such as `"loss"` or `"gradient_norm"`.
        value: that value, a float: the level found, not a single step's, where the detector judges levels.
    """

    step: int
    cause: str
    evidence: str
    advice: str
    signal: str
    value: float


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one detector says of the present: the condition of its trouble holds.

    Attributes:
        signal, value, evidence: as in `Event`.
    """

    signal: str
    value: float
    evidence: str
