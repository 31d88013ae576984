"""A tf.data service: one dispatcher, and workers that make batches for it. Only TensorFlow has to be installed there.

    python -m examples.data_service --port=5050 --worker_addresses=localhost:%port%,localhost:%port%
    python -m examples.data_service --dispatcher=localhost:5050  # twice, as there are two addresses

Each runs until it is interrupted. A worker on another machine is given `--worker_address=HOST:PORT`, under which the
dispatcher and the training reach it, and which the dispatcher must have been told. `running` starts all on this machine
and ends them again. There is no encryption and no password: keep the ports within a network that you trust.
"""

import contextlib
import os
import subprocess
import sys

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

LOCAL = "localhost:%port%"  # any port


@contextlib.contextmanager
def running(workers):
    """Runs a dispatcher and so many workers as processes of this machine: gives the address, and ends them after.

    Should this process be killed, they end as well, since their standard input closes.
    """
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "examples.data_service", "--until_closed", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=os.path.dirname(os.path.dirname(__file__)), **pipes))

    def address_of(process):
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"A process of the tf.data service ended with status {process.wait()}.")
        return address

    try:
        start(f"--worker_addresses={','.join([LOCAL] * workers)}")
        dispatcher = address_of(processes[0])
        for _ in range(workers):
            start(f"--dispatcher={dispatcher.removeprefix('grpc://')}")
        for process in processes[1:]:
            address_of(process)
        yield dispatcher
    finally:
        for process in processes:
            process.stdin.close()
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def define_flags():
    """Defines the flags."""
    flags.DEFINE_string("dispatcher", None, "Address of the dispatcher to work for. Default: be the dispatcher.")
    flags.DEFINE_integer("port", 0, "To listen on; 0 for any that is free.", lower_bound=0, upper_bound=65535)
    flags.DEFINE_string("worker_address", LOCAL, "Of a worker, as others reach it.")
    flags.DEFINE_list("worker_addresses", [LOCAL] * 2, "Of all workers, for the dispatcher.")
    flags.DEFINE_bool("until_closed", False, "End when standard input closes.")


def main(argv):
    """Runs a dispatcher or a worker, and prints its address."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    import tensorflow as tf  # late: whoever starts the processes does not need it

    service, values = tf.data.experimental.service, flags.FLAGS
    if values.dispatcher is None:
        server = service.DispatchServer(
            service.DispatcherConfig(port=values.port, protocol="grpc", worker_addresses=values.worker_addresses)
        )
        print(server.target, flush=True)
    else:
        # The constructor returns when the dispatcher knows the worker.
        server = service.WorkerServer(
            service.WorkerConfig(
                values.dispatcher, worker_address=values.worker_address, port=values.port, protocol="grpc"
            )
        )
        print(f"working for {values.dispatcher}", flush=True)
    if values.until_closed:
        sys.stdin.read()
        os._exit(0)  # at once: a worker would first wait for what it is making
    else:
        server.join()


if __name__ == "__main__":
    define_flags()
    app.run(main)
