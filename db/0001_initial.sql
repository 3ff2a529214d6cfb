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
