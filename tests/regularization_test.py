import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency import _compat
from tests.contracts import recipes, replicas_test

# Keras's own way to write a variable, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LAYERS = keras.layers
X, Y = recipes.examples(16)
IMAGES = np.random.default_rng(0).normal(size=[6, 8, 8, 2]).astype("float32")
SEQUENCES = np.random.default_rng(1).normal(size=[4, 5, 3]).astype("float32")
ALL = {"l1": 0.003, "l2": 0.02, "dropout": 0.25, "batch_norm": True, "max_norm": 1.5}


def regularize(model, **options):
    return kc.regularize(model, **{"print_fn": None} | options)


def dense(units=6, **options):
    return LAYERS.Dense(units, bias_initializer="normal", **options)


# Models of every kind.


def convolutional():
    layers = [
        LAYERS.Conv2D(4, 3, activation="relu", name="conv"),
        LAYERS.MaxPooling2D(),
        LAYERS.Conv2D(5, 2, activation=LAYERS.LeakyReLU(), name="leaky"),
        LAYERS.Flatten(),
        dense(7, activation="tanh", name="hidden"),
        dense(3, name="logits"),
    ]
    return keras.Sequential([keras.Input([8, 8, 2]), *layers])


def residual():
    inputs = keras.Input([5])
    first = LAYERS.Dense(6, activation="relu", name="first")(inputs)
    second = keras.ops.relu(dense(name="second")(first)) * 2.0
    return keras.Model(inputs, dense(3, name="logits")(LAYERS.Add()([first, second]) + first))


def nested():
    """A Sequential and a functional model inside a functional one, the second of them used twice."""
    inner = keras.Sequential([keras.Input([5]), dense(activation="relu", name="a"), dense(5, name="b")], name="stack")
    x = keras.Input([5])
    branch = keras.Model(x, x + dense(5, activation="elu", name="a")(x), name="branch")
    inputs = keras.Input([5])
    return keras.Model(inputs, dense(3, name="logits")(branch(inner(inputs)) + branch(inputs)))


def shared():
    """A layer, and an activation, that are called twice."""
    inputs = {name: keras.Input([5], name=name) for name in ("left", "right")}
    layer, activation = dense(name="twin"), LAYERS.ReLU(name="act")
    left, right = (activation(layer(inputs[name])) for name in ("left", "right"))
    features = activation(dense(name="joint")(LAYERS.Concatenate()([left, right])))
    return keras.Model(inputs, {"logits": dense(3, name="logits")(features), "features": features})


def recurrent():
    inputs = keras.Input([5, 3])
    hidden = LAYERS.TimeDistributed(dense(4, activation="relu"), name="each")(inputs)
    hidden = LAYERS.Bidirectional(LAYERS.LSTM(3, return_sequences=True), name="both")(hidden)
    hidden = LAYERS.MultiHeadAttention(2, 3, name="attention")(hidden, hidden, attention_mask=None)
    hidden = LAYERS.RNN([LAYERS.GRUCell(3), LAYERS.LSTMCell(2)], name="cells", return_sequences=True)(hidden)
    hidden, state = LAYERS.GRU(4, return_state=True, name="gru")(hidden)
    return keras.Model(inputs, dense(3, name="logits")(hidden + state))


def texts():
    vectorize = LAYERS.TextVectorization(output_sequence_length=4, name="words")
    vectorize.adapt(["a good film", "a bad play", "what a film"])
    layers = [LAYERS.Embedding(12, 4, mask_zero=True, name="embedding"), LAYERS.LSTM(3), dense(2, name="logits")]
    return keras.Sequential([keras.Input([], dtype="string"), vectorize, *layers])


def adapted():
    normalize = LAYERS.Normalization(name="input")
    normalize.adapt(10 * X + 3)
    layers = [normalize, LAYERS.GaussianNoise(0.1), dense(name="hidden"), LAYERS.PReLU("normal"), dense(3)]
    return keras.Sequential([keras.Input([5]), *layers])


def mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = convolutional()
    keras.config.set_dtype_policy("float32")
    return model


@keras.saving.register_keras_serializable(package="regularization_test")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layer = dense(5)

    def call(self, inputs):
        return self.layer(inputs)


class Unregistered(LAYERS.Layer):
    def call(self, inputs):
        return tf.tanh(inputs)


def foreign():
    """Layers of other classes: a subclassed model, a class that is not registered, a Lambda."""
    own = LAYERS.Lambda(lambda x: x + 1)
    layers = [dense(name="hidden"), Unregistered(), own, Subclassed(name="own"), dense(3, name="logits")]
    return keras.Sequential([keras.Input([5]), *layers])


MODELS = {
    "adapted": (adapted, X),
    "convolutional": (convolutional, IMAGES),
    "foreign": (foreign, X),
    "mixed precision": (mixed_precision, IMAGES),
    "nested": (nested, X),
    "recurrent": (recurrent, SEQUENCES),
    "residual": (residual, X),
    "shared": (shared, {"left": X, "right": X[::-1]}),
    "texts": (texts, tf.constant(["a film", "what a bad play", "good", "unknown"])),
}


def everything(kind):
    """What can be asked for of a model."""
    return {name: value for name, value in ALL.items() if not (kind == "texts" and name == "batch_norm")}


def flat(outputs):
    return [np.asarray(value) for value in keras.tree.flatten(outputs)]


def leaves(model, level=""):
    """The layers of a model, and of those nested in it, by path."""
    found = {}
    for layer in model.layers:
        nested = isinstance(layer, keras.Model) and layer.layers and not isinstance(layer, Subclassed)
        found |= leaves(layer, f"{level}{layer.name}/") if nested else {level + layer.name: layer}
    return found


@pytest.mark.parametrize("kind", MODELS)
def test_outputs_and_weights_are_those_of_the_model_which_stays_as_it_is(kind):
    build, x = MODELS[kind]
    model = build()
    model.compile("adam", loss="mse")
    config, weights = json.dumps(model.get_config(), default=str), [weight.numpy() for weight in model.weights]
    expected = flat(model(x, training=False))
    made = regularize(model, **everything(kind))
    for a, b in zip(flat(made(x, training=False)), expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    layers = leaves(made)
    for path, layer in leaves(model).items():
        assert type(layers[path]) is type(layer) and layers[path].dtype_policy.name == layer.dtype_policy.name
        for a, b in zip(layers[path].variables, layer.variables, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a is not b and a.trainable == b.trainable
    assert type(made) is type(model) and made.name == model.name and not made.compiled
    assert json.dumps(model.get_config(), default=str) == config and not model.losses and model.compiled
    for a, b in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["convolutional", "mixed precision", "nested", "recurrent", "shared"])
def test_result_trains_saves_and_loads_and_needs_no_class_of_this_library(kind, tmp_path):
    build, x = MODELS[kind]
    made = regularize(build(), **everything(kind))
    assert "keras_consistency" not in json.dumps(made.get_config(), default=str)
    targets = keras.tree.map_structure(lambda out: np.ones(out.shape, "float32"), made(x))
    before = [weight.numpy() for weight in made.trainable_weights]
    made.compile(keras.optimizers.Adam(0.01), loss="mse", run_eagerly=True)
    made.fit(x, targets, epochs=2, verbose=0)
    assert all(np.any(a != b) for a, b in zip(before, made.trainable_weights, strict=True))
    made.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(flat(loaded(x)), flat(made(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(sum(loaded.losses), sum(made.losses), rtol=1e-6)
    assert len(loaded.losses) == len(made.losses) > 0
    assert [layer.dtype_policy.name for layer in loaded.layers] == [layer.dtype_policy.name for layer in made.layers]


def test_result_exports(tmp_path):
    made = regularize(convolutional(), **ALL)
    made.export(str(tmp_path), verbose=False)
    served = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(served.serve(tf.constant(IMAGES)), made(IMAGES), atol=1e-6)


# Penalties.

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")
ONE_LAYER = {
    "Dense": (lambda: dense(4), [5]),
    "EinsumDense": (lambda: LAYERS.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), [5, 3]),
    "Conv1D": (lambda: LAYERS.Conv1D(4, 2), [5, 3]),
    "Conv2D": (lambda: LAYERS.Conv2D(4, 2), [4, 4, 3]),
    "Conv3D": (lambda: LAYERS.Conv3D(4, 2), [3, 3, 3, 2]),
    "Conv1DTranspose": (lambda: LAYERS.Conv1DTranspose(4, 2), [5, 3]),
    "Conv2DTranspose": (lambda: LAYERS.Conv2DTranspose(4, 2), [4, 4, 3]),
    "Conv3DTranspose": (lambda: LAYERS.Conv3DTranspose(4, 2), [3, 3, 3, 2]),
    "DepthwiseConv1D": (lambda: LAYERS.DepthwiseConv1D(2, depth_multiplier=2), [5, 3]),
    "DepthwiseConv2D": (lambda: LAYERS.DepthwiseConv2D(2), [4, 4, 3]),
    "SeparableConv1D": (lambda: LAYERS.SeparableConv1D(4, 2), [5, 3]),
    "SeparableConv2D": (lambda: LAYERS.SeparableConv2D(4, 2), [4, 4, 3]),
    "SimpleRNN": (lambda: LAYERS.SimpleRNN(4), [5, 3]),
    "LSTM": (lambda: LAYERS.LSTM(4), [5, 3]),
    "GRU": (lambda: LAYERS.GRU(4), [5, 3]),
    "ConvLSTM1D": (lambda: LAYERS.ConvLSTM1D(2, 2), [3, 5, 2]),
    "Bidirectional": (lambda: LAYERS.Bidirectional(LAYERS.GRU(4)), [5, 3]),
    "TimeDistributed": (lambda: LAYERS.TimeDistributed(LAYERS.Conv1D(4, 2)), [3, 5, 2]),
    "RNN": (lambda: LAYERS.RNN([LAYERS.LSTMCell(3), LAYERS.SimpleRNNCell(2)]), [5, 3]),
    "MultiHeadAttention": (None, [5, 3]),
}


def one_layer(name):
    """A model of one layer, with weights away from zero."""
    make, shape = ONE_LAYER[name]
    inputs = keras.Input(shape)
    if make is None:
        model = keras.Model(inputs, LAYERS.MultiHeadAttention(2, 3)(inputs, inputs))
    else:
        model = keras.Model(inputs, make()(inputs))
    numbers = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(numbers.normal(size=weight.shape))
    return model


def penalty(weights, l1, l2):
    values = [weight.numpy().astype("float64") for weight in weights]
    return sum(l1 * np.abs(value).sum() + l2 * np.square(value).sum() for value in values)


@pytest.mark.parametrize("name", ONE_LAYER)
def test_penalty_is_that_of_exactly_the_kernels(name):
    model = one_layer(name)
    kernels = [weight for weight in model.weights if weight.name in KERNELS]
    biases = [weight for weight in model.weights if weight.name == "bias"]
    assert kernels and biases and len(kernels) + len(biases) == len(model.trainable_weights)
    made = regularize(model, l1=0.003, l2=0.02)
    np.testing.assert_allclose(sum(made.losses), penalty(kernels, 0.003, 0.02), rtol=1e-5)
    made = regularize(model, l2=0.02, biases=True)
    np.testing.assert_allclose(sum(made.losses), penalty(kernels + biases, 0, 0.02), rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("foreign", ["hidden", "logits"]),
        ("nested", ["stack/a", "stack/b", "branch/a", "logits"]),
        ("shared", ["twin", "joint", "logits"]),
    ],
)
def test_penalty_of_a_model_counts_each_layer_once(kind, named):
    model = MODELS[kind][0]()

    def kernel(path):
        layer = model
        for name in path.split("/"):
            layer = layer.get_layer(name)
        return layer.kernel

    expected = penalty(map(kernel, named), 0.003, 0.02)
    np.testing.assert_allclose(sum(regularize(model, **ALL).losses), expected, rtol=1e-5)


def test_gradient_of_the_penalty():
    made = regularize(convolutional(), l1=0.003, l2=0.02)
    with tf.GradientTape() as tape:
        loss = tf.add_n(made.losses)
    for weight, gradient in zip(made.weights, tape.gradient(loss, made.weights), strict=True):
        if weight.name == "kernel":
            value = weight.numpy().astype("float64")
            np.testing.assert_allclose(gradient, 0.003 * np.sign(value) + 0.04 * value, rtol=1e-5, atol=1e-8)
        else:
            assert gradient is None


def test_penalty_that_is_there_is_added_to():
    options = {"kernel_regularizer": keras.regularizers.L2(0.1), "bias_regularizer": "l1", "activity_regularizer": "l2"}
    model = keras.Sequential([keras.Input([5]), dense(4, **options), dense(3, kernel_regularizer="l1")])
    first, bias, second, _ = model.weights
    made = regularize(model, l1=0.003, l2=0.02)
    expected = penalty([first], 0.003, 0.12) + penalty([second], 0.013, 0.02) + penalty([bias], 0.01, 0)
    np.testing.assert_allclose(sum(made.losses), expected, rtol=1e-5)
    np.testing.assert_allclose(
        sum(regularize(made, l2=0.5).losses), expected + penalty([first, second], 0, 0.5), rtol=1e-5
    )
    made(X)
    activity = 0.01 * np.square(model.layers[0](X).numpy().astype("float64")).sum() / len(X)
    np.testing.assert_allclose(sum(made.losses), expected + activity, rtol=1e-5)
    given = penalty([first], 0, 0.1) + penalty([second, bias], 0.01, 0)
    # What is penalised is what the layer used to return, of which a normalisation now makes another value.
    made = regularize(model, batch_norm=True)
    made(X)
    np.testing.assert_allclose(sum(made.losses), given + activity, rtol=1e-5)


def test_embeddings_are_left_unless_asked_for():
    model = texts()
    embeddings = model.get_layer("embedding").embeddings
    kernels = [weight for weight in model.weights if weight.name in KERNELS]
    np.testing.assert_allclose(sum(regularize(model, l2=0.02).losses), penalty(kernels, 0, 0.02), rtol=1e-5)
    made = regularize(model, l2=0.02, embeddings=True)
    np.testing.assert_allclose(sum(made.losses), penalty([*kernels, embeddings], 0, 0.02), rtol=1e-5)


# Which layers.


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        (["stack"], ["stack/a", "stack/b"]),
        (["a"], ["stack/a", "branch/a"]),
        (["b", "logits"], ["stack/b", "logits"]),
        (lambda layer: layer.units == 5, ["stack/b", "branch/a"]),
    ],
)
def test_layers_are_chosen_by_name_or_by_a_function(layers, named):
    lines = []
    regularize(nested(), l2=0.02, layers=layers, print_fn=lines.append)
    assert [line.split()[0] for line in lines[1:]] == named


def test_frozen_layers_are_left_and_what_is_trainable_stays():
    model = nested()
    model.get_layer("branch").trainable = False
    model.get_layer("stack").get_layer("b").trainable = False
    model.get_layer("logits").bias.trainable = False
    lines = []
    made = regularize(model, **ALL, print_fn=lines.append)
    assert [line.split()[0] for line in lines if "frozen" in line] == ["stack/b", "branch/a"]
    assert len(made.losses) == 2
    assert [weight.shape for weight in made.trainable_weights if "norm" not in weight.path] == [
        weight.shape for weight in model.trainable_weights
    ]
    assert [layer.name for layer in made.get_layer("branch").layers] == [
        layer.name for layer in model.get_layer("branch").layers
    ]


def test_a_frozen_model_around_a_layer_stays_frozen_and_leaves_it():
    model = nested()
    for name in ("stack", "branch"):
        model.get_layer(name).trainable = False
        model.get_layer(name).get_layer("a").trainable = True
    made = regularize(model, l2=0.02)
    assert len(made.losses) == 1
    for name in ("stack", "branch"):
        assert not made.get_layer(name).trainable and made.get_layer(name).get_layer("a").trainable


def test_says_what_is_done_and_what_is_left(capsys):
    kc.regularize(recurrent(), **ALL)
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert list(lines) == ["each", "both", "attention", "cells", "gru", "logits"]
    assert "L1 0.003, L2 0.02 of kernel; norm up to 1.5 of kernel; batch normalisation" in lines["each"]
    assert lines["each"].endswith("dropout 0.25")
    assert "of kernel, recurrent;" in lines["both"] and "no batch_norm: neither" in lines["both"]
    assert "no max_norm: " in lines["attention"] and "no dropout: neither" in lines["attention"]
    assert "no dropout: several outputs" in lines["gru"]
    assert "no dropout: an output layer" in lines["logits"] and "no batch_norm: an output layer" in lines["logits"]
    assert "'functional" in text.splitlines()[0]


# Dropout.


def names(model):
    return [layer.name for layer in model.layers]


def test_dropout_comes_behind_normalisation_and_activation_of_hidden_layers():
    layers = [
        LAYERS.Conv2D(4, 3, name="conv"),
        LAYERS.BatchNormalization(name="norm"),
        LAYERS.ReLU(name="relu"),
        LAYERS.MaxPooling2D(name="pool"),
        LAYERS.Conv2D(4, 2, activation="relu", name="second"),
        LAYERS.Flatten(name="flat"),
        LAYERS.Dropout(0.5, name="there"),
        dense(6, name="hidden"),
        LAYERS.Activation("tanh", name="tanh"),
        dense(3, name="logits"),
    ]
    made = regularize(keras.Sequential([keras.Input([8, 8, 2]), *layers]), dropout=0.25)
    expected = ["conv", "norm", "relu", "conv_dropout", "pool", "second", "flat", "there", "hidden", "tanh"]
    assert names(made) == [*expected, "hidden_dropout", "logits"]
    assert [made.get_layer(f"{name}_dropout").rate for name in ("conv", "hidden")] == [0.25, 0.25]


def test_dropout_behind_a_sum_is_not_that_of_its_terms():
    x = keras.Input([5])
    total = LAYERS.Dropout(0.1, name="of_the_sum")(LAYERS.Add(name="sum")([x, dense(5, name="hidden")(x)]))
    made = regularize(keras.Model(x, dense(3)(total)), dropout=0.25)
    assert names(made)[1:5] == ["hidden", "hidden_dropout", "sum", "of_the_sum"]


def test_dropout_of_layers_that_share_an_activation():
    model = shared()
    outputs = {"logits": model.output["logits"]}
    made = regularize(keras.Model(model.input, outputs), dropout=0.25)
    added = [name for name in names(made) if "dropout" in name]
    assert added == ["twin_dropout", "twin_dropout_1", "joint_dropout"]
    # Where the features are an output themselves, nothing is left out of them.
    assert [name for name in names(regularize(model, dropout=0.25)) if "dropout" in name] == added[:2]


def test_hidden_is_what_every_way_out_leads_from_through_another_kernel():
    x = keras.Input([5])
    skipped, head = dense(5, name="skipped")(x), dense(5, name="head")
    normalized = LAYERS.BatchNormalization()(head(dense(6, name="hidden")(x)))
    body = keras.Model(x, keras.ops.relu(normalized + skipped), name="body")
    lines = []
    made = regularize(body, dropout=0.25, print_fn=lines.append)
    assert [name for name in names(made) if "dropout" in name] == ["hidden_dropout"]
    # Inside another model, with a layer behind it, all of them are hidden.
    outer = keras.Sequential([keras.Input([5]), body, dense(3, name="logits")])
    made = regularize(outer, dropout=0.25)
    added = [name for name in names(made.get_layer("body")) if "dropout" in name]
    assert sorted(added) == ["head_dropout", "hidden_dropout", "skipped_dropout"]


def test_hidden_layers_of_a_nested_model_of_several_inputs_and_outputs():
    inputs = {name: keras.Input([5], name=name) for name in ("z", "b")}
    outputs = {"y": dense(4, name="early")(inputs["b"]), "a": dense(4, name="late")(inputs["z"])}
    inner = keras.Model(inputs, outputs, name="inner")
    x = {name: keras.Input([5], name=name) for name in ("p", "q")}
    made = inner({"z": x["p"], "b": LAYERS.Dropout(0.1)(dense(5, name="first")(x["q"]))})
    model = keras.Model(x, [dense(3, name="logits")(made["y"]), made["a"]])
    lines = []
    regularized = regularize(model, dropout=0.25, print_fn=lines.append)
    said = {line.split()[0]: line.partition("  ")[2] for line in (line.strip() for line in lines[1:])}
    assert {name: line.strip() for name, line in said.items()} == {
        "first": "no dropout: dropout already",
        "inner/early": "dropout 0.25",
        "inner/late": "no dropout: an output layer",
        "logits": "no dropout: an output layer",
    }
    for a, b in zip(flat(regularized({"p": X, "q": 2 * X})), flat(model({"p": X, "q": 2 * X})), strict=True):
        np.testing.assert_array_equal(a, b)


def test_output_of_a_nested_model_is_an_output():
    inner = keras.Model(*(lambda x: (x, dense(3, name="logits")(dense(name="hidden")(x))))(keras.Input([5])))
    x = keras.Input([5])
    for outer in (keras.Model(x, inner(x)), keras.Model(x, inner(x) * 2.0), keras.Sequential([x, inner])):
        made = regularize(outer, dropout=0.25)
        assert names(made.get_layer(inner.name))[1:] == ["hidden", "hidden_dropout", "logits"]


def test_dropout_is_found_beyond_the_end_of_a_nested_model():
    body = keras.Sequential([keras.Input([5]), dense(6, name="hidden")], name="body")
    outer = keras.Sequential([keras.Input([5]), body, LAYERS.Dropout(0.5), dense(3)])
    with pytest.raises(ValueError, match=r"dropout already \('body/hidden'\)"):
        regularize(outer, dropout=0.25)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("timed", [False, True])
def test_convolutions_lose_whole_channels_and_dense_layers_units(rank, timed):
    shape = [4] * rank + [2]
    convolution = getattr(LAYERS, f"Conv{rank}D")(64, 1, bias_initializer="ones", name="conv")
    layers = [LAYERS.TimeDistributed(convolution, name="conv") if timed else convolution, LAYERS.Flatten(), dense(3)]
    model = keras.Sequential([keras.Input([3, *shape] if timed else shape), *layers])
    made = regularize(model, dropout=0.25)
    x = np.zeros([8, *model.input_shape[1:]], "float32")
    kept = made.get_layer("conv_dropout")(made.get_layer("conv")(x), training=True).numpy()
    axes = tuple(range(2 if timed else 1, kept.ndim - 1))
    np.testing.assert_array_equal(kept.min(axes), kept.max(axes))
    np.testing.assert_allclose(np.unique(kept), [0, 1 / 0.75], rtol=1e-6)
    assert abs(np.mean(kept == 0) - 0.25) < 0.08
    assert len(np.unique(kept.min(axes), axis=0)) > 1, "one draw for the whole batch"


# Batch normalisation.


def test_normalisation_stands_between_layer_and_activation():
    model = convolutional()
    made = regularize(model, batch_norm=True)
    assert names(made)[:4] == ["conv", "conv_normalization", "conv_activation", "max_pooling2d"]
    assert made.get_layer("conv").activation is keras.activations.linear
    hidden = made.get_layer("hidden_activation")
    features = keras.Model(made.inputs[0], hidden.output)
    before = keras.Model(made.inputs[0], made.get_layer("hidden").output)
    # The layers before are normalised too, but not while they answer in inference mode.
    for name in ("conv", "leaky"):
        made.get_layer(f"{name}_normalization").trainable = False
    scores = before(IMAGES).numpy().astype("float64")
    mean, variance = scores.mean(axis=0), scores.var(axis=0)
    expected = np.tanh((scores - mean) / np.sqrt(variance + 2.0**-10))
    np.testing.assert_allclose(features(IMAGES, training=True), expected, atol=1e-5)
    layer = made.get_layer("hidden_normalization")
    np.testing.assert_allclose(layer.moving_mean, 0.01 * mean, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, 0.99 * (1 - 2.0**-10) + 0.01 * variance, atol=1e-6)


@pytest.mark.parametrize("name", ["BatchNormalization", "LayerNormalization", "GroupNormalization"])
def test_layers_that_are_normalised_are_left(name):
    options = {"groups": 2} if name == "GroupNormalization" else {}
    layers = [dense(name="a", activation="relu"), getattr(LAYERS, name)(name="there", **options)]
    layers += [dense(name="b"), LAYERS.PReLU(name="prelu"), dense(3)]
    lines = []
    made = regularize(keras.Sequential([keras.Input([5]), *layers]), batch_norm=True, print_fn=lines.append)
    assert names(made)[:5] == ["a", "there", "b", "b_normalization", "prelu"]
    assert "normalised already" in lines[1] and lines[2].endswith("batch normalisation")


def test_normalisation_of_a_shared_layer_is_shared():
    made = regularize(shared(), batch_norm=True)
    assert [name for name in names(made) if "normalization" in name] == ["twin_normalization"]
    x = {"left": X, "right": X + 100}
    made(x, training=True)
    moments = [made.get_layer("twin")(each).numpy().mean(axis=0) for each in x.values()]
    moved = made.get_layer("twin_normalization").moving_mean.numpy()
    orders = [0.99 * 0.01 * a + 0.01 * b for a, b in (moments, moments[::-1])]
    assert min(np.abs(moved - order).max() for order in orders) < 1e-4


def test_axis_of_the_channels():
    options = {"data_format": "channels_first", "activation": "relu"}
    model = keras.Sequential([keras.Input([2, 8, 8]), LAYERS.Conv2D(4, 3, name="conv", **options)])
    model.add(LAYERS.Flatten())
    model.add(dense(3))
    made = regularize(model, batch_norm=True, dropout=0.25)
    assert made.get_layer("conv_normalization").axis == 1
    assert made.get_layer("conv_dropout").noise_shape == (None, None, 1, 1)


# Norms.

# For each class, the weights that enter one unit as rows, of a kernel in float64.
ROWS = {
    "Dense": lambda w: w.T,
    "Conv1D": lambda w: w.reshape(-1, w.shape[-1]).T,
    "Conv2D": lambda w: w.reshape(-1, w.shape[-1]).T,
    "Conv2DTranspose": lambda w: np.swapaxes(w, -1, -2).reshape(-1, w.shape[-2]).T,
    "DepthwiseConv1D": lambda w: w.reshape(w.shape[0], -1).T,
    "DepthwiseConv2D": lambda w: w.reshape(w.shape[0] * w.shape[1], -1).T,
    "LSTM": lambda w: w.T,
    "RNN": lambda w: w.T,
}
LAYER_TYPES = [*ROWS, "SeparableConv2D"]


@pytest.mark.parametrize("name", LAYER_TYPES)
def test_norms_of_what_enters_a_unit_are_bounded_after_a_step(name):
    made = regularize(one_layer(name), max_norm=0.8)
    numbers = np.random.default_rng(1)
    for weight in made.trainable_weights:
        weight.assign(numbers.normal(size=weight.shape) * numbers.uniform(0, 2, [weight.shape[-1]]))
    kernels = [weight for weight in made.weights if weight.name in KERNELS]
    before = [weight.numpy().astype("float64") for weight in kernels]
    others = [(weight, weight.numpy()) for weight in made.trainable_weights if weight.name == "bias"]
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.apply([tf.zeros(weight.shape) for weight in made.trainable_weights], made.trainable_weights)
    clipped = 0
    for old, weight in zip(before, kernels, strict=True):
        kind = {"depthwise_kernel": "DepthwiseConv2D", "pointwise_kernel": "Conv2D"}.get(weight.name, name)
        kind = name if name.startswith("Depthwise") else kind
        rows, received = ROWS[kind](old), ROWS[kind](weight.numpy().astype("float64"))
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(received, rows * np.minimum(1, 0.8 / norms), atol=1e-5)
        clipped += np.sum(norms > 0.8)
    assert clipped > 0
    for weight, value in others:
        np.testing.assert_array_equal(weight, value)


# Models of `keras.applications`.


def test_network_with_normalisation_of_its_own():
    model = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=4, classifier_activation=None
    )
    made = regularize(model, l2=1e-4, dropout=0.1, layers=lambda layer: not isinstance(layer, LAYERS.DepthwiseConv2D))
    x = np.random.default_rng(0).normal(size=[2, 32, 32, 3]).astype("float32")
    np.testing.assert_array_equal(made(x), model(x))
    kernels = [layer.kernel for layer in model.layers if type(layer) in (LAYERS.Conv2D, LAYERS.Dense)]
    assert len(kernels) == 36
    np.testing.assert_allclose(sum(made.losses), penalty(kernels, 0, 1e-4), rtol=1e-5)
    order = names(made)
    assert order[order.index("Conv1_dropout") - 1] == "Conv1_relu"
    # At the end of a residual branch, in front of the sum.
    _, added = _compat.origin(made.get_layer("block_2_add").output)
    assert "block_2_project_dropout" in [_compat.origin(tensor)[0].name for tensor in added]
    assert len([name for name in order if name.endswith("_dropout")]) == 35


# As a student.


@pytest.mark.parametrize("name", ["fixmatch", "mean_teacher", "trades"])
def test_student_of_a_recipe_pays_each_penalty_once(name):
    student = recipes.student()
    losses = []
    for network in (student, regularize(student, l1=0.003, l2=0.02)):
        model = recipes.model(name, network=network, compiled={"run_eagerly": True})
        losses.append(model.train_on_batch({"labeled": X[:4], "unlabeled": X[4:12]}, Y[:4], return_dict=True))
    kernels = [weight for weight in recipes.student().weights if weight.name == "kernel"]
    assert len(kernels) == 2
    difference = losses[1]["supervised_loss"] - losses[0]["supervised_loss"]
    assert difference == pytest.approx(penalty(kernels, 0.003, 0.02), rel=1e-4)


@pytest.mark.parametrize(("optimizer", "run_eagerly"), [("adamw", False), ("rmsprop", True)])
def test_all_of_it_trains_in_one_fit_with_consistency(optimizer, run_eagerly):
    options = {"optimizer": keras.optimizers.get(optimizer), "compiled": {"run_eagerly": run_eagerly}}
    model = recipes.model("mean_teacher", network=regularize(residual(), **ALL), **options)
    before = recipes.state(model)
    logs = model.fit(recipes.batches(), verbose=0, shuffle=False).history
    assert np.isfinite(logs["loss"]).all() and logs["consistency_loss"][0] > 0
    assert all(np.any(a != b) for a, b in zip(before, recipes.state(model), strict=True))


def test_two_replicas_train_what_one_would():
    def build():
        student = regularize(recipes.student(), l2=0.02, batch_norm=True, max_norm=1.0)
        return recipes.model("fixmatch", network=student)

    replicas_test.assert_same(build)


# Bad input.


class Unbuildable(LAYERS.Layer):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def call(self, inputs):
        return inputs


@keras.saving.register_keras_serializable(package="regularization_test")
class Deaf(LAYERS.Dense):
    """Ignores its penalty."""

    def build(self, input_shape):
        super().build(input_shape)
        self.kernel.regularizer = None


def sequential(*layers):
    return keras.Sequential([keras.Input([5]), *layers])


def of_two_models():
    layer = dense(5)
    return sequential(layer, sequential(layer, dense(3)))


def subclassed():
    model = Subclassed()
    model(X)
    return model


def twice():
    layer = dense(5)
    return sequential(layer, LAYERS.ReLU(), layer, dense(3))


def frozen():
    model = residual()
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("build", "options", "error", "words"),
    [
        (residual, {}, ValueError, "at least one of `l1=`.*Received: l1=0.0, l2=0.0"),
        (residual, {"l1": -0.1}, ValueError, r"`l1`.*\[0, inf\).*Received: l1=-0.1"),
        (residual, {"l2": float("nan")}, ValueError, "`l2`.*Received: l2=nan"),
        (residual, {"l2": True}, ValueError, "`l2`.*Received: l2=True"),
        (residual, {"dropout": 1.0}, ValueError, r"`dropout`.*\[0, 1\).*Received: dropout=1.0"),
        (residual, {"max_norm": 0}, ValueError, "`max_norm`.*Received: max_norm=0"),
        (residual, {"batch_norm": 1}, TypeError, "`batch_norm`.*Received: batch_norm=1"),
        (residual, {"l2": 0.1, "biases": "no"}, TypeError, "`biases`.*Received: biases='no'"),
        (residual, {"dropout": 0.1, "biases": True}, ValueError, "`biases=True` needs.*Received: biases=True"),
        (residual, {"dropout": 0.1, "embeddings": True}, ValueError, "`embeddings=True` needs.*Received"),
        (residual, {"l2": 0.1, "print_fn": "no"}, TypeError, "`print_fn`.*Received: print_fn='no'"),
        (residual, {"l2": 0.1, "layers": "first"}, TypeError, "`layers`.*Received: layers='first'"),
        (
            residual,
            {"l2": 0.1, "layers": ["frist"]},
            ValueError,
            r"`layers`.*'first', 'logits'.*there are no \['frist'\]",
        ),
        (residual, {"l2": 0.1, "layers": []}, ValueError, r"`layers`.*Received: layers=\[\]"),
        (residual, {"l2": 0.1, "layers": lambda layer: False}, ValueError, "`l2`.*there is none with a kernel"),
        (
            residual,
            {"dropout": 0.1, "layers": ["logits"]},
            ValueError,
            "`dropout`.*an output layer.*Received: dropout=0.1",
        ),
        (lambda: sequential(dense(3)), {"l2": 0.1, "batch_norm": True}, ValueError, "`batch_norm`.*an output layer"),
        (
            lambda: sequential(LAYERS.ReLU()),
            {"l2": 0.1},
            ValueError,
            "`l2`.*no layer takes it.*Received: l1=0.0, l2=0.1",
        ),
        (frozen, {"l2": 0.1}, ValueError, r"`l2`.*frozen \('first', 'second', 'logits'\)"),
        (dense, {"l2": 0.1}, TypeError, "`model` must be a `keras.Model`.*Received: model="),
        (lambda: keras.Sequential([dense()]), {"l2": 0.1}, ValueError, "`model` must be built.*Received.*not built"),
        (
            subclassed,
            {"l2": 0.1},
            ValueError,
            "`model` must be a functional or Sequential.*Received: model=<Subclassed",
        ),
        (of_two_models, {"l2": 0.1}, ValueError, "`model`.*in two of the models.*Received"),
        (twice, {"l2": 0.1}, ValueError, "`model`.*twice in a Sequential one.*Received"),
        (
            lambda: sequential(Unbuildable(3), dense()),
            {"l2": 0.1},
            ValueError,
            "`model`.*`get_config`.*Received: model=<Sequential.*number",
        ),
        (
            lambda: sequential(Deaf(3)),
            {"l2": 0.1},
            ValueError,
            "`layers` must leave out.*Received.*'deaf', which ignores",
        ),
        (
            lambda: sequential(dense(3, kernel_regularizer="orthogonal_regularizer", name="own")),
            {"l2": 0.1},
            ValueError,
            "`layers` must leave out 'own'.*Received: kernel_regularizer=<.*OrthogonalRegularizer",
        ),
        (
            lambda: sequential(dense(3, kernel_constraint="non_neg", name="own")),
            {"max_norm": 1.0},
            ValueError,
            "`layers` must leave out 'own'.*Received: kernel_constraint=.*NonNeg",
        ),
        (lambda: one_layer("EinsumDense"), {"max_norm": 1.0}, ValueError, "`max_norm`.*known to enter one unit"),
        (lambda: one_layer("LSTM"), {"batch_norm": True}, ValueError, "`batch_norm`.*neither Dense nor a convolution"),
    ],
)
def test_bad_input(build, options, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        regularize(build(), **options)
