"""The measures, in the order of the table. Each module has `TITLE`, what `--only` shows of it, and `run(bench)`, which yields rows."""

from . import archive, buyers, connections, granted, memory, paced, redis_cpu, refused, status, striped

# A new measure goes in here; one that needs servers of its own starts them itself.
MEASURES = {
    "granted": granted,
    "redis": redis_cpu,
    "paced": paced,
    "status": status,
    "refused": refused,
    "archive": archive,
    "memory": memory,
    "buyers": buyers,
    "striped": striped,
    "connections": connections,
}
