#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""embed_openapi.py INPUT.yaml OUTPUT.c VERSION: the contract as JSON, in a C array. The same input makes the same bytes."""

import json
import sys

import yaml


class Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise SystemExit(f"line {node.start_mark.line + 1}: the key {key!r} is not text: put it in quotes")
            if keys.count(key) > 1:
                raise SystemExit(f"line {node.start_mark.line + 1}: the key {key!r} stands here twice")
        return super().construct_mapping(node, deep)


def main(source, target, version):
    with open(source, encoding="utf-8") as file:
        contract = yaml.load(file, Loader)
    if contract["info"]["version"] != version:
        raise SystemExit(f"{source}: info.version is {contract['info']['version']}, and the project's is {version}")
    text = json.dumps(contract, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    lines = [", ".join(map(str, text[at:at + 24])) for at in range(0, len(text), 24)]
    with open(target, "w", encoding="ascii") as file:
        file.write("/* Made from api/openapi.yaml by cmake/embed_openapi.py. */\n#include \"openapi.h\"\n\n"
                   "const unsigned char openapi_json[] = {\n    " + ",\n    ".join(lines) +
                   "};\nconst size_t openapi_json_length = sizeof openapi_json;\n")


main(*sys.argv[1:])
