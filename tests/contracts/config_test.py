"""Every public part, layer and recipe has a row here, and a configuration that makes it again."""

import inspect
import json

import keras
import pytest

import keras_consistency as kc
from tests.contracts import recipes

image, text = kc.augment.image, kc.augment.text


def _term(**options):
    return kc.Consistency(divergence=kc.divergences.SquaredError(), name="other", **options)


def _bound():
    return kc.bounds.DecayingLoss(warmup_steps=3, decay_every=2, gamma=2.0, C=0.9, rho_min=0.3, momentum=0.8)


def _bank():
    return kc.banks.FeatureBank(examples=7, width=2, labeled_only=True, output="embedding")


MOVING = {
    "fill": 0.1,
    "interpolation": "nearest",
    "mask_fill": 255,
    "value_range": (0, 1),
    "seed": 2,
    "name": "one",
}
# How to make each, with no argument at its default.
PARTS = {
    kc.targets.Soft: lambda: kc.targets.Soft(temperature=0.5),
    kc.targets.Hard: lambda: kc.targets.Hard(),
    kc.targets.Label: lambda: kc.targets.Label(),
    kc.targets.Prediction: lambda: kc.targets.Prediction(),
    kc.weights.Uniform: lambda: kc.weights.Uniform(),
    kc.alignments.DistributionAlignment: lambda: kc.alignments.DistributionAlignment(
        prior=[0.5, 0.2, 0.3], momentum=0.8, applies_to="weight"
    ),
    kc.bounds.DecayingLoss: lambda: _bound(),
    kc.weights.LossBelow: lambda: kc.weights.LossBelow(bound=_bound()),
    kc.weights.RelativeConfidence: lambda: kc.weights.RelativeConfidence(threshold=0.7),
    kc.weights.SelfAdaptiveConfidence: lambda: kc.weights.SelfAdaptiveConfidence(momentum=0.8),
    kc.weights.TruncatedGaussian: lambda: kc.weights.TruncatedGaussian(n_sigma=3.0, momentum=0.8),
    kc.targets.ClassRatio: lambda: kc.targets.ClassRatio(momentum=0.8),
    kc.targets.SoftThenHard: lambda: kc.targets.SoftThenHard(bound=_bound(), temperature=0.7),
    kc.divergences.Fairness: lambda: kc.divergences.Fairness(),
    kc.forwards.Interleaved: lambda: kc.forwards.Interleaved(groups=2),
    kc.forwards.Interpolated: lambda: kc.forwards.Interpolated(),
    kc.schedules.CosineRampUp: lambda: kc.schedules.CosineRampUp(steps=5, value=3.0, start=2),
    kc.weights.Complement: lambda: kc.weights.Complement(kc.weights.Confidence(threshold=0.7)),
    kc.weights.Confidence: lambda: kc.weights.Confidence(threshold=0.7),
    kc.weights.CurriculumConfidence: lambda: kc.weights.CurriculumConfidence(threshold=0.7, examples=9),
    kc.weights.SignalAnnealing: lambda: kc.weights.SignalAnnealing(steps=7, shape="exp"),
    kc.weights.EffectiveNumber: lambda: kc.weights.EffectiveNumber([5, 2, 1], beta=0.9),
    kc.weights.BalancedConfidence: lambda: kc.weights.BalancedConfidence(threshold=0.7, power=0.3, momentum=0.8),
    kc.losses.LogitAdjustedCrossentropy: lambda: kc.losses.LogitAdjustedCrossentropy(
        [5, 2, 1], temperature=0.5, reduction="sum", name="one"
    ),
    kc.divergences.CrossEntropy: lambda: kc.divergences.CrossEntropy(),
    kc.divergences.KullbackLeibler: lambda: kc.divergences.KullbackLeibler(),
    kc.divergences.JensenShannon: lambda: kc.divergences.JensenShannon(),
    kc.divergences.SquaredError: lambda: kc.divergences.SquaredError(),
    kc.divergences.Entropy: lambda: kc.divergences.Entropy(),
    kc.divergences.SquaredDistance: lambda: kc.divergences.SquaredDistance(),
    kc.divergences.Between: lambda: kc.divergences.Between(kc.divergences.Huber(delta=0.5)),
    kc.divergences.Huber: lambda: kc.divergences.Huber(delta=0.5),
    kc.banks.FeatureBank: lambda: _bank(),
    kc.alignments.Propagation: lambda: kc.alignments.Propagation(bank=_bank(), temperature=0.5, smoothing=0.8),
    kc.targets.InstanceSimilarity: lambda: kc.targets.InstanceSimilarity(bank=_bank(), temperature=0.5),
    kc.targets.QuarterTurns: lambda: kc.targets.QuarterTurns(),
    kc.divergences.GraphContrast: lambda: kc.divergences.GraphContrast(temperature=0.5, threshold=0.7),
    kc.divergences.InstanceCrossEntropy: lambda: kc.divergences.InstanceCrossEntropy(temperature=0.5),
    kc.divergences.CosineSimilarity: lambda: kc.divergences.CosineSimilarity(),
    kc.perturbations.Rotation: lambda: kc.perturbations.Rotation(),
    kc.mixers.MixUp: lambda: kc.mixers.MixUp(alpha=0.3, labeled=False),
    kc.mixers.CutMix: lambda: kc.mixers.CutMix(alpha=0.3, labeled=False),
    kc.forwards.Concatenated: lambda: kc.forwards.Concatenated(),
    kc.forwards.Separate: lambda: kc.forwards.Separate(),
    kc.schedules.LinearRampUp: lambda: kc.schedules.LinearRampUp(steps=5, value=3.0, start=2),
    kc.schedules.SigmoidRampUp: lambda: kc.schedules.SigmoidRampUp(steps=5, value=3.0, start=2),
    kc.schedules.PartialCosine: lambda: kc.schedules.PartialCosine(steps=5, value=3.0, share=0.3),
    kc.schedules.OneCycle: lambda: kc.schedules.OneCycle(
        steps=5, value=3.0, rise=0.4, start_divisor=3.0, end_divisor=7.0
    ),
    kc.perturbations.VAT: lambda: kc.perturbations.VAT(radius=2.0, xi=0.1, power_iterations=2, clip_range=(0.0, 1.0)),
    kc.perturbations.PGD: lambda: kc.perturbations.PGD(
        radius=0.3,
        steps=5,
        step_size=0.1,
        norm="l2",
        random_start=0.5,
        target="least_likely",
        targeted=True,
        clip_range=(0.0, 1.0),
    ),
    kc.perturbations.FGSM: lambda: kc.perturbations.FGSM(
        radius=0.3, norm="l2", target="least_likely", targeted=True, clip_range=(0.0, 1.0)
    ),
    kc.perturbations.GaussianNoise: lambda: kc.perturbations.GaussianNoise(stddev=0.3, clip_range=(0.0, 1.0)),
    kc.perturbations.Masking: lambda: kc.perturbations.Masking(ratio=0.3, patch_size=2, value=0.5),
    kc.geometries.RandomAffine: lambda: kc.geometries.RandomAffine(shift=0.1, rotation=0.2, zoom=0.3, flip=0.4),
    kc.View: lambda: kc.View(
        "strong",
        draw=1,
        perturbation=kc.perturbations.VAT(radius=2.0),
        geometry=kc.geometries.RandomAffine(shift=0.1),
    ),
    kc.Consistency: lambda: _term(
        teacher_view=["weak", kc.View("medium", draw=1)],
        student_view=kc.View(image.Cutout(seed=3, name="cutout")),
        weight_view="weak",
        target=kc.targets.Hard(),
        weight=kc.weights.Confidence(threshold=0.7),
        alignment=kc.alignments.DistributionAlignment(momentum=0.8),
        scale=kc.schedules.LinearRampUp(steps=5),
        pool="all",
        output="logits",
        student_output="other",
        mixed=False,
    ),
    kc.teachers.Self: lambda: kc.teachers.Self(training=False, name="one"),
    kc.teachers.EMA: lambda: kc.teachers.EMA(
        decay=0.5, warmup=False, statistics="copy", targets_from="student", training=False, name="one"
    ),
    kc.teachers.Frozen: lambda: kc.teachers.Frozen(recipes.student(), every=4, training=True, name="one"),
    kc.teachers.Ensemble: lambda: kc.teachers.Ensemble(
        [recipes.student(), recipes.student(seed=7)], training=True, name="one"
    ),
    kc.teachers.Temporal: lambda: kc.teachers.Temporal(
        kc.teachers.EMA(decay=0.5, name="two"), momentum=0.3, examples=9, name="one"
    ),
    kc.augment.Chain: lambda: kc.augment.Chain([image.RandomFlip(seed=1, name="flip")], seed=5, name="one"),
    kc.augment.Seeded: lambda: kc.augment.Seeded(keras.layers.RandomFlip(seed=1, name="flip"), seed=5, name="one"),
    kc.augment.Perturbed: lambda: kc.augment.Perturbed(
        kc.perturbations.VAT(radius=2.0), recipes.student(), seed=5, name="one"
    ),
    image.AugMix: lambda: image.AugMix(severity=0.2, width=2, depth=4, alpha=0.5, **MOVING),
    image.AutoContrast: lambda: image.AutoContrast(probability=0.3, value_range=(0, 1), seed=2, name="one"),
    image.Equalization: lambda: image.Equalization(probability=0.3, value_range=(0, 1), seed=2, name="one"),
    image.GaussianNoise: lambda: image.GaussianNoise(stddev=0.3, value_range=(0, 1), seed=2, name="one"),
    image.PatchMasking: lambda: image.PatchMasking(
        ratio=0.3, patch_size=2, fill=0.1, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomBrightness: lambda: image.RandomBrightness(
        factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomColorJitter: lambda: image.RandomColorJitter(
        brightness_factor=0.1,
        contrast_factor=0.2,
        saturation_factor=0.3,
        hue_factor=0.5,
        probability=0.3,
        value_range=(0, 1),
        seed=2,
        name="one",
    ),
    image.RandomContrast: lambda: image.RandomContrast(
        factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomErasing: lambda: image.RandomErasing(
        probability=0.3, area=(0.1, 0.2), aspect_ratio=2.0, fill=0.1, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomGaussianBlur: lambda: image.RandomGaussianBlur(
        sigma=2.0, probability=0.3, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomGrayscale: lambda: image.RandomGrayscale(probability=0.3, value_range=(0, 1), seed=2, name="one"),
    image.RandomHue: lambda: image.RandomHue(factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"),
    image.RandomInvert: lambda: image.RandomInvert(probability=0.3, value_range=(0, 1), seed=2, name="one"),
    image.RandomPosterization: lambda: image.RandomPosterization(
        factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomSaturation: lambda: image.RandomSaturation(
        factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"
    ),
    image.RandomSharpness: lambda: image.RandomSharpness(
        factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"
    ),
    image.Solarization: lambda: image.Solarization(factor=0.3, probability=0.3, value_range=(0, 1), seed=2, name="one"),
    image.Cutout: lambda: image.Cutout(size=0.3, uniform_size=False, fill=0.1, value_range=(0, 1), seed=2, name="one"),
    image.RandAugment: lambda: image.RandAugment(
        num_ops=3,
        magnitude=0.4,
        uniform_magnitude=False,
        probability=0.3,
        **MOVING,
    ),
    image.CTAugment: lambda: image.CTAugment(depth=3, magnitude=0.4, bins=5, threshold=0.7, decay=0.9, **MOVING),
    image.TrivialAugment: lambda: image.TrivialAugment(magnitude=0.4, **MOVING),
    image.RandomCropAndPad: lambda: image.RandomCropAndPad(factor=0.3, **MOVING),
    image.RandomPerspective: lambda: image.RandomPerspective(factor=0.3, **MOVING),
    image.RandomResizedCrop: lambda: image.RandomResizedCrop(factor=0.3, aspect_ratio=2.0, **MOVING),
    image.RandomRotation: lambda: image.RandomRotation(factor=0.3, **MOVING),
    image.RandomShear: lambda: image.RandomShear(factor=0.4, **MOVING),
    image.RandomTranslation: lambda: image.RandomTranslation(factor=0.3, **MOVING),
    image.RandomZoom: lambda: image.RandomZoom(factor=0.3, **MOVING),
    image.RandomFlip: lambda: image.RandomFlip(probability=0.2, value_range=(0, 1), seed=2, name="one"),
    text.CharacterNoise: lambda: text.CharacterNoise(strength=0.3, seed=2, name="one"),
    text.RandomInsertion: lambda: text.RandomInsertion(
        {"film": ["movie"]}, stop_words=["the"], strength=0.3, seed=2, name="one"
    ),
    text.SentenceShuffle: lambda: text.SentenceShuffle(strength=0.3, seed=2, name="one"),
    text.SynonymReplacement: lambda: text.SynonymReplacement(
        {"film": ["movie"]}, stop_words=["the"], strength=0.3, seed=2, name="one"
    ),
    text.TfIdfReplacement: lambda: text.TfIdfReplacement(
        vocabulary=["film", "the"], frequencies=[1, 5], idf=[2.0, 0.1], strength=0.3, seed=2, name="one"
    ),
    text.TokenMasking: lambda: text.TokenMasking(strength=0.3, mask="<m>", seed=2, name="one"),
    text.WordDeletion: lambda: text.WordDeletion(strength=0.3, seed=2, name="one"),
    text.WordSwap: lambda: text.WordSwap(strength=0.3, seed=2, name="one"),
    image.RandomShift: lambda: image.RandomShift(factor=0.2, value_range=(0, 1), seed=2, name="one"),
    kc.Clipping: lambda: kc.Clipping(percentile=20, history=50),
    kc.ConsistencyModel: lambda: kc.ConsistencyModel(
        kc.heads.attach(recipes.student(), rotation=True),
        [
            kc.Consistency(
                student_view=image.Cutout(seed=3, name="cutout"),
                weight=kc.weights.Confidence(threshold=0.5),
                output="logits",
            ),
            _term(scale=-1.0, output="rotation"),
        ],
        teacher=kc.teachers.EMA(decay=0.5),
        mixer=kc.mixers.MixUp(alpha=0.3),
        labeled_view=[kc.View(image.Cutout(seed=3, name="cutout2")), None],
        labeled_scale=[0.7, 0.2],
        labeled_weight=kc.weights.SignalAnnealing(steps=7),
        forward=kc.forwards.Separate(),
        prediction="logits",
        clipping=kc.Clipping(global_clipnorm=2.0),
        seed=4,
        name="one",
    ),
}
# Arguments that others in the row above forbid.
FURTHER = {
    kc.View: [lambda: kc.View("strong", perturbation=kc.perturbations.VAT(radius=2.0), at="embedding")],
    kc.Clipping: [
        lambda: kc.Clipping(clipnorm=2.0),
        lambda: kc.Clipping(global_clipnorm=2.0),
        lambda: kc.Clipping(clipvalue=2.0),
        lambda: kc.Clipping(adaptive=0.1),
    ],
}
# Names in files, where another class has the one of the class.
REGISTERED = {kc.perturbations.GaussianNoise: "GaussianNoisePerturbation"}
# What is made only to be inherited from.
BASES = {
    kc.parts.Part,
    kc.alignments.Alignment,
    kc.mixers.Mixer,
    kc.perturbations.Perturbation,
    kc.divergences.Divergence,
    kc.teachers.Teacher,
    kc.augment.RandomLayer,
    image.ColorLayer,
    image.GeometricLayer,
    image.ImageLayer,
    image.Policy,
    text.TextLayer,
}


def public_classes(module=kc, seen=None):
    """The classes of the package that a user can name: in `__all__`, or without an underscore, module by module."""
    seen = {} if seen is None else seen
    for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
        value = getattr(module, name)
        home = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", "")
        if not isinstance(home, str) or not home.startswith("keras_consistency") or value in seen:
            continue
        if inspect.ismodule(value):
            seen[value] = None
            public_classes(value, seen)
        elif inspect.isclass(value):
            seen[value] = None
    return {value for value in seen if inspect.isclass(value)}


def configurable(cls):
    """Whether a class is one of those that a configuration describes."""
    return hasattr(cls, "get_config")


def arguments(cls):
    """Names of a constructor's own arguments, through `**kwargs` down to the package's last class."""
    names = set()
    for base in cls.__mro__:
        if base.__module__.startswith("keras_consistency") and "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            names |= {each.name for each in parameters if each.name != "self" and each.kind != each.VAR_KEYWORD}
            if not any(each.kind == each.VAR_KEYWORD for each in parameters):
                break
    return names


def examples_of(cls):
    """The class made as its rows say."""
    return [make() for make in (PARTS[cls], *FURTHER.get(cls, []))]


def as_json(value):
    """A configuration in a form that can be compared: nested objects as their own configurations, tuples as lists."""
    return json.dumps(keras.saving.serialize_keras_object(value), sort_keys=True)


def test_every_public_part_has_a_row():
    found = {cls for cls in public_classes() if configurable(cls)}
    assert {kc.targets.Soft, image.Cutout, kc.teachers.EMA, kc.ConsistencyModel} <= found, "the search finds nothing"
    missing = found - set(PARTS) - BASES
    assert not missing, f"add a row to PARTS for {sorted(cls.__name__ for cls in missing)}"
    assert set(PARTS) | BASES <= found, "a row or base that is no longer public"


def test_every_recipe_has_a_row():
    assert kc.recipes.available() == recipes.NAMES


def _remembering(model):
    """Classes of what a model has beyond stateless terms."""
    parts = [part for term in model.terms for part in term.parts if part.variables]
    views = [*kc.views.as_views(model.labeled_view), *(view for term in model.terms for view in term.views)]
    parts += [view.perturbation for view in views] + [model.teacher, model.mixer, model.forward]
    return {type(part) for part in parts if part is not None}


def test_recipes_left_to_the_slow_run_remember_nothing_that_others_do_not():
    assert set(recipes.FAMILIAR) < set(recipes.NAMES)
    kept = set().union(*(_remembering(recipes.model(name)) for name in recipes.NAMES if name not in recipes.FAMILIAR))
    assert {kc.teachers.EMA, kc.banks.FeatureBank, kc.perturbations.PGD} <= kept, "the search finds nothing"
    for name in recipes.FAMILIAR:
        assert _remembering(recipes.model(name)) <= kept, name


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_configuration_names_every_argument_and_makes_the_part_again(cls):
    for part in examples_of(cls):
        config = part.get_config()
        missing = arguments(cls) - set(config)
        assert not missing
        restored = keras.saving.deserialize_keras_object(json.loads(as_json(part)))
        assert type(restored) is cls
        assert as_json(restored) == as_json(part)
        before = as_json(config)  # Keras takes the configuration of a functional model apart.
        assert as_json(cls.from_config(config).get_config()) == before
    assert keras.saving.get_registered_name(cls) == f"keras_consistency>{REGISTERED.get(cls, cls.__name__)}"


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_rows_leave_no_argument_at_its_default(cls):
    configs = [part.get_config() for part in examples_of(cls)]
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in configs[0] and parameter.default is not parameter.empty:
            given = {as_json(config[name]) for config in configs} - {as_json(parameter.default)}
            assert given, f"{name} is at its default in the row"


@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_is_made_again_from_its_configuration(name):
    model = recipes.model(name, images=True)
    clone = kc.ConsistencyModel.from_config(json.loads(as_json(model.get_config())))
    assert as_json(clone.get_config()) == as_json(model.get_config())
    assert list(clone.view_layers) == list(model.view_layers)
    for again, network in ((clone.student, model.student), (clone.network, model.network)):
        assert [each.shape for each in again.weights] == [each.shape for each in network.weights]
    assert as_json(clone.terms) == as_json(model.terms)
