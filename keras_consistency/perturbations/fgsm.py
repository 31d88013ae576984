"""The fast gradient sign method."""

import keras

from keras_consistency.perturbations.pgd import PGD


@keras.saving.register_keras_serializable(package="keras_consistency")
class FGSM(PGD):
    """The fast gradient sign method: one step of length `radius` up the loss.

    `clip(x + radius sign(grad loss(x)))`; with `norm="l2"`, along the gradient itself. One forward and one backward
    pass. Everything is float32 whatever the policy; norms are per example.

    Args:
        radius: norm of the perturbation in the units of the inputs, in [0, inf), and within `clip_range`; 0 is the
            identity.
        norm: `"linf"` or `"l2"`.
        target: what the loss is about, where the function returns logits: `"label"`, or `"least_likely"`, the class
            that the answer to the inputs gives the least probability. (`"prediction"` needs the random start of
            `kc.perturbations.PGD`.)
        targeted: whether the perturbation moves towards the target, down the loss.
        clip_range: `(low, high)` in which inputs and perturbed inputs lie, or `None`.

    References:
        - I. Goodfellow, J. Shlens, C. Szegedy, [Explaining and harnessing adversarial examples](
          https://arxiv.org/abs/1412.6572), 2015.
        - A. Kurakin, I. Goodfellow, S. Bengio, [Adversarial machine learning at scale](
          https://arxiv.org/abs/1611.01236), 2017: the least likely class.
    """

    def __init__(self, *, radius, norm="linf", target="label", targeted=False, clip_range=None):
        super().__init__(
            radius=radius,
            steps=1,
            step_size=radius or None,
            norm=norm,
            random_start=False,
            target=target,
            targeted=targeted,
            clip_range=clip_range,
        )
