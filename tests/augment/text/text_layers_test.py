"""What holds for every text layer: a row of the table is a test of each of its promises."""

import functools
import pathlib
import unicodedata

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.augment import Chain, text
from keras_consistency.ops import random

LEXICON = pathlib.Path(__file__).parent / "lexicon.tsv"
VOCABULARY = "a and film good happy plot the very 다시 아주 영화".split()
# How to make each layer, and which characters it may bring into a text.
LAYERS = {
    "character_noise": text.CharacterNoise,
    "random_insertion": functools.partial(text.RandomInsertion, LEXICON),
    "sentence_shuffle": text.SentenceShuffle,
    "synonym_replacement": functools.partial(text.SynonymReplacement, LEXICON),
    "tfidf_replacement": functools.partial(
        text.TfIdfReplacement, vocabulary=VOCABULARY, frequencies=[*range(1, 12)], idf=[*range(12, 1, -1)]
    ),
    "token_masking": text.TokenMasking,
    "word_deletion": text.WordDeletion,
    "word_swap": text.WordSwap,
}
BROUGHT = {
    "random_insertion": LEXICON.read_text(encoding="utf-8"),
    "synonym_replacement": LEXICON.read_text(encoding="utf-8") + LEXICON.read_text(encoding="utf-8").upper(),
    "tfidf_replacement": " ".join(VOCABULARY).title() + " ".join(VOCABULARY),
    "token_masking": "[MASK]",
}
BASES = {text.TextLayer}

SEED = tf.constant([11, 12], tf.int64)
ENGLISH = "A good film, and a happy end! We saw it twice. Would you see it again? Yes (of course): it is very good."
KOREAN = "이 영화는 정말 좋은 이야기였다. 배우들이 “훌륭한 영화다!”라고 말했다… 다시 볼까요? 네, 아주 기쁜 마음으로요!"
# Texts in which there is nothing to choose, or little that may go wrong.
ODD = [
    b"",
    b" \t\r\n ",
    b"  two  spaces\tand\n\na  line ",
    b"nul\x00 bytes \x00.",
    b"\xff\xfe. not utf-8 \xe3\x80. film \x80\x80\x80\x80\x80 end",
    "de\u0301compose\u0301 \u1112\u1161\u11ab".encode(),
    "👩‍👩‍👧 emoji. 😀! done".encode(),
    ("word " * 500).encode(),
]


@pytest.fixture(params=LAYERS)
def name(request):
    return request.param


@pytest.fixture
def make(name):
    return lambda **kwargs: LAYERS[name](**{"strength": 0.5} | kwargs)


def texts(count=12):
    return tf.constant([ENGLISH, KOREAN, *ODD, ENGLISH[20:], KOREAN[20:]])[:count]


def flat(*views):
    return [each for view in views for each in np.ravel(view.numpy()).tolist()]


def layers_below(base):
    for cls in base.__subclasses__():
        if cls.__module__.startswith("keras_consistency."):
            yield cls
        yield from layers_below(cls)


def test_every_layer_has_a_row():
    found = set(layers_below(text.TextLayer))
    assert text.WordSwap in found
    assert found == {type(make()) for make in LAYERS.values()}


def test_views_differ_from_the_texts_and_between_equal_texts(make):
    for each in (ENGLISH, KOREAN):
        views = make(seed=1)(tf.constant([each] * 16)).numpy()
        assert len(set(views)) >= 4
        assert sum(view != each.encode() for view in views) >= 4


def test_seed_repeats_the_views_and_another_does_not(make):
    batch = texts()
    assert flat(make(seed=1)(batch)) == flat(make(seed=1)(batch))
    assert flat(make()(batch, seed=SEED)) == flat(make()(batch, seed=SEED))
    assert flat(make(seed=1)(batch)) != flat(make(seed=2)(batch))
    layer = make(seed=1)
    assert flat(layer(batch)) != flat(layer(batch))


@pytest.mark.parametrize("shape", [(), (6,), (6, 1), (2, 3), (0,), (0, 1)])
def test_shape_and_dtype_are_kept(make, shape):
    batch = tf.reshape(texts(int(np.prod(shape))), shape)
    views = make()(batch, seed=SEED)
    assert views.dtype == tf.string and views.shape == shape
    assert flat(views) == flat(make()(texts(), seed=SEED))[: int(np.prod(shape))]


def test_arrays_of_python_strings_and_bytes_are_texts(make):
    views = flat(make()(texts(2), seed=SEED))
    assert flat(make()(np.array([ENGLISH, KOREAN]), seed=SEED)) == views
    assert flat(make()(np.array([ENGLISH.encode(), KOREAN.encode()], dtype=object), seed=SEED)) == views


def test_strength_zero_is_the_identity_to_the_bit(make):
    assert flat(make(strength=0.0, seed=1)(texts())) == flat(texts())
    assert flat(make(strength=0, seed=1)(texts())) == flat(texts())


def test_inference_is_the_identity(make):
    assert flat(make()(texts(), training=False)) == flat(texts())


def test_stronger_views_differ_more(make):
    batch = tf.constant([ENGLISH] * 200)
    changed = [np.mean(make(strength=strength, seed=1)(batch) != batch) for strength in (0.0, 0.02, 0.2, 1.0)]
    assert changed == sorted(changed) and changed[0] == 0.0 and changed[-1] > 0.9
    assert changed[1] < 0.9


def test_view_is_the_same_whatever_else_is_in_the_batch(make):
    batch = texts()
    views = flat(make()(batch, seed=SEED))
    others = tf.constant(["something else", *ODD[2:7], *ODD[2:8]])
    for row in (0, 1, 5, 11):
        mixed = tf.where(tf.range(12) == row, batch, others)
        assert flat(make()(mixed, seed=SEED))[row] == views[row]
    assert flat(make()(batch[:3], seed=SEED)) == views[:3]


class TestModes:
    def test_graph_of_unknown_shape(self, make):
        layer = make()
        graph = tf.function(
            lambda batch: layer(batch, training=True, seed=SEED), input_signature=[tf.TensorSpec(None, tf.string)]
        )
        for batch in (texts(), tf.reshape(texts(), [3, 4]), texts(1)[0], texts(0)):
            assert flat(graph(batch)) == flat(layer(batch, seed=SEED))

    def test_dataset_map_with_parallel_calls(self, make):
        layer, batches = make(), tf.reshape(texts(), [4, 3])
        seeds = tf.reshape(tf.range(8), [4, 2])
        data = tf.data.Dataset.from_tensor_slices((batches, seeds))
        views = data.map(lambda batch, seed: layer(batch, training=True, seed=seed), num_parallel_calls=2)
        expected = [make()(batch, seed=seed) for batch, seed in zip(batches, seeds, strict=True)]
        assert flat(*views) == flat(*expected)

    def test_dataset_map_repeats_with_the_layers_own_seed(self, make):
        batches, layer = tf.reshape(texts(), [4, 3]), make(seed=3)
        views = tf.data.Dataset.from_tensor_slices(batches).map(make(seed=3))
        assert flat(*views) == flat(*(layer(each) for each in batches))

    def test_saved_model(self, make, tmp_path):
        layer, module = make(), tf.Module()
        module.layer = layer  # tracks the tables
        module.view = tf.function(
            lambda batch, seed: layer(batch, training=True, seed=seed),
            input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([2], tf.int64)],
        )
        tf.saved_model.save(module, tmp_path)
        assert flat(tf.saved_model.load(tmp_path).view(texts(), SEED)) == flat(layer(texts(), seed=SEED))

    # Keras's own way to write a variable, under NumPy 2.
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_keras_file_goes_on_where_it_stood(self, make, tmp_path):
        model = keras.Sequential([keras.Input([], dtype="string"), make(seed=5)])
        model(texts(), training=True)
        model.save(tmp_path / "model.keras")
        restored = keras.saving.load_model(tmp_path / "model.keras")
        assert flat(restored(texts(), training=True)) == flat(model(texts(), training=True))

    def test_functional_and_compiled_model(self, make):
        seen = []

        class Length(keras.layers.Layer):
            """Makes a number of a text, and keeps what it is given in training."""

            def call(self, inputs, training=False):
                if training:
                    tf.py_function(lambda batch: seen.append(flat(batch)), [inputs], [])
                return tf.cast(tf.strings.length(inputs), tf.float32)[:, None]

            def compute_output_shape(self, input_shape):
                return (*input_shape, 1)

        inputs = keras.Input([], dtype="string")
        outputs = make(seed=4)(inputs)
        assert outputs.shape == (None,) and outputs.dtype == "string"
        model = keras.Model(inputs, keras.layers.Dense(1)(Length()(outputs)))
        model.compile(keras.optimizers.SGD(0.0), "mse")
        assert not make().supports_jit  # what Keras asks before it takes XLA on a GPU
        model.fit(texts(), np.zeros([12, 1]), batch_size=12, shuffle=False, verbose=0)
        assert seen == [flat(make(seed=4)(texts()))]

    def test_replicas_make_the_views_of_one(self, make):
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
        with strategy.scope():
            layer = make(seed=1)
        halves = strategy.experimental_distribute_values_from_function(
            lambda context: texts()[6 * context.replica_id_in_sync_group :][:6]
        )
        step = tf.function(lambda batch: strategy.run(lambda batch: layer(batch, training=True), args=(batch,)))
        assert flat(*strategy.experimental_local_results(step(halves))) == flat(make(seed=1)(texts()))

    def test_chain_of_all_layers(self):
        chain = Chain([make(strength=0.3) for make in LAYERS.values()])
        expected = texts()
        for position, make in enumerate(LAYERS.values()):
            expected = make(strength=0.3)(expected, seed=random.fold(SEED, position))
        assert flat(chain(texts(), seed=SEED)) == flat(expected) != flat(texts())
        data = tf.data.Dataset.from_tensors(texts()).repeat(2)
        mapped = data.map(lambda batch: chain(batch, training=True, seed=SEED), num_parallel_calls=2)
        assert flat(*mapped) == 2 * flat(expected)


def test_config_names_every_argument_and_round_trips(make):
    layer = make(seed=8, strength=0.4)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.get_config() == layer.get_config()
    assert layer.get_config()["strength"] == 0.4 and layer.get_config()["seed"] == 8
    assert flat(restored(texts())) == flat(layer(texts()))


class TestUnicode:
    @pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
    def test_korean_stays_whole(self, name, make, strength):
        views = make(strength=strength, seed=3)(tf.constant([KOREAN, ENGLISH + " " + KOREAN] * 40)).numpy()
        own = set(KOREAN + ENGLISH + " " + BROUGHT.get(name, ""))
        for view in views:
            decoded = view.decode("utf-8")  # raises where a character is broken
            assert set(decoded) <= own
            assert unicodedata.is_normalized("NFC", decoded)

    @pytest.mark.parametrize("strength", [0.3, 1.0])
    def test_any_utf_8_stays_utf_8(self, name, make, strength):
        odd = [each for each in (*ODD[:4], *ODD[5:]) for _ in range(20)]
        for whole, view in zip(odd, make(strength=strength, seed=3)(tf.constant(odd)).numpy(), strict=True):
            assert set(view.decode("utf-8")) <= set(whole.decode("utf-8") + " " + BROUGHT.get(name, ""))

    def test_characters_beside_bytes_that_are_not_utf_8_stay_whole(self, name, make):
        own = set(ODD[4].decode("utf-8", "ignore") + BROUGHT.get(name, ""))
        for view in make(seed=3)(tf.constant([ODD[4]] * 40)).numpy():
            assert set(view.decode("utf-8", "ignore")) <= own

    @pytest.mark.parametrize("whole", ODD[:2])
    @pytest.mark.parametrize("strength", [0.5, 1.0])
    def test_without_a_word_nothing_changes(self, make, whole, strength):
        assert flat(make(strength=strength, seed=1)(tf.constant([whole] * 20))) == [whole] * 20

    def test_one_word_is_a_text(self, make):
        views = flat(make(strength=1.0, seed=1)(tf.constant(["film", "영화", "x"] * 5)))
        assert all(len(view.split()) <= 2 for view in views)


class TestBadInput:
    @pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", None, float("nan"), True])
    def test_strength(self, make, value):
        with pytest.raises(ValueError, match=r"`strength` must be a number in \[0, 1\]. Received: strength="):
            make(strength=value)

    @pytest.mark.parametrize("dtype", ["int32", "float32", "bool"])
    def test_numbers(self, make, dtype):
        with pytest.raises(TypeError, match=f"takes strings: .* Received: texts of dtype {dtype}"):
            make()(tf.zeros([3], dtype))

    def test_ragged(self, make):
        words = tf.ragged.constant([["a", "b"], ["c"]])
        with pytest.raises(TypeError, match=r"dense tensor of strings.*reduce_join.*Received: a RaggedTensor of shape"):
            make()(words)
        graph = tf.function(lambda words: make()(words, training=True))
        with pytest.raises(TypeError, match="Received: a RaggedTensor"):
            graph(words)

    def test_sparse(self, make):
        with pytest.raises(TypeError, match="Received: a SparseTensor of shape"):
            make()(tf.sparse.from_dense([["a", ""]]))


def test_layer_without_rewrite_says_so():
    with pytest.raises(NotImplementedError, match="`TextLayer` does not implement `rewrite"):
        text.TextLayer(strength=0.5)(tf.constant(["a"]))
