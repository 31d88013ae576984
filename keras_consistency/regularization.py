"""Classical regularisation of a model that exists: penalties, dropout, batch normalisation, bounded norms."""

import dataclasses
import re
from typing import NamedTuple

import keras

from keras_consistency.parts import check_range
from keras_consistency.rebuilding import Blueprint

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
_CELLS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)
_NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
_DROPOUTS = (keras.layers.Dropout, keras.layers.AlphaDropout, keras.layers.GaussianDropout)
_KERNELS = ("kernel", "depthwise", "pointwise", "recurrent")

# With a variance that adds up to 1 with it, without rounding in float16, a new normalisation changes nothing.
_EPSILON = 2.0**-10


class _Asked(NamedTuple):
    """The arguments of `regularize` that say what is to be done."""

    l1: float
    l2: float
    dropout: float
    batch_norm: bool
    max_norm: float | None
    biases: bool
    embeddings: bool

    @property
    def weights(self):
        """Whose penalties and constraints are to be set, by the names that Keras gives their arguments."""
        return _KERNELS + self.biases * ("bias",) + self.embeddings * ("embeddings",)


@dataclasses.dataclass
class _Row:
    """What becomes of a layer: what is done, and what is not, by argument."""

    done: dict = dataclasses.field(default_factory=dict)
    left: dict = dataclasses.field(default_factory=dict)


def regularize(
    model,
    *,
    l1=0.0,
    l2=0.0,
    dropout=0.0,
    batch_norm=False,
    max_norm=None,
    biases=False,
    embeddings=False,
    layers=None,
    print_fn=print,
):
    """A model with the same weights that is regularised where the given one is not.

    The model returned is a plain functional or Sequential `keras.Model`, not compiled, made of new layers of the same
    names, which says in its configuration all that was added: it saves, loads, exports, and is a student like any
    other. The given model stays as it is. Which layers were changed, and which were left and why, is printed.

    What is done to which layers:

    - `l1`, `l2`: every kernel, `l1 sum |w| + l2 sum w^2` added to the loss. Kernels are those of Dense, EinsumDense,
      convolutions (depthwise and separable ones too), attention, recurrent layers (recurrent kernels too), and of any
      layer whose configuration has a `kernel_regularizer`. An L1 or L2 penalty that is there already is added to.
    - `dropout`: every hidden Dense, convolution, SimpleRNN, LSTM and GRU, behind the normalisation and activation that
      follow it; of convolutions whole channels, as `keras.layers.SpatialDropout2D` does. Where a dropout layer comes
      before the next layer with a kernel, there is no second one.
    - `batch_norm`: every hidden Dense and convolution, between the layer and its activation, which becomes a layer of
      its own. Where a normalisation comes before the next layer with a kernel, there is no second one. Over several
      replicas the statistics are those of the whole batch.
    - `max_norm`: every kernel of Dense, convolutions, SimpleRNN, LSTM and GRU: after each step of the optimizer, the
      weights that enter one unit have at most this L2 norm (`keras.constraints.MaxNorm`).

    Hidden is a layer from which every way to an output of the model leads through another layer with a kernel. Frozen
    layers are left as they are, and so are those inside layers and models of other classes, of whose connections Keras
    keeps no record. Layers inside nested functional and Sequential models, `TimeDistributed`, `Bidirectional` and
    `RNN` are reached.

    In inference mode the outputs are those of the given model, to the bit: a new normalisation starts with a mean of 0,
    and a variance that is 1 together with its epsilon, `2**-10`. In training mode it normalises by the batch, and needs
    a few hundred steps until its moving statistics are those of the data.

    Args:
        model: built functional or Sequential `keras.Model`.
        l1: factor of the sum of absolute weights, 0 or more.
        l2: factor of the sum of squared weights, 0 or more.
        dropout: share of units, or of the channels of convolutions, that a training step leaves out, in [0, 1).
        batch_norm: whether to normalise over the batch.
        max_norm: largest norm of the weights into a unit, above 0; `None` for any.
        biases: whether `l1` and `l2` apply to biases too.
        embeddings: whether `l1`, `l2` and `max_norm` apply to the vectors of embeddings too.
        layers: which layers to change: a list of names, of layers or of nested models (for all that is in them), or a
            function from a layer to a boolean. `None` for all.
        print_fn: called with each line that says what was done, such as `logging.info`; `None` for silence.

    Returns:
        A `keras.Model`.

    Raises:
        TypeError: for arguments of a wrong type.
        ValueError: for numbers out of range; where nothing is asked for, or something that no layer takes; for a model
            that is not built, not functional or Sequential, or not to be made again from its configuration; for a layer
            that has a penalty other than L1 and L2, or a constraint, already; for unknown names.

    Example:
        >>> student = kc.regularize(student, l2=5e-4, dropout=0.3)
        >>> model = kc.recipes.fixmatch(student)

    References:
        - A. Krogh, J. A. Hertz, [A simple weight decay can improve
          generalization](https://proceedings.neurips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html),
          1991.
        - N. Srivastava et al., [Dropout](https://jmlr.org/papers/v15/srivastava14a.html), 2014 (dropout and `max_norm`,
          section 5.1).
        - J. Tompson et al., [Efficient object localization using convolutional networks](https://arxiv.org/abs/1411.4280),
          2015, section 3.2 (channels).
        - W. Zaremba et al., [Recurrent neural network regularization](https://arxiv.org/abs/1409.2329), 2014 (what a
          recurrent layer returns, not what it keeps).
        - S. Ioffe, C. Szegedy, [Batch normalization](https://arxiv.org/abs/1502.03167), 2015, section 3.2 (before the
          activation).
        - X. Li et al., [Understanding the disharmony between dropout and batch normalization by variance
          shift](https://arxiv.org/abs/1801.05134), 2019 (dropout behind the normalisation).
    """
    asked = _checked(l1, l2, dropout, batch_norm, max_norm, biases, embeddings)
    if print_fn is not None and not callable(print_fn):
        raise TypeError(f"`print_fn` must be a function of a line, or None. Received: print_fn={print_fn!r}")
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a `keras.Model`. Received: model={model!r}")
    if not model.built:
        raise ValueError(
            "`model` must be built: start it with a `keras.Input`, or call it on a batch first. "
            f"Received: model={model!r}, not built"
        )
    blueprint = Blueprint(model)
    leaves = [leaf for leaf in blueprint.leaves if _has_kernel(leaf.operation)]
    chosen = _chosen(leaves, layers)
    outer = {id(leaf) for leaf in blueprint.unguarded(_has_kernel)}
    rows = {}
    for leaf in chosen:
        row = rows[leaf.path] = _Row()
        if leaf.frozen:
            row.left["frozen"] = "frozen"
            continue
        _penalize(leaf, asked, row)
        _bound(leaf, asked, row)
        reason = "an output layer" if id(leaf) in outer else None
        if asked.batch_norm:
            _normalize(blueprint, leaf, reason, row)
        if asked.dropout:
            _drop(blueprint, leaf, asked.dropout, reason, row)
    _refuse_untouched(asked, layers, rows)
    regularized, made = blueprint.build()
    for path, row in rows.items():
        if "l1, l2" in row.done and not any(weight.regularizer for weight in made[path].trainable_weights):
            raise ValueError(
                "`layers` must leave out layers that do not train the weights to be penalised. "
                f"Received: layers={layers!r}, and the layer {path!r}, which ignores its `kernel_regularizer`"
            )
    if print_fn is not None:
        for line in _table(model, chosen, rows):
            print_fn(line)
    return regularized


def _checked(l1, l2, dropout, batch_norm, max_norm, biases, embeddings):
    check_range("l1", l1, 0, float("inf"), open_high=True)
    check_range("l2", l2, 0, float("inf"), open_high=True)
    check_range("dropout", dropout, 0, 1, open_high=True)
    if max_norm is not None:
        check_range("max_norm", max_norm, 0, float("inf"), open_low=True, open_high=True)
    for name, value in (("batch_norm", batch_norm), ("biases", biases), ("embeddings", embeddings)):
        if not isinstance(value, bool):
            raise TypeError(f"`{name}` must be True or False. Received: {name}={value!r}")
    if not (l1 or l2 or dropout or batch_norm or max_norm):
        raise ValueError(
            "Give at least one of `l1=`, `l2=` and `dropout=` above 0, `batch_norm=True` or `max_norm=`. Received: "
            f"l1={l1!r}, l2={l2!r}, dropout={dropout!r}, batch_norm={batch_norm!r}, max_norm={max_norm!r}"
        )
    if biases and not (l1 or l2):
        raise ValueError(f"`biases=True` needs `l1=` or `l2=` above 0. Received: biases=True, l1={l1!r}, l2={l2!r}")
    if embeddings and not (l1 or l2 or max_norm):
        raise ValueError(
            "`embeddings=True` needs `l1=` or `l2=` above 0, or `max_norm=`. "
            f"Received: embeddings=True, l1={l1!r}, l2={l2!r}, max_norm={max_norm!r}"
        )
    return _Asked(float(l1), float(l2), float(dropout), batch_norm, max_norm, biases, embeddings)


def _chosen(leaves, layers):
    """The leaves that `layers` names."""
    if layers is None:
        return leaves
    if callable(layers):
        return [leaf for leaf in leaves if layers(leaf.operation)]
    if not isinstance(layers, (list, tuple)) or not all(isinstance(name, str) for name in layers):
        raise TypeError(f"`layers` must be a list of names, a function of a layer or None. Received: layers={layers!r}")
    known = {name for leaf in leaves for name in leaf.path.split("/")}
    unknown = [name for name in layers if name not in known]
    if unknown or not layers:
        names = sorted(known)
        raise ValueError(
            f"`layers` must name layers of the model that have a kernel, or models around them: some of {names}. "
            f"Received: layers={layers!r}" + (f", of which there are no {unknown}" if unknown else "")
        )
    return [leaf for leaf in leaves if set(layers) & set(leaf.path.split("/"))]


def _has_kernel(operation):
    """Whether a layer makes new features, rather than to rescale those that it is shown."""
    passes = (*_NORMALIZATIONS, *_ACTIVATIONS, keras.layers.Normalization)
    return bool(getattr(operation, "weights", None)) and not isinstance(operation, passes)


def _inner(layer, config):
    """The layer in which a layer keeps its kernel, with its configuration: itself, unless it wraps another one."""
    while isinstance(layer, keras.layers.Wrapper) and not isinstance(layer, keras.layers.Bidirectional):
        layer, config = layer.layer, config["layer"]["config"]
    return layer, config


def _is_timed(leaf):
    return isinstance(leaf.operation, keras.layers.TimeDistributed)


def _holders(layer, config):
    """The layers and cells in which a layer keeps weights, with their configurations."""
    layer, config = _inner(layer, config)
    if isinstance(layer, keras.layers.Bidirectional):
        found = [*_holders(layer.forward_layer, config["layer"]["config"])]
        return [*found, *_holders(layer.backward_layer, config["backward_layer"]["config"])]
    if isinstance(layer, keras.layers.RNN) and "cell" in config:
        return _holders(layer.cell, config["cell"]["config"])
    if isinstance(layer, keras.layers.StackedRNNCells):
        pairs = zip(layer.cells, config["cells"], strict=True)
        return [holder for cell, entry in pairs for holder in _holders(cell, entry["config"])]
    return [(layer, config)]


def _penalize(leaf, asked, row):
    """Sets the penalties of a layer."""
    if not (asked.l1 or asked.l2):
        return
    done = []
    for layer, config in _holders(leaf.operation, leaf.config):
        for weights in asked.weights:
            key = f"{weights}_regularizer"
            if key in config and not (weights == "bias" and _has_no_bias(config)):
                config[key] = _sum_of_penalties(leaf.path, key, config[key], asked)
                done.append(weights)
        if isinstance(layer, keras.layers.Embedding) and not asked.embeddings:
            row.left["l1, l2"] = "an embedding"
    if done:
        names = [f"{name.upper()} {value:g}" for name, value in (("l1", asked.l1), ("l2", asked.l2)) if value]
        row.done["l1, l2"] = f"{', '.join(names)} of {', '.join(dict.fromkeys(done))}"
    else:
        row.left.setdefault("l1, l2", "no `kernel_regularizer`")


def _has_no_bias(config):
    return config.get("use_bias") is False or ("bias_axes" in config and config["bias_axes"] is None)


def _sum_of_penalties(path, key, entry, asked):
    """The configuration of the penalty that is there, with the one asked for added to it."""
    known = keras.regularizers.get(entry)
    if known is not None and type(known) not in (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2):
        raise ValueError(
            f"`layers` must leave out {path!r}, which has a penalty that L1 and L2 cannot be added to. "
            f"Received: {key}={known!r}"
        )
    l1, l2 = (float(getattr(known, name, 0.0)) for name in ("l1", "l2"))
    return keras.saving.serialize_keras_object(keras.regularizers.L1L2(l1=l1 + asked.l1, l2=l2 + asked.l2))


def _bound(leaf, asked, row):
    """Sets the constraints of a layer."""
    if asked.max_norm is None:
        return
    done = []
    for layer, config in _holders(leaf.operation, leaf.config):
        for weights, axis in _incoming(layer, config).items():
            if weights not in asked.weights:
                continue
            key = f"{weights}_constraint"
            if config.get(key) is not None:
                raise ValueError(
                    f"`layers` must leave out {leaf.path!r}, which has a constraint, as a weight has only one. "
                    f"Received: {key}={config[key]!r}"
                )
            config[key] = keras.saving.serialize_keras_object(keras.constraints.MaxNorm(asked.max_norm, axis=axis))
            done.append(weights)
    if done:
        row.done["max_norm"] = f"norm up to {asked.max_norm:g} of {', '.join(dict.fromkeys(done))}"
    else:
        row.left["max_norm"] = "no weights that are known to enter one unit"


def _incoming(layer, config):
    """Over which axes of a layer's weights those that enter one unit lie, by the name of the weights."""
    if isinstance(layer, (keras.layers.Dense, *_RECURRENT, *_CELLS)):
        return {"kernel": 0} | ({} if isinstance(layer, keras.layers.Dense) else {"recurrent": 0})
    if isinstance(layer, keras.layers.Embedding):
        return {"embeddings": 1}
    if not isinstance(layer, _CONVOLUTIONS):
        return {}
    rank = len(config["kernel_size"])
    space = list(range(rank))
    if "depthwise_regularizer" in config:
        return {"depthwise": space} | ({"pointwise": [*space, rank]} if "pointwise_regularizer" in config else {})
    return {"kernel": [*space, rank + 1 if isinstance(layer, _TRANSPOSED) else rank]}


def _normalize(blueprint, leaf, reason, row):
    """Puts a normalisation between a layer and its activation."""
    layer, config = _inner(leaf.operation, leaf.config)
    if not isinstance(layer, (keras.layers.Dense, *_CONVOLUTIONS)):
        reason = "neither Dense nor a convolution"
    elif reason is None and any(_before_next(blueprint, call[0], _NORMALIZATIONS) for call in leaf.calls):
        reason = "normalised already"
    if reason is not None:
        row.left["batch_norm"] = reason
        return
    tensors, name, dtype = [call[0] for call in leaf.calls], leaf.operation.name, layer.dtype_policy
    normalization = keras.layers.BatchNormalization(
        axis=1 + _is_timed(leaf) if config.get("data_format") == "channels_first" else -1,
        epsilon=_EPSILON,
        moving_variance_initializer=keras.initializers.Constant(1 - _EPSILON),
        synchronized=True,
        name=f"{name}_normalization",
        dtype=dtype,
    )
    blueprint.insert(tensors, normalization)
    row.done["batch_norm"] = "batch normalisation"
    activation = config.get("activation")
    if activation not in (None, "linear"):
        config["activation"] = "linear"
        after = keras.layers.Activation("linear", name=f"{name}_activation", dtype=dtype)
        entry = keras.saving.serialize_keras_object(after)
        entry["config"]["activation"] = activation
        if config.get("activity_regularizer") is not None:
            entry["config"]["activity_regularizer"] = config.pop("activity_regularizer")
        blueprint.insert(tensors, entry)
        row.done["batch_norm"] += " before its activation"


def _drop(blueprint, leaf, rate, reason, row):
    """Puts dropout behind a layer, its normalisation and its activation."""
    layer, config = _inner(leaf.operation, leaf.config)
    kind = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
    if not isinstance(kind, (keras.layers.Dense, *_CONVOLUTIONS, *_RECURRENT)):
        reason = "neither Dense, a convolution, SimpleRNN, LSTM nor GRU"
    elif reason is None and any(len(call) > 1 or call[0].index for call in leaf.calls):
        reason = "several outputs"
    elif reason is None and any(_before_next(blueprint, call[0], _DROPOUTS) for call in leaf.calls):
        reason = "dropout already"
    if reason is not None:
        row.left["dropout"] = reason
        return
    shape = None
    if isinstance(layer, _CONVOLUTIONS):
        space = [1] * len(config["kernel_size"])
        shape = (None, None, *space) if config["data_format"] == "channels_first" else (None, *space, None)
        shape = (None,) * _is_timed(leaf) + shape
    for call in leaf.calls:
        place = call[0]
        for step, tensor in blueprint.following(call[0]):
            if not (isinstance(step.operation, _NORMALIZATIONS) or _is_activation(step.operation)):
                break
            place = tensor
        # Not `SpatialDropout2D`, whose configuration loses the policy of mixed precision.
        options = {"name": f"{leaf.operation.name}_dropout", "dtype": layer.dtype_policy}
        blueprint.insert([place], keras.layers.Dropout(rate, noise_shape=shape, **options))
    row.done["dropout"] = f"dropout {rate:g}" + (" of channels" if shape else "")


def _before_next(blueprint, tensor, classes):
    """Whether a tensor goes through a layer of some classes before it meets another tensor or a kernel."""
    for leaf, _ in blueprint.following(tensor):
        if isinstance(leaf.operation, classes):
            return True
        if _has_kernel(leaf.operation):
            return False
    return False


def _is_activation(operation):
    """Whether it is a layer or an operation that applies one of Keras's activations."""
    if isinstance(operation, keras.layers.Layer):
        return isinstance(operation, _ACTIVATIONS)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
    return callable(getattr(keras.activations, name, None))


def _refuse_untouched(asked, layers, rows):
    """Raises where something is asked for that is done to no layer."""
    wanted = {"l1, l2": asked.l1 or asked.l2, "dropout": asked.dropout, "batch_norm": asked.batch_norm}
    wanted["max_norm"] = asked.max_norm
    for name, value in wanted.items():
        if value and not any(name in row.done for row in rows.values()):
            reasons = {}
            for path, row in rows.items():
                reasons.setdefault(row.left.get(name, row.left.get("frozen")), []).append(path)
            why = "; ".join(f"{reason} ({_some(paths)})" for reason, paths in reasons.items())
            arguments = " and ".join(f"`{each}`" for each in name.split(", ") if getattr(asked, each))
            raise ValueError(
                f"{arguments} must be left out, as no layer takes it: {why or 'there is none with a kernel'}. "
                f"Received: {', '.join(f'{each}={getattr(asked, each)!r}' for each in name.split(', '))}, "
                f"layers={layers!r}"
            )


def _some(paths):
    """The first few of some names."""
    return ", ".join(map(repr, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _table(model, leaves, rows):
    """What was done, a line for each layer."""
    lines = [f"Regularised copy of {model.name!r}:"]
    names = [f"{leaf.path} ({type(leaf.operation).__name__})" for leaf in leaves]
    width = max(map(len, names))
    for name, row in zip(names, rows.values(), strict=True):
        left = [f"no {what}: {why}" for what, why in row.left.items() if what != "frozen"]
        parts = ["left, as it is frozen"] if "frozen" in row.left else [*row.done.values(), *left]
        lines.append(f"  {name:<{width}}  {'; '.join(parts)}")
    return lines
