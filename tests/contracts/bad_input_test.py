"""Bad input: each kind ends early, in an error that names the argument, what was received and what to do."""

import contextlib
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from tests.contracts import recipes

CLASSES, FEATURES = recipes.CLASSES, recipes.FEATURES
X, Y = recipes.examples(8)
U, _ = recipes.examples(16, seed=1)
IMAGES, CLASS_OF_IMAGE = recipes.examples(8, images=True)
WITH_NAN = np.where(np.arange(len(X))[:, None] == 3, np.nan, X).astype("float32")
LOSS = recipes.LOSS
SLICES = tf.data.Dataset.from_tensor_slices


@contextlib.contextmanager
def told(kind, *words):
    """Expects an error of exactly this type with all these words, and with what was received."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.type is kind
    message = str(caught.value)
    for word in (*words, "Received"):
        assert word in message


HEADED = [name for name in recipes.NAMES if recipes.RECIPES[name].heads]
# Those that compare no class probabilities, and so take a student of one value.
OF_VALUES = ["adversarial_training", "alp"]
PLAIN = [name for name in recipes.NAMES if name not in [*HEADED, *OF_VALUES] and not recipes.RECIPES[name].teacher]


def dense(units=CLASSES, **options):
    return keras.layers.Dense(units, **options)


def network(*layers):
    return keras.Sequential([keras.Input([FEATURES]), *layers])


def functional(function, **inputs):
    x = keras.Input([FEATURES])
    return keras.Model(x, function(x))


def identities(name):
    """Views for a recipe that do nothing."""
    return {view: keras.layers.Identity(name=view) for view in recipes.RECIPES[name].views}


def recipe(name, network=None, **options):
    network = recipes.student_for(name) if network is None else network
    return getattr(kc.recipes, name)(network, **recipes.teacher_for(name) | identities(name) | options)


def compiled(model, loss=LOSS, **options):
    model.compile("sgd", loss=loss, **options)
    return model


def fixmatch(**options):
    return compiled(recipe("fixmatch", threshold=0.0, **options))


def fit(model, *data):
    # Keras warns of its own default, `shuffle=True`, where it is given a `tf.data.Dataset`.
    return model.fit(*data, shuffle=False, verbose=0)


def train_twice(make_parts):
    """Gives the same parts to two models."""
    parts = make_parts()
    kc.ConsistencyModel(recipes.student(), **parts)
    kc.ConsistencyModel(recipes.student(), **parts)


# Students.


class Subclassed(keras.Model):
    """A student that is built by a call and ends in a softmax."""

    def __init__(self):
        super().__init__()
        self.last = dense(activation="softmax")

    def call(self, inputs):
        return self.last(inputs)


def subclassed():
    model = Subclassed()
    model(X)
    return model


SOFTMAX_AT_THE_END = {
    "activation": lambda: network(dense(activation="softmax")),
    "layer": lambda: network(dense(), keras.layers.Softmax()),
    "activation layer": lambda: network(dense(), keras.layers.Activation("softmax")),
    "log-softmax": lambda: network(dense(activation="log_softmax")),
    "nested model": lambda: network(keras.Sequential([keras.Input([FEATURES]), dense(activation="softmax")])),
    "functional": lambda: functional(lambda x: keras.layers.Softmax()(dense()(x))),
    "operation": lambda: functional(lambda x: keras.ops.softmax(dense()(x))),
    "subclass": subclassed,
}


@pytest.mark.parametrize("kind", SOFTMAX_AT_THE_END)
def test_student_with_a_softmax_at_its_end(kind):
    with told(ValueError, "`student`", "logits", "from_logits=True", "softmax"):
        recipe("fixmatch", SOFTMAX_AT_THE_END[kind]())


@pytest.mark.parametrize("name", recipes.NAMES)
def test_softmax_is_refused_by_every_recipe(name):
    with told(ValueError, "`student`", "logits", "from_logits=True"):
        recipe(name, network(dense(activation="softmax")))


def test_softmax_inside_a_student_is_fine():
    recipe("fixmatch", functional(lambda x: dense()(keras.layers.Softmax()(x))))


@pytest.mark.parametrize("name", recipes.NAMES)
def test_unbuilt_student(name):
    with told(ValueError, "`student`", "keras.Input", "not built"):
        recipe(name, keras.Sequential([dense()]))


@pytest.mark.parametrize("name", PLAIN)
def test_student_with_one_output(name):
    with pytest.raises(ValueError, match="Received") as caught:
        recipe(name, network(dense(1)))
    assert any(word in str(caught.value) for word in ("2 classes", "class probabilities"))


@pytest.mark.parametrize("name", HEADED)
def test_student_without_the_outputs_that_a_recipe_needs(name):
    plain = recipes.student(images=recipes.takes_images(name))
    with told(ValueError, f"`{name}`", "`student`", "'logits'", "kc.heads.attach", *recipes.RECIPES[name].heads):
        recipe(name, plain)
    for missing in recipes.RECIPES[name].heads:
        whole = recipes.with_heads(name, plain)
        others = {key: value for key, value in whole.output.items() if key != missing}
        with told(ValueError, f"`{name}`", "`student`", f"['{missing}'] are missing"):
            recipe(name, keras.Model(whole.input, others))


def test_student_that_takes_other_inputs():
    with pytest.raises(ValueError, match=rf"value {FEATURES}.*shape \(None, 4\)"):
        fit(fixmatch(), X[:, :4], Y)


# Teachers and parts.


def two_headed():
    x = keras.Input([FEATURES])
    return keras.Model(x, {"class": dense(name="class")(x), "other": dense(2, name="other")(x)})


def late(**options):
    return kc.weights.CurriculumConfidence(threshold=0.5, **options)


def composed(*terms, network=None, **options):
    return lambda: kc.ConsistencyModel(network or recipes.student(), list(terms) or kc.Consistency(), **options)


def of_two_heads(output):
    return lambda: kc.ConsistencyModel(two_headed(), kc.Consistency(output=output))


def frozen(*layers):
    return kc.teachers.Frozen(network(*layers))


def mixup(**term):
    return lambda: kc.ConsistencyModel(recipes.student(), kc.Consistency(**term), mixer=kc.mixers.MixUp(alpha=0.5))


VAT = kc.perturbations.VAT

# How to go wrong, the error's type, and what it says.
COMPOSITION = {
    "teacher with more classes": (
        lambda: composed(teacher=frozen(dense(4)))(),
        ValueError,
        "`teacher`",
        "(None, 3)",
        "(None, 4)",
    ),
    "teacher with several outputs": (
        lambda: composed(teacher=kc.teachers.Frozen(two_headed()))(),
        ValueError,
        "`teacher`",
        "(None, 3)",
    ),
    "teacher with a softmax": (
        lambda: composed(teacher=frozen(dense(activation="softmax")))(),
        ValueError,
        "`teacher`",
        "logits",
    ),
    "teacher not built": (lambda: kc.teachers.Frozen(keras.Sequential([dense()])), ValueError, "`network`", "built"),
    "student not a model": (lambda: recipe("fixmatch", dense()), TypeError, "`student`", "`keras.Model`", "Dense"),
    "student is a function": (lambda: recipe("fixmatch", lambda x: x), TypeError, "`student`", "`keras.Model`"),
    "terms not terms": (composed(3), TypeError, "`terms`", "`kc.Consistency`", "3"),
    "terms are parts": (composed(kc.targets.Hard()), TypeError, "`terms`", "`kc.Consistency`", "Hard()"),
    "teacher not a teacher": (
        lambda: composed(teacher=recipes.student())(),
        TypeError,
        "`teacher`",
        "kc.teachers.Frozen(network)",
    ),
    "mixer not a mixer": (composed(mixer=3), TypeError, "`mixer`", "`kc.mixers`", "mixer=3"),
    "forward not a forward": (composed(forward=3), TypeError, "`forward`", "`kc.forwards`", "forward=3"),
    "labeled weight not a weight": (composed(labeled_weight=3), TypeError, "`labeled_weight`", "labeled_weight=3"),
    "labeled view not a view": (composed(labeled_view=3), TypeError, "`labeled_view`", "labeled_view=3"),
    "one of the labeled views is none": (composed(labeled_view=[None, 3]), TypeError, "`labeled_view`", "[None, 3]"),
    "no labeled view": (composed(labeled_view=[]), ValueError, "`labeled_view`", "[]"),
    "a factor too few": (
        composed(labeled_view=[None, recipes.Noise(stddev=0.1)], labeled_scale=[0.5]),
        ValueError,
        "`labeled_scale`",
        "2 labelled views",
        "[0.5]",
    ),
    "a factor for one view that is no list": (
        composed(labeled_scale=0.5),
        ValueError,
        "`labeled_scale`",
        "list",
        "0.5",
    ),
    "a negative factor": (
        composed(labeled_view=[None, recipes.Noise(stddev=0.1)], labeled_scale=[1.5, -0.5]),
        ValueError,
        "`labeled_scale`",
        "[0, inf)",
        "-0.5",
    ),
    "a factor that is no number": (composed(labeled_scale=["1"]), ValueError, "`labeled_scale`", "'1'"),
    "labels that stay where they were": (
        composed(labeled_view=kc.View(geometry=kc.geometries.RandomAffine(shift=0.1))),
        ValueError,
        "`labeled_view`",
        "geometry",
    ),
    "alignment not one": (lambda: kc.Consistency(alignment=0.5), TypeError, "`alignment`", "`kc.alignments`", "0.5"),
    "alignment in a list not one": (
        lambda: kc.Consistency(alignment=[kc.alignments.DistributionAlignment(), None]),
        TypeError,
        "`alignment`",
        "`kc.alignments`",
        "None",
    ),
    "alignments for different readers": (
        lambda: kc.Consistency(
            alignment=[
                kc.alignments.DistributionAlignment(),
                kc.alignments.DistributionAlignment(applies_to="weight"),
            ]
        ),
        ValueError,
        "`alignment`",
        "`applies_to`",
    ),
    "geometry not one": (lambda: kc.View(geometry="flip"), TypeError, "`geometry`", "`kc.geometries`", "'flip'"),
    "mixed is no truth value": (lambda: kc.Consistency(mixed=1), TypeError, "`mixed`", "mixed=1"),
    "perturbed weight view": (
        lambda: kc.Consistency(weight_view=kc.View(perturbation=VAT(radius=1.0))),
        ValueError,
        "perturb",
        "weight_view=",
    ),
    "true labels of unlabelled examples": (
        lambda: compiled(composed(kc.Consistency(target=kc.targets.Label()))()).train_on_batch(
            {"labeled": X, "unlabeled": U}, Y
        ),
        ValueError,
        "`target=kc.targets.Label()`",
        "pool='labeled'",
    ),
    "unknown prediction": (
        lambda: kc.ConsistencyModel(two_headed(), kc.Consistency(output="class"), prediction="nobody"),
        ValueError,
        "`prediction`",
        "['class', 'other']",
        "'nobody'",
    ),
    "prediction of a student with one output": (composed(prediction="class"), ValueError, "`prediction`", "'class'"),
    "unknown output of the student": (
        lambda: kc.ConsistencyModel(two_headed(), kc.Consistency(output="class", student_output="nobody")),
        ValueError,
        "`output`",
        "['class', 'other']",
        "'nobody'",
    ),
    "perturbation of several outputs": (
        lambda: kc.ConsistencyModel(
            two_headed(),
            kc.Consistency(output="class", student_view=kc.View(perturbation=VAT(radius=1.0))),
        ),
        ValueError,
        "`prediction`",
        "prediction=None",
    ),
    "target not a target": (lambda: kc.Consistency(target="hard"), TypeError, "`target`", "`kc.targets`", "'hard'"),
    "weight not a weight": (lambda: kc.Consistency(weight=0.5), TypeError, "`weight`", "`kc.weights`", "0.5"),
    "divergence not one": (
        lambda: kc.Consistency(divergence="kl"),
        TypeError,
        "`divergence`",
        "`kc.divergences`",
        "'kl'",
    ),
    "divergence is a class": (
        lambda: kc.Consistency(divergence=kc.divergences.CrossEntropy),
        TypeError,
        "`divergence`",
        "`kc.divergences`",
    ),
    "view not a view": (lambda: kc.Consistency(student_view=3), TypeError, "Keras layer", "=3"),
    "no student view": (lambda: kc.Consistency(student_view=[]), ValueError, "`student_view`", "[]"),
    "no teacher view": (lambda: kc.Consistency(teacher_view=[]), ValueError, "`teacher_view`", "[]"),
    "a layer inside and nothing that moves it": (
        lambda: kc.View(at="embedding"),
        ValueError,
        "`at`",
        "`perturbation`",
        "at='embedding'",
    ),
    "a layer inside that the student lacks": (
        composed(kc.Consistency(student_view=kc.View(perturbation=VAT(radius=1.0), at="embedding"))),
        ValueError,
        "`at`",
        "student's layers",
        "at='embedding'",
    ),
    "a layer inside, and a mixer": (
        composed(
            kc.Consistency(student_view=kc.View(perturbation=VAT(radius=1.0), at="hidden")),
            network=network(dense(4, name="hidden"), dense()),
            mixer=kc.mixers.MixUp(alpha=0.5),
        ),
        ValueError,
        "`mixer`",
        "None",
        "at='hidden'",
    ),
    "an attack on labels that are not there": (
        lambda: compiled(
            composed(kc.Consistency(student_view=kc.View(perturbation=kc.perturbations.PGD(radius=1.0))))()
        ).train_on_batch({"labeled": X, "unlabeled": U}, Y),
        ValueError,
        "target='label'",
        "target='prediction'",
        "PGD(",
    ),
    "an attack without a start": (
        lambda: kc.perturbations.PGD(radius=1.0, target="prediction", random_start=False),
        ValueError,
        "`random_start`",
        "above 0",
        "random_start=False",
    ),
    "an attack towards where it is": (
        lambda: kc.perturbations.PGD(radius=1.0, target="prediction", targeted=True),
        ValueError,
        "`targeted`",
        "targeted=True",
    ),
    "an attack away from where it is not": (
        lambda: kc.perturbations.FGSM(radius=1.0, target="least_likely"),
        ValueError,
        "`targeted`",
        "targeted=False",
    ),
    "a radius beyond the range": (
        lambda: kc.perturbations.PGD(radius=2.0, clip_range=(0, 1)),
        ValueError,
        "`radius`",
        "`clip_range`",
        "radius=2.0",
    ),
    "a perturbed layer of no perturbation": (
        lambda: kc.augment.Perturbed(0.1),
        TypeError,
        "`perturbation`",
        "`kc.perturbations`",
        "0.1",
    ),
    "a perturbed layer of a network not built": (
        lambda: kc.augment.Perturbed(VAT(radius=1.0), keras.Sequential([dense()])),
        TypeError,
        "`network`",
        "built",
    ),
    "a perturbed layer without its network": (
        lambda: kc.augment.Perturbed(VAT(radius=1.0))(X),
        ValueError,
        "`network`",
        "network=None",
    ),
    "a divergence of views on one": (
        lambda: compiled(
            composed(kc.Consistency(divergence=kc.divergences.Between(kc.divergences.KullbackLeibler())))()
        ).train_on_batch({"labeled": X, "unlabeled": U}, Y),
        ValueError,
        "`student_view`",
        "two or more views",
        "1 view",
    ),
    "perturbation not one": (
        lambda: kc.View(perturbation=0.1),
        TypeError,
        "`perturbation`",
        "`kc.perturbations`",
        "0.1",
    ),
    "draw below zero": (lambda: kc.View(draw=-1), ValueError, "`draw`", "at least 0", "-1"),
    "scale of another type": (lambda: kc.Consistency(scale="1"), TypeError, "`scale`", "schedule", "'1'"),
    "scale is no number": (lambda: kc.Consistency(scale=float("nan")), ValueError, "`scale`", "nan"),
    "unknown pool": (lambda: kc.Consistency(pool="test"), ValueError, "`pool`", "unlabeled", "'test'"),
    "index of labelled examples": (
        lambda: kc.Consistency(pool="all", weight=late()),
        ValueError,
        "`pool`",
        "index",
        "'all'",
    ),
    "perturbed teacher": (
        lambda: kc.Consistency(teacher_view=kc.View(perturbation=VAT(radius=1.0))),
        ValueError,
        "`teacher_view`",
        "perturb",
    ),
    "mixer over another pool": (mixup(pool="all"), ValueError, "`terms`", "`mixer`", "pool='all'"),
    "one name for two terms": (
        composed(kc.Consistency(), kc.Consistency()),
        ValueError,
        "`terms`",
        "`name=`",
        "consistency",
    ),
    "one name for two views": (
        composed(
            kc.Consistency(
                teacher_view=recipes.Noise(stddev=0.1, name="noise"),
                student_view=recipes.Noise(stddev=0.2, name="noise"),
            )
        ),
        ValueError,
        "views",
        "`name=`",
        "'noise'",
    ),
    "output of a student with one": (
        composed(kc.Consistency(output="class")),
        ValueError,
        "`output`",
        "None",
        "'class'",
    ),
    "unknown output": (of_two_heads("nobody"), ValueError, "`output`", "['class', 'other']", "'nobody'"),
    "no output named": (of_two_heads(None), ValueError, "`output`", "['class', 'other']", "None"),
    "teacher of two models": (
        lambda: train_twice(lambda: {"terms": kc.Consistency(), "teacher": kc.teachers.EMA()}),
        ValueError,
        "`teacher`",
        "new one for each model",
    ),
    "memory of two models": (
        lambda: train_twice(lambda: {"terms": kc.Consistency(weight=late(examples=9))}),
        ValueError,
        "new one for each",
        "examples=9",
    ),
    "mixing text": (
        lambda: kc.mixers.MixUp(alpha=0.5)([tf.constant(["a"])], [tf.ones([1, 3])], seed=[0, 1]),
        TypeError,
        "MixUp",
        "string",
    ),
    "one key for two draws": (
        lambda: recipe("mean_teacher", weak="weak"),
        ValueError,
        "`weak`",
        "pair of keys",
        "weak='weak'",
    ),
}


@pytest.mark.parametrize("mistake", COMPOSITION)
def test_parts_that_do_not_go_together(mistake):
    make, kind, *words = COMPOSITION[mistake]
    with told(kind, *words):
        make()


@pytest.mark.parametrize("name", recipes.NAMES)
def test_views_missing_for_a_student_without_images(name):
    needed = [f"`{view}=`" for view in recipes.RECIPES[name].views]
    with told(ValueError, f"`{name}`", *needed, "keras.layers.Identity()", "kc.data.with_views", "(None, 5)"):
        getattr(kc.recipes, name)(recipes.with_heads(name, recipes.student()), **recipes.teacher_for(name))


# Hyperparameters: of each recipe, values outside the range.

NUMBER, DECAY, SHARE = (float("nan"), "1", None), (-0.1, 1.0, "0.9"), (-0.1, 1.1, float("nan"), "0.9", None)
RAMP, POSITIVE, COUNT = (-1, 1.5), (0, -1.0, float("inf"), float("nan"), "1"), (0, 1.5, "1")
ABOVE_ONE, MOMENTUM, PART = (1.0, float("inf"), "2"), (-0.1, 1.0, "0.9", None), (True, 0.5)
NOT_NEGATIVE = (-1.0, float("inf"), float("nan"), "1", None)
ATTACK = {
    "radius": NOT_NEGATIVE,
    "step_size": POSITIVE,
    "steps": COUNT,
    "norm": ("l1", None),
    "at": (3, "", "nobody"),
}
RANGES = {
    "adversarial_consistency": {
        **ATTACK,
        "random_start": (0, -0.1, float("inf"), "yes", None),
        "scale": (-1.0, *NUMBER),
        "ramp_up_steps": RAMP,
        "ema": DECAY,
    },
    "adversarial_training": {
        **ATTACK,
        "random_start": (-0.1, float("inf"), "yes", None),
        "clean_share": (-0.1, 1.0, float("nan"), "0.5", None),
        "ema": DECAY,
    },
    "alp": {
        **ATTACK,
        "random_start": (-0.1, float("inf"), "yes", None),
        "clean_share": SHARE,
        "scale": NOT_NEGATIVE,
        "ema": DECAY,
    },
    "trades": {**ATTACK, "random_start": (0, -0.1, float("inf"), "yes", None), "scale": NOT_NEGATIVE, "ema": DECAY},
    "adamatch": {"threshold": SHARE, "momentum": MOMENTUM, "scale": NUMBER, "ramp_up_steps": RAMP, "ema": DECAY},
    "augmix": {"scale": (*POSITIVE[1:], None), "ema": DECAY},
    "dash": {
        "gamma": ABOVE_ONE,
        "C": POSITIVE,
        "rho_min": (-0.1, float("inf"), "1"),
        "warmup_steps": RAMP,
        "decay_every": COUNT,
        "temperature": POSITIVE,
        "alignment": PART,
        "scale": NUMBER,
        "ema": DECAY,
    },
    "defixmatch": {"threshold": SHARE, "scale": (*POSITIVE[1:], None), "ema": DECAY},
    "fixmatch": {"threshold": SHARE, "alignment": PART, "scale": NUMBER, "ema": DECAY},
    "flexmatch": {"threshold": SHARE, "examples": COUNT, "alignment": PART, "scale": NUMBER, "ema": DECAY},
    "ict": {
        "alpha": POSITIVE,
        "alignment": PART,
        "scale": NUMBER,
        "ramp_up_steps": RAMP,
        "ema": (*DECAY, None),
        "statistics": ("mean", None),
    },
    "mean_teacher": {
        "alignment": PART,
        "scale": NUMBER,
        "ramp_up_steps": RAMP,
        "ema": (*DECAY, None),
        "statistics": ("mean", None),
    },
    "mixmatch": {
        "temperature": POSITIVE,
        "alpha": POSITIVE,
        "alignment": PART,
        "scale": NUMBER,
        "ramp_up_steps": RAMP,
        "ema": DECAY,
    },
    "freematch": {
        "momentum": MOMENTUM,
        "alignment": PART,
        "scale": NUMBER,
        "fairness_scale": (-1.0, float("nan"), "1"),
        "ema": DECAY,
    },
    "comatch": {
        "threshold": SHARE,
        "temperature": POSITIVE,
        "smoothing": SHARE,
        "graph_threshold": SHARE,
        "examples": COUNT,
        "alignment": ("labels", True, 0.5),
        "scale": NUMBER,
        "contrast_scale": NUMBER,
        "ema": DECAY,
    },
    "crmatch": {
        "threshold": SHARE,
        "scale": NUMBER,
        "distance_scale": NUMBER,
        "rotation_scale": NUMBER,
        "ema": DECAY,
    },
    "remixmatch": {
        "temperature": POSITIVE,
        "alpha": POSITIVE,
        "scale": NUMBER,
        "unmixed_scale": NUMBER,
        "rotation_scale": NUMBER,
        "ramp_up_steps": RAMP,
        "momentum": MOMENTUM,
        "ema": DECAY,
    },
    "simmatch": {
        "threshold": SHARE,
        "temperature": POSITIVE,
        "smoothing": SHARE,
        "examples": COUNT,
        "alignment": ("labels", True, 0.5),
        "scale": NUMBER,
        "instance_scale": NUMBER,
        "ema": DECAY,
    },
    "refixmatch": {
        "threshold": SHARE,
        "temperature": POSITIVE,
        "alignment": PART,
        "scale": NUMBER,
        "ema": DECAY,
    },
    "sequencematch": {
        "threshold": SHARE,
        "temperature": POSITIVE,
        "examples": COUNT,
        "scale": NUMBER,
        "ema": DECAY,
    },
    "softmatch": {
        "n_sigma": POSITIVE,
        "momentum": MOMENTUM,
        "alignment": ("labels", True, 0.5),
        "scale": NUMBER,
        "ema": DECAY,
    },
    "noisy_student": {"hard": (1, None), "threshold": SHARE[:-1], "alignment": PART, "scale": NUMBER},
    "pi_model": {"alignment": PART, "scale": NUMBER, "ramp_up_steps": RAMP, "ema": DECAY},
    "pseudo_label": {"threshold": SHARE, "alignment": PART, "scale": NUMBER, "ramp_up_steps": RAMP, "ema": DECAY},
    "temporal_ensembling": {
        "momentum": MOMENTUM,
        "examples": COUNT,
        "alignment": PART,
        "scale": NUMBER,
        "ramp_up_steps": RAMP,
        "ema": DECAY,
    },
    "uda": {
        "threshold": SHARE,
        "alignment": PART,
        "temperature": POSITIVE,
        "scale": NUMBER,
        "annealing": ("step",),
        "annealing_steps": COUNT,
        "ema": DECAY,
    },
    "vat": {
        "epsilon": (-1.0, float("inf"), "1"),
        "xi": (0, 1.1, "1"),
        "power_iterations": COUNT,
        "scale": NUMBER,
        "entropy_scale": (float("nan"), "1"),
        "ramp_up_steps": RAMP,
        "ema": DECAY,
        "at": (3, "", "nobody"),
    },
}
ATTACKING = ["adversarial_consistency", "adversarial_training", "alp", "trades", "vat"]
VALUE_RANGES = ((1, 0), (0, 0), (0,), 255, (0, float("inf")), ("0", "1"))
TOGETHER = {"annealing": {"annealing_steps": 5}, "annealing_steps": {"annealing": "linear"}}


def signature(function):
    return [name for name, value in inspect.signature(function).parameters.items() if value.kind == value.KEYWORD_ONLY]


@pytest.mark.parametrize("name", kc.recipes.available())
def test_every_hyperparameter_has_its_row(name):
    assert {*RANGES[name], *recipes.RECIPES[name].views, "value_range"} == set(signature(getattr(kc.recipes, name)))


@pytest.mark.parametrize(("name", "argument"), [(name, argument) for name in RANGES for argument in RANGES[name]])
def test_hyperparameter_of_a_recipe_outside_its_range(name, argument):
    for value in RANGES[name][argument]:
        with pytest.raises((ValueError, TypeError)) as caught:
            recipe(name, **TOGETHER.get(argument, {}), **{argument: value})
        assert f"`{argument}`" in str(caught.value)
        assert f"Received: {argument}={value!r}" in str(caught.value)


@pytest.mark.parametrize("argument", TOGETHER)
def test_annealing_needs_its_length_and_the_other_way_round(argument):
    value = {"annealing": "linear", "annealing_steps": 5}[argument]
    with told(ValueError, "`annealing`", "`annealing_steps`", f"{argument}={value!r}"):
        recipe("uda", **{argument: value})


@pytest.mark.parametrize("name", recipes.NAMES)
@pytest.mark.parametrize("value", VALUE_RANGES, ids=str)
def test_value_range_that_is_none(name, value):
    with told(ValueError, "`value_range`", f"value_range={value!r}"):
        student = recipes.student_for(name, images=True)
        getattr(kc.recipes, name)(student, value_range=value, **recipes.teacher_for(name))


@pytest.mark.parametrize("name", ATTACKING)
@pytest.mark.parametrize("value", VALUE_RANGES, ids=str)
def test_value_range_that_gives_an_attack_no_length(name, value):
    with told(ValueError, "`value_range`", f"value_range={value!r}"):
        recipe(name, value_range=value)


@pytest.mark.parametrize("name", [name for name in ATTACKING if name != "vat"])
def test_radius_beyond_the_range_is_told_in_the_units_of_the_recipe(name):
    with told(ValueError, "`radius`", "[0, 1]", "radius=8.0"):
        recipe(name, radius=8.0)
    recipe(name, radius=8.0, value_range=None)
    recipe(name, radius=2.0, norm="l2")


IMAGE, BOUND = kc.augment.image, kc.bounds.DecayingLoss
BANK = kc.banks.FeatureBank(examples=2, width=2)
PARTS = [
    (kc.targets.Soft, "temperature", POSITIVE, {}),
    (kc.weights.Confidence, "threshold", SHARE, {}),
    (kc.weights.Complement, "weight", (0.5, None, "confidence"), {}),
    (kc.weights.CurriculumConfidence, "threshold", SHARE, {}),
    (kc.weights.CurriculumConfidence, "examples", COUNT, {"threshold": 0.5}),
    (kc.weights.EffectiveNumber, "counts", ([5, 0], [2.5, 1], [-1, 2], [], 3, None, "abc"), {}),
    (kc.weights.EffectiveNumber, "beta", (*DECAY, float("nan")), {"counts": [5, 1]}),
    (kc.weights.BalancedConfidence, "threshold", SHARE, {}),
    (kc.weights.BalancedConfidence, "power", (-0.1, *NUMBER), {"threshold": 0.5}),
    (kc.weights.BalancedConfidence, "momentum", DECAY, {"threshold": 0.5}),
    (kc.losses.LogitAdjustedCrossentropy, "prior", ([0.5, 0.4], [5, 0], [1.0], [2.5, 1], 3, None), {}),
    (kc.losses.LogitAdjustedCrossentropy, "temperature", (-0.1, *NUMBER), {"prior": [5, 1]}),
    (kc.weights.SignalAnnealing, "steps", COUNT, {}),
    (kc.weights.SignalAnnealing, "shape", ("step", None), {"steps": 5}),
    (kc.weights.RelativeConfidence, "threshold", SHARE, {}),
    (kc.weights.SelfAdaptiveConfidence, "momentum", MOMENTUM, {}),
    (kc.weights.TruncatedGaussian, "n_sigma", POSITIVE, {}),
    (kc.weights.TruncatedGaussian, "momentum", MOMENTUM, {}),
    (kc.weights.LossBelow, "bound", (0.5, None, "decay"), {}),
    (kc.targets.ClassRatio, "momentum", MOMENTUM, {}),
    (kc.targets.SoftThenHard, "bound", (0.5, None, "decay"), {}),
    (kc.targets.SoftThenHard, "temperature", POSITIVE, {"bound": BOUND(warmup_steps=1, decay_every=1)}),
    (BOUND, "warmup_steps", RAMP, {"decay_every": 1}),
    (BOUND, "decay_every", COUNT, {"warmup_steps": 1}),
    (BOUND, "gamma", ABOVE_ONE, {"warmup_steps": 1, "decay_every": 1}),
    (BOUND, "C", POSITIVE, {"warmup_steps": 1, "decay_every": 1}),
    (BOUND, "rho_min", (-0.1, float("inf"), "1"), {"warmup_steps": 1, "decay_every": 1}),
    (BOUND, "momentum", MOMENTUM, {"warmup_steps": 1, "decay_every": 1}),
    (kc.alignments.DistributionAlignment, "prior", ([0.5, 0.6], [1.5, -0.5], "uniform", 0.5), {}),
    (kc.alignments.DistributionAlignment, "momentum", MOMENTUM, {}),
    (kc.alignments.DistributionAlignment, "applies_to", ("all", None), {}),
    (kc.forwards.Interleaved, "groups", COUNT, {}),
    (kc.banks.FeatureBank, "examples", COUNT, {"width": 2}),
    (kc.banks.FeatureBank, "width", COUNT, {"examples": 2}),
    (kc.banks.FeatureBank, "labeled_only", ("yes", None), {"examples": 2, "width": 2}),
    (kc.alignments.Propagation, "bank", (3, None), {"temperature": 0.5}),
    (kc.alignments.Propagation, "temperature", POSITIVE, {"bank": BANK}),
    (kc.alignments.Propagation, "smoothing", SHARE, {"bank": BANK, "temperature": 0.5}),
    (kc.targets.InstanceSimilarity, "bank", (3, None), {"temperature": 0.5}),
    (kc.targets.InstanceSimilarity, "temperature", POSITIVE, {"bank": BANK}),
    (kc.divergences.GraphContrast, "temperature", POSITIVE, {"threshold": 0.5}),
    (kc.divergences.GraphContrast, "threshold", SHARE, {"temperature": 0.5}),
    (kc.divergences.InstanceCrossEntropy, "temperature", POSITIVE, {}),
    (kc.divergences.Huber, "delta", POSITIVE, {}),
    *((kc.geometries.RandomAffine, name, SHARE, {}) for name in ("shift", "rotation", "zoom", "flip")),
    (kc.mixers.MixUp, "alpha", POSITIVE, {}),
    (kc.mixers.MixUp, "labeled", ("yes", None), {"alpha": 0.5}),
    (kc.mixers.CutMix, "alpha", POSITIVE, {}),
    (kc.schedules.CosineRampUp, "steps", RAMP, {}),
    (kc.schedules.CosineRampUp, "start", RAMP, {"steps": 5}),
    (kc.schedules.LinearRampUp, "steps", RAMP, {}),
    (kc.schedules.LinearRampUp, "value", (float("nan"), "1"), {"steps": 5}),
    (kc.schedules.SigmoidRampUp, "steps", RAMP, {}),
    (kc.schedules.SigmoidRampUp, "value", (float("nan"), "1"), {"steps": 5}),
    (kc.schedules.PartialCosine, "steps", COUNT, {"value": 0.1}),
    (kc.schedules.PartialCosine, "value", (-0.1, float("nan"), "1"), {"steps": 5}),
    (kc.schedules.PartialCosine, "share", (0, 0.6, "1"), {"steps": 5, "value": 0.1}),
    (kc.schedules.OneCycle, "steps", (1, *COUNT), {"value": 0.1}),
    (kc.schedules.OneCycle, "value", (-0.1, float("nan"), "1"), {"steps": 5}),
    (kc.schedules.OneCycle, "rise", (0, 1, "1"), {"steps": 5, "value": 0.1}),
    (kc.schedules.OneCycle, "start_divisor", (0.9, float("inf"), "1"), {"steps": 5, "value": 0.1}),
    (kc.schedules.OneCycle, "end_divisor", (0.9, float("inf"), "1"), {"steps": 5, "value": 0.1}),
    *(
        row
        for attack in (kc.perturbations.PGD, kc.perturbations.FGSM)
        for row in [
            (attack, "radius", NOT_NEGATIVE, {}),
            (attack, "norm", ("l1", None, 2), {"radius": 1.0}),
            (attack, "target", ("class", None), {"radius": 1.0}),
            (attack, "targeted", (1, None), {"radius": 1.0}),
            (attack, "clip_range", ((1, 0), (0, 0), (0, 1, 2), 3), {"radius": 1.0}),
        ]
    ),
    (kc.perturbations.PGD, "steps", COUNT, {"radius": 1.0}),
    (kc.perturbations.PGD, "step_size", POSITIVE, {"radius": 1.0}),
    (kc.perturbations.PGD, "random_start", (-0.1, float("inf"), "yes", None), {"radius": 1.0}),
    (kc.perturbations.GaussianNoise, "stddev", NOT_NEGATIVE, {}),
    (kc.perturbations.GaussianNoise, "clip_range", ((1, 0), (0, 0), (0, 1, 2), 3), {"stddev": 1.0}),
    (kc.perturbations.Masking, "ratio", SHARE, {}),
    (kc.perturbations.Masking, "patch_size", COUNT, {"ratio": 0.5}),
    (kc.perturbations.Masking, "value", (float("inf"), *NUMBER), {"ratio": 0.5}),
    (VAT, "radius", (-1.0, float("inf"), "1"), {}),
    (VAT, "xi", (0, 1.1, "1"), {"radius": 1.0}),
    (VAT, "power_iterations", COUNT, {"radius": 1.0}),
    (VAT, "clip_range", ((1, 0), (0, 0), (0, 1, 2), 3), {"radius": 1.0}),
    (kc.teachers.Self, "training", ("yes", None), {}),
    (kc.teachers.EMA, "decay", DECAY, {}),
    (kc.teachers.EMA, "statistics", ("mean",), {}),
    (kc.teachers.EMA, "targets_from", ("both",), {}),
    (kc.teachers.EMA, "training", (False,), {"statistics": "own"}),
    (kc.teachers.EMA, "warmup", ("yes",), {}),
    (kc.teachers.Frozen, "every", COUNT, {"network": recipes.student()}),
    (kc.teachers.Ensemble, "networks", ([], 3, [keras.Sequential([dense()])]), {}),
    (kc.teachers.Temporal, "teacher", (3, "EMA"), {}),
    (kc.teachers.Temporal, "momentum", MOMENTUM, {}),
    (kc.teachers.Temporal, "examples", COUNT, {}),
    (IMAGE.RandomShift, "factor", (-0.1, 1.1, "1"), {}),
    (IMAGE.RandomFlip, "probability", (-0.1, 1.1, "1"), {}),
    (IMAGE.Cutout, "size", (-0.1, 1.1, "1"), {}),
    (IMAGE.Cutout, "fill", (-0.1, 1.1, "1"), {}),
    (IMAGE.RandAugment, "num_ops", (-1, 1.5), {}),
    (IMAGE.RandAugment, "magnitude", (-0.1, 1.1, "1"), {}),
    (IMAGE.RandAugment, "probability", (-0.1, 1.1, "1"), {}),
    (IMAGE.RandAugment, "fill", (-0.1, 1.1, "1"), {}),
    (IMAGE.RandAugment, "interpolation", ("cubic",), {}),
    (IMAGE.RandAugment, "value_range", VALUE_RANGES, {}),
    (kc.augment.Chain, "layers", (3, [3]), {}),
    (kc.augment.Seeded, "layer", (3, IMAGE.Cutout(), keras.layers.RandAugment()), {}),
]


@pytest.mark.parametrize(
    ("part", "argument", "values", "others"), PARTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_hyperparameter_of_a_part_outside_its_range(part, argument, values, others):
    for value in values:
        with pytest.raises((ValueError, TypeError)) as caught:
            part(**others, **{argument: value})
        assert f"`{argument}" in str(caught.value)
        received = str(caught.value).partition("Received:")[2]
        assert f"{argument}={value!r}" in received or f"{argument}={value}" in received


def test_unknown_recipe():
    with pytest.raises(AttributeError, match="nosuch"):
        kc.recipes.nosuch  # noqa: B018
    assert kc.recipes.available() == recipes.NAMES


# Streams.


def generated(rows):
    return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=tf.TensorSpec([FEATURES]))


def pair(labeled=(X, Y), unlabeled=U, batch_size=4, ratio=2, **options):
    return lambda: kc.data.pair(labeled, unlabeled, batch_size=batch_size, ratio=ratio, **options)


STREAMS = {
    "no labelled examples": (pair((X[:0], Y[:0])), "`labeled`", "at least one example"),
    "no unlabelled examples": (pair(unlabeled=U[:0]), "`unlabeled`", "at least one example"),
    "an empty generator": (pair(unlabeled=generated(U[:0])), "`unlabeled`", "at least one example"),
    "a generator too short for one step": (
        pair(unlabeled=generated(U[:3])),
        "`unlabeled`",
        "batch_size=4",
        "ratio=2",
        "3",
    ),
    "arrays too short for one step": (pair(unlabeled=U[:3]), "`unlabeled`", "batch_size=4", "ratio=2", "3"),
    "labels missing": (pair(SLICES(X)), "`labeled`", "(x, y)"),
    "endless without steps": (pair(unlabeled=SLICES(U).repeat()), "`unlabeled`", "`steps=`", "steps=None"),
    "other features": (pair(unlabeled=U[:, :3]), "`labeled`", "`unlabeled`", "shape"),
    "another dtype": (pair(unlabeled=U.astype("float64")), "`labeled`", "`unlabeled`", "dtype"),
    "another structure": (pair(unlabeled={"u": U}), "`labeled`", "`unlabeled`", "structure"),
    "fewer labels than inputs": (pair((X, Y[:-1])), "`labeled`", "length", "8", "7"),
    "half an example a step": (pair(ratio=0.3), "`ratio`", "whole number", "ratio=0.3", "batch_size=4"),
    "ratio of nothing": (pair(ratio=0), "`ratio`", "above 0", "ratio=0"),
    "ratio above the data": (pair(ratio=7), "`unlabeled`", "batch_size", "ratio=7", "16"),
    "NaN in labelled arrays": (pair((WITH_NAN, Y)), "`labeled[x]`", "finite", "row 3"),
    "NaN in unlabelled arrays": (pair(unlabeled=WITH_NAN, ratio=1), "`unlabeled`", "finite", "row 3"),
    "labels that cannot be balanced": (pair((X, Y + 0.5), balanced=True), "`labeled[y]`", "one-hot rows", "row 0"),
    "a stream to balance without end": (pair(SLICES((X, Y)).repeat(), balanced=True), "`labeled`", "no end"),
    "negative labels": (pair((X, Y - 1)), "`labeled[y]`", "non-negative", "row 0"),
}


@pytest.mark.parametrize("mistake", STREAMS)
def test_streams_that_do_not_fit(mistake):
    make, *words = STREAMS[mistake]
    with told(ValueError, *words):
        make()


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "words"),
    [
        (SLICES((X, Y)), SLICES(WITH_NAN), ("`unlabeled`", "finite", "row 3")),
        (SLICES((WITH_NAN, Y)), SLICES(X), ("`labeled[x]`", "finite", "row 3")),
        (SLICES((X, Y - 2)), SLICES(X), ("`labeled[y]`", "non-negative", "row")),
    ],
    ids=["unlabeled", "labeled", "labels"],
)
def test_bad_value_in_a_stream_ends_the_fit(labeled, unlabeled, words):
    batches = kc.data.pair(labeled, unlabeled, batch_size=4, ratio=1, shuffle=False)
    with told(ValueError, *words):
        fit(fixmatch(), batches)


# Batches.


def labels_missing(model):
    return {
        "fit": lambda: fit(model, X),
        "fit on streams": lambda: fit(model, {"labeled": X, "unlabeled": X}),
        "train_on_batch": lambda: model.train_on_batch(X),
    }


@pytest.mark.parametrize("way", labels_missing(None))
def test_labels_missing(way):
    with told(ValueError, "labels", "kc.data.pair"):
        labels_missing(fixmatch())[way]()


def test_unlabelled_stream_without_a_labelled_one():
    with told(ValueError, '"labeled"', "kc.data.pair", "['unlabeled']"):
        fixmatch().train_on_batch({"unlabeled": X}, Y)


LABELS = {
    "negative": Y - 1,
    "too large": Y + 1,
    "a column": (Y + 1)[:, None],
    "unsigned": (Y + 1).astype("uint8"),
    "floats": (Y + 1).astype("float32"),
}


@pytest.mark.parametrize("inputs", [X, {"labeled": X, "unlabeled": U[:8]}], ids=["plain", "pair"])
@pytest.mark.parametrize("kind", LABELS)
def test_labels_outside_the_classes_on_a_batch(kind, inputs):
    with told(ValueError, "`y`", "from 0 to 2", "3 outputs"):
        fixmatch().train_on_batch(inputs, LABELS[kind])


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", ["negative", "too large"])
def test_labels_outside_the_classes_in_fit(kind, eager):
    model = compiled(recipe("fixmatch"), run_eagerly=eager)
    with told(ValueError, "`y`", "from 0 to 2", f"{LABELS[kind].min()} {LABELS[kind].max()}"):
        fit(model, X, LABELS[kind])
    with told(ValueError, "`y`", "from 0 to 2"):
        labeled = (X, LABELS["too large"])
        fit(model, kc.data.pair(labeled, X, batch_size=8, ratio=1))


def test_labels_outside_the_classes_of_a_mixer():
    with told(ValueError, "`y`", "from 0 to 2", "1 3"):
        compiled(recipe("mixmatch")).train_on_batch(X, Y + 1)


@pytest.mark.parametrize("name", ["fixmatch", "mixmatch"])
def test_one_hot_labels_of_another_width(name):
    one_hot = np.eye(4, dtype="float32")[Y]
    with pytest.raises(ValueError, match="Received.*4"):
        compiled(recipe(name), keras.losses.CategoricalCrossentropy(from_logits=True)).train_on_batch(X, one_hot)


def test_bad_labels_leave_the_weights_as_they_were():
    model = fixmatch()
    before = model.student.get_weights()
    with pytest.raises(ValueError, match="`y`"):
        model.train_on_batch(X, Y + 1)
    for old, new in zip(before, model.student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
        lambda y, p: keras.ops.sum(p, axis=-1),
    ],
    ids=["another", "ignore_class", "function"],
)
def test_mixer_with_another_loss(loss):
    with told(ValueError, "`loss`", "`mixer`", "SparseCategoricalCrossentropy"):
        compiled(recipe("mixmatch"), loss).train_on_batch(X, Y)


@pytest.mark.parametrize(
    ("inputs", "where"),
    [
        (WITH_NAN, "labeled"),
        ({"labeled": X, "unlabeled": WITH_NAN}, "unlabeled"),
        ({"labeled": WITH_NAN, "unlabeled": X}, "labeled"),
    ],
    ids=["plain", "unlabeled", "labeled"],
)
@pytest.mark.parametrize("way", ["fit", "train_on_batch"])
def test_nan_in_a_batch_of_arrays(way, inputs, where):
    model = fixmatch()
    with told(ValueError, f'"{where}"', "finite", "repair"):
        fit(model, inputs, Y) if way == "fit" else model.train_on_batch(inputs, Y)
    assert all(np.isfinite(value).all() for value in model.student.get_weights())


INDEXED = ["flexmatch", "sequencematch", "temporal_ensembling"]


@pytest.mark.parametrize("inputs", [X, {"labeled": X, "unlabeled": X}], ids=["plain", "pair"])
@pytest.mark.parametrize("name", INDEXED)
def test_recipe_that_needs_the_index_and_does_not_get_it(name, inputs):
    with told(ValueError, '"index"', "kc.data.pair(..., indexed=True)"):
        compiled(recipe(name)).train_on_batch(inputs, Y)
    with told(ValueError, '"index"', "kc.data.pair(..., indexed=True)", "['labeled', 'unlabeled']"):
        fit(compiled(recipe(name)), pair()())


@pytest.mark.parametrize("name", INDEXED)
def test_index_of_a_larger_data_set(name):
    model = compiled(recipe(name, examples=len(U) - 1))
    with told(ValueError, '"index"', "[0, 15)", "`examples=`", "15"):
        fit(model, pair(indexed=True)())


WRONG_INDEX = {
    "too few": (np.arange(7), "7", "for 8 examples"),
    "a column": (np.arange(8)[:, None], "(8, 1)"),
    "fractions": (np.arange(8.0), "float"),
}


@pytest.mark.parametrize("kind", WRONG_INDEX)
@pytest.mark.parametrize("name", INDEXED)
def test_index_that_is_not_one_integer_an_example(name, kind):
    index, *words = WRONG_INDEX[kind]
    with told(ValueError, '"index"', "one integer", "kc.data.pair(..., indexed=True)", *words):
        compiled(recipe(name)).train_on_batch({"labeled": X, "unlabeled": U[:8], "index": index}, Y)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", ["flexmatch", "sequencematch", "temporal_ensembling"])
def test_index_beyond_the_examples(name, eager):
    model = compiled(recipe(name, examples=5), run_eagerly=eager)
    with told(ValueError, '"index"', "[0, 5)", "`examples=`"):
        fit(model, kc.data.pair((X, Y), U, batch_size=8, ratio=2, indexed=True))


@pytest.mark.parametrize("name", ["comatch", "simmatch"])
def test_bank_smaller_than_a_batch(name):
    model = compiled(recipe(name, examples=3), run_eagerly=True)
    with told(ValueError, "`examples`", "bank larger", ": 3 "):
        model.train_on_batch({"labeled": X, "unlabeled": U}, Y)


def test_view_that_the_batch_lacks():
    model = compiled(kc.recipes.fixmatch(recipes.student(), weak="weak", strong="strong"))
    with told(ValueError, '"weak"', "kc.data.with_views(dataset, weak=layer)", "['labeled', 'unlabeled']"):
        fit(model, pair()())
    with told(ValueError, '"strong"', "kc.data.with_views(dataset, strong=layer)", "['labeled', 'unlabeled', 'weak']"):
        fit(model, kc.data.with_views(pair()(), weak=keras.layers.Identity()))
    with told(ValueError, '"weak"', "kc.data.with_views", "['labeled']"):
        model.train_on_batch(X, Y)


# Images.

WRONG_IMAGES = {
    "0 to 1 taken for 0 to 255": (IMAGES / 255, (0, 255), ValueError, "`value_range`", "value_range=(0, 1)"),
    "0 to 255 taken for 0 to 1": (IMAGES, (0, 1), ValueError, "`value_range`", "(0, 1)", "Pass the range"),
    "uint8 from 0 to 1": (IMAGES.astype("uint8"), (0, 1), ValueError, "`value_range`", "(0, 255) for uint8"),
    "integers": (IMAGES.astype("int32"), (0, 255), TypeError, "uint8 or float", "cast", "int32"),
    "NaN": (np.where(IMAGES > 200, np.nan, IMAGES), (0, 255), ValueError, "nan"),
}


def image_batches(images):
    # `pair` would find the NaN itself.
    x = {"labeled": images, "unlabeled": images, "index": np.arange(len(images))}
    return SLICES((x, CLASS_OF_IMAGE)).batch(4)


# Every recipe has its default views from the same place: all kinds for one of them, one kind for all.
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in recipes.NAMES
        for kind in WRONG_IMAGES
        if "fixmatch" == name or kind == "uint8 from 0 to 1"
    ],
)
def test_images_outside_the_value_range_of_the_default_views(name, kind):
    images, value_range, error, *words = WRONG_IMAGES[kind]
    network = recipes.student_for(name, images=True)
    model = getattr(kc.recipes, name)(network, value_range=value_range, **recipes.teacher_for(name, network))
    with told(error, *words):
        fit(compiled(model, run_eagerly=True), image_batches(images))


@pytest.mark.parametrize("kind", WRONG_IMAGES)
def test_images_outside_the_value_range_in_a_graph(kind):
    images, value_range, error, *words = WRONG_IMAGES[kind]
    # One layer for the strong view, as every image layer looks at the range in the same way, and few are traced sooner.
    strong = IMAGE.RandomShift(value_range=value_range)
    model = kc.recipes.fixmatch(recipes.student(images=True), value_range=value_range, strong=strong)
    with told(error, *words):
        fit(compiled(model), image_batches(images))
