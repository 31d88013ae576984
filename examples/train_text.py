"""Tells good film reviews from bad ones by few labels, with and without consistency: a text classifier.

    python -m examples.train_text --labels=100 --runs=3

The texts are reviews of IMDb (`imdb25k`, in a package: no download). `--labels` training reviews keep their label, half
of them of each class; the recipe sees all of them without. The supervised baseline and the recipe start from the same
weights and see the same labels for the same number of steps; both are measured on the test reviews with the moving
average of their weights after the last step. With the defaults, a seed takes about a minute on two CPU cores; seeds 0,
1 and 2 gave 78.4, 77.0 and 76.6 %, and without consistency 66.1, 68.7 and 67.8 %. (Logistic regression on TF-IDF of
words and pairs of words, from the same labels: 72.2, 73.3 and 72.8 %.) Writes the learning curves (PNG), the figures
(JSON) and the SavedModel, which takes texts.

The vocabulary, the views, the steps and the recipe's settings were chosen on held-out training reviews, two draws of
4,000; the test reviews chose nothing. Most depends on leaving out the words that stand in more than a tenth of the
reviews: with them, what sets two kinds of reviews apart most clearly, and is learnt from the unlabelled ones, is not
whether they praise. The baseline would gain a point at most from them.
"""

import datetime
import inspect
import json
import os
import time
from collections import Counter

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import matplotlib  # noqa: E402

matplotlib.use("agg")
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from matplotlib import pyplot  # noqa: E402

import keras_consistency as kc  # noqa: E402
from examples import outputs  # noqa: E402

# Those that take a weak and a strong view, and nothing else.
RECIPES = ("dash", "fixmatch", "flexmatch", "freematch", "refixmatch", "softmatch", "uda")
WORDS = 128  # of a text that the student reads, of those in its vocabulary
EVALUATIONS = 10  # test accuracies in the learning curve


def spaced(texts):
    """The texts, in lower case, with a space for everything between words: strings `(n,)` to strings `(n,)`."""
    return tf.strings.regex_replace(tf.strings.lower(texts), r"<br />|[^\pL']+", " ")


def vocabulary(texts, *, least=0.0005, most=0.1):
    """The words that are neither rare nor common, and how much each says; no label is needed for that.

    Args:
        texts: byte strings.
        least, most: share of the texts that a word must stand in.

    Returns:
        List of words, and the logarithm of one over each word's share, float32.

    Raises:
        ValueError: if there is no such word.
    """
    counts = Counter(word for text in spaced(texts).numpy() for word in set(text.split()))
    shares = {word: count / len(texts) for word, count in counts.items() if least <= count / len(texts) <= most}
    if not shares:
        raise ValueError(f"No word stands in {least:.1%} to {most:.0%} of the {len(texts)} texts.")
    words = sorted(shares)
    return words, -np.log([shares[word] for word in words], dtype="float32")


class Reader(keras.layers.Layer):
    """Numbers of the words in texts: strings `(n,)` to integers `(n, WORDS)`, from 1 on, 0 behind the last.

    Words outside the vocabulary are left out first, so that a long review is read to its end, where the verdict stands.
    """

    def __init__(self, words):
        super().__init__()
        self.number = keras.layers.TextVectorization(vocabulary=words, standardize=spaced, ragged=True)

    def call(self, texts):
        numbers = self.number(texts) - 1
        return tf.ragged.boolean_mask(numbers, numbers > 0).to_tensor(shape=[None, WORDS])


def build_student(weights, classes, *, units=32):
    """A network that reads the numbers of words; returns logits.

    They are a linear function of the sum of the words' embeddings, weighted as in TF-IDF.

    Args:
        weights: of each word of the vocabulary; padding weighs nothing.
        classes: how many.
        units: length of an embedding.
    """
    numbers = keras.Input((WORDS,), dtype="int64")
    importance = keras.layers.Embedding(len(weights) + 1, 1, trainable=False, name="importance")
    weight = keras.layers.UnitNormalization(axis=1)(importance(numbers))
    importance.set_weights([np.concatenate([[0], weights])[:, np.newaxis]])
    embedded = keras.layers.Embedding(len(weights) + 1, units)(numbers)
    x = keras.layers.Flatten()(keras.layers.Dot(axes=1)([weight, embedded]))
    return keras.Model(numbers, keras.layers.Dense(classes)(keras.layers.Dropout(0.3)(x)), name="student")


def strong_view(lexicon=None, *, seed=0):
    """What the student is shown of an unlabelled text: 3 words in 10, some of them synonyms if there is a lexicon.

    The order of words and sentences says nothing to a student that sums them up.
    """
    deletion = kc.augment.text.WordDeletion(strength=0.7, seed=seed)
    if lexicon is None:
        return deletion
    synonyms = kc.augment.text.SynonymReplacement(lexicon=lexicon, strength=0.3, seed=seed)
    return kc.augment.Chain([synonyms, deletion], seed=seed)


def build_model(recipe, student, *, steps, examples, seed=0):
    """The model of a recipe, or of the supervised baseline for `None`, with a warm-up that fits the number of steps."""
    if recipe is None:
        return kc.ConsistencyModel(student, [], teacher=kc.teachers.EMA(targets_from="student"), seed=seed)
    function = getattr(kc.recipes, recipe)
    fitting = {
        # Answers grow sure faster than a mean of a hundred batches follows: all texts would become one class.
        "alignment": kc.alignments.DistributionAlignment(momentum=0.9),
        "warmup_steps": steps // 10,
        "examples": examples,
    }
    if recipe == "uda":
        fitting["threshold"] = 0.0  # with the paper's 0.8, hundreds of steps pass before an answer is sure enough
    taken = inspect.signature(function).parameters
    arguments = {name: value for name, value in fitting.items() if name in taken}
    return function(student, weak=keras.layers.Identity(), strong="strong", seed=seed, **arguments)


def batches(recipe, labeled, unlabeled, reader, *, batch_size, ratio, steps, lexicon, seed):
    """Batches of numbers of words: views are made of the texts, which are numbered last."""
    options = {"batch_size": batch_size, "ratio": ratio, "steps": steps, "seed": seed, "indexed": recipe is not None}
    data = kc.data.pair(labeled, unlabeled, **options)
    if recipe is None:
        return data.map(lambda inputs, y: (reader(inputs["labeled"]), y))
    data = kc.data.with_views(data, strong=strong_view(lexicon, seed=seed), seed=seed)

    def numbered(inputs, y):
        return {key: reader(value) if value.dtype == tf.string else value for key, value in inputs.items()}, y

    return data.map(numbered, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def train(
    recipe, train_data, test_data, words, *, labels, steps, batch_size, ratio, learning_rate, lexicon=None, seed=0
):
    """Trains one model and measures it on the test texts.

    Args:
        recipe: name of a recipe, or `None` for the supervised baseline.
        train_data, test_data: `(texts, labels)` arrays.
        words: those that the student knows, and their weights: a `vocabulary`.
        labels: number of training labels to keep; all training texts serve as unlabelled ones.
        steps, batch_size, ratio, learning_rate, lexicon, seed: as the flags.

    Returns:
        A `keras.Model` from texts to logits, and a dictionary with `accuracy`, `seconds` and `history`.
    """
    start = time.perf_counter()
    (x, y), classes = train_data, int(train_data[1].max()) + 1
    keras.utils.set_random_seed(seed)
    reader, student = Reader(words[0]), build_student(words[1], classes)
    model = build_model(recipe, student, steps=steps, examples=len(x), seed=seed)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.1)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rows = kc.datasets.labeled_indices(y, labels // classes, seed=seed)
    options = {"batch_size": batch_size, "ratio": ratio, "steps": steps // EVALUATIONS, "lexicon": lexicon}
    fitted = model.fit(
        batches(recipe, (x[rows], y[rows]), x, reader, seed=seed, **options),
        epochs=EVALUATIONS,
        validation_data=(reader(test_data[0]), test_data[1]),
        validation_batch_size=500,
        shuffle=False,  # the batches are
        verbose=0,
    )
    history = {name: [float(value) for value in values] for name, values in fitted.history.items()}
    served = keras.Sequential([keras.Input((), dtype="string"), reader, model.network])
    return served, {"accuracy": history["val_accuracy"][-1], "seconds": time.perf_counter() - start, "history": history}


def compare(recipe, train_data, test_data, *, runs, seed, **budget):
    """Trains both models `runs` times, with seeds of their own: the recipe's last model, and the results by name."""
    results, words = {"supervised": [], recipe: []}, vocabulary(train_data[0])
    for run in range(seed, seed + runs):
        for name, found in results.items():
            chosen = None if name == "supervised" else recipe
            model, result = train(chosen, train_data, test_data, words, seed=run, **budget)
            found.append(result)
            print(f"seed {run}, {name}: {result['accuracy']:.1%}, {result['seconds']:.0f} seconds", flush=True)
    return model, results


def load_texts(name):
    """Training and test texts with labels: two pairs of arrays.

    Raises:
        app.UsageError: if there is no such data set, it cannot be had, or it holds no texts.
    """
    try:
        train_data, test_data = kc.datasets.load(name)
    except (ValueError, ConnectionError, ImportError) as error:
        raise app.UsageError(f"--dataset: {error}") from None
    if train_data[0].dtype != object or train_data[0].ndim != 1:
        raise app.UsageError(
            f"--dataset must hold texts. Received: --dataset={name}, with {train_data[0].dtype} inputs of shape "
            f"{train_data[0].shape[1:]}"
        )
    return train_data, test_data


def check_lexicon(path):
    """Raises an `app.UsageError` unless there is a lexicon, or none is wanted."""
    try:
        strong_view(path)
    except (OSError, ValueError) as error:
        raise app.UsageError(f"--lexicon: {error}") from None


def check_sizes(y, *, labels, unlabeled):
    """Raises an `app.UsageError` unless the texts suffice for the labels and for the unlabelled ones of one step."""
    classes, rarest = int(y.max()) + 1, int(np.bincount(y).min())
    if labels % classes or labels > classes * rarest:
        raise app.UsageError(
            f"--labels must be a multiple of the number of classes, {classes}, and at most {classes * rarest}. "
            f"Received: --labels={labels}"
        )
    if unlabeled > len(y):
        raise app.UsageError(
            f"--batch_size times --ratio must be at most the number of training texts, {len(y)}. "
            f"Received: a product of {unlabeled}"
        )


def plot(results, steps, path):
    """Writes the test accuracy over the steps of every run as a PNG."""
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    at = [steps * (number + 1) // EVALUATIONS for number in range(EVALUATIONS)]
    for color, (name, runs) in enumerate(results.items()):
        mean = np.mean([run["accuracy"] for run in runs])
        for number, run in enumerate(runs):
            label = None if number else f"{name} ({mean:.1%})"
            axes.plot(at, run["history"]["val_accuracy"], marker="o", color=f"C{color}", label=label)
    axes.set(xlabel="optimizer steps", ylabel="test accuracy", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def table(results, labels, steps):
    """The final figures as a small text table: means, and the accuracy of each run."""
    lines = [f"{'':14}{'labels':>8}{'steps':>8}{'test accuracy':>16}{'seconds':>10}   each run"]
    for name, runs in results.items():
        accuracy, seconds = (np.mean([run[key] for run in runs]) for key in ("accuracy", "seconds"))
        each = " ".join(f"{run['accuracy']:.1%}" for run in runs)
        lines.append(f"{name:14}{labels:>8}{steps:>8}{accuracy:>16.1%}{seconds:>10.0f}   {each}")
    return "\n".join(lines)


def define_flags():
    """Defines the flags, here and not on import: examples name some alike."""
    flags.DEFINE_enum("recipe", "uda", RECIPES, "How to learn from the unlabelled texts.")
    flags.DEFINE_string("dataset", "imdb25k", "imdb25k (offline), or any data set of texts of tfds.")
    flags.DEFINE_integer("labels", 100, "Labelled texts in all, equally many a class.", lower_bound=1)
    flags.DEFINE_integer("steps", 600, "Optimizer steps of each run, a multiple of 10.", lower_bound=10)
    flags.DEFINE_integer("batch_size", 32, "Labelled texts a step.", lower_bound=1)
    flags.DEFINE_integer("ratio", 7, "Unlabelled texts a step for each labelled one.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 1e-3, "Of Adam, before its cosine decay.", lower_bound=0.0)
    flags.DEFINE_string("lexicon", None, "Of synonyms: WordNet's folder, or a file of `word<TAB>synonym,synonym`.")
    flags.DEFINE_integer("runs", 1, "Seeds to train both models with.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "The first seed: of the labels drawn, the weights and the views.", lower_bound=0)
    flags.DEFINE_string("output_dir", None, "New or empty directory. Default: runs/RECIPE-DATASET-TIME.")
    flags.register_validator("steps", lambda steps: steps % EVALUATIONS == 0, "must be a multiple of 10")


def main(argv):
    """Trains the models and writes what came of it."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)
    names = ("labels", "steps", "batch_size", "ratio", "learning_rate", "lexicon", "runs", "seed")
    budget = {name: flags.FLAGS[name].value for name in names}
    recipe, dataset = flags.FLAGS.recipe, flags.FLAGS.dataset
    check_lexicon(budget["lexicon"])
    train_data, test_data = load_texts(dataset)
    check_sizes(train_data[1], labels=budget["labels"], unlabeled=budget["batch_size"] * budget["ratio"])
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    output = outputs.prepare(flags.FLAGS.output_dir or f"runs/{recipe}-{dataset}-{stamp}")

    model, results = compare(recipe, train_data, test_data, **budget)
    (output / "results.json").write_text(json.dumps({"dataset": dataset, **budget, "runs": results}, indent=2) + "\n")
    plot(results, budget["steps"], output / "curves.png")
    model.export(str(output / "saved_model"), verbose=False)
    print(f"\n{table(results, budget['labels'], budget['steps'])}\n")
    print(f"Learning curves: {output / 'curves.png'}\nSavedModel:      {output / 'saved_model'}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
