"""What differs between Keras versions, and what Keras offers no public name for. The only module that touches
either.
"""

import pathlib
import tempfile
import warnings

import keras
import tensorflow as tf


def track_loss(model, loss, inputs):
    """Adds a batch to the running mean that Keras reports as `loss`, which `Model.compute_loss` leaves to its caller.

    Args:
        model: a compiled `keras.Model`.
        loss: the batch's loss on this replica, not scaled for distribution; a scalar.
        inputs: a tensor whose first axis counts the batch's examples.
    """
    model._loss_tracker.update_state(loss, sample_weight=tf.shape(inputs)[0])


def clip_with(optimizer, clip):
    """Has an optimizer call a function where it would clip: on what it is about to apply, unscaled and accumulated.

    Args:
        optimizer: a Keras optimizer, not a `LossScaleOptimizer`.
        clip: function of a list of gradients, the list of their variables, and what Keras does to such a list; returns
            the list to apply. `None` for what Keras does.
    """
    for name in ("_backend_apply_gradients", "_clip_gradients"):
        if name in vars(optimizer):
            delattr(optimizer, name)
    if clip is None:
        return
    keras_apply, keras_clip, known = optimizer._backend_apply_gradients, optimizer._clip_gradients, []

    def apply_gradients(gradients, variables):
        known[:] = variables
        keras_apply(gradients, variables)

    optimizer._backend_apply_gradients = apply_gradients
    optimizer._clip_gradients = lambda gradients: clip(gradients, list(known), keras_clip)


def inner_optimizer(optimizer):
    """The optimizer that applies gradients, inside of what scales the loss."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer


def rate_source(optimizer):
    """What an optimizer has its learning rate from: a `keras.Variable`, a schedule, or a function of no argument.

    Args:
        optimizer: a Keras optimizer, not a `LossScaleOptimizer`.
    """
    return optimizer._learning_rate


def layers_of(model):
    """Every layer inside a model, however deep, each once."""
    return list({id(layer): layer for layer in model._flatten_layers(include_self=False)}.values())


def classes_of(model):
    """The classes of a model and of the layers inside it, by name, without Keras's own.

    Those need no registering, and with it would replace operations of the same name: `Add` is a layer and a `+`.
    """
    classes = [type(layer) for layer in model._flatten_layers()]
    return {cls.__name__: cls for cls in classes if not cls.__module__.startswith("keras.")}


def mask_of(tensor):
    """The mask that Keras keeps of a tensor, booleans of its first axes, or `None`."""
    return getattr(tensor, "_keras_mask", None)


def masked_like(tensor, other):
    """The tensor, of which Keras keeps the mask of another from now on."""
    if mask_of(other) is not None:
        tensor._keras_mask = mask_of(other)
    return tensor


def copy_model(model):
    """A second model with the same configuration and state, that of adapted preprocessing layers included.

    `keras.models.clone_model` copies no state and no subclassed model: this goes through a file in Keras's own format.

    Args:
        model: a built `keras.Model`; its classes need not be registered.

    Raises:
        ValueError: where the model cannot be rebuilt from its configuration.
    """
    try:
        with keras.saving.custom_object_scope(classes_of(model)), warnings.catch_warnings():
            # Keras's own saving converts its variables in a way that NumPy 2 warns of.
            warnings.filterwarnings("ignore", message="__array__", category=DeprecationWarning)
            with tempfile.TemporaryDirectory() as directory:
                path = pathlib.Path(directory) / "model.keras"
                model.save(path)
                copied = keras.saving.load_model(path, compile=False, safe_mode=False)
    except Exception as error:
        raise ValueError(
            f"The model {model.name!r} cannot be copied, as it cannot be rebuilt from its configuration. Give each of "
            f"its classes a `get_config` that names every constructor argument. Keras says: {error}"
        ) from error
    if [weight.shape for weight in copied.weights] != [weight.shape for weight in model.weights]:
        raise ValueError(
            f"The model {model.name!r} cannot be copied: rebuilt from its configuration it has other weights. Create "
            "them in `build`, from constructor arguments that `get_config` names."
        )
    return copied


def origin(tensor):
    """Which layer or operation a symbolic tensor came out of, and the list of tensors that it was called on.

    Args:
        tensor: a `keras.KerasTensor` of a functional or Sequential model.
    """
    record = tensor._keras_history
    return record.operation, list(record.operation._inbound_nodes[record.node_index].input_tensors)


def one_output(model, name):
    """A functional model that returns one of the outputs of a model by itself, and shares its weights.

    Args:
        model: a built `keras.Model` that returns a dictionary.
        name: key of the output.
    """
    if getattr(model, "outputs", None):
        return keras.Model(model.input, model.output[name])
    # A subclassed model keeps no record of its tensors, but of the shape that it was built with.
    shape = model.get_build_config()["input_shape"]
    if isinstance(shape, dict):
        inputs = {key: keras.Input(each[1:], dtype=model.input_dtype, name=key) for key, each in shape.items()}
    else:
        inputs = keras.Input(shape[1:], dtype=model.input_dtype)
    return keras.Model(inputs, model(inputs)[name])
