"""Batches made by a tf.data service, here with servers in this process: their order, and what is told about faults."""

import contextlib
import http.server
import socket
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency import remote
from tests.contracts import recipes

SERVICE = tf.data.experimental.service
ANY_PORT = "localhost:%port%"


def dispatcher(workers):
    """A dispatcher that knows of so many workers."""
    return SERVICE.DispatchServer(SERVICE.DispatcherConfig(protocol="grpc", worker_addresses=[ANY_PORT] * workers))


def worker(server):
    """A worker of the dispatcher."""
    address = server.target.removeprefix("grpc://")
    return SERVICE.WorkerServer(SERVICE.WorkerConfig(address, worker_address=ANY_PORT))


def pairs():
    x, y = recipes.examples(16)
    return kc.data.pair((x, y), x, batch_size=2, ratio=2, seed=3).repeat()


def views(service):
    return kc.data.with_views(pairs(), weak=recipes.Noise(stddev=0.1), seed=4, service=service)


def test_batches_views_and_order_are_those_of_one_process():
    server = dispatcher(2)
    workers = [worker(server) for _ in range(2)]
    remote_views, local_views = views(server.target), views(None)
    assert remote_views.element_spec == local_views.element_spec
    assert int(remote_views.cardinality()) == tf.data.INFINITE_CARDINALITY
    # Two epochs of 4 batches, and more.
    found, expected = (list(each.take(10).as_numpy_iterator()) for each in (remote_views, local_views))
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(found[0][0]["weak"], found[4][0]["weak"])
    del workers


def test_order_does_not_depend_on_which_worker_is_slow():
    def slow_if_odd(number):
        """Every batch of the second worker takes a while."""
        turns = 1 + 4000 * (number % 2)
        return number + 0 * tf.cast(
            tf.while_loop(lambda k: k < turns, lambda k: (k + 1,), (tf.zeros_like(number),))[0], tf.int64
        )

    server = dispatcher(2)
    workers = [worker(server) for _ in range(2)]
    numbers = tf.data.Dataset.zip((tf.data.Dataset.counter(),))
    stream = remote.mapped(numbers, slow_if_odd, server.target, num_parallel_calls=2)
    assert list(stream.take(40).as_numpy_iterator()) == list(range(40))
    del workers


def test_a_missing_worker_is_told_in_fit():
    server = dispatcher(2)
    one = worker(server)
    model = kc.recipes.pseudo_label(recipes.student(), weak="weak")
    model.compile("sgd", loss=recipes.LOSS)
    with pytest.raises(ValueError, match="all workers that the dispatcher of `service` was .*Missing is batch [01]$"):
        model.fit(views(server.target), steps_per_epoch=4, verbose=0, shuffle=False)
    del one


def test_a_dispatcher_that_does_not_know_its_workers_is_told():
    server = SERVICE.DispatchServer(SERVICE.DispatcherConfig(protocol="grpc"))
    one = worker(server)
    with pytest.raises(ValueError, match=r"DispatcherConfig\(worker_addresses=.*Received: service='grpc://localhost"):
        views(server.target)
    del one


def test_a_service_without_workers_is_told_in_bounded_time(monkeypatch):
    monkeypatch.setattr(remote, "_SECONDS", 1.0)
    server = dispatcher(1)
    threads = set(threading.enumerate())
    with pytest.raises(ConnectionError, match="with workers that can be reached from here.*WorkerServer"):
        views(server.target)
    # Let what still waits for a worker end.
    one = worker(server)
    for thread in set(threading.enumerate()) - threads:
        thread.join(30)
    del one


def closed():
    """The address of nobody."""
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
    return contextlib.nullcontext(f"grpc://localhost:{port}")


@contextlib.contextmanager
def silent():
    """The address of a server that never answers."""
    with socket.create_server(("localhost", 0)) as listener:
        yield f"localhost:{listener.getsockname()[1]}"


@contextlib.contextmanager
def web():
    """The address of a web server."""
    handler = type("Quiet", (http.server.BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.HTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"grpc://localhost:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("server", [closed, silent, web])
def test_an_address_without_a_service_is_told_in_bounded_time(server, monkeypatch):
    monkeypatch.setattr(remote, "_SECONDS", 1.0)
    with server() as address:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=f"no dispatcher answers there.*DispatchServer.*{address}"):
            views(address)
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":5050", "http://localhost:5050", "host:99999", 5050])
def test_what_is_no_address_is_told(address):
    with pytest.raises(ValueError, match=f"`service` must be the address .*Received: service={address!r}"):
        views(address)


def test_batches_with_an_end_are_told():
    x, y = recipes.examples(16)
    finite = kc.data.pair((x, y), x, batch_size=2, ratio=2)
    with pytest.raises(ValueError, match=r"must have no end.*\.repeat\(\).*steps_per_epoch.*cardinality 4"):
        kc.data.with_views(finite, weak=keras.layers.Identity(), service="localhost:5050")
