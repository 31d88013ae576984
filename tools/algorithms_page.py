"""Writes docs/algorithms.md from the code: what each recipe is made of, what it costs, and what its docstring says.

Run it after changing a recipe or the benchmark's results (`make docs`); a test fails where the page is stale.
"""

import argparse
import inspect
import json
import os
import pathlib
import re
import sys
import unittest.mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_consistency as kc  # noqa: E402
from benchmarks import recipes as benchmark  # noqa: E402
from examples.train_image import HEADS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "algorithms.md"
RESULTS = ROOT / "benchmarks" / "results"
_RATIO = 7  # unlabelled examples for each labelled one, in the cost
_LABELED = 16
_SHAPE, _CLASSES = (8, 8, 1), 10

_HEAD = """\
# The algorithms

<!-- Written by tools/algorithms_page.py from the code and benchmarks/results/; `make docs` writes it anew. -->

Each recipe is a function `kc.recipes.NAME(student, **hyperparameters)`; this page says what parts it puts together,
when to use it, what it costs and where its defaults come from. `kc.ConsistencyModel` takes the same parts in any other
combination: [an algorithm of your own](custom.md) is a dozen lines.

## What each is made of

`w`, `m`, `s` are the weak, medium and strong views, `w'` and `s'` second draws of them, `x` the inputs as they came.
One line a term of the loss: what the teacher answers on → the target made of it; how much an example counts; the
divergence, and the student's views; the factor. A line that begins with the divergence asks no teacher: the student's
answer is taken alone, or those on several views are compared, with the gradient into all of them, by `Between` the
first with each of the others. The teacher is the student itself, without gradient, unless the row says otherwise.

`PGD of w` is the weak view after an attack by the student's own gradient: on the label, or with `target="prediction"`
on its answer to `w`. The labels are learnt on `w` unless the row names other views; of several the loss is the mean,
or each times its factor.

"""

_COST = f"""\
The cost is that of the arithmetic of one step, as a multiple of the supervised step on the same labelled examples, with
{_RATIO} unlabelled examples for each labelled one: TensorFlow's own count of the floating-point operations in the graph
of the step, for a network of twelve dense layers, with the heads that the recipe reads. Views are left out, but for
attacks, all of whose steps count. Recipes that learn from labels alone leave the unlabelled examples aside. A recipe
that starts from a trained network needs that training besides.

"""


def page():
    """The text of the page."""
    base = _operations(kc.ConsistencyModel(_student(), []))
    table, sections = ["| Recipe | Parts | Around it | Cost |", "|--|--|--|--:|"], []
    for name in kc.recipes.available():
        model = _build(name)
        parts = "<br>".join(_term(term) for term in model.terms) or "the labels alone"
        cost = _operations(model) / base
        table.append(f"| [`{name}`](#{name}) | {parts} | {_around(model)} | × {cost:.1f} |")
        sections.append(_section(name))
    return _HEAD + "\n".join(table) + f"\n\n{_COST}{_benchmarks()}## One by one\n\n" + "\n".join(sections)


def _student():
    keras.utils.clear_session(free_memory=False)
    hidden = [keras.layers.Dense(256, activation="relu") for _ in range(12)]
    return keras.Sequential([keras.Input(_SHAPE), keras.layers.Flatten(), *hidden, keras.layers.Dense(_CLASSES)])


def _build(name):
    """The recipe with its defaults, on a student with the outputs that it needs."""
    student = _student()
    function = getattr(kc.recipes, name)
    taken = inspect.signature(function).parameters
    views = {"weak": "w", "medium": "m", "strong": "s"}
    given = {view: _Named(name=letter) for view, letter in views.items() if view in taken}
    if "teacher" in taken:
        given["teacher"] = keras.models.clone_model(student)
    return function(kc.heads.attach(student, **HEADS[name]) if name in HEADS else student, **given)


@keras.saving.register_keras_serializable(package="algorithms_page")
class _Named(keras.layers.Layer):
    """A stand-in for a view, whose name is what the page calls it."""

    def call(self, inputs, training=False):
        return inputs


def _term(term):
    """A term as one line."""
    parts = []
    if term.divergence.needs_target:
        asked = f"{_views(term.teacher_views)} → " if term.target.needs_answer else ""
        aligned = "".join(f"{_part(each)} → " for each in term.alignments)
        weight = _part(term.weight) + (f" on {_views(term.weight_views)}" if term.weight_view is not None else "")
        parts += [f"{asked}{aligned}{_part(term.target)}", weight]
    parts.append(f"{_part(term.divergence)} on {_views(term.student_views)}")
    if term.pool != "unlabeled":
        parts.append(f"{term.pool} examples")
    if term.scale != 1.0:
        parts.append(f"× {_part(term.scale)}")
    return "; ".join(parts)


def _views(views):
    return ", ".join(map(_view, views))


def _view(view):
    name = (getattr(view.layer, "name", view.layer) or "x") + "'" * view.draw
    if view.perturbation is not None:
        inside = f" at `{view.at}`" if view.at else ""
        name = f"{_part(view.perturbation, only=('target',))}{inside} of {name}"
    return name


def _part(part, only=None):
    """A part, with its arguments where they are not the defaults of its class, or some of them only."""
    if isinstance(part, (int, float)):
        return f"{part:g}"
    name = type(part).__name__
    config = part.get_config()
    defaults = inspect.signature(type(part)).parameters
    given = [
        f"{key}={_value(value)}"
        for key, value in config.items()
        if key in defaults and value is not None and value != defaults[key].default and (only is None or key in only)
    ]
    return f"{name}({', '.join(given)})" if given else name


def _value(value):
    if isinstance(value, kc.parts.Part):
        return _part(value)
    return f"{value:g}" if isinstance(value, float) else repr(value).replace("'", '"')


def _around(model):
    """What surrounds the terms: teacher, mixer, forward, and what happens to the labelled examples."""
    parts = []
    teacher = model.teacher
    if isinstance(teacher, kc.teachers.EMA):
        if teacher.targets_from == "teacher":
            parts.append("the moving average makes the targets")
    elif type(teacher) is not kc.teachers.Self:
        parts.append(f"teacher {type(teacher).__name__}")
    if model.mixer is not None:
        parts.append(_part(model.mixer))
    if not isinstance(model.forward, kc.forwards.Concatenated):
        parts.append(f"forward {_part(model.forward)}")
    labeled = _views(kc.views.as_views(model.labeled_view))
    if model.labeled_scale is not None:
        views = zip(labeled.split(", "), model.labeled_scale, strict=True)
        labeled = ", ".join(f"{view} × {factor:g}" for view, factor in views)
    if labeled != "w":
        parts.append(f"labels on {labeled}")
    if model.labeled_weight is not None:
        parts.append(f"labels weighted by {_part(model.labeled_weight)}")
    outputs = sorted({name for term in model.terms for name in (term.output, term.student_output) if name})
    if outputs:
        parts.append("outputs " + ", ".join(f"`{name}`" for name in outputs))
    return "; ".join(parts)


def _operations(model):
    """Floating-point operations of a training step, as TensorFlow's profiler counts them in its graph."""
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.student.trainable_variables)
    u = tf.TensorSpec([_RATIO * _LABELED, *_SHAPE])
    index = tf.TensorSpec([_RATIO * _LABELED], tf.int64)
    inputs = {"labeled": tf.TensorSpec([_LABELED, *_SHAPE]), "unlabeled": u, "index": index}

    @tf.function(autograph=False)
    def step(inputs, y):
        return model.train_step((inputs, y))

    with unittest.mock.patch.object(tf, "while_loop", _unrolled):
        graph = step.get_concrete_function(inputs, tf.TensorSpec([_LABELED], tf.int32)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def _unrolled(cond, body, loop_vars, maximum_iterations, **options):
    """A loop of a known length as one step after the other: the profiler does not look into loops."""
    for _ in range(maximum_iterations):
        loop_vars = body(*loop_vars)
    return loop_vars


def _section(name):
    """What the recipe's docstring says, under its name."""
    function = getattr(kc.recipes, name)
    text = inspect.getdoc(function)
    body, _, rest = text.partition("\nArgs:\n")
    summary, *paragraphs = [_joined(paragraph) for paragraph in body.strip().split("\n\n")]
    references = [_joined(each) for each in rest.partition("References:\n")[2].split("\n    - ")]
    references = [each.removeprefix("- ") for each in references if each]
    defaults = ", ".join(
        f"`{each.name}={_default(each.default)}`"
        for each in inspect.signature(function).parameters.values()
        if each.kind is each.KEYWORD_ONLY
        and each.default is not each.empty
        and each.default is not None
        and each.name != "value_range"
    )
    title, _, sentence = summary.partition(": ")
    lines = [f"### `{name}`", "", " ".join([f"**{title}.** {sentence[:1].upper()}{sentence[1:]}", *paragraphs]), ""]
    lines += [f"Defaults: {defaults}. Source: {' '.join(references)}", ""]
    return "\n".join(lines)


def _default(value):
    """A default, of which fractions that no decimal number is are rounded."""
    return f"{value:.4g}" if isinstance(value, float) and len(repr(value)) > 8 else repr(value)


def _joined(paragraph):
    """A paragraph on one line; links that were wrapped are closed again."""
    return re.sub(r"\( http", "(http", " ".join(paragraph.split()))


def _benchmarks():
    """The tables of the finished benchmark runs."""
    tables, measured = [], set()
    for path in sorted(RESULTS.glob("recipes-*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        budget, runs = file["budget"], file["runs"]
        measured |= set(runs)
        order = ["supervised", *sorted(name for name in runs if name != "supervised")]
        seeds = sorted({seed for results in runs.values() for seed in results})
        tables.append(
            f"### {budget['dataset']}, {budget['labels']} labels\n\n`{file['command']}`\n\n{file['note']}\n\n"
            f"{benchmark.markdown({name: runs[name] for name in order}, seeds)}\n"
        )
    others = ", ".join(f"`{name}`" for name in kc.recipes.available() if name not in measured)
    note = (
        f"Not measured here: {others}. They are for inputs that are changed, by attacks or by noise: see "
        "[Robustness](robustness.md).\n\n"
    )
    head = "## What they reach\n\n" + (note if others else "")
    return head + "\n".join(tables) + "\n" if tables else ""


def main():
    """Writes the page, or with `--check` only says whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page is stale")
    check = parser.parse_args().check
    fresh = page()
    if check:
        sys.exit(
            0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == fresh else f"{PAGE} is stale: run `make docs`"
        )
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
