# SPDX-License-Identifier: Apache-2.0
"""Comparing large structures, so that a failure shows what differs and not all that is the same."""


def differences(before, after, path=""):
    """["/links/3/mtu: 1400 → 1300", …] between two structures of dicts, lists and plain values."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in list(before) + [k for k in after if k not in before]:
            if key not in after:
                found.append(f"{path}/{key}: {before[key]!r} → gone")
            elif key not in before:
                found.append(f"{path}/{key}: new → {after[key]!r}")
            else:
                found += differences(before[key], after[key], f"{path}/{key}")
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [text for n, (a, b) in enumerate(zip(before, after)) for text in differences(a, b, f"{path}/{n}")]
    if isinstance(before, list) and isinstance(after, list):
        return [f"{path}: gone {x!r}" for x in before if x not in after] + \
               [f"{path}: new {x!r}" for x in after if x not in before] or [f"{path}: {len(before)} → {len(after)} entries"]
    return [] if before == after else [f"{path}: {before!r} → {after!r}"]


def same(before, after):
    """Fails with what differs."""
    found = differences(before, after)
    assert not found, "this is not as it was:\n" + "\n".join(found)
