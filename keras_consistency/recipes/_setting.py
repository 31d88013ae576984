"""What recipes have in common: default views, and the average that is evaluated."""

import keras

from keras_consistency import alignments, checks, divergences, perturbations, targets, teachers
from keras_consistency.augment import image
from keras_consistency.consistency import Consistency
from keras_consistency.model import ConsistencyModel
from keras_consistency.parts import check_count, check_part, check_range
from keras_consistency.views import View, as_views


def views(recipe, student, *, value_range, **given):
    """The views of a recipe: those given, and the image views by name for the rest.

    Args:
        recipe: the recipe's name, for the error.
        student: the student, whose input tells whether it takes images.
        value_range: of the images.
        **given: `weak=`, `medium=` and `strong=` as the user gave them, `None` for the default.

    Returns:
        List of the views in the order given.

    Raises:
        ValueError: where a view is missing and the student takes no images.
    """
    missing = [name for name, view in given.items() if view is None]
    if missing and not _takes_images(student):
        raise ValueError(
            f"`{recipe}` has default views for image students only, with inputs (height, width, 1 or 3 channels). Pass "
            + " and ".join(f"`{name}=`" for name in missing)
            + " (Keras layers, or keys of views made with `kc.data.with_views`; `keras.layers.Identity()` for none). "
            f"Received: a student with input shape {_input_shape(student)}"
        )
    defaults = {"weak": image.weak, "medium": image.medium, "strong": image.strong}
    return [defaults[name](value_range=value_range) if view is None else view for name, view in given.items()]


def model(student, terms, *, weak=None, labeled=None, ema=None, extra_terms=(), **kwargs):
    """The model of a recipe.

    Args:
        student: the student.
        terms: list of the recipe's terms.
        weak: view of the labelled examples, as `labeled_view` takes it.
        labeled: views of the labelled examples in place of `weak`.
        ema: decay of the average that is evaluated, as `evaluated_average` takes it.
        extra_terms: terms that the user adds, such as entropy minimisation.
        **kwargs: further arguments of `kc.ConsistencyModel`, also in place of what the recipe would give.

    Returns:
        A `kc.ConsistencyModel`.
    """
    options = {"labeled_view": labeled_view(weak) if labeled is None else labeled, **kwargs}
    if "teacher" not in options:
        options["teacher"] = evaluated_average(ema)
    return ConsistencyModel(student, [*terms, *extra_terms], **options)


def labeled_view(weak):
    """The view of the labelled examples: the weak one, unless the input pipeline made it."""
    return weak if isinstance(weak, (keras.layers.Layer, View)) else None


def outputs(recipe, student, *names):
    """The widths of the named outputs that a recipe reads, a dictionary.

    Args:
        recipe: the recipe's name, for the error.
        student: the student.
        *names: of the outputs.

    Raises:
        ValueError: for a student without them.
    """
    checks.student(student)
    shapes = checks.output_shape(student)
    given = shapes if isinstance(shapes, dict) else {}
    missing = [name for name in names if name not in given]
    if missing:
        arguments = {"projection": "projection=128", "rotation": "rotation=True"}
        wanted = ", ".join(argument for name, argument in arguments.items() if name in names)
        raise ValueError(
            f"`{recipe}` needs a `student` that returns a dictionary with the outputs {list(names)}; {missing} are "
            f"missing: `kc.heads.attach(student, {wanted})` makes them. Received: a student with outputs {shapes}"
        )
    return {name: given[name][-1] for name in names}


def alignment(value, momentum):
    """An alignment of a recipe: towards uniform classes for `"uniform"`, else the part or `None` as given, a list."""
    if isinstance(value, str) and value == "uniform":
        return [alignments.DistributionAlignment(momentum=momentum)]
    if value is None:
        return []
    check_part("alignment", value, "alignments")
    return [value]


def attack(value_range, at, **options):
    """Projected gradient descent with lengths in units of the width of `value_range`, or those of the layer `at`.

    Args:
        value_range: of the inputs, which the perturbed ones keep to; `None` for no range and lengths as they are.
        at: name of a layer inside the student, or `None`.
        **options: arguments of `kc.perturbations.PGD`, with `radius`, `step_size` and `norm`.
    """
    if at is not None or value_range is None:
        return perturbations.PGD(**options)
    # Within the range, and told in the units in which it was given.
    check_range("radius", options["radius"], 0, 1 if options["norm"] == "linf" else float("inf"))
    width = width_of(value_range)
    options["radius"] *= width
    if options["step_size"] is not None:
        check_range("step_size", options["step_size"], 0, float("inf"), open_low=True, open_high=True)
        options["step_size"] *= width
    return perturbations.PGD(**options, clip_range=value_range)


def attacked_labels(recipe, student, *, weak, value_range, at, **options):
    """The views of labelled examples for a recipe that trains on attacked ones: the weak one, and its attacked version.

    Args:
        recipe, student: as in `views`.
        weak: as the user gave it.
        value_range, at, **options: as in `attack`.
    """
    (weak,) = views(recipe, student, value_range=value_range, weak=weak)
    clean = labeled_view(weak)
    return clean, perturbed(clean, attack(value_range, at, **options), at)


def width_of(value_range):
    """The width of a range of inputs; raises a `ValueError` unless it is one."""
    try:
        low, high = value_range
        width = high - low
    except (TypeError, ValueError):
        width = 0
    if 0 < width < float("inf"):
        return width
    raise ValueError(
        "`value_range` must be two numbers, the lowest and the highest value of the inputs, as in (0, 255), or None. "
        f"Received: value_range={value_range!r}"
    )


def perturbed(view, perturbation, at=None):
    """A perturbed view of a view, layer, key or `None`."""
    base, *others = as_views(view)
    if others or base.perturbation is not None or base.geometry is not None:
        raise ValueError(
            "`weak` must be one view without perturbation and geometry where the recipe perturbs it. Received: "
            f"weak={view!r}"
        )
    return View(base.layer, draw=base.draw, perturbation=perturbation, at=at)


def rotation(view, *, scale):
    """A term that predicts how often a view was turned by 90 degrees, with the output `"rotation"`.

    Args:
        view: what is turned: a `View`, a layer or a key.
        scale: factor of the term.
    """
    return Consistency(
        student_view=perturbed(view, perturbations.Rotation()),
        target=targets.QuarterTurns(),
        divergence=divergences.CrossEntropy(),
        scale=scale,
        output="rotation",
        mixed=False,
        name="rotation",
    )


def two_draws(view, name="weak"):
    """Two independent draws of a view: of a layer, or a pair of keys of views that the input pipeline made.

    Raises:
        ValueError: for one key, which is one draw.
    """
    if isinstance(view, keras.layers.Layer):
        return View(view), View(view, draw=1)
    if isinstance(view, (list, tuple)) and len(view) == 2:
        return tuple(as_views(view))
    raise ValueError(
        f"`{name}` is drawn twice here: give a layer, or a pair of keys of two views made with `kc.data.with_views`. "
        f"Received: {name}={view!r}"
    )


def evaluated_average(ema):
    """A teacher for recipes whose student makes the targets: its average is evaluated, unless `ema` is `None`."""
    return teachers.Self() if ema is None else teachers.EMA(decay=decay(ema), targets_from="student")


def decay(ema):
    """The decay of an average, checked under the name that recipes give it."""
    check_range("ema", ema, 0, 1, open_high=True)
    return ema


def ramp_up(schedule, *, scale, ramp_up_steps):
    """A schedule of `kc.schedules` made of two arguments of a recipe, checked under their names."""
    check_range("scale", scale, 0, float("inf"), open_high=True)
    check_count("ramp_up_steps", ramp_up_steps, minimum=0)
    return schedule(steps=ramp_up_steps, value=scale)


def _input_shape(student):
    try:
        return student.input_shape
    except AttributeError:
        config = student.get_build_config() if isinstance(student, keras.Model) and student.built else None
        return config["input_shape"] if config else None


def _takes_images(student):
    shape = _input_shape(student)
    return isinstance(shape, tuple) and len(shape) == 4 and shape[-1] in (1, 3)
