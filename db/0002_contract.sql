-- SPDX-License-Identifier: Apache-2.0
-- Events, audit, tokens, a change that waits for its confirmation, and start-up files. Times are nanoseconds since 1970.

-- How many changes there were; and whether the token for provisioning was made once (it may have been revoked since).
ALTER TABLE installation ADD COLUMN revision INTEGER NOT NULL DEFAULT 0 CHECK (revision >= 0);
ALTER TABLE installation ADD COLUMN token_made INTEGER NOT NULL DEFAULT 0 CHECK (token_made IN (0, 1));

-- What happened. The numbers grow by one and are never given twice: the newest row is never trimmed.
CREATE TABLE event (
    sequence INTEGER NOT NULL PRIMARY KEY CHECK (sequence >= 1),
    time_ns  INTEGER NOT NULL,
    type     TEXT    NOT NULL CHECK (length(type) BETWEEN 1 AND 40),
    device   TEXT    NOT NULL CHECK (length(device) <= 15),
    detail   TEXT    NOT NULL
) STRICT;

-- Who asked for what, written in the transaction that did it. `changes` is a JSON array without secrets.
CREATE TABLE audit (
    sequence     INTEGER NOT NULL PRIMARY KEY CHECK (sequence >= 1),
    time_ns      INTEGER NOT NULL,
    actor        TEXT    NOT NULL,
    address      TEXT    NOT NULL,
    operation    TEXT    NOT NULL,
    bytes        INTEGER NOT NULL CHECK (bytes >= 0),        -- of `changes`
    bytes_before INTEGER NOT NULL CHECK (bytes_before >= 0), -- of all entries before it, also of those that are gone
    changes      TEXT    NOT NULL CHECK (changes GLOB '[[]*]')
) STRICT;

CREATE TABLE token (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
    kind       TEXT    NOT NULL CHECK (kind IN ('bearer', 'certificate')),
    role       TEXT    NOT NULL CHECK (role IN ('reader', 'operator', 'admin')),
    selector   TEXT    NOT NULL CHECK (length(selector) < 1024),
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL CHECK (expires_ns >= 0),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32)
) STRICT;

-- The change that waits for its confirmation, and the devices as they were before it: without a document where there was
-- none.
CREATE TABLE pending (
    only        INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    deadline_ns INTEGER NOT NULL,
    confirm_s   INTEGER NOT NULL CHECK (confirm_s BETWEEN 1 AND 86400),
    actor       TEXT    NOT NULL,
    operation   TEXT    NOT NULL
) STRICT;
CREATE TABLE pending_device (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 15),
    uuid       TEXT    NOT NULL CHECK (length(uuid) = 36),
    generation INTEGER NOT NULL CHECK (generation >= 1),
    created_ns INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL,
    document   TEXT    CHECK (document IS NULL OR document GLOB '{*}'),
    adopts     INTEGER NOT NULL CHECK (adopts IN (0, 1)) -- it was taken over, and goes back; or let go, and comes back
) STRICT;

-- Start-up files as they were applied last.
CREATE TABLE startup_file (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 255),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    applied_ns INTEGER NOT NULL
) STRICT;

-- An attempt that takes over, or lets go of, a device that is not ours to delete: it is undone by releasing, or by
-- adopting again.
ALTER TABLE attempt ADD COLUMN adopts INTEGER NOT NULL DEFAULT 0 CHECK (adopts IN (0, 1));
