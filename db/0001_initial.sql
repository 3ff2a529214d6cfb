-- SPDX-License-Identifier: Apache-2.0
-- Runs inside a transaction; the program sets application_id and user_version itself.

-- One row: what tells this database's devices from another daemon's in the same kernel.
CREATE TABLE installation (
    only    INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    id      BLOB    NOT NULL CHECK (length(id) = 6),
    created INTEGER NOT NULL CHECK (created > 0)
) STRICT;

-- The desired state, a document a device. Times are nanoseconds since 1970, in UTC.
CREATE TABLE device (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 15),
    uuid       TEXT    NOT NULL UNIQUE CHECK (length(uuid) = 36),
    generation INTEGER NOT NULL CHECK (generation >= 1),
    created_ns INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    document   TEXT    NOT NULL CHECK (json_valid(document))
) STRICT;
