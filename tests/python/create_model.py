#!/usr/bin/env python3
"""Asks an engine for a model of a metric.

htmengine was asked through a Python class within its own installation; an engine of ours is asked over HTTP:

* `--api http://HOST:PORT` posts a model specification, the one that class took, to `/api/v1/models`. It knows everything:
  resource, unit, user information, the classifier, complete model parameters from a file.
* `--web-app http://HOST:PORT` puts model parameters to `/METRIC`, as clients of the skeleton application do.

Without `--min` and `--max` the engine waits for 288 samples and takes the range from them.

    create_model.py --api http://127.0.0.1:8080 --min 0 --max 100 --resource web1 cpu.percent
    create_model.py --web-app http://127.0.0.1:8081 --min 0 --max 100 cpu.percent

Prints the model's id, which is the metric's `uid` in the database. Needs nothing but Python.
"""

import argparse
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

TIMEOUT_S = 60


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--api", help="URL of the engine's HTTP API")
    where.add_argument("--web-app", help="URL of the engine's web application in the skeleton's manner")
    parser.add_argument("--min", type=float, help="least value to be expected")
    parser.add_argument("--max", type=float, help="greatest value to be expected")
    parser.add_argument("--min-resolution", type=float, help="least difference that matters")
    parser.add_argument("--enable-classifier", action="store_true", help="predict values too")
    parser.add_argument("--resource", help="what the metric belongs to, such as a host")
    parser.add_argument("--unit", help="unit of its values")
    parser.add_argument("--user-info", type=json.loads, help="a JSON object that comes back with every result")
    parser.add_argument("--complete-model-params", help="file with the JSON of completeModelParams")
    parser.add_argument("metric")
    return parser.parse_args()


def model_params(options):
    """Those that were given."""
    params = {"min": options.min, "max": options.max, "minResolution": options.min_resolution}
    params = {name: value for name, value in params.items() if value is not None}
    if options.enable_classifier:
        params["enableClassifier"] = True
    return params


def model_spec(options):
    """The specification that htmengine's `monitorMetric` took."""
    described = {"resource": options.resource, "unit": options.unit, "userInfo": options.user_info}
    metric_spec = {"metric": options.metric}
    metric_spec.update({name: value for name, value in described.items() if value is not None})
    spec = {"datasource": "custom", "metricSpec": metric_spec}
    params = model_params(options)
    if params:
        spec["modelParams"] = params
    if options.complete_model_params:
        with open(options.complete_model_params, encoding="utf-8") as file:
            spec["completeModelParams"] = json.load(file)
    return spec


def send(method, url, value):
    """The answer's status and text, whatever the status."""
    request = urllib.request.Request(url, json.dumps(value).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main():
    """Asks, and prints the id."""
    options = arguments()
    if options.api:
        status, text = send("POST", options.api.rstrip("/") + "/api/v1/models", model_spec(options))
        uid = json.loads(text).get("uid") if status == 201 else None
    else:
        path = "/" + urllib.parse.quote(options.metric, safe="")
        status, text = send("PUT", options.web_app.rstrip("/") + path, model_params(options))
        created = re.fullmatch(r"Created ([0-9a-f]{32})\n", text)
        uid = created.group(1) if created else None
    if status != 201 or uid is None:
        sys.exit(f"{options.metric}: status {status}: {text.strip()}")
    print(uid)


if __name__ == "__main__":
    main()
