"""Says how the fuzzer's requests were answered, and fails if one of the operations never did what it is for.

usage: report.py ORIGIN ADMIN FILE
"""

import json
import sys
import urllib.request
from collections import Counter

import answers

ORIGIN, ADMIN, FILE = sys.argv[1:]
with open(FILE, encoding="utf-8") as file:
    before = Counter({tuple(key): count for key, count in json.load(file)["before"]})
with urllib.request.urlopen(f"{ORIGIN}/api/v1/openapi.json", timeout=30) as answer:
    paths = json.load(answer)["paths"]

counts = answers.read(ADMIN) - before
never = []
for path, methods in paths.items():
    for method in (name.upper() for name in methods if name in ("get", "post", "patch", "delete")):
        of_this = {status: count for (verb, route, status), count in counts.items() if (verb, route) == (method, path)}
        print(f"{method:7}{path:40}", "  ".join(f"{status}: {of_this[status]}" for status in sorted(of_this)))
        if not any(status.startswith("2") for status in of_this):
            never.append(f"{method} {path}")
if never:
    sys.exit(f"error: never answered with success, so hardly tested: {', '.join(never)}")
