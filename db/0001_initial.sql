-- SPDX-License-Identifier: Apache-2.0
-- Runs inside a transaction; the program sets application_id and user_version itself.

-- One row: what tells this database's devices from another daemon's in the same kernel.
CREATE TABLE installation (
    only    INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    id      BLOB    NOT NULL CHECK (length(id) = 6),
    created INTEGER NOT NULL CHECK (created > 0)
) STRICT;

-- The desired state, a document a device. Times are nanoseconds since 1970, in UTC. No json_valid() here: SQLite 3.40 does
-- not count it among the functions that a schema may call with trusted_schema off. Reading a row parses it in full anyway.
CREATE TABLE device (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 15),
    uuid       TEXT    NOT NULL UNIQUE CHECK (length(uuid) = 36),
    generation INTEGER NOT NULL CHECK (generation >= 1),
    created_ns INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    document   TEXT    NOT NULL CHECK (document GLOB '{*}')
) STRICT;

-- Changes that are under way and may leave something in the kernel that nothing there tells to be ours: routes without a
-- device. A row is there from before the change's first step until it is committed or undone; one that is there at the
-- start says that the daemon was killed in between.
CREATE TABLE attempt (
    uuid     TEXT NOT NULL PRIMARY KEY CHECK (length(uuid) = 36),
    name     TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 15),
    document TEXT NOT NULL CHECK (document GLOB '{*}')
) STRICT;
