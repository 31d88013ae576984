import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc

NUMBERS = np.random.default_rng(0)
CLASSES = 3
IMAGES = NUMBERS.uniform(0, 255, size=(23, 8, 8, 1)).astype("float32")
LABELS = NUMBERS.integers(CLASSES, size=23)
NONE = {"noise": (), "masking": (), "attacks": (), "verbose": 0}


def classifier(*shape, units=CLASSES, seed=0, scale=1 / 255, **options):
    inputs = keras.Input(shape or IMAGES.shape[1:])
    x = keras.layers.Flatten()(keras.layers.Rescaling(scale)(inputs))
    x = keras.layers.Dense(8, "tanh", kernel_initializer=keras.initializers.GlorotNormal(seed))(x)
    kernel = keras.initializers.RandomNormal(stddev=3.0, seed=seed + 1)
    return keras.Model(inputs, keras.layers.Dense(units, kernel_initializer=kernel, **options)(x))


def robustness(model=None, data=(IMAGES, LABELS), **options):
    return kc.evaluation.robustness(classifier() if model is None else model, data, **{"verbose": 0, **options})


def row_of(records, condition, level):
    (row,) = [row for row in records if (row["condition"], row["level"]) == (condition, level)]
    return row


def close(found, expected):
    """The same records, up to rounding."""
    assert [(row["condition"], row["level"]) for row in found] == [(r["condition"], r["level"]) for r in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["examples"] == other["examples"]
        for key in ("accuracy", "consistency", "ece"):
            assert one[key] == pytest.approx(other[key], abs=1e-5), (one, other)


def softmax(logits):
    powers = np.exp(logits.astype("float64") - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def reference_ece(probabilities, labels, bins=15):
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    rows = np.ceil(confidence * bins)
    gaps = [np.abs((right - confidence)[rows == row].sum()) for row in range(1, bins + 1)]
    return sum(gaps) / len(labels)


def test_records_by_default_are_plain_and_in_order():
    records = robustness(steps=2)
    radii = (2 / 255, 4 / 255, 8 / 255)
    assert [(row["condition"], row["level"]) for row in records] == [
        ("clean", None),
        *(("noise", level) for level in (0.05, 0.1, 0.2)),
        *(("masking", level) for level in (0.1, 0.3)),
        *(("FGSM", level) for level in radii),
        *(("PGD", level) for level in radii),
    ]
    assert json.loads(json.dumps(records)) == records
    for row in records:
        assert list(row) == ["condition", "level", "accuracy", "consistency", "ece", "examples"]
        assert row["examples"] == 23 and isinstance(row["level"], float | None)
        assert all(0 <= row[key] <= 1 for key in ("accuracy", "consistency", "ece"))
    assert records[0]["consistency"] == 1


def parts_at(level):
    """The perturbations by default, at one level each, as they are called by themselves."""
    kinds = kc.perturbations
    return {
        "noise": kinds.GaussianNoise(stddev=level * 255, clip_range=(0, 255)),
        "masking": kinds.Masking(ratio=level, patch_size=2, value=127.5),
        "FGSM": kinds.FGSM(radius=level * 255, clip_range=(0, 255)),
        "PGD": kinds.PGD(radius=level * 255, steps=4, clip_range=(0, 255)),
    }


def test_accuracy_consistency_and_calibration_are_those_of_direct_calls():
    model, level = classifier(), 0.125
    found = robustness(model, noise=[level], masking=[level], patch_size=2, radii=[level], steps=4, seed=7)
    clean = softmax(model.predict(IMAGES, verbose=0))
    assert row_of(found, "clean", None)["accuracy"] == (clean.argmax(axis=1) == LABELS).mean()
    assert row_of(found, "clean", None)["ece"] == pytest.approx(reference_ece(clean, LABELS), abs=1e-6)
    changed = 0
    for name, part in parts_at(level).items():
        options = {"labels": LABELS} if part.reads_labels else {}
        moved = part(IMAGES, lambda x: model(x, training=False), seed=tf.constant([7, 0], tf.int64), **options)
        expected, row = softmax(model.predict(moved.numpy(), verbose=0)), row_of(found, name, level)
        assert row["accuracy"] == (expected.argmax(axis=1) == LABELS).mean()
        assert row["consistency"] == (expected.argmax(axis=1) == clean.argmax(axis=1)).mean()
        assert row["ece"] == pytest.approx(reference_ece(expected, LABELS), abs=1e-5)
        changed += row["consistency"] < 1
    assert changed == 4


def test_attacks_of_the_user_have_names_and_lengths_of_their_own():
    model, kinds = classifier(), kc.perturbations
    soft, hard = (kinds.PGD(radius=radius, steps=3, norm="l2", clip_range=(0, 255)) for radius in (30.0, 300.0))
    quiet, vat = kinds.GaussianNoise(stddev=3), kinds.VAT(radius=200.0)
    options = {**NONE, "seed": 2}
    by_list = robustness(model, **options | {"attacks": [soft, vat, hard, quiet, kinds.Rotation()]})
    assert [(row["condition"], row["level"]) for row in by_list[1:]] == [
        ("PGD", 30.0),
        ("PGD", 300.0),
        ("VAT", 200.0),
        ("GaussianNoise", 3.0),
        ("Rotation", None),
    ]
    _, far, near = robustness(model, **options | {"attacks": {"far": hard, "near": [quiet]}})
    assert far == {**row_of(by_list, "PGD", 300.0), "condition": "far"}
    assert near == {**row_of(by_list, "GaussianNoise", 3.0), "condition": "near"}
    moved = hard(IMAGES, model, labels=LABELS, seed=tf.constant([2, 0], tf.int64))
    assert far["accuracy"] == (model.predict(moved.numpy(), verbose=0).argmax(axis=1) == LABELS).mean()


@pytest.mark.parametrize(("value_range", "scale"), [((0, 1), 1.0), ((-1, 1), 0.5), (None, 1.0)])
def test_lengths_are_shares_of_the_range(value_range, scale):
    """The same function of the same images, in other units."""
    options = {"noise": [0.1], "masking": (), "radii": [0.1], "steps": 3}
    low, high = (0, 1) if value_range is None else value_range
    model = classifier()
    inputs = keras.Input(IMAGES.shape[1:])
    other = keras.Model(inputs, model((inputs - low) * (255 / (high - low))))
    found = robustness(other, (low + IMAGES / 255 * (high - low), LABELS), value_range=value_range, **options)
    expected = robustness(model, **options)
    for name in ("clean", "FGSM", "PGD") if value_range is None else ("clean", "noise", "FGSM", "PGD"):
        level = None if name == "clean" else 0.1
        one, two = row_of(found, name, level), row_of(expected, name, level)
        assert abs(one["accuracy"] - two["accuracy"]) < 2.1 / 23  # without a range, attacks may leave it
        assert value_range is None or one["ece"] == pytest.approx(two["ece"], abs=1e-3)


def test_deterministic_conditions_do_not_depend_on_batches_or_containers():
    model, options = classifier(), {"noise": (), "masking": (), "attacks": kc.perturbations.FGSM(radius=20.0)}
    expected = robustness(model, **options)
    assert expected[1]["consistency"] < 1
    for batch_size in (1, 10):
        close(robustness(model, batch_size=batch_size, **options), expected)
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, np.eye(CLASSES)[LABELS])).batch(9)
    close(robustness(model, batches, **options), expected)
    close(robustness(model, batches.filter(lambda x, y: True), **options), expected)
    close(robustness(model, (IMAGES.astype("float64"), LABELS.tolist()), **options), expected)


def test_bytes_are_judged_as_the_floats_that_they_are():
    model, images, options = classifier(), IMAGES.astype("uint8"), NONE | {"noise": [0.2]}
    found = robustness(model, (images, LABELS), **options)
    assert found == robustness(model, (images.astype("float32"), LABELS), **options)


def test_the_seed_decides_what_is_drawn():
    model, options = classifier(), {**NONE, "noise": [0.3], "masking": [0.5], "batch_size": 8}
    first = robustness(model, seed=1, **options)
    assert robustness(model, seed=1, **options) == first
    assert robustness(model, seed=2, **options)[1:] != first[1:]


def test_batches_draw_differently():
    twice = (np.repeat(IMAGES[:1], 2, axis=0), LABELS[[0, 0]])
    drawn = []

    class Spy(kc.perturbations.GaussianNoise):
        def __call__(self, inputs, function=None, *, seed=None):
            moved = super().__call__(inputs, function, seed=seed)
            tf.py_function(lambda value: drawn.append(value.numpy()), [moved], [])
            return moved

    robustness(data=twice, batch_size=1, **NONE | {"attacks": Spy(stddev=5.0)})
    assert len(drawn) == 2
    assert np.abs(drawn[0] - drawn[1]).max() > 1


def test_a_constant_model_is_consistent_and_right_as_often_as_its_class():
    model = classifier(kernel_regularizer=None)
    model.layers[-1].set_weights([np.zeros([8, 3]), np.array([0.0, 2.0, 0.0])])
    attack = kc.perturbations.PGD(radius=200.0, steps=2)
    records = robustness(model, attacks=[attack], noise=[0.5], masking=[0.9], corruptions="fog", severities=[5])
    share = (LABELS == 1).mean()
    assert len(records) == 5
    for row in records:
        assert row["consistency"] == 1
        assert row["accuracy"] == pytest.approx(share)
        assert row["ece"] == pytest.approx(abs(np.exp(2) / (2 + np.exp(2)) - share), abs=1e-6)


def test_probabilities_are_judged_as_their_logits():
    logits = classifier()
    probabilities = keras.Model(logits.input, keras.layers.Softmax()(logits.output))
    options = {"noise": [0.1], "masking": (), "radii": [0.05], "steps": 3}
    close(robustness(probabilities, from_logits=False, **options), robustness(logits, **options))


def test_statistics_and_weights_of_the_model_stay_as_they_are():
    inputs = keras.Input(IMAGES.shape[1:])
    x = keras.layers.BatchNormalization()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    before = [weight.copy() for weight in model.get_weights()]
    options = NONE | {"noise": [0.1], "attacks": kc.perturbations.FGSM(radius=20.0)}
    first = robustness(model, **options)
    assert robustness(model, **options) == first  # Dropout would draw anew
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_consistency_model_is_judged_by_the_network_that_it_serves():
    student = classifier()
    outputs = {"scores": student.output, "other": keras.layers.Dense(2)(student.layers[-2].output)}
    many = keras.Model(student.input, outputs)
    options = {"noise": [0.1], "masking": (), "radii": [0.05], "steps": 2}
    expected = robustness(student, **options)
    close(robustness(many, prediction="scores", **options), expected)
    model = kc.ConsistencyModel(many, [], teacher=kc.teachers.EMA(), prediction="scores")
    many.set_weights([0 * weight for weight in many.get_weights()])  # the average is what is evaluated
    close(robustness(model, **options), expected)


def test_half_precision_is_judged_in_single_precision():
    keras.config.set_dtype_policy("mixed_float16")
    half = classifier()
    assert half.compute_dtype == "float16"
    keras.config.set_dtype_policy("float32")
    whole = classifier()
    whole.set_weights(half.get_weights())
    options = {"noise": [0.1], "masking": [0.2], "radii": [0.05], "steps": 2}
    for one, other in zip(robustness(half, **options), robustness(whole, **options), strict=True):
        assert abs(one["accuracy"] - other["accuracy"]) < 2.1 / 23
        assert one["ece"] == pytest.approx(other["ece"], abs=0.1)


def test_features_and_sequences_are_judged_too():
    for shape in ((5,), (6, 4)):
        x = NUMBERS.normal(size=(11, *shape))
        options = {"value_range": None, "patch_size": 2, "noise": [1.0], "masking": [0.5], "radii": [0.5], "steps": 2}
        records = robustness(classifier(*shape, scale=1.0), (x, LABELS[:11]), **options)
        assert len(records) == 5
        assert min(row["consistency"] for row in records) < 1


def text_model():
    inputs = keras.Input([None], dtype="int32")
    x = keras.layers.Embedding(20, 4, embeddings_initializer=keras.initializers.RandomNormal(seed=3), name="words")(
        inputs
    )
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=4))(x))


WORDS = NUMBERS.integers(20, size=(12, 6))


def test_texts_are_moved_at_their_embedding():
    model, attack = text_model(), kc.perturbations.FGSM(radius=0.1)
    records = robustness(model, (WORDS, LABELS[:12]), at="words", masking=[1.0], noise=[0.0], attacks=attack)
    words, head = model.get_layer("words"), keras.Sequential(model.layers[2:])
    embedded = words(WORDS)
    moved = attack(embedded, head, labels=LABELS[:12])
    expected = head.predict(moved.numpy(), verbose=0)
    assert row_of(records, "noise", 0.0)["consistency"] == 1
    assert row_of(records, "FGSM", 0.1)["accuracy"] == (expected.argmax(axis=1) == LABELS[:12]).mean()
    assert row_of(records, "FGSM", 0.1)["ece"] == pytest.approx(reference_ece(softmax(expected), LABELS[:12]), abs=1e-5)
    blank = head.predict(np.zeros([1, 6, 4]), verbose=0).argmax()
    assert row_of(records, "masking", 1.0)["accuracy"] == (LABELS[:12] == blank).mean()


def test_steps_behind_the_end_of_a_text_stay_as_they_are():
    """The mean over all steps shows what happens to those that the embedding masks."""
    inputs = keras.Input([6], dtype="int32")
    x = keras.layers.Embedding(20, 4, mask_zero=True, name="words")(inputs)
    x = keras.layers.Lambda(lambda x: tf.reduce_mean(x, axis=1), mask=lambda x, mask: None)(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    blank = np.zeros_like(WORDS)
    for words, expected in ((blank, 1.0), (np.ones_like(WORDS), 0.0)):
        attack = kc.perturbations.FGSM(radius=50.0, target="least_likely", targeted=True)
        records = robustness(model, (words, LABELS[:12]), at="words", **NONE | {"attacks": attack})
        assert records[1]["consistency"] == expected


def test_batches_of_texts_may_have_different_lengths():
    batches = tf.data.Dataset.from_generator(
        lambda: ((WORDS[:5, :length], LABELS[:5]) for length in (3, 6)),
        output_signature=(tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None], tf.int64)),
    )
    records = robustness(text_model(), batches, at="words", radii=[0.1], steps=2)
    assert all(row["examples"] == 10 for row in records)


def test_each_condition_is_traced_once_whatever_the_batches():
    traces = []

    class Counting(kc.perturbations.GaussianNoise):
        def __call__(self, inputs, function=None, *, seed=None):
            traces.append(self.stddev)
            return super().__call__(inputs, function, seed=seed)

    parts = [Counting(stddev=1.0), Counting(stddev=2.0)]
    robustness(batch_size=4, **NONE | {"attacks": parts})
    assert traces == [1.0, 2.0]


def test_progress_is_shown_unless_silenced(capsys):
    robustness(batch_size=12, **NONE | {"noise": [0.1], "verbose": 1})
    assert "4/4" in capsys.readouterr().out
    robustness(batch_size=12, **NONE | {"noise": [0.1]})
    assert capsys.readouterr().out == ""


def batched(*arrays, size=8):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


BAD_DATA = {
    "no labels": (lambda: IMAGES, TypeError, "`data` must be a tuple"),
    "labels None": (lambda: (IMAGES, None), TypeError, "`data` must be a tuple"),
    "dictionary": (lambda: ({"image": IMAGES}, LABELS), TypeError, "`data` must be a tuple"),
    "one part": (lambda: (IMAGES,), ValueError, "`data` must have two parts"),
    "weights": (lambda: (IMAGES, LABELS, LABELS), ValueError, "`data` must have two parts"),
    "empty": (lambda: (IMAGES[:0], LABELS[:0]), ValueError, "at least one of each"),
    "lengths": (lambda: (IMAGES, LABELS[:9]), ValueError, "of one length"),
    "ragged": (lambda: ([[1, 2], [3]], [0, 1]), ValueError, "rows of one shape"),
    "class 3": (lambda: (IMAGES, LABELS + 1), ValueError, "whole class numbers from 0 to 2"),
    "class -1": (lambda: (IMAGES, LABELS - 1), ValueError, "whole class numbers from 0 to 2"),
    "class 0.5": (lambda: (IMAGES, LABELS / 2), ValueError, "whole class numbers from 0 to 2"),
    "text": (lambda: (IMAGES, LABELS.astype(str)), ValueError, "class numbers"),
    "four columns": (lambda: (IMAGES, np.eye(4)[LABELS]), ValueError, r"probabilities \(examples, 3\)"),
    "data set without labels": (lambda: batched(IMAGES), ValueError, "inputs and labels"),
    "data set of examples": (lambda: batched(IMAGES, LABELS).unbatch(), ValueError, "call `.batch"),
    "data set without end": (lambda: batched(IMAGES, LABELS).repeat(), ValueError, "leave out its `.repeat"),
    "empty data set": (lambda: batched(IMAGES, LABELS).take(0), ValueError, "at least one batch"),
    "filtered data set": (lambda: batched(IMAGES, LABELS).filter(lambda x, y: False), ValueError, "at least one"),
    "integers": (lambda: (IMAGES.astype("int32"), LABELS), ValueError, "cast images to float32 or uint8"),
    "outside the range": (lambda: (IMAGES + 10, LABELS), ValueError, "`value_range` must be the lowest"),
    "NaN": (lambda: (IMAGES * np.nan, LABELS), ValueError, "`value_range` must be the lowest"),
    "0 to 1": (lambda: (IMAGES / 255, LABELS), ValueError, r"such as \(0, 1\) for images divided by 255"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_cannot_be_judged_is_refused(case):
    data, kind, message = BAD_DATA[case]
    with pytest.raises(kind, match=message) as caught:
        robustness(data=data())
    assert "Received: " in str(caught.value)


BAD_ARGUMENTS = [
    ({"noise": (-0.1,)}, ValueError, r"`noise` must be a number in \[0, inf\)"),
    ({"noise": 0.1}, TypeError, "`noise` must be a list of numbers"),
    ({"noise": ("a",)}, ValueError, "`noise` must be a number"),
    ({"noise": (0.1, 0.1)}, ValueError, "'noise' at level 0.1 more than once"),
    ({"masking": (1.5,)}, ValueError, r"`masking` must be a number in \[0, 1\]"),
    ({"patch_size": 0}, ValueError, "`patch_size`"),
    ({"radii": (-0.1,)}, ValueError, "`radii` must be a number"),
    ({"radii": (2.0,)}, ValueError, r"`radii` must be a number in \[0, 1\]"),
    ({"steps": 0}, ValueError, "`steps` must be an integer of at least 1"),
    ({"attacks": ["PGD"]}, TypeError, "`attacks` must be a part of `kc.perturbations`"),
    ({"attacks": {"PGD": [None]}}, TypeError, "`attacks` must be a part of `kc.perturbations`"),
    ({"value_range": (1, 0)}, ValueError, "`value_range` must be `\\(low, high\\)`"),
    ({"value_range": 255}, ValueError, "`value_range` must be `\\(low, high\\)`"),
    ({"bins": 0}, ValueError, "`bins` must be an integer of at least 1"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be an integer of at least 1"),
    ({"seed": -1}, ValueError, "`seed` must be an integer of at least 0"),
    ({"verbose": 2}, ValueError, "`verbose` must be 0 or 1"),
    ({"from_logits": None}, TypeError, "`from_logits` must be True or False"),
    ({"from_logits": False}, ValueError, "`from_logits` must be True for a model that returns logits"),
    ({"prediction": "scores"}, ValueError, "`prediction` must be None"),
    ({"at": "nowhere"}, ValueError, "`at` must be the name of one of"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD_ARGUMENTS)
def test_arguments_out_of_range_are_refused(options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        robustness(**options)
    assert "Received" in str(caught.value)


def with_outputs(function):
    inputs = keras.Input(IMAGES.shape[1:])
    return keras.Model(inputs, function(inputs))


def poisoned():
    model = classifier()
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    return model


BAD_MODELS = {
    "function": (lambda: lambda x: x, TypeError, "`model` must be a `keras.Model`"),
    "unbuilt": (lambda: keras.Sequential([keras.layers.Dense(3)]), ValueError, "`model` must be built"),
    "one value": (lambda: classifier(units=1), ValueError, "at least two classes"),
    "pixels": (lambda: with_outputs(keras.layers.Conv2D(3, 1)), ValueError, "at least two classes"),
    "two outputs": (lambda: with_outputs(lambda x: [x, x]), ValueError, "at least two classes"),
    "dictionary": (lambda: with_outputs(lambda x: {"a": x}), ValueError, "`prediction` must name the output"),
    "probabilities": (lambda: classifier(activation="softmax"), ValueError, "`from_logits` must be False"),
    "NaN": (poisoned, ValueError, "`model` must return finite numbers"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_models_that_are_no_classifiers_are_refused(case):
    model, kind, message = BAD_MODELS[case]
    with pytest.raises(kind, match=message) as caught:
        robustness(model())
    assert "Received: " in str(caught.value)
