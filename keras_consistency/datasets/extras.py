"""The packages that only the data sets need, imported when they are used."""

import importlib

_PACKAGES = {
    "tensorflow_datasets": "tensorflow-datasets",
    "sklearn.datasets": "scikit-learn",
    "mlxtend.data": "mlxtend",
}


def require(module):
    """The imported `module`, or an `ImportError` that says which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This data set needs {_PACKAGES[module]} ({error}): run `pip install keras-consistency[examples]`."
        ) from error
