"""Orders one unit after another over HTTP, and never sends anything twice: what is not answered with 201 has failed.

usage: sell.py ORIGIN DROP TOKENS OUT

Some shoppers keep their connection, some open one for each order, some keep it and pause. It ends with SIGTERM, and then writes
OUT: the ids of the confirmed orders, one a line. Its exit code is 0 if no order failed.
"""

import collections
import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse
import uuid

# (name, shoppers at a time, whether the connection is kept, the pause between two orders in seconds)
KINDS = [("kept", 2, True, 0.01), ("fresh", 2, False, 0.01), ("idle", 4, True, 0.7)]
TIMEOUT_S = 15

stop = threading.Event()
lock = threading.Lock()
confirmed = []
failed = []
orders = collections.Counter()
ended = collections.Counter()


def order(connection, drop, token):
    """One order: its id, and whether the connection goes on."""
    body = json.dumps({"drop_id": drop})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    connection.request("POST", "/api/v1/orders", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 201:
        raise RuntimeError(f"{answer.status}: {text[:200]!r}")
    return json.loads(text)["id"], not answer.will_close


def shop(kind, keeps, pause_s, address, drop, tokens):
    connection = None
    while not stop.is_set():
        started = time.strftime("%H:%M:%S")
        try:
            if connection is None:
                connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
                connection.connect()
            order_id, goes_on = order(connection, drop, tokens[orders[kind] % len(tokens)])
            with lock:
                orders[kind] += 1
                confirmed.append(order_id)
                ended[kind] += not goes_on
            keep = keeps and goes_on
        except (OSError, http.client.HTTPException, RuntimeError, ValueError) as problem:
            with lock:
                failed.append(f"{started} {kind}: {problem!r}")
            keep = False
        if connection is not None and not keep:
            connection.close()
            connection = None
        stop.wait(pause_s)


def main():
    origin, drop, tokens_file, out = sys.argv[1:]
    url = urllib.parse.urlsplit(origin)
    with open(tokens_file, encoding="utf-8") as file:
        tokens = file.read().split()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [
        threading.Thread(target=shop, args=(kind, keeps, pause_s, (url.hostname, url.port), drop, tokens))
        for kind, count, keeps, pause_s in KINDS
        for _ in range(count)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(f"{order_id}\n" for order_id in confirmed)
    print(f"{len(confirmed)} orders confirmed in {time.monotonic() - started:.0f} s, {len(failed)} failed")
    for kind, count, keeps, _ in KINDS:
        kept = f"; {ended[kind]} connections ended with an answer that said so" if keeps else ""
        print(f"  {kind}: {orders[kind]} orders by {count} shoppers{kept}")
    for line in failed[:20]:
        print(f"  FAILED {line}")
    return 1 if failed or not confirmed else 0


if __name__ == "__main__":
    sys.exit(main())
