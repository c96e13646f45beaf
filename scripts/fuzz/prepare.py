"""Creates what the fuzzer's requests are about, and writes down the ids, and what was answered meanwhile.

usage: prepare.py ORIGIN ADMIN OPERATOR_TOKEN SHOPPER_TOKEN FILE
"""

import json
import sys
import urllib.request

import answers

ORIGIN, ADMIN, OPERATOR, SHOPPER, FILE = sys.argv[1:]
CHANGED_DROPS = 40
ORDERS = 40


def post(path, body, token, key=None):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    if key:
        headers["Idempotency-Key"] = key
    request = urllib.request.Request(f"{ORIGIN}/api/v1{path}", json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def create_drop(drop_id, sku, **more):
    price = {"amount_minor": 12900, "currency": "EUR"}
    body = {"id": drop_id, "product": {"sku": sku, "name": sku, "price": price}, "mode": "instant"}
    return post("/drops", body | {"stock_units": 1_000_000, "limit_per_user": 1_000} | more, OPERATOR)


drops = [
    create_drop("fuzz-live", "FUZZ-LIVE", cancellable_for_s=3_600, cancellations_per_user=100)["id"],
    create_drop("fuzz-one", "FUZZ-ONE", stock_units=1)["id"],
    create_drop("fuzz-later", "FUZZ-LATER", starts_at="2090-01-01T00:00:00Z", ends_at="2091-01-01T00:00:00Z")["id"],
]
changed = [create_drop(f"fuzz-{n}", f"FUZZ-{n}")["id"] for n in range(CHANGED_DROPS)]
orders = [post("/orders", {"drop_id": "fuzz-live"}, SHOPPER, f"key-{n}")["id"] for n in range(ORDERS)]
codes = ["sold-out", "invalid-request", "outcome-unknown"]
skus = ["FUZZ-LIVE", "FUZZ-ONE", "FUZZ-LATER", "FUZZ-0"]
ids = {"drops": drops, "changed_drops": changed, "orders": orders, "skus": skus, "codes": codes}
# These answers are not the fuzzer's.
before = [[list(key), count] for key, count in answers.read(ADMIN).items()]
with open(FILE, "w", encoding="utf-8") as file:
    json.dump(ids | {"before": before}, file)
