#!/usr/bin/env python3
"""Publishes samples to an engine's data queue, as an application beside htmengine does.

One message holds many samples: JSON with the keys `protocol` (always `plain`) and `data`, a list of Graphite lines
`name value unix_seconds`. The queue's name is `metric_listener.queue_name` in the configuration. Messages are
persistent, and the broker confirms each: when this program ends well, every sample is in the queue.

    publish_samples.py --broker amqp://guest:guest@127.0.0.1:5672/%2f cpu.percent 21.5 1443197361
    some-producer | publish_samples.py --broker amqp://guest:guest@127.0.0.1:5672/%2f

Without a sample on the command line, lines are read from standard input. Needs pika 1.2 or newer.
"""

import argparse
import json
import sys

import pika

DATA_QUEUE = "htmengine.metric.custom.data"
# The original's listener sends as many, and a storer takes 200 messages at a time.
MAX_LINES_PER_MESSAGE = 200


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="amqp://guest:guest@127.0.0.1:5672/%2f", help="AMQP URL")
    parser.add_argument("--queue", default=DATA_QUEUE, help="name of the data queue")
    parser.add_argument("sample", nargs="*", help="NAME VALUE UNIX_SECONDS")
    options = parser.parse_args()
    if len(options.sample) not in (0, 3):
        parser.error("a sample is NAME VALUE UNIX_SECONDS")
    return options


def messages(lines):
    """The lines as bodies of messages."""
    batch = []
    for line in lines:
        batch.append(line.strip())
        if len(batch) == MAX_LINES_PER_MESSAGE:
            yield json.dumps({"protocol": "plain", "data": batch})
            batch = []
    if batch:
        yield json.dumps({"protocol": "plain", "data": batch})


def main():
    """Publishes, and says how much."""
    options = arguments()
    lines = [" ".join(options.sample)] if options.sample else sys.stdin
    connection = pika.BlockingConnection(pika.URLParameters(options.broker))
    channel = connection.channel()
    channel.confirm_delivery()
    # As the engine declares it: whoever comes first makes it.
    channel.queue_declare(queue=options.queue, durable=True)
    persistent = pika.BasicProperties(delivery_mode=2)
    sample_count = message_count = 0
    for body in messages(lines):
        channel.basic_publish("", options.queue, body, properties=persistent, mandatory=True)
        sample_count += len(json.loads(body)["data"])
        message_count += 1
    connection.close()
    print(f"published {sample_count} samples in {message_count} messages to {options.queue}")


if __name__ == "__main__":
    main()
