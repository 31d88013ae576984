"""What can be done about a training that goes wrong."""

import dataclasses
import math

import keras
import tensorflow as tf

from keras_consistency import _compat, clipping
from keras_consistency.snapshots import Snapshot
from keras_consistency.stability import CAUSES

ACTIONS = ("warn", "skip", "lower_rate", "tighten_clip", "roll_back", "stop")
_ONSET = 25  # steps that a trouble may have lasted before the detectors see it
_SCREENING = ("skip", "roll_back")


def by_cause(react):
    """A dictionary from `"default"` and every cause that is named to a tuple of actions.

    Args:
        react: an action, a list of actions, or a dictionary from causes and `"default"` to these.

    Raises:
        ValueError: where a cause or an action is unknown, or none is named.
    """
    given = react if isinstance(react, dict) else {"default": react}
    unknown = [cause for cause in given if cause not in (*CAUSES, "default")]
    if unknown:
        raise ValueError(f"`react` must name causes of {[*CAUSES, 'default']}. Received: {unknown}")
    found = {"default": ("warn",)}
    for cause, actions in given.items():
        actions = (actions,) if isinstance(actions, str) else actions
        if not isinstance(actions, (list, tuple)) or not actions or any(name not in ACTIONS for name in actions):
            raise ValueError(
                f"`react` must name actions of {list(ACTIONS)}, one or a list. Received: {actions!r} for {cause!r}"
            )
        found[cause] = tuple(actions)
    return found


def screens(actions):
    """Whether any of the actions keeps bad batches out."""
    return not set(_SCREENING).isdisjoint(actions)


@dataclasses.dataclass(frozen=True)
class _Point:
    step: int
    snapshot: Snapshot
    usual: dict


class Reactions:
    """Does to a model what was asked for; each action returns a sentence that says so.

    Args:
        model: a compiled `keras.Model` in training.
        limits: the `Limits` of its watch, or `None`.
        factor: what the learning rate and the bound of a clipping are multiplied by, in (0, 1).
        max_rollbacks: after so many, `roll_back` stops the training.
        every: steps from one reading of the signals to the next.
        snapshot_every: steps from one good point to the next.

    Attributes:
        rollbacks: how many there were.
    """

    def __init__(self, model, limits, *, factor, max_rollbacks, every, snapshot_every):
        self.model = model
        self.factor = factor
        self.max_rollbacks = max_rollbacks
        self.rollbacks = 0
        self._limits = limits
        # Of the last two points, one is older than that.
        self._onset = min(max(every, _ONSET), snapshot_every)
        self._snapshot_every = snapshot_every
        self._points = []
        self._next = 0
        self._last = None
        self._rolled_back_at = -math.inf

    def check(self, actions):
        """Raises a `ValueError` where one of the actions cannot be taken."""
        model = self.model
        refused = [action for action in _SCREENING if action in actions and self._limits is None]
        if refused:
            raise ValueError(
                f"`react` may name {refused} for a `kc.ConsistencyModel` only: of other Keras models no step can be "
                "undone. `kc.ConsistencyModel(network, [])` trains any network without consistency. Received: a "
                f"{type(model).__name__}"
            )
        if "tighten_clip" in actions and clipping.installed(model.optimizer, None) is None:
            raise ValueError(
                "`react` names 'tighten_clip', and nothing is clipped: pass `kc.callbacks.GradientClipping(...)` as "
                "well, or `clipping=kc.Clipping(...)` to the model."
            )
        fixed = isinstance(_compat.rate_source(_compat.inner_optimizer(model.optimizer)), keras.Variable)
        if not fixed and self._rate_callback is None and not {"lower_rate", "roll_back"}.isdisjoint(actions):
            raise ValueError(
                "`react` names an action that lowers the learning rate, and the optimizer follows a schedule, which "
                "cannot be lowered: give the schedule to `kc.callbacks.LearningRate` instead. "
                f"Received: learning_rate={_compat.rate_source(_compat.inner_optimizer(model.optimizer))!r}"
            )

    def keep_point(self, step):
        """Keeps a good point after a step, if it is time to: the first, and the last two."""
        if step < self._next:
            return
        self._next = step + self._snapshot_every
        snapshot = Snapshot(self.model)
        if snapshot.finite:
            point = _Point(step, snapshot, {name: list(values) for name, values in self._limits.usual.items()})
            self._points = [*self._points[:1], *self._points[1:][-1:], point]

    @property
    def _rate_callback(self):
        """The `kc.callbacks.LearningRate` that sets the rate, or `None`."""
        return getattr(self.model.train_function, "owner", None)

    def lower_rate(self, step):
        """Multiplies the learning rate by the factor, for good."""
        if self._rate_callback is not None:
            self._rate_callback.factor *= self.factor
            return f"learning rate times {self.factor:g}, its factor now {self._rate_callback.factor:.3g}"
        optimizer = self.model.optimizer
        rate = self.factor * float(tf.convert_to_tensor(optimizer.learning_rate))
        optimizer.learning_rate = rate
        return f"learning rate times {self.factor:g}, now {rate:.3g}"

    def tighten_clip(self, step):
        """Multiplies the bound of the clipping by the factor."""
        bound = clipping.installed(self.model.optimizer, None).bound
        bound.assign(self.factor * bound)
        return f"clipping bound times {self.factor:g}, now {float(bound.numpy()):.3g}"

    def roll_back(self, step):
        """Puts the model back to a good point before the trouble began, and lowers the rate.

        Args:
            step: number of the step at which the trouble was found.
        """
        if self.rollbacks >= self.max_rollbacks:
            return f"{self.stop(step)}, after {self.rollbacks} rollbacks"
        if not self._points:
            return f"{self.stop(step)}: it had no good point to go back to"
        self.rollbacks += 1
        if len(self._points) > 1 and step <= self._rolled_back_at + self._onset:
            self._points.pop()  # It led to trouble again at once: the trouble began before it.
        # The newest point may hold already what led to the event.
        before = [point for point in self._points if point.step + self._onset <= step]
        point = (before or self._points[:1])[-1]
        point.snapshot.restore()
        self._limits.usual = point.usual
        self._points = [each for each in self._points if each.step <= point.step]
        self._last, self._next, self._rolled_back_at = point, step + self._snapshot_every, step
        return f"rolled back to step {point.step}; {self.lower_rate(step)}"

    @property
    def rolled_back_to(self):
        """Number of the step that the last rollback led to, `None` before there was one."""
        return None if self._last is None else self._last.step

    def stop(self, step):
        """Ends the training."""
        self.model.stop_training = True
        return "training stopped"
