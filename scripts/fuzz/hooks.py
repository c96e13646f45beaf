"""What the requests of the fuzzer are about.

Made-up ids name nothing, so nearly all answers would be 404. In every second request that is meant to be valid, ids are
replaced by those of things that exist (STAMPEDE_FUZZ_IDS, written by prepare.py). The choice follows from the request
itself, so that a seed makes the same requests again.
"""

import json
import os
import zlib

import schemathesis
from schemathesis.generation import GenerationMode

with open(os.environ["STAMPEDE_FUZZ_IDS"], encoding="utf-8") as file:
    IDS = json.load(file)


def pick(ids, request):
    """One of the ids, or None for every second request."""
    at = zlib.crc32(repr(request).encode()) % (2 * len(ids))
    return ids[at] if at < len(ids) else None


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    path, method = case.operation.path, case.operation.method.upper()
    parameters, body = case.path_parameters or {}, case.body
    request = (method, path, parameters, body, case.query)
    for name in list(parameters):
        if "/orders/" in path:
            ids = IDS["orders"]
        elif name == "sku":
            ids = IDS["skus"]
        elif name == "code":
            ids = IDS["codes"]
        else:
            # Changes end drops for good; those that orders are for go on.
            ids = IDS["drops"] if method == "GET" else IDS["changed_drops"]
        found = pick(ids, request)
        if found is not None:
            case.path_parameters[name] = found
    if not isinstance(body, dict) or pick([True], request) is None:
        return
    if path.endswith("/orders"):
        body["drop_id"] = pick(IDS["drops"], request) or body.get("drop_id")
    elif path.endswith("/drops"):
        # What the types of the fields cannot say: one mode is known, and an end lies in the future, behind the start.
        body["mode"] = "instant"
        for name in ("starts_at", "ends_at", "durability"):
            body.pop(name, None)
        if "product" not in body:
            body["sku"] = pick(IDS["skus"], request) or body.get("sku")
    elif method == "PATCH":
        body.clear()
        body["ends_at"] = pick(["2090-01-01T00:00:00Z", "2091-01-01T00:00:00+02:00"], (request, "ends"))
