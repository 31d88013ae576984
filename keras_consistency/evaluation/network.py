"""The network that is judged: its answers in inference mode, as functions of inputs."""

import keras
import numpy as np
import tensorflow as tf

from keras_consistency import embeddings
from keras_consistency.serving import ServingModel

# Smaller probabilities count as this one, which keeps their logarithm and its gradient finite.
_LEAST = 1e-30


class Network:
    """The classes that a model predicts.

    Args:
        model: a built `keras.Model`; of a `kc.ConsistencyModel`, the network that it evaluates.
        prediction: where the model returns a dictionary, the name of the output to read; else `None`.
        from_logits: whether the model returns logits rather than probabilities.
        spec: `tf.TensorSpec` of a batch of inputs.

    Attributes:
        compute_dtype: of the model; attacks look at it.
    """

    def __init__(self, model, *, prediction, from_logits, spec):
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a `keras.Model`. Received: model={model!r}")
        if not isinstance(from_logits, bool):
            raise TypeError(f"`from_logits` must be True or False. Received: from_logits={from_logits!r}")
        self.model = model
        self.prediction = prediction
        if isinstance(model, ServingModel):
            self.model = model.network
            self.prediction = model.prediction if prediction is None else prediction
        if not self.model.built:
            raise ValueError(
                "`model` must be built: start it with a `keras.Input`, or call it on a batch first. Received: "
                f"model={model!r}, not built"
            )
        self.from_logits = from_logits
        self.compute_dtype = self.model.compute_dtype
        self._graph = self.compiled(self.probabilities, spec)
        self._seen = False

    @staticmethod
    def compiled(function, *signature):
        """A graph of a function, one for batches of any length."""

        class Graph:
            """Callable of a class of its own: TensorFlow counts traces by code, and would warn of many graphs."""

            def __call__(self, *inputs):
                return function(*inputs)

        return tf.function(Graph(), input_signature=signature, autograph=False)

    def __call__(self, inputs):
        """The logits, or the logarithms of the probabilities, `(examples, classes)`; differentiable."""
        answer = self._answer(inputs)
        return answer if self.from_logits else tf.math.log(tf.maximum(tf.cast(answer, tf.float32), _LEAST))

    def probabilities(self, inputs):
        """The class probabilities, float32 `(examples, classes)`."""
        return tf.nn.softmax(tf.cast(self(inputs), tf.float32))

    def _answer(self, inputs):
        answer = embeddings.call(self.model, inputs, training=False)
        if isinstance(answer, dict):
            if self.prediction not in answer:
                raise ValueError(
                    "`prediction` must name the output to read, as the model returns a dictionary: one of "
                    f"{sorted(answer)}. Received: prediction={self.prediction!r}"
                )
            answer = answer[self.prediction]
        elif self.prediction is not None:
            raise ValueError(
                "`prediction` must be None for a model that returns no dictionary. Received: "
                f"prediction={self.prediction!r}"
            )
        if not tf.is_tensor(answer) or answer.shape.rank != 2 or answer.shape[-1] is None or answer.shape[-1] < 2:
            raise ValueError(
                "`model` must return scores (examples, classes) of at least two classes; give one of two classes two "
                f"outputs. Received: a model that returns {getattr(answer, 'shape', answer)}"
            )
        return answer

    def inside(self, name, inputs):
        """What the layer of a name makes of the inputs, and its mask, as `embeddings.read` returns them."""
        return embeddings.read(self.model, name, inputs)

    def predict(self, inputs):
        """The class probabilities of a batch, NumPy float32 `(examples, classes)`.

        Raises:
            ValueError: for a model that returns NaN, or is another kind of model than `from_logits` says.
        """
        if not self._seen:
            self._check_kind(inputs)
            self._seen = True
        return finite(self._graph(inputs))

    def _check_kind(self, inputs):
        scores = finite(tf.cast(self._answer(tf.convert_to_tensor(inputs)), tf.float32))
        probabilities = scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() < 1e-2
        if probabilities == self.from_logits:
            other = not self.from_logits
            raise ValueError(
                f"`from_logits` must be {other} for a model that returns "
                f"{'logits' if other else 'probabilities: rows that are not negative and sum to 1'}. Received: "
                f"from_logits={self.from_logits}, and answers from {scores.min():.4g} to {scores.max():.4g}"
            )


def finite(scores):
    """What a model returned, `(examples, classes)`, as a NumPy array; raises where some are not finite."""
    scores = np.asarray(scores)
    if not np.isfinite(scores).all():
        raise ValueError(
            "`model` must return finite numbers: look at its weights, and at the range of its inputs. Received: "
            f"{int((~np.isfinite(scores)).any(axis=1).sum())} examples of a batch with NaN or infinity"
        )
    return scores
