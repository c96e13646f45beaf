"""Compares the orders that were confirmed with those that the API lists.

usage: archived.py ORIGIN DROP OPERATOR_TOKEN CONFIRMED

Its exit code is 0 if each confirmed order is listed exactly once, and no other.
"""

import collections
import json
import sys
import urllib.request


def listed(origin, drop, token):
    """The ids of all orders of a drop, page by page."""
    cursor = ""
    while cursor is not None:
        url = f"{origin}/api/v1/orders?drop_id={drop}&limit=100" + (f"&cursor={cursor}" if cursor else "")
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = json.load(answer)
        for order in page["items"]:
            if order["status"] != "confirmed":
                raise SystemExit(f"order {order['id']} is {order['status']}")
            yield order["id"]
        cursor = page["next_cursor"]


def main():
    origin, drop, token, confirmed_file = sys.argv[1:]
    with open(confirmed_file, encoding="utf-8") as file:
        confirmed = collections.Counter(file.read().split())
    found = collections.Counter(listed(origin, drop, token))
    lost, unknown = confirmed - found, found - confirmed
    twice = [order for order, count in (confirmed | found).items() if count > 1]
    print(f"{sum(confirmed.values())} confirmed, {sum(found.values())} archived: "
          f"{sum(lost.values())} lost, {len(twice)} doubled, {sum(unknown.values())} that nobody was told of")
    return 1 if lost or twice or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
