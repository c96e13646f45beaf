"""What the service has answered so far, by operation and status: read from its metrics."""

import re
import urllib.request
from collections import Counter

LINE = re.compile(r'^stampede_http_requests_total\{method="(\w+)",route="([^"]+)",status="(\w+)"\} (\d+)')


def read(admin):
    """The counts of answers by (method, route, status)."""
    with urllib.request.urlopen(f"{admin}/metrics", timeout=30) as answer:
        found = (LINE.match(line) for line in answer.read().decode().splitlines())
        return Counter({match.group(1, 2, 3): int(match.group(4)) for match in found if match})
