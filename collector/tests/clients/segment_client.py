"""Sends what it is told with segment-analytics-python, unmodified: arguments URL, write key, `gzip` or `plain`;
one event a line, in JSON, on standard input. Promises to end only when the client says that all is sent."""

import json
import sys

from segment.analytics.client import Client

url, key, encoding = sys.argv[1:]
failures = []
client = Client(
    key, host=url, gzip=encoding == "gzip", on_error=lambda error, _: failures.append(error)
)
for line in sys.stdin:
    event = json.loads(line)
    getattr(client, event.pop("call"))(**event)
client.flush()
client.join()
if failures:
    sys.exit(f"the client reports: {failures}")
