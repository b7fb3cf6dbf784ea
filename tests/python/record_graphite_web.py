"""Records what graphite-web answers over series of our own making.

    python record_graphite_web.py OUTPUT.json

Needs graphite-web 1.1.10 and whisper (see tests/data/graphite_web/README.md). Writes whisper files and a tag database into
a temporary folder, asks graphite-web's own views through Django's test client, and writes series, requests and answers as
one JSON document. Nothing depends on the time of day or on chance.
"""

import json
import math
import os
import sys
import tempfile

# 2015-09-25 16:00:00 UTC; all series end a little before.
NOW = 1443196800
HOUR = 3600


def wave(number, period, height, base):
    # No -0.0: SQLite stores it as 0.0.
    return round(base + height * math.sin(2 * math.pi * number / period), 3) + 0.0


def series():
    """Name, step and samples: not always on the grid, with holes, a counter that begins anew, and tags."""
    begin = NOW - 3 * HOUR

    def samples(step, value, holes=()):
        listed = []
        for number in range(3 * HOUR // step):
            if number in holes:
                continue
            # A sender is a little late, now and then a little later.
            late = 7 + (2 if number % 9 == 0 else 0)
            listed.append([begin + number * step + late, value(number)])
        return listed

    yield 'servers.web1.cpu', 60, samples(60, lambda n: wave(n, 30, 20, 50))
    yield 'servers.web2.cpu', 60, samples(60, lambda n: wave(n, 45, 10, 40), holes={20, 100, 101, 102, 130})
    yield 'servers.db1.cpu', 60, samples(60, lambda n: wave(n, 60, -30, 35))
    yield 'servers.web1.requests', 60, samples(60, lambda n: float((n * 37) % 1000))
    yield 'queue.depth', 300, samples(300, lambda n: wave(n, 12, 100, 0))
    yield 'queue.age', 300, samples(300, lambda n: float(n), holes={30})
    yield 'disk.used;dc=eu;host=a', 60, samples(60, lambda n: wave(n, 20, 5, 70))
    yield 'disk.used;dc=us;host=b', 60, samples(60, lambda n: wave(n, 25, 5, 60))
    yield 'disk.used;dc=us;host=c', 60, samples(60, lambda n: wave(n, 35, 5, 80))


TARGETS = [
    'servers.web1.cpu',
    'servers.*.cpu',
    'servers.{web1,db1}.cpu',
    'servers.web[12].c?u',
    'disk.used;dc=eu;host=a',
    "seriesByTag('name=disk.used', 'dc=us')",
    "seriesByTag('name=~disk.*', 'host!=a')",
    "alias(servers.web1.cpu, 'one')",
    'aliasByNode(servers.*.cpu, 1, -1)',
    'aliasByMetric(servers.web1.*)',
    "aliasByTags(seriesByTag('name=disk.used'), 'host', 'dc')",
    r"aliasSub(servers.*.cpu, '^servers\.(\w+)\.(.*)$', '\2 of \1')",
    "consolidateBy(servers.web1.cpu, 'max')",
    "summarize(servers.web1.cpu, '10min')",
    "summarize(servers.web2.cpu, '15min', 'max')",
    "summarize(servers.web2.cpu, '7min', 'avg', true)",
    "summarize(queue.depth, '1h', 'last', alignToFrom=true)",
    'maxSeries(servers.*.cpu)',
    'minSeries(servers.*.cpu)',
    'averageSeries(servers.*.cpu)',
    'sumSeries(servers.web1.cpu, servers.web2.cpu)',
    'sum(servers.*.cpu)',
    'avg(servers.*.cpu)',
    'removeBelowValue(servers.web1.cpu, 55.5)',
    'removeAboveValue(servers.web1.cpu, 55)',
    'keepLastValue(servers.web2.cpu)',
    'keepLastValue(servers.web2.cpu, 2)',
    'transformNull(servers.web2.cpu, -1)',
    'scale(servers.web1.cpu, 0.01)',
    'offset(servers.web1.cpu, -50)',
    'absolute(queue.depth)',
    'derivative(servers.web1.requests)',
    'nonNegativeDerivative(servers.web1.requests)',
    'nonNegativeDerivative(keepLastValue(servers.web1.requests), 999)',
    'movingAverage(servers.web2.cpu, 5)',
    "movingAverage(servers.web2.cpu, '10min')",
    "timeShift(servers.web1.cpu, '1h')",
    'highestMax(servers.*.cpu, 2)',
    'highestCurrent(servers.*.cpu, 1)',
    'highestAverage(servers.*.cpu, 2)',
    'limit(servers.*.cpu, 2)',
    'sortByMaxima(servers.*.cpu)',
    'sortByName(servers.*.cpu, reverse=true)',
    'group(queue.depth, queue.age)',
    "groupByNode(servers.*.*, 1, 'max')",
    "groupByTags(seriesByTag('name=disk.used'), 'sum', 'dc')",
    "threshold(42.5, 'limit')",
    'constantLine(12)',
    'servers.*.cpu | maxSeries() | scale(2) | alias("piped")',
    "aggregate(servers.*.cpu, 'median')",
    "highest(servers.*.cpu, 1, 'stddev')",
    "sortBy(servers.*.cpu, 'range', true)",
    'nothing.at.all',
]


def requests():
    window = [('from', str(NOW - HOUR)), ('until', str(NOW)), ('now', str(NOW))]
    for target in TARGETS:
        yield '/render', [('target', target), ('format', 'json')] + window
    for target in ('servers.web1.cpu', "consolidateBy(servers.web1.cpu, 'max')", 'servers.web2.cpu', 'queue.depth'):
        for points in ('7', '25', '1'):
            yield '/render', [('target', target), ('format', 'json'), ('maxDataPoints', points)] + window
    yield '/render', [('target', 'servers.web2.cpu'), ('format', 'json'), ('noNullPoints', '1')] + window
    two = [('target', 'queue.depth'), ('target', 'servers.db1.cpu')]
    relative = [('from', '-90min'), ('until', 'now-30min'), ('now', str(NOW))]
    yield '/render', two + [('format', 'json'), ('maxDataPoints', '10')] + relative
    yield '/render', two + [('format', 'raw')] + relative
    yield '/render', two + [('format', 'csv'), ('tz', 'Europe/Berlin')] + relative
    odd = [('from', '14:07_20150925'), ('until', '20150925+15h'), ('now', str(NOW)), ('tz', 'UTC')]
    yield '/render', [('target', 'servers.*.cpu'), ('format', 'json')] + odd
    for query in ('servers.*', 'servers.web1.*', 'servers.{web1,db1}.cpu', 'queue', 'queue.d*', 'nothing.*'):
        yield '/metrics/find', [('query', query)]
        yield '/metrics/expand', [('query', query)]
    yield '/metrics/find', [('query', 'servers.we'), ('format', 'completer')]
    yield '/metrics/expand', [('query', 'servers.*'), ('query', 'servers.*.*'), ('groupByExpr', '1'), ('leavesOnly', '1')]
    yield '/tags/findSeries', [('expr', 'name=disk.used'), ('expr', 'dc=~u.*')]
    yield '/tags/autoComplete/tags', [('tagPrefix', 'd')]
    yield '/tags/autoComplete/values', [('tag', 'host')]
    yield '/tags/autoComplete/values', [('tag', 'host'), ('expr', 'dc=us')]
    yield '/version', []


def configure(folder):
    settings = os.path.join(folder, 'local_settings_for_recording.py')
    with open(settings, 'w') as written:
        written.write(
            "SECRET_KEY = 'recording'\n"
            "ALLOWED_HOSTS = ['*']\n"
            "TIME_ZONE = 'UTC'\n"
            f"STORAGE_DIR = {folder!r}\n"
            f"WHISPER_DIR = {os.path.join(folder, 'whisper')!r}\n"
            f"STANDARD_DIRS = [{os.path.join(folder, 'whisper')!r}]\n"
            f"LOG_DIR = {folder!r}\n"
            f"INDEX_FILE = {os.path.join(folder, 'index')!r}\n"
            "CARBONLINK_HOSTS = []\n"
            "DEFAULT_CACHE_DURATION = 0\n"
            "TAGDB_CACHE_DURATION = 0\n"
            "FIND_CACHE_DURATION = 0\n"
            f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {os.path.join(folder, 'db')!r}}}}}\n"
        )
    sys.path.insert(0, folder)
    os.environ['GRAPHITE_SETTINGS_MODULE'] = 'local_settings_for_recording'
    os.environ['DJANGO_SETTINGS_MODULE'] = 'graphite.settings'
    os.environ.setdefault('GRAPHITE_STORAGE_DIR', folder)


def store(folder, listed):
    import whisper
    from graphite.storage import STORE
    from graphite.tags.utils import TaggedSeries

    for name, step, samples in listed:
        if ';' in name:
            STORE.tagdb.tag_series(name)
            path = TaggedSeries.encode(name, sep=os.sep)
        else:
            path = name.replace('.', os.sep)
        path = os.path.join(folder, 'whisper', path + '.wsp')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # A day of points: no archive but the finest is ever asked for.
        whisper.create(path, [(step, 24 * HOUR // step)], xFilesFactor=0.0)
        whisper.update_many(path, samples, now=NOW)


def main(output):
    folder = tempfile.mkdtemp(prefix='graphite-web-')
    configure(folder)
    import django
    import pkg_resources

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    call_command('migrate', run_syncdb=True, verbosity=0)
    listed = list(series())
    store(folder, listed)
    client = Client()
    answers = []
    for path, parameters in requests():
        response = client.get(path, parameters_of(parameters))
        body = response.content.decode()
        kind = response['Content-Type']
        answer = json.loads(body) if kind.startswith('application/json') else body
        answers.append({'path': path, 'parameters': parameters, 'status': response.status_code,
                        'content_type': kind, 'answer': answer})
    version = {name: pkg_resources.get_distribution(name).version for name in ('graphite-web', 'whisper', 'Django')}
    version['python'] = sys.version.split()[0]
    document = {'recorded_with': version, 'now': NOW,
                'series': [{'name': name, 'step': step, 'samples': samples} for name, step, samples in listed],
                'requests': answers}
    with open(output, 'w') as written:
        json.dump(document, written, separators=(',', ':'))
        written.write('\n')


def parameters_of(pairs):
    """Django's client wants lists for names that repeat."""
    parameters = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return parameters


if __name__ == '__main__':
    main(sys.argv[1])
