"""How good a network's answers are on examples whose labels are known."""

import contextlib

import numpy as np
import tensorflow as tf

from keras_consistency.evaluation.examples import class_numbers, read
from keras_consistency.evaluation.network import Network
from keras_consistency.report.tallies import Classes, Values

_BATCH = 256


def examples(name, data):
    """The labelled examples that the user gave as argument `name`, as `kc.evaluation` reads them."""
    with _of(name):
        return read(data, _BATCH)


@contextlib.contextmanager
def _of(name):
    """Has errors about `data` name the argument that it was given as."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(str(error).replace("`data`", f"`{name}`")) from None


def answering(network, data, *, eagerly):
    """The function from a batch of inputs of some examples to a network's answers, in inference mode.

    Args:
        network: a built `keras.Model`.
        data: what `examples` returned.
        eagerly: whether to run it without a graph.
    """

    def answer(x):
        return network(x, training=False)

    # `predict_on_batch` would give each replica the whole batch.
    return answer if eagerly else Network.compiled(answer, data.spec)


def judge(answer, data, *, name, prediction=None, loss=None, threshold=0.95):
    """What a network's answers are worth.

    Args:
        answer: what `answering` returned.
        data: what `examples` returned.
        name: of the argument that the data came as, for errors.
        prediction: the output to read, where the answers are a dictionary.
        loss: what was given to `compile`: it tells two classes from a number, and which class does not count.
        threshold: as in `Classes`.

    Returns:
        `Classes`, or `Values` where the labels are numbers; `None` where some answers are not finite.

    Raises:
        ValueError: for labels that do not fit the answers.
    """
    found = None
    with _of(name):
        for x, y in data.batches():
            answers = _read(answer(x), prediction)
            y = np.asarray(y)
            if not np.isfinite(answers).all():
                return None
            two = answers.shape[-1:] == (1,) and _name(loss).startswith("binary")
            if found is None:
                numbers = not two and (answers.shape[-1:] == (1,) or answers.ndim == 1 or _alike(answers, y))
                found = Values() if numbers else Classes(2 if two else answers.shape[-1], threshold)
                logits = _from_logits(answers, loss, two)
            if isinstance(found, Values):
                if y.size != answers.size:
                    raise ValueError(
                        f"`data` must hold a number for each of the model's. Received: labels of shape {y.shape} for "
                        f"answers of shape {answers.shape}"
                    )
                found.add(answers, y.astype("float64").reshape(answers.shape))
                continue
            found.add(*_counted(_probabilities(answers, logits, two), y, getattr(loss, "ignore_class", None)))
    return found


def _read(answers, prediction):
    if isinstance(answers, dict):
        if prediction not in answers:
            raise ValueError(
                "`prediction` must name the output to judge, as the model returns a dictionary: one of "
                f"{sorted(answers)}. Received: prediction={prediction!r}"
            )
        answers = answers[prediction]
    if isinstance(answers, (list, tuple)):
        raise ValueError("A model of several outputs must return them as a dictionary, to be judged by one of them.")
    return np.asarray(answers, "float64")


def _alike(answers, y):
    """Whether labels of the shape of the answers are numbers rather than probabilities."""
    return y.shape == answers.shape and not _distributions(y.astype("float64"))


def _distributions(rows):
    return bool(rows.min() >= 0 and np.abs(rows.sum(axis=-1) - 1).max() < 1e-2)


def _from_logits(answers, loss, two):
    if two:
        outside = bool(answers.min() < 0 or answers.max() > 1)
        return getattr(loss, "from_logits", outside)
    return not _distributions(answers)


def _probabilities(answers, logits, two):
    """Rows of probabilities, float64 `(..., classes)`."""
    if two:
        second = tf.sigmoid(answers).numpy() if logits else answers
        return np.concatenate([1 - second, second], axis=-1)
    return tf.nn.softmax(answers).numpy() if logits else answers


def _counted(probabilities, y, ignored):
    """Probabilities `(rows, classes)` and class numbers `(rows,)` of the labels that count."""
    classes = probabilities.shape[-1]
    soft = y.shape == probabilities.shape and classes > 1
    places = probabilities.shape[:-1]
    if not soft and y.shape not in (places, (*places, 1)):
        raise ValueError(
            f"`data` must hold as labels class numbers {places} or probabilities {probabilities.shape} for a batch of "
            f"answers of that shape. Received: labels of shape {y.shape}"
        )
    rows, labels = probabilities.reshape(-1, classes), y.reshape((-1, classes) if soft else -1)
    if ignored is not None and not soft:
        rows, labels = rows[labels != ignored], labels[labels != ignored]
    return rows, class_numbers(labels, classes) if len(labels) else labels.astype("int64")


def _name(loss):
    return loss if isinstance(loss, str) else str(getattr(loss, "name", None) or getattr(loss, "__name__", ""))
