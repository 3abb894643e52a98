"""Bare libzmq between two processes: a message there and one back, median seconds, after 120 ms without anything to do
("trip") and one after the other ("at_once")."""
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
        trips, at_once = [], []
        for k in range(2041):
            if k < 41:
                time.sleep(0.12)
            start = time.perf_counter()
            socket.send_multipart([peer, bytes(200)])
            socket.recv_multipart()
            (trips if k < 41 else at_once).append(time.perf_counter() - start)
        socket.send_multipart([peer, b""])
        other.join()
    medians = {"trip": statistics.median(trips), "at_once": statistics.median(at_once)}
    print(json.dumps(medians | {"version": zmq.zmq_version()}))


if __name__ == "__main__":
    main()
