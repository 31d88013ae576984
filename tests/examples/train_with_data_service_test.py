"""The data-service example, with a dispatcher and two workers in processes of their own."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBERS = np.random.default_rng(0)

# tensorflow-datasets and its dependencies, on import.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    from examples import train_with_data_service  # late: its imports may warn

    return train_with_data_service


@pytest.fixture(scope="module")
def service(example):
    """The address of a service with two workers."""
    with example.data_service.running(2) as address:
        yield address
        start = time.monotonic()
    assert time.monotonic() - start < 9, "processes were killed, and did not end by themselves"
    host, port = address.removeprefix("grpc://").split(":")
    with pytest.raises(ConnectionError):
        socket.create_connection((host, int(port)), timeout=5)


def test_weights_are_those_of_views_made_in_this_process(example, service, capsys, monkeypatch):
    digits = NUMBERS.integers(0, 255, [40, 8, 8, 1]).astype("uint8"), np.arange(40) % 10
    train, results = example.train, []

    def recorded(*arguments, **options):
        results.append(train(*arguments, **options))
        return results[-1]

    monkeypatch.setattr(example, "train", recorded)
    budget = {"labels": 20, "batch_size": 4, "ratio": 2, "steps": 7, "learning_rate": 0.01, "seed": 3}
    assert example.compare(digits, digits, service=service, **budget) <= example.TOLERANCE
    (weights, accuracy, _), (others, same_accuracy, _) = results
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert accuracy == same_accuracy
    lines = capsys.readouterr().out.splitlines()
    assert [line[:16].rstrip() for line in lines] == ["in this process", "tf.data service"]
    assert all(re.fullmatch(rf" +{accuracy:.1%} test accuracy +\d+\.\d seconds", line[16:]) for line in lines)
    # Something was learned: equal weights are no wonder where nothing happens.
    keras.utils.set_random_seed(3)
    kernel = example.build_student((8, 8, 1), 10).get_weights()[0]
    assert all(np.abs(kernel - trained[0]).max() > 1e-3 for trained, _, _ in results)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux to name the process of an operation")
def test_workers_share_the_batches_and_make_each_view_once(service, tmp_path):
    made = tmp_path / "made"

    def maker(images):
        """Notes the batch, and gives the process that makes it."""
        process = tf.strings.to_number(tf.strings.split(tf.io.read_file("/proc/self/stat"))[0], tf.int32)
        with tf.control_dependencies([tf.print(images[0], process, output_stream=f"file://{made}")]):
            return tf.fill([4], process)

    x = np.arange(4000, dtype="int32")
    pairs = kc.data.pair((x, x % 10), x, batch_size=2, ratio=2, shuffle=False).repeat()
    stream = kc.data.with_views(pairs, maker=maker, seed=1, service=service)
    batches = list(stream.take(20).as_numpy_iterator())
    noted = made.read_text().split("\n")[:-1]  # they go on making: the last line may not be whole
    firsts = [inputs["unlabeled"][0] for inputs, _ in batches]
    makers = [inputs["maker"][0] for inputs, _ in batches]
    assert firsts == list(range(0, 80, 4))
    assert len(set(makers)) == 2 and os.getpid() not in makers and makers == makers[:2] * 10
    assert {f"{first} {process}" for first, process in zip(firsts, makers, strict=True)} <= set(noted)
    assert len({line.split()[0] for line in noted}) == len(noted)
    # Another iteration begins at the first batch.
    assert [inputs["unlabeled"][0] for inputs, _ in stream.take(3).as_numpy_iterator()] == firsts[:3]


def test_a_service_that_cannot_be_reached_is_told_before_anything_is_trained():
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "examples.train_with_data_service", f"--service=grpc://localhost:{port}"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said and "accuracy" not in said
    assert "`service` must be the address of a tf.data service that is running" in said and str(port) in said
    assert time.monotonic() - start < 120
