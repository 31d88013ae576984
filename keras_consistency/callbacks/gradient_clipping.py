"""A callback that clips gradients while a model trains."""

import keras

from keras_consistency.clipping import Clipping, install, installed


class GradientClipping(keras.callbacks.Callback):
    """Clips the gradients of any Keras model during `fit`, and logs their norms.

    What is clipped, and what each argument means, stands in `kc.Clipping`: the gradient that the optimizer applies, so
    that one and several replicas, mixed precision and gradient accumulation clip alike. The logs of an epoch get
    `gradient_norm` and `clipped_gradient_norm`, means over its steps, and `clip_rate`, the share of steps clipped.

    After `fit` the optimizer is as it was. A `kc.ConsistencyModel` takes `clipping=kc.Clipping(...)` itself, which is
    saved with it: the way to resume `percentile` with the norms that it has seen.

    Args:
        **arguments: those of `kc.Clipping`, `global_clipnorm=1.0` say.

    Attributes:
        clipping: the `kc.Clipping`; assign to its `bound` to clip otherwise from the next step on, without a retrace.

    Raises:
        ValueError: where an argument lies outside its range; at the beginning of training, where the model, its
            optimizer or another callback clips too.
    """

    def __init__(self, **arguments):
        super().__init__()
        self.clipping = Clipping(**arguments)

    def set_model(self, model):
        super().set_model(model)
        if not self.clipping.variables:
            with model.distribute_strategy.scope():
                self.clipping.build()
        if getattr(model, "clipping", None) is not None:
            raise ValueError(
                "The model clips gradients itself: leave out `kc.callbacks.GradientClipping`, or the model's "
                f"`clipping=`. Received: {self.clipping!r}, and a model with {model.clipping!r}"
            )
        install(self.clipping, model.optimizer)
        model.train_function = None  # What was traced before clips otherwise.

    def on_train_begin(self, logs=None):
        """Raises where another callback has taken the place of this one."""
        active = installed(self.model.optimizer, None)
        if active is not self.clipping:
            raise ValueError(
                "Two callbacks clip the gradients of one model: leave out one `kc.callbacks.GradientClipping`. "
                f"Received: {self.clipping!r} and {active!r}"
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's means."""
        for metric in self.clipping.metrics:
            metric.reset_state()

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch's means to the logs."""
        if logs is not None:
            logs.update({metric.name: float(metric.result()) for metric in self.clipping.metrics})

    def on_train_end(self, logs=None):
        """Leaves the optimizer as it was."""
        install(None, self.model.optimizer)
        self.model.train_function = None
