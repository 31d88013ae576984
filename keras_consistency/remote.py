"""A map over batches, made by the workers of a tf.data service in the order that it has without one."""

import socket
import threading

import tensorflow as tf

from keras_consistency.ops.require import require

_SECONDS = 30.0  # to wait for an answer; TensorFlow itself would go on trying for an hour, or without end
# What HTTP/2 opens with, and the head of an empty frame of settings, the first that either side must send.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NO_SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def mapped(dataset, function, service, *, num_parallel_calls):
    """`dataset.map(function)`, where the workers of a tf.data service share the batches and make each once.

    Of `n` workers, each has a job of its own: it reads the whole data set and calls the function on each `n`-th batch.
    The process that trains takes one batch of each in turn, however fast they are.

    Args:
        dataset: `tf.data.Dataset` without end, of the same batches for everyone who reads it.
        function: as for `tf.data.Dataset.map`. Its randomness must come from the batch.
        service: address of the dispatcher, which knows its workers (`DispatcherConfig(worker_addresses=...)`).
        num_parallel_calls: batches that each worker makes at once.

    Returns:
        A `tf.data.Dataset` without end. Each iteration begins at the first batch.

    Raises:
        ConnectionError: where no dispatcher, or no worker of it, answers within half a minute.
        ValueError: where `dataset` has an end, `service` is no address, or the dispatcher does not know its workers. If
            one of these is missing, from the start or later, iterating raises a `tf.errors.InvalidArgumentError`
            (`ConsistencyModel.fit` a `ValueError`).
    """
    if int(dataset.cardinality()) != tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "With `service`, `dataset` must have no end: give it `.repeat()`, and `fit` its `steps_per_epoch=`. "
            f"Received: a dataset of cardinality {int(dataset.cardinality())}"
        )
    _check_answers(service)
    workers = _number_of_workers(service)

    def share(worker):
        """What is made by the worker at this position: for the others it is empty."""
        batches = tf.data.Dataset.zip((_positions().repeat(), dataset.enumerate().shard(workers, worker)))
        batches = batches.take_while(lambda positions, _: positions[0] == worker)
        return batches.map(
            lambda _, numbered: (numbered[0], function(*numbered[1])), num_parallel_calls=num_parallel_calls
        )

    shares = [_read(share(worker), service) for worker in range(workers)]
    turns = tf.data.Dataset.range(workers).repeat()
    stream = tf.data.Dataset.choose_from_datasets(shares, turns, stop_on_empty_dataset=False).enumerate()
    return stream.map(_in_order).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _in_order(position, numbered):
    number, batch = numbered
    require(
        number == position,
        "kc.data.with_views: all workers that the dispatcher of `service` was configured with must be running from the "
        "first batch to the last. Start the training again when they are. Received: no more batches of one of them. "
        "Missing is batch",
        position,
    )
    return batch


def _positions():
    """On each worker, its position among all, and this plus their number: a `tf.data.Dataset` of one element."""
    hint = tf.data.experimental.SHARD_HINT  # replaced by the service, by the position and the number
    own = tf.data.Dataset.counter().shard(hint, hint)
    return tf.data.Dataset.zip((own, own.skip(1))).take(1)


def _read(dataset, service):
    policy = tf.data.experimental.service.ShardingPolicy.HINT
    return dataset.apply(tf.data.experimental.service.distribute(policy, service, target_workers="ANY"))


def _number_of_workers(service):
    """Asks the first worker that answers how many there are to be. Its thread is left behind where none does."""
    found = []

    def ask():
        try:
            found.append(next(iter(_read(_positions(), service))))
        except tf.errors.OpError as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if not found:
        raise ConnectionError(
            "`service` must be the address of a tf.data service with workers that can be reached from here: none has "
            "answered. Start them (`tf.data.experimental.service.WorkerServer`), with a `worker_address` that is valid "
            f"here. Received: service={service!r}"
        )
    if isinstance(found[0], tf.errors.OpError):
        raise ValueError(
            "The dispatcher of `service` must know its workers: start it with "
            "`DispatcherConfig(worker_addresses=[...])`, one for each ('localhost:%port%' for any port). "
            f"Received: service={service!r} ({found[0].message})"
        ) from found[0]
    position, following = found[0]
    return int(following - position)


def _check_answers(service):
    """Raises unless the address is that of a server that speaks the protocol of tf.data services."""
    host, _, port = str(service).removeprefix("grpc://").rpartition(":")
    if not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(
            "`service` must be the address of a tf.data service's dispatcher, as in 'grpc://localhost:5050'. "
            f"Received: service={service!r}"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS) as connection:
            connection.sendall(_PREFACE + _NO_SETTINGS)
            answer = connection.recv(len(_NO_SETTINGS))
        fault = "" if answer[3:4] == _NO_SETTINGS[3:4] else "another kind of server"
    except OSError as error:
        fault = str(error)
    if fault:
        raise ConnectionError(
            "`service` must be the address of a tf.data service that is running: no dispatcher answers there. Start "
            "one (`tf.data.experimental.service.DispatchServer`), or leave out `service` to make the views in this "
            f"process. Received: service={service!r} ({fault})"
        )
