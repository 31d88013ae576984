"""What differs between Keras versions, and what Keras offers no public name for. The only module that touches
either.
"""

import tensorflow as tf


def track_loss(model, loss, inputs):
    """Adds a batch to the running mean that Keras reports as `loss`, which `Model.compute_loss` leaves to its caller.

    Args:
        model: a compiled `keras.Model`.
        loss: the batch's loss on this replica, not scaled for distribution; a scalar.
        inputs: a tensor whose first axis counts the batch's examples.
    """
    model._loss_tracker.update_state(loss, sample_weight=tf.shape(inputs)[0])
