#!/usr/bin/env python3
"""Sends pickled samples to a carbon port, as carbon's relays, Diamond and StatsD do; or pickles that nobody should load.

    send_pickle.py HOST PORT relay | diamond | statsd | protocols
    send_pickle.py HOST PORT hostile FILE    (each would create FILE if it were loaded)

A frame is four bytes of length, most significant first, and a pickled list of `(name, (timestamp, value))`. Waits until the
receiver has closed its side, so that everything sent was taken. Needs nothing beyond Python 3.
"""

import pickle
import socket
import struct
import sys

FIRST = 1443197361


def frame(body):
    """With its length before it."""
    return struct.pack("!L", len(body)) + body


def send(address, frames):
    """Over a connection of their own; tells how the receiver ended it."""
    with socket.create_connection(address) as connection:
        try:
            for one in frames:
                connection.sendall(one)
            connection.shutdown(socket.SHUT_WR)
            return "answer" if connection.recv(1) else "end"
        except ConnectionError:
            return "reset"


class Touch:
    """Loading this runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return (os.system, (f"touch '{self.path}'",))


def relay():
    """500 points a frame in the newest protocol, names repeated as the same object."""
    names = [f"relay.host{number}.cpu" for number in range(50)]
    for start in range(0, 2000, 500):
        points = range(start, start + 500)
        batch = [(names[point % 50], (FIRST + point, point / 7)) for point in points]
        yield frame(pickle.dumps(batch, protocol=-1))


def diamond():
    """Protocol 0, batches of a few, ints and floats mixed."""
    for start in range(0, 30, 10):
        batch = [("servers.h-1.diamond;dc=a", (FIRST + point, point % 2 and point or point + 0.25))
                 for point in range(start, start + 10)]
        yield frame(pickle.dumps(batch, protocol=0))


def statsd():
    """Written by hand: no memo, values as strings, longs."""
    for start in range(0, 30, 10):
        body = "(l"
        for point in range(start, start + 10):
            body += f"(S'stats.counters.a'\n(L{FIRST + point}L\nS'{point}.5'\ntta"
        yield frame((body + ".").encode())


def protocols():
    """Every protocol: unicode names, large and negative numbers, exponents."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        batch = [
            (f"protocol{protocol}.\u00fc\u4e2d", (FIRST, -1)),
            (f"protocol{protocol}.\u00fc\u4e2d", (FIRST + 1.75, 2**80)),
            [f"protocol{protocol}.\u00fc\u4e2d", (FIRST + 2, 1e-300)],
            (f"protocol{protocol}.\u00fc\u4e2d", (FIRST + 3, True)),
            (f"protocol{protocol}.\u00fc\u4e2d", (FIRST + 4, 2**31)),
            (f"protocol{protocol}.refused name", (FIRST, 1)),
            (f"protocol{protocol}.nan", (FIRST, float("nan"))),
        ]
        yield frame(pickle.dumps(batch, protocol=protocol))


def main():
    """What the command line says."""
    address, kind = (sys.argv[1], int(sys.argv[2])), sys.argv[3]
    if kind == "hostile":
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            good = [("before.hostile", (FIRST + protocol, protocol))]
            bad = [("after.hostile", (FIRST, Touch(sys.argv[4])))]
            print(send(address, [frame(pickle.dumps(good)), frame(pickle.dumps(bad, protocol=protocol))]))
    else:
        print(send(address, globals()[kind]()))


if __name__ == "__main__":
    main()
