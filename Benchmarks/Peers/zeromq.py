"""Bare libzmq between two processes that had nothing to do for 120 ms: a message there and one back, median seconds."""
import json
import multiprocessing
import statistics
import time

import zmq


def echo(address):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(address)
        socket.send(b"here")
        while message := socket.recv():
            socket.send(message)


def main():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        other = multiprocessing.Process(target=echo, args=(f"tcp://127.0.0.1:{port}",))
        other.start()
        peer, _ = socket.recv_multipart()
        trips = []
        for _ in range(41):
            time.sleep(0.12)
            start = time.perf_counter()
            socket.send_multipart([peer, bytes(200)])
            socket.recv_multipart()
            trips.append(time.perf_counter() - start)
        socket.send_multipart([peer, b""])
        other.join()
    print(json.dumps({"trip": statistics.median(trips), "version": zmq.zmq_version()}))


if __name__ == "__main__":
    main()
