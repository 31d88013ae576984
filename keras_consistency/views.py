"""Views: the versions of an example that a teacher or a student is shown."""

import keras

from keras_consistency.parts import Part, check_count


@keras.saving.register_keras_serializable(package="keras_consistency")
class View(Part):
    """One version of every example of a pool.

    Terms that name the same view share it: the same layer (by its name) and the same `draw` are made once in a step and
    go through a network once. To get a second, independent draw of a random layer, ask for another `draw`.

    Args:
        layer: a Keras layer, called with `training=True`; or the key of a view that the input pipeline made
            (`kc.data.with_views`); or `None` for the inputs as they came.
        draw: which independent draw of the layer.
        perturbation: a part of `kc.perturbations`, applied to the view with a function that gives the student's logits
            in inference mode, and with the labels where it reads them; `None` for none. Bytes become float32 first.
        at: name of a layer inside the student, such as its embedding, whose output the perturbation moves in place of
            the inputs; for texts and whatever else is numbered. Steps that this output's mask leaves out, as behind the
            end of a text where the embedding has `mask_zero=True`, stay where they are. The layer must be called once
            in a forward, and return one tensor of floating-point numbers.
        geometry: a part of `kc.geometries` that moves the image, for dense prediction; `None` for none. Applied last.
            The term undoes it in the teacher's answer and applies it to the target of the student.

    Example:
        >>> weak = kc.augment.image.weak()
        >>> kc.View(weak), kc.View(weak, draw=1)   # two draws, as the Pi-model needs
    """

    def __init__(self, layer=None, *, draw=0, perturbation=None, at=None, geometry=None):
        if not (layer is None or isinstance(layer, (str, keras.layers.Layer))):
            raise TypeError(
                "`layer` must be a Keras layer, the key of a view in the batch, or None for the inputs as they came. "
                f"Received: layer={layer!r}"
            )
        check_count("draw", draw, minimum=0)
        known = isinstance(perturbation, Part) and hasattr(perturbation, "reads_labels")
        if perturbation is not None and not known:
            raise TypeError(
                f"`perturbation` must be a part of `kc.perturbations` or None. Received: perturbation={perturbation!r}"
            )
        if at is not None and (perturbation is None or geometry is not None or not isinstance(at, str)):
            raise ValueError(
                "`at` must be the name of a layer of the student for the `perturbation` to move, without a `geometry`. "
                f"Received: at={at!r}, perturbation={perturbation!r}, geometry={geometry!r}"
            )
        self.layer = layer
        self.draw = draw
        if geometry is not None and not hasattr(geometry, "undo"):
            raise TypeError(f"`geometry` must be a part of `kc.geometries` or None. Received: geometry={geometry!r}")
        self.perturbation = perturbation
        self.at = at
        self.geometry = geometry

    @property
    def key(self):
        """What identifies the view: hashable, equal for equal views."""
        name = self.layer.name if isinstance(self.layer, keras.layers.Layer) else self.layer
        parts = (self.perturbation, self.geometry)
        return (name, self.draw, self.at, *(part and repr(part) for part in parts))


def as_views(value):
    """A tuple of `View`s from a view, a layer, a key, `None`, or a list or tuple of them."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(each if isinstance(each, View) else View(each) for each in values)
