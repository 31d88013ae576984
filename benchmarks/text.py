"""How fast words are replaced by synonyms in a `tf.data` pipeline, beside pure Python over the same lexicon.

    python -m benchmarks.text

`kc.augment.text.SynonymReplacement` makes two batches of film reviews at once. It takes turns, in one process, with
loops over the words of one text after the other:

- `plain`: no more than it takes: `text.split()`, for each word a number of Python's `random`, for those that are chosen
  a look-up of the word in lower case without the punctuation of ASCII, and `" ".join`. Of what it replaces it loses the
  punctuation and the capitals.
- `same`: what the layer does: punctuation and capitals stay, and each text has a generator of its own, so that its view
  is a function of a seed.
- `in tf.data`: `same` inside the layer's pipeline, by `tf.numpy_function`.

Printed are the median thousands of texts a second, the processor time of a text, and the median, least and most of the
paired ratios. The lexicon is WordNet (Debian: `wordnet-base`). Where there is none, one of its size is made up of the
words of the reviews, of which it has more, so that all contenders are slower.

On two cores, at strength 0.1, the layer makes 114 thousand texts a second: 4.5 times what `plain` does, 5.2 times
`same`, 6.7 times `in tf.data`. It takes 17 microseconds of processor time a text: 3 to find the white space in its
bytes (`tf.where`), 2 to draw for each word, 7 for the strings of the words that are drawn and of what stays between
them, and the rest for 200 operations a batch and their threads.

About two minutes on two cores.
"""

import collections
import os
import pathlib
import random
import string
import time

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_consistency as kc  # noqa: E402
from benchmarks import throughput  # noqa: E402

LEXICON = flags.DEFINE_string("lexicon", "/usr/share/wordnet", "What `kc.augment.text.read_lexicon` reads.")
STRENGTHS = flags.DEFINE_list("strengths", ["0.05", "0.1", "0.3"], "Probabilities that a word is chosen.")
TEXTS = flags.DEFINE_integer("texts", 2048, "Different reviews.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Reviews of a batch.", lower_bound=1)
PARALLEL_CALLS = flags.DEFINE_integer("parallel_calls", 2, "Batches made at once.", lower_bound=1)
TURNS = flags.DEFINE_integer("turns", 9, "Turns of each contender, after one to warm up.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 1.0, "How long a turn lasts, about.", lower_bound=0.01)

MADE_UP_WORDS, MADE_UP_SYNONYMS = 49_000, 3  # about what WordNet has


def plain(text, lexicon, strength, rng):
    """A view of a text, without its punctuation and capitals where it changes."""
    words = text.split()
    for position, word in enumerate(words):
        if rng.random() < strength:
            synonyms = lexicon.get(word.strip(string.punctuation).lower())
            if synonyms:
                words[position] = rng.choice(synonyms)
    return " ".join(words)


def same(text, lexicon, strength, rng):
    """A view of a text, with its punctuation and capitals."""
    words = text.split()
    for position, word in enumerate(words):
        if rng.random() < strength:
            bare = word.strip(string.punctuation)
            synonyms = lexicon.get(bare.lower())
            if synonyms:
                synonym = rng.choice(synonyms)
                if bare[0].isupper():
                    synonym = synonym[0].upper() + synonym[1:]
                words[position] = word.replace(bare, synonym, 1)
    return " ".join(words)


class Contender:
    """What turns batches of texts into views, and is timed. A subclass implements `run(batches)`."""

    def __init__(self):
        self.batches, self.processor_seconds = 0, 0.0

    def run(self, batches):
        """Makes so many batches."""
        raise NotImplementedError

    def seconds(self, batches):
        """Seconds for so many batches."""
        start, processor_start = time.perf_counter(), time.process_time()
        self.run(batches)
        self.processor_seconds += time.process_time() - processor_start
        self.batches += batches
        return time.perf_counter() - start


class Loop(Contender):
    """Texts one by one, again and again.

    Args:
        view: function of a text and its number.
        texts: list of strings.
        batch_size: how many make a batch.
    """

    def __init__(self, view, texts, batch_size):
        super().__init__()
        self._view, self._texts, self._batch_size = view, texts, batch_size
        self._next = 0

    def run(self, batches):
        numbers = range(self._next, self._next + batches * self._batch_size)
        self._next = numbers.stop
        for number in numbers:
            self._view(self._texts[number % len(self._texts)], number)


class Pipeline(Contender):
    """A view in a `tf.data` pipeline, whose batches are read in a graph.

    Args:
        view: function of a batch of strings and its number, both tensors.
        batches: string `(batches, batch_size)`.
        parallel_calls: batches to make at once.
    """

    def __init__(self, view, batches, parallel_calls):
        super().__init__()
        options = tf.data.Options()
        options.threading.max_intra_op_parallelism = 1  # the other cores have batches of their own
        data = tf.data.Dataset.from_tensor_slices(batches).cache().repeat().enumerate()
        data = data.map(lambda number, batch: view(batch, number), num_parallel_calls=parallel_calls)
        self._iterator = iter(data.with_options(options))
        self._in_flight = tf.constant(2 * parallel_calls)
        self._take = tf.function(self._read)

    def seconds(self, batches):
        """Seconds for so many batches of a pipeline that is full, before and after."""
        self._take(self._in_flight)
        return super().seconds(batches)

    def run(self, batches):
        self._take(tf.constant(batches))

    def _read(self, batches):
        for _ in tf.range(batches):
            next(self._iterator)


def contenders(texts, lexicon, strength, batch_size, parallel_calls):
    """The layer and the loops, by name."""
    layer = kc.augment.text.SynonymReplacement(lexicon, strength=strength)
    shared = random.Random(0)

    def one_by_one(batch, number):
        views = [
            same(text.decode(), lexicon, strength, random.Random(f"{number} {row}"))
            for row, text in enumerate(batch.tolist())
        ]
        return np.array(views, dtype=object)

    batches = tf.reshape(tf.constant(texts), [-1, batch_size])
    return {
        "layer": Pipeline(lambda batch, number: layer(batch, seed=tf.stack([number, 7])), batches, parallel_calls),
        "plain": Loop(lambda text, number: plain(text, lexicon, strength, shared), texts, batch_size),
        "same": Loop(lambda text, number: same(text, lexicon, strength, random.Random(number)), texts, batch_size),
        "in tf.data": Pipeline(
            lambda batch, number: tf.numpy_function(one_by_one, [batch, number], tf.string), batches, parallel_calls
        ),
    }


def read_lexicon(path, texts):
    """The lexicon at a path, or one made up of the texts' most frequent words."""
    if pathlib.Path(path).exists():
        return kc.augment.text.read_lexicon(path)
    print(f"There is no lexicon at {path}: one of {MADE_UP_WORDS:,} words is made up.")
    counts = collections.Counter(word.strip(string.punctuation).lower() for text in texts for word in text.split())
    words = [word for word, _ in counts.most_common() if word][:MADE_UP_WORDS]
    words += [f"word{number}" for number in range(MADE_UP_WORDS - len(words))]
    rng = random.Random(0)
    return {word: rng.sample(words, MADE_UP_SYNONYMS) for word in words}


def main(argv):
    """Measures the contenders at each strength."""
    del argv
    (reviews, _), _ = kc.datasets.load("imdb25k")
    count = -(-TEXTS.value // BATCH_SIZE.value) * BATCH_SIZE.value
    texts = [reviews[row].decode() for row in np.random.default_rng(0).choice(len(reviews), count, replace=False)]
    lexicon = read_lexicon(LEXICON.value, texts)
    words = [len(text.split()) for text in texts]
    print(f"{count:,} reviews of {np.mean(words):.0f} words; a lexicon of {len(lexicon):,} words")
    print(f"{'strength':10}{'contender':14}{'1,000/s':>9}{'CPU us':>9}{'layer is':>10}{'least':>8}{'most':>8}")
    for strength in map(float, STRENGTHS.value):
        row = contenders(texts, lexicon, strength, BATCH_SIZE.value, PARALLEL_CALLS.value)
        rates = throughput.take_turns(row, BATCH_SIZE.value, turns=TURNS.value, seconds=SECONDS.value)
        for name, each in rates.items():
            processor = row[name].processor_seconds / (row[name].batches * BATCH_SIZE.value)
            line = f"{strength:<10}{name:14}{np.median(each) / 1000:>9.1f}{1e6 * processor:>9.1f}"
            if name != "layer":
                line += "{:>9.1f}x{:>8.1f}{:>8.1f}".format(*throughput.ratio(rates["layer"], each))
            print(line, flush=True)


if __name__ == "__main__":
    app.run(main)
