#!/usr/bin/env python3
"""Consumes an engine's results exchange, as an application beside htmengine does.

The exchange is a durable fanout; its name is `metric_streamer.results_exchange_name` in the configuration. This binds a
durable queue of its own to it, so that nothing is missed while this program is away. A message's body is JSON,
compressed with zlib. A message with header `dataType` = `model-cmd-result` tells what became of a model; one without headers
holds finished rows of one metric.

    consume_results.py --broker amqp://guest:guest@127.0.0.1:5672/%2f --queue my.results

Prints one line of JSON for each message and acknowledges it when it is printed. Ends when interrupted, or after `--count`
messages, or after `--idle-seconds` without one. Needs pika 1.2 or newer.
"""

import argparse
import json
import sys
import zlib

import pika

RESULTS_EXCHANGE = "htmengine.model.results"
PREFETCH = 10


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="amqp://guest:guest@127.0.0.1:5672/%2f", help="AMQP URL")
    parser.add_argument("--exchange", default=RESULTS_EXCHANGE, help="name of the results exchange")
    parser.add_argument("--queue", required=True, help="name of the queue to bind to it")
    parser.add_argument("--bind-only", action="store_true", help="make and bind the queue, and end")
    parser.add_argument("--count", type=int, help="end after so many messages")
    parser.add_argument("--idle-seconds", type=float, help="end after so long without a message")
    return parser.parse_args()


def described(properties, body):
    """The message as one value: its kind, and what it holds."""
    value = json.loads(zlib.decompress(body).decode("utf-8"))
    data_type = (properties.headers or {}).get("dataType")
    if data_type is None:
        return {"kind": "inference", "message": value}
    if data_type == "model-cmd-result":
        return {"kind": "command", "message": value}
    return {"kind": "unknown", "dataType": data_type, "message": value}


def main():
    """Consumes and prints."""
    options = arguments()
    connection = pika.BlockingConnection(pika.URLParameters(options.broker))
    channel = connection.channel()
    # As the engine declares it: whoever comes first makes it.
    channel.exchange_declare(exchange=options.exchange, exchange_type="fanout", durable=True)
    channel.queue_declare(queue=options.queue, durable=True)
    channel.queue_bind(queue=options.queue, exchange=options.exchange)
    print(f"queue {options.queue} is bound to {options.exchange}", file=sys.stderr, flush=True)
    if options.bind_only:
        connection.close()
        return
    channel.basic_qos(prefetch_count=PREFETCH)
    seen = 0
    deliveries = channel.consume(options.queue, inactivity_timeout=options.idle_seconds)
    for method, properties, body in deliveries:
        if method is None:
            break
        print(json.dumps(described(properties, body)), flush=True)
        channel.basic_ack(method.delivery_tag)
        seen += 1
        if seen == options.count:
            break
    channel.cancel()
    connection.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
