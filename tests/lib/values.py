# SPDX-License-Identifier: Apache-2.0
"""Values made from schemas: for each field of a document, those that it may just have and those that it may not.

What is good or bad is asked of the schema alone, so a rule that only the daemon or only the contract knows comes to light."""

import copy
import functools
import json

from lib.contract import contract

TEXTS = ["", " ", "x", "X" * 14, "x" * 15, "x" * 16, "x" * 63, "x" * 64, "x" * 127, "x" * 128, "x" * 255, "x" * 256, "x" * 2000,
         "tun", "TUN", "tap ", "lo", "all", "default", "123", "tun%d", "%d", "tun%s", "a/b", "../x", ".", "..", "-x", "_x", "a b",
         "a\nb", "a\x7fb", "a\u0085b", "ä", "a\u202eb", "\U0001f4a9", "null", "true", "0",
         "192.168.3.11", "192.168.3.11/24", "192.168.3.11/33", "192.168.3.11/-1", "192.168.3.11/024", "192.168.3/24", "0.0.0.0/0",
         "10.9.0.0/16", "10.9.0.0/0x10", "fd00:3::11/64", "fd00:3::11/129", "fd00::3::1/64", "::ffff:1.2.3.4/128", "fe80::1%lo/64",
         "10.0.0.1:5000", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:05000", "10.0.0.1", "[fd00::1]:5000", "fd00::1:5000", "[10.0.0.1]:5000",
         "localhost:5000", "02:00:5e:10:00:01", "02:00:5E:10:00:01", "02-00-5e-10-00-01", "03:00:00:00:00:01", "00:00:00:00:00:00",
         "02:00:5e:10:00", "2099-01-01T00:00:00Z", "2099-01-01T00:00:00", "2099-13-01T00:00:00Z", "tomorrow", "a=b", "a=b,c!=d,!e,f",
         "a==b", "=b", ",", "a,,b", "!a=b"]
OTHERS = [None, True, False, 0, 1, -1, 1.5, 1e30, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 + 1, [], {}, [None], {"a": None}]


def flattened(schema, value):
    """The schemas that say something of a value: itself, what its allOf, anyOf, if have for it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for part in schema.get("allOf", []):
        yield from flattened(part, value)
    for key in ("anyOf", "oneOf"):
        for part in schema.get(key, []):
            if contract().validator(part).is_valid(value):
                yield from flattened(part, value)
    if "if" in schema:
        branch = "then" if contract().validator(schema["if"]).is_valid(value) else "else"
        yield from flattened(schema.get(branch, {}), value)


def parts(schema, key, child, value):
    """The schema of a member or item of a value: all that is said of it."""
    found = []
    for part in flattened(schema, value):
        if isinstance(value, dict):
            if key in part.get("properties", {}):
                found.append(part["properties"][key])
            elif isinstance(part.get("additionalProperties"), dict):
                found.append(part["additionalProperties"])
        elif "items" in part:
            found.append(part["items"])
    return {"allOf": found}


def pointer(path):
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in path)


def put(document, path, value):
    """A copy of the document with another value at that path."""
    if not path:
        return value
    made = copy.deepcopy(document)
    functools.reduce(lambda at, key: at[key], path[:-1], made)[path[-1]] = value
    return made


def pool(schema, value):
    """Values for this place, those at the edges of what the schema says among them."""
    yield from OTHERS
    for part in flattened(schema, value):
        for key in ("minimum", "maximum", "exclusiveMinimum"):
            if key in part:
                yield from (part[key] - 1, part[key], part[key] + 1)
        for word in part.get("enum", [part["const"]] if "const" in part else []):
            yield word
            if isinstance(word, str):
                yield from (word.upper(), word + "x", word[:-1])
        if part.get("type") == "string" or part.get("format"):
            yield from TEXTS
    if isinstance(value, str):
        yield from TEXTS


def variations(schema, document, path=(), whole=None):
    """(what, the whole document with one thing different, where that is). `schema` is the whole document's at path ()."""
    whole = document if whole is None else whole
    seen = set()
    for value in pool(schema, document):
        text = json.dumps(value)
        if text not in seen:
            seen.add(text)
            yield f"{pointer(path)} = {text[:60]}", put(whole, path, value), path
    for part in flattened(schema, document):
        if isinstance(document, dict):
            if "maxProperties" in part and part["maxProperties"]:
                for count in (part["maxProperties"], part["maxProperties"] + 1):
                    yield (f"{pointer(path)} with {count} members", put(whole, path, {f"k{n}": "v" for n in range(count)}), path)
            for key in part.get("propertyNames", {}) and TEXTS:
                yield f"{pointer(path)} with {key[:40]!r}", put(whole, path, {key: "v"}), (*path, key)
            for key in part.get("required", []):
                if key in document:
                    yield (f"{pointer((*path, key))} missing", put(whole, path, {k: v for k, v in document.items() if k != key}),
                           (*path, key))
        if isinstance(document, list) and document and part.get("uniqueItems"):
            yield f"{pointer(path)} twice", put(whole, path, [document[0], *document]), (*path, 1)
    if isinstance(document, dict):
        for key in ("colour", "Kind", "a/b~c", ""):
            if not any(isinstance(part.get("additionalProperties"), dict) and "propertyNames" in part for part in flattened(schema, document)):
                yield f"{pointer((*path, key))} unknown", put(whole, path, {**document, key: 1}), (*path, key)
        for key, child in document.items():
            yield from variations(parts(schema, key, child, document), child, (*path, key), whole)
    if isinstance(document, list):
        for at, child in enumerate(document):
            yield from variations(parts(schema, at, child, document), child, (*path, at), whole)


TAGS = ["*", '"x"', 'W/"x"', '"a", "b"', '"a","b" , W/"c"', ", ".join(f'"{n}"' for n in range(8)), ", ".join(f'"{n}"' for n in range(9)),
        '"', 'x', '"a" "b"', '*, "a"', '"a", *', '"a b"', '"a"x', "w/\"a\"", '""']
QUERY_TEXTS = ["", "x", "-1", "+1", "01", "1.5", "1e3", " 1", "0x10", "yes", "True", "99999999999999999999999"]


def queries(parameter):
    """(text, whether it is good) for a parameter of the query or the head."""
    schema = contract().inlined(parameter["schema"])
    validator = contract().validator(schema)
    texts = QUERY_TEXTS + (TEXTS if schema.get("type") == "string" else []) + (TAGS if parameter["in"] == "header" else [])
    for part in flattened(schema, None):
        for key in ("minimum", "maximum"):
            texts += [str(part[key] + d) for d in (-1, 0, 1)] if key in part else []
        texts += [str(word) for word in part.get("enum", [])]
    if schema.get("type") == "boolean":
        texts += ["true", "false"]
    for text in dict.fromkeys(texts):
        if schema.get("type") == "string":
            good = validator.is_valid(text)
        elif schema.get("type") == "boolean":
            good = text in ("true", "false")
        else:
            good = text.isascii() and text.isdigit() and str(int(text)) == text and validator.is_valid(int(text))
        yield text, good
