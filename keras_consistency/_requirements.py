"""What must be installed before the package can be imported."""

_TENSORFLOW = (2, 18)
_KERAS = (3, 12)


def check():
    """Imports TensorFlow and Keras and compares their versions with the oldest supported ones.

    Raises:
        ImportError: in one sentence, what is missing or too old and what to install.
    """
    try:
        import tensorflow as tf

        # With an old TensorFlow, Keras 3 may fail to import: the version is the better message.
        if _release(tf.__version__) < _TENSORFLOW:
            raise ImportError(f"TensorFlow is {tf.__version__}")
        import keras

        if _release(keras.__version__) < _KERAS:
            raise ImportError(f"Keras is {keras.__version__}")
    except ImportError as error:
        raise ImportError(
            f"keras_consistency needs TensorFlow >= {'.'.join(map(str, _TENSORFLOW))} and "
            f"Keras >= {'.'.join(map(str, _KERAS))} "
            f'({error}); install them with `pip install "keras-consistency[tensorflow]"`, or with '
            '`pip install "keras-consistency[tensorflow-cpu]"` where there is no GPU.'
        ) from error
    if keras.config.backend() != "tensorflow":
        raise ImportError(
            "keras_consistency runs on Keras's TensorFlow backend: set the environment variable "
            f"`KERAS_BACKEND=tensorflow` before Keras is imported. Received: backend={keras.config.backend()!r}"
        )


def _release(version):
    """Major and minor number of a version string."""
    return tuple(int(part) for part in version.split(".")[:2])
