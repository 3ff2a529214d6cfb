#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""embed_assets.py OUTPUT.c FILE…: the dashboard's files in C arrays. The same input makes the same bytes.

Each gets an entity tag out of its content and of the fields that go with it: a browser that has both asks once, and is
answered 304. What only its authors read, comments that are lines of their own and indentation, stays here."""

import hashlib
import pathlib
import re
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml"}
FIELDS = {  # what a page may do: src/http/assets.c says why
    "Content-Security-Policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; font-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def squeezed(source):
    text = source.read_text(encoding="utf-8")
    if source.name.endswith(".min.js") or source.suffix not in (".js", ".css"):
        return text.encode()
    if "`" in text and any(line.count("`") % 2 for line in text.splitlines()):
        raise SystemExit(f"{source}: a template that goes over lines would lose its indentation")
    if source.suffix == ".css":
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        return re.sub(r"\s*([{};])\s*", r"\1", re.sub(r"([:,]) ", r"\1", text)).strip().encode()
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not re.match(r"//|/\*\*|\*", line)).encode() + b"\n"


def main(target, *sources):
    made, rows, names = [], [], set()
    for number, source in enumerate(map(pathlib.Path, sources)):
        if source.suffix not in TYPES:
            raise SystemExit(f"{source}: nobody knows what a {source.suffix} is; TYPES in {sys.argv[0]} does")
        if source.name in names:
            raise SystemExit(f"{source.name} is there twice")
        names.add(source.name)
        data = squeezed(source)
        lines = [", ".join(map(str, data[at:at + 24])) for at in range(0, len(data), 24)]
        made.append(f"static const unsigned char file_{number}[] = {{\n    " + ",\n    ".join(lines) + "};\n")
        tag = hashlib.sha256(repr((TYPES[source.suffix], FIELDS, data)).encode()).hexdigest()[:32]
        rows.append(f'    {{"{source.name}", "{TYPES[source.suffix]}", "\\"{tag}\\"", file_{number}, sizeof file_{number}}},\n')
    with open(target, "w", encoding="ascii") as file:
        file.write("/* Made from web/ by cmake/embed_assets.py. */\n#include \"assets.h\"\n\n" + "\n".join(made) +
                   "\nconst struct asset assets[] = {\n" + "".join(rows) +
                   "};\nconst size_t asset_count = sizeof assets / sizeof *assets;\n\nconst struct asset_field asset_fields[] = {\n" +
                   "".join(f'    {{"{name}", "{value}"}},\n' for name, value in FIELDS.items()) +
                   "};\nconst size_t asset_field_count = sizeof asset_fields / sizeof *asset_fields;\n")


main(*sys.argv[1:])
