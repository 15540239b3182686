"""What OpenAPI has no words for, said to schemathesis: such a case is not sent as a valid one.

Loaded by `run` through SCHEMATHESIS_HOOKS. Each rule names the sentence of the contract that the schema language cannot say.
"""

import json
from urllib.parse import unquote

import schemathesis

# Sizes count bytes; a schema counts characters. The same fields as in `api/src/document/shapes.rs`.
LINES_MAX_BYTES = {"text": 512, "name": 128}
# "at most 2,048 bytes in compact form"
META_MAX_BYTES = 2048


def _is_positive(case):
    return case.meta is None or case.meta.generation.mode.is_positive


def _fits(body, user):
    if not isinstance(body, dict):
        return True
    for name, most in LINES_MAX_BYTES.items():
        line = body.get(name)
        if isinstance(line, str) and len(line.encode("utf-8", "surrogatepass")) > most:
            return False
    meta = json.dumps(body.get("meta"), separators=(",", ":"), ensure_ascii=False)
    if len(meta.encode("utf-8", "surrogatepass")) > META_MAX_BYTES:
        return False
    # "together 1,000 ids; an id in both: 400"
    add, remove = body.get("add") or [], body.get("remove") or []
    if isinstance(add, list) and isinstance(remove, list):
        return user not in add + remove and not any(one in remove for one in add)
    return True


def _is_long_by_repeats(body):
    # "duplicates count once", also against the most of a list: too many items may be few ids.
    lists = [body.get(name) for name in ("add", "remove", "users")] if isinstance(body, dict) else []
    return any(isinstance(ids, list) and len(set(map(str, ids))) <= 500 < len(ids) for ids in lists)


@schemathesis.hook
def filter_case(ctx, case):
    if not _is_positive(case):
        return not _is_long_by_repeats(case.body)
    # "items of a backup": the schema says octets, and most octets are none.
    if case.operation.path == "/v1/cluster/restore" and case.body:
        return False
    query = case.query or {}
    # "cursor opaque, a malformed one is 400": only a list's own answer holds one.
    if "cursor" in query:
        return False
    # "`watch=contacts` (default) or `users=a,b`, not both"
    if "watch" in query and "users" in query:
        return False
    path = case.path_parameters or {}
    # "the user's own: 400"
    if "other" in path and path.get("other") == path.get("user"):
        return False
    return _fits(case.body, unquote(str(path.get("user"))))
