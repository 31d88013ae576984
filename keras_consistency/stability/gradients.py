"""Detectors that read the gradient: it explodes, it vanishes."""

from keras_consistency.stability.event import Finding

_MOST = 6  # of the 8 recent values have to agree


class ExplodingGradient:
    """A gradient norm far above what was usual, or an update that is no longer small beside the weights.

    6 of the last 8 norms exceed ten times the median of the 100 before, twice the level of the start and the first norm
    of all, while the loss does not fall; or 2 of the last 8 exceed a hundred times, or the last a thousand times, both
    the level of the start and 95 % of the 100 before. Of the update: 6 of the last 8 ratios exceed ten times the median
    before, and 0.1, or 2 of them exceed 2, which weights that begin at 0 do once.
    """

    cause = "exploding_gradient"
    needs = ({"gradient_norm", "update_ratio"},)

    def __init__(self, sensitivity):
        self._factor = 1.0 + 9.0 / sensitivity
        self._ratio = 0.1

    def update(self, signals):
        """The finding of a step, or `None`."""
        gradient = signals.gradient
        value = signals.record.get("gradient_norm")
        if value is not None and len(gradient.reference) >= 12:
            found = self._norm(signals, gradient)
            if found is not None:
                return found
        update = signals.update
        if update.recent.above(2.0) >= 2:
            return Finding(
                "update_ratio",
                update.recent.ordered[-1],
                f"A step changed the weights by {update.recent.ordered[-1]:.3g} of their norm.",
            )
        if len(update.reference) >= 25 and "update_ratio" in signals.record:
            usual = update.reference.median
            if update.recent.above(max(self._factor * usual, self._ratio)) >= _MOST and not signals.falling:
                return Finding(
                    "update_ratio",
                    update.level,
                    f"A step changes the weights by {update.level:.3g} of their norm (median of 8 steps), where "
                    f"{usual:.3g} was usual.",
                )
        return None

    def _norm(self, signals, gradient):
        recent, reference = gradient.recent, gradient.reference
        usual = reference.median
        if recent.ordered[-1] <= self._factor * usual:
            return None
        high = max(reference.quantile(0.95), gradient.initial)
        # A heavy tail has single values far out: a thousandfold is beyond it.
        extreme = recent.above(10.0 * self._factor * high) >= 2 or recent.values[-1] > 100.0 * self._factor * high
        start = max(2.0 * gradient.initial, gradient.first)
        many = recent.above(max(self._factor * usual, start)) >= _MOST
        if not extreme and (not many or signals.falling):
            return None
        value = gradient.level if many else recent.ordered[-1]
        return Finding(
            "gradient_norm",
            value,
            f"The gradient's norm is {value:.3g} ({'median' if many else 'greatest'} of 8 steps), where {usual:.3g} "
            f"was usual (median of {len(reference)}) and {gradient.initial:.3g} at the start.",
        )


class VanishingGradient:
    """A gradient norm of a thousandth of its level, or updates below float32's resolution, at a loss that is not low.

    The level is that of the first 20 steps or the median of the 100 before the last 8, whichever is greater. A loss is
    low below half of its start, or where an epoch's accuracy was at least 0.9: then the training has converged. Updates
    count where their ratio to the weights stays under 3e-8, half of float32's resolution, and not while the learning
    rate is at a tenth of its greatest or rises.
    """

    cause = "vanishing_gradient"
    needs = ({"gradient_norm", "update_ratio"}, {"loss", "supervised_loss"})
    _resolution = 3e-8

    def __init__(self, sensitivity):
        self._share = min(1e-3 * sensitivity, 0.1)

    def update(self, signals):
        """The finding of a step, or `None`."""
        loss, gradient = signals.loss, signals.gradient
        if loss.count < 30 or signals.accurate or loss.initial - loss.level > 0.5 * abs(loss.initial):
            return None
        if gradient.count >= 30:
            usual = max(gradient.initial, gradient.reference.median)
            if gradient.level <= self._share * usual and usual > 0.0:
                return Finding(
                    "gradient_norm",
                    gradient.level,
                    f"The gradient's norm is {gradient.level:.3g} (median of 8 steps), where it was {usual:.3g}, while "
                    f"`{signals.loss_name}` is {loss.level:.4g}, after {loss.initial:.4g} at the start.",
                )
        update, rate = signals.update, signals.rate
        if update.count >= 30 and update.middle.full and not rate.low and not rate.rising and rate.value != 0.0:
            if update.middle.ordered[-1] <= self._resolution:
                return Finding(
                    "update_ratio",
                    update.level,
                    f"25 steps on end changed the weights by {update.middle.ordered[-1]:.2g} of their norm at the "
                    f"most, less than float32 resolves, while `{signals.loss_name}` is {loss.level:.4g}, after "
                    f"{loss.initial:.4g} at the start.",
                )
        return None
