"""What a model checks before it trains."""

import keras

from keras_consistency import embeddings
from keras_consistency.clipping import Clipping
from keras_consistency.consistency import Consistency
from keras_consistency.mixers import Mixer
from keras_consistency.parts import check_part, check_range
from keras_consistency.teachers import Teacher
from keras_consistency.views import View, as_views

_MODULES = {"mixer": ("mixers", Mixer), "forward": ("forwards",), "labeled_weight": ("weights",)}
_ACTIVATIONS = ("softmax", "log_softmax", "sigmoid", "Softmax", "LogSoftmax", "Sigmoid")


def student(model):
    """Raises unless the model is a built `keras.Model` that does not end in a softmax."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`student` must be a `keras.Model`. Received: student={model!r}")
    if not model.built:
        raise ValueError(
            "`student` must be built: start it with a `keras.Input`, or call it on a batch first. "
            f"Received: student={model!r}, not built"
        )
    logits("student", model)


def logits(name, model):
    """Raises if the model ends in a softmax, as far as one can see."""
    last = model
    while getattr(last, "operations", None) or getattr(last, "layers", None):
        last = (getattr(last, "operations", None) or last.layers)[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", None)
    activation = activation or type(last).__name__
    if activation in _ACTIVATIONS:
        raise ValueError(
            f"`{name}` must return logits: leave out the activation at its end and compile with a loss that has "
            f"`from_logits=True`. Received: a {name} that ends in {last.name!r}, a {activation.lower()}"
        )


def terms(values, mixer):
    """Raises unless the values are `Consistency` terms of different names that a mixer, if there is one, can serve."""
    for value in values:
        if not isinstance(value, Consistency):
            raise TypeError(f"`terms` must be a `kc.Consistency` or a list of them. Received: {value!r}")
        if mixer is not None and value.mixed and value.pool != "unlabeled":
            raise ValueError(
                f"`terms` must read the unlabelled pool where there is a `mixer`. Received: term {value.name!r} with "
                f"pool={value.pool!r}"
            )
    names = [value.name for value in values]
    if len(set(names)) < len(names):
        raise ValueError(
            f"`terms` must have different names: pass `name=` to `kc.Consistency`. Received: names {names}"
        )


def teacher(value):
    """Raises unless the value is a teacher."""
    if not isinstance(value, Teacher):
        raise TypeError(
            "`teacher` must be a part of `kc.teachers`; wrap a trained network as `kc.teachers.Frozen(network)`. "
            f"Received: teacher={value!r}"
        )


def part(name, value):
    """Raises unless the value of an argument is a part that can be called, or `None`."""
    if value is not None:
        check_part(name, value, *_MODULES[name])


def clipping(value):
    """Raises unless the value is a `Clipping` without the state of another model."""
    if not isinstance(value, Clipping):
        raise TypeError(f"`clipping` must be a `kc.Clipping` or None. Received: clipping={value!r}")
    unused(value)


def labeled_views(value, scales):
    """The views of the labelled examples, a tuple; raises unless they are views, and such as leave labels true, and
    there is a scale for each, if there are any.
    """
    values = value if isinstance(value, (list, tuple)) else (value,)
    if not values:
        raise ValueError(f"`labeled_view` must name at least one view, or be None. Received: labeled_view={value!r}")
    for each in values:
        if not (each is None or isinstance(each, (str, View, keras.layers.Layer))):
            raise TypeError(
                f"`labeled_view` must be a layer, a `kc.View`, a list of them or None. Received: labeled_view={value!r}"
            )
    views = as_views(value)
    if any(view.geometry is not None for view in views):
        raise ValueError(
            "`labeled_view` cannot have a geometry, as the labels would stay where they are: move images and labels "
            f"together in the input pipeline. Received: labeled_view={value!r}"
        )
    if scales is not None:
        if not isinstance(scales, (list, tuple)) or len(scales) != len(views):
            raise ValueError(
                f"`labeled_scale` must be a list of one number for each of the {len(views)} labelled views, or None. "
                f"Received: labeled_scale={scales!r}"
            )
        for scale in scales:
            check_range("labeled_scale", scale, 0, float("inf"), open_high=True)
    return views


def unused(part):
    """Raises if the part holds the state of another model."""
    if part.variables:
        raise ValueError(f"A part with state belongs to one model. Make a new one for each. Received: {part!r}")


def output_shape(model):
    """Shape of what a built model returns: a tuple, or a structure of tuples where it returns several outputs."""
    try:
        inputs = model.input
    except (AttributeError, ValueError):
        inputs = keras.tree.map_shape_structure(keras.KerasTensor, model.get_build_config()["input_shape"])
    return keras.tree.map_structure(lambda tensor: (None, *tensor.shape[1:]), model.compute_output_spec(inputs))


def same_outputs(student_model, teacher_network):
    """Raises unless both return outputs of the same structure and shape."""
    expected, received = output_shape(student_model), output_shape(teacher_network)
    if expected != received:
        raise ValueError(
            f"`teacher` must return what `student` returns, of shape {expected}. "
            f"Received: a teacher with outputs {received}"
        )


def prediction_shape(student_model, prediction):
    """Shape of the output that the compiled loss reads, `None` where it reads several."""
    if prediction is None and isinstance(output_shape(student_model), dict):
        return None
    return _shape(student_model, "`prediction`", prediction)


def one_prediction(shape):
    """Raises unless the model has one prediction, for a weight of labelled examples to judge by."""
    if shape is None:
        raise ValueError(
            "`prediction` must name the output that `labeled_weight` is to judge by, as the student returns several. "
            "Received: prediction=None"
        )


def answer_shape(student_model, output, term):
    """Shape of the output that a term reads."""
    return _shape(student_model, f"`output` of term {term.name!r}", output)


def _shape(student_model, argument, output):
    shape = output_shape(student_model)
    if isinstance(shape, dict):
        if output not in shape:
            raise ValueError(f"{argument} must name one of the student's outputs {sorted(shape)}. Received: {output!r}")
        shape = shape[output]
    elif output is not None:
        raise ValueError(
            f"{argument} must be None, as the student returns one tensor. `kc.heads.attach` gives it further outputs. "
            f"Received: {output!r}"
        )
    if len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            "`student` must return logits of shape (batch, classes), or (batch, height, width, classes) for dense "
            f"prediction. Received: output shape {shape}"
        )
    return shape


def perturbed(views, student_model, prediction, mixer):
    """Raises where views are perturbed and it is not known what that is to change, or where in the student."""
    attacked = [view for view in views if view.perturbation is not None]
    if attacked and prediction is None and isinstance(output_shape(student_model), dict):
        raise ValueError(
            "`prediction` must name the output that perturbations are to change, as the student returns several: "
            f"{sorted(output_shape(student_model))}. Received: prediction=None"
        )
    for view in attacked:
        if view.at is not None:
            embeddings.find(student_model, view.at)
            if mixer is not None:
                raise ValueError(
                    "`mixer` must be None where a view is perturbed inside the student, as inputs that are numbered "
                    f"cannot be mixed. Received: mixer={mixer!r}, and a view with at={view.at!r}"
                )


def labeled_look(view, model_terms, model_teacher):
    """Raises where the teacher would have to answer on labelled examples that are perturbed inside the student.

    Args:
        view: the first of the labelled examples, which is the one that the teacher is asked about.
        model_terms, model_teacher: of the model.
    """
    if view.at is not None and not model_teacher.learns and any("labeled" in term.requires for term in model_terms):
        raise ValueError(
            "`labeled_view` must begin with a view that is not perturbed inside the student, as a part of the terms "
            "reads what the teacher answers on it: give `labeled_view=[unperturbed, perturbed]`. Received: a first "
            f"view with at={view.at!r}, and teacher={model_teacher!r}"
        )


def view_layers(views):
    """The layers of views by name.

    Copies of one layer, as loading makes them, have the same name and configuration and become one again.
    """
    layers = {}
    for layer in (view.layer for view in views if isinstance(view.layer, keras.layers.Layer)):
        known = layers.setdefault(layer.name, layer)
        if known is not layer and known.get_config() != layer.get_config():
            raise ValueError(
                f"Two different views are both named {layer.name!r}: pass another `name=` to one of the layers. "
                f"Received: {known.get_config()} and {layer.get_config()}"
            )
    return layers
