/* SPDX-License-Identifier: Apache-2.0 */
/* All that is ever said to the database once it is open, prepared once. */
#include "database.h"

#define YOUNG(table)  "(SELECT sequence FROM " table " WHERE time_ns >= ?2 ORDER BY sequence LIMIT 1)"
#define AUDIT_BYTES   "(SELECT bytes_before + bytes FROM audit ORDER BY sequence DESC LIMIT 1)" /* ever */
#define NEWEST(table) "(SELECT max(sequence) FROM " table ")"

static const char *const statement_text[] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",

    [STATEMENT_DEVICES] =
        "SELECT name, uuid, generation, created_ns, changed_ns, document, 0 FROM device ORDER BY name",
    [STATEMENT_DEVICE_PUT] = "INSERT INTO device (name, uuid, generation, created_ns, changed_ns, document)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                             " ON CONFLICT (name) DO UPDATE SET uuid = excluded.uuid, generation = excluded.generation,"
                             " created_ns = excluded.created_ns, changed_ns = excluded.changed_ns,"
                             " document = excluded.document",
    [STATEMENT_DEVICE_DELETE] = "DELETE FROM device WHERE name = ?1",
    [STATEMENT_ATTEMPTS] = "SELECT name, uuid, 0, 0, 0, document, adopts FROM attempt ORDER BY name",
    [STATEMENT_ATTEMPT_PUT] = "INSERT INTO attempt (uuid, name, document, adopts) VALUES (?1, ?2, ?3, ?4)"
                              " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, document = excluded.document,"
                              " adopts = excluded.adopts",
    [STATEMENT_ATTEMPT_DELETE] = "DELETE FROM attempt WHERE uuid = ?1",
    [STATEMENT_REVISION_SET] = "UPDATE installation SET revision = ?1",

    [STATEMENT_EVENT_PUT] = "INSERT INTO event (sequence, time_ns, type, device, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_EVENTS] = "SELECT sequence, time_ns, type, device, detail FROM"
                         " (SELECT * FROM event ORDER BY sequence DESC LIMIT ?1) ORDER BY sequence",
    [STATEMENT_EVENT_NEWEST] = "SELECT coalesce(max(sequence), 0) FROM event",
    /* a clock that was set back must not make holes: what goes is what stands before the first that is young enough */
    [STATEMENT_EVENTS_TRIM] = "DELETE FROM event WHERE sequence <= max(?1, coalesce(" YOUNG("event") " - 1, " NEWEST(
        "event") ")) AND sequence < " NEWEST("event"),

    [STATEMENT_AUDIT_PUT] = "INSERT INTO audit (sequence, time_ns, actor, address, operation, bytes, bytes_before,"
                            " changes) VALUES (coalesce(" NEWEST("audit") ", 0) + 1, ?1, ?2, ?3, ?4, ?5,"
                                                                          " coalesce(" AUDIT_BYTES ", 0), ?6)",
    [STATEMENT_AUDIT] = "SELECT sequence, time_ns, actor, address, operation, changes FROM audit WHERE sequence > ?1"
                        " ORDER BY sequence LIMIT ?2",
    [STATEMENT_AUDIT_TRIM] =
        "DELETE FROM audit WHERE sequence <= max(" NEWEST("audit") " - ?1, coalesce(" YOUNG("audit") " - 1, " NEWEST(
            "audit") "), coalesce((SELECT sequence FROM audit WHERE bytes_before >= " AUDIT_BYTES " - ?3"
                     " ORDER BY sequence LIMIT 1) - 1, " NEWEST("audit") ")) AND sequence < " NEWEST("audit"),

    [STATEMENT_TOKEN_ADD] = "INSERT INTO token (name, kind, role, selector, created_ns, expires_ns, digest)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STATEMENT_TOKEN_DELETE] = "DELETE FROM token WHERE name = ?1",
    [STATEMENT_TOKENS] = "SELECT name, kind, role, selector, created_ns, expires_ns, digest FROM token ORDER BY name",
    [STATEMENT_TOKEN_MADE] = "SELECT token_made FROM installation",
    [STATEMENT_TOKEN_SET_MADE] = "UPDATE installation SET token_made = 1",

    [STATEMENT_PENDING_PUT] = "INSERT INTO pending (only, deadline_ns, confirm_s, actor, operation)"
                              " VALUES (1, ?1, ?2, ?3, ?4)",
    [STATEMENT_PENDING_DELETE] = "DELETE FROM pending",
    [STATEMENT_PENDING] = "SELECT deadline_ns, confirm_s, actor, operation FROM pending",
    [STATEMENT_PENDING_DEVICE_PUT] = "INSERT INTO pending_device (name, uuid, generation, created_ns, changed_ns,"
                                     " document, adopts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STATEMENT_PENDING_DEVICES_DELETE] = "DELETE FROM pending_device",
    [STATEMENT_PENDING_DEVICES] = "SELECT name, uuid, generation, created_ns, changed_ns, document, adopts"
                                  " FROM pending_device ORDER BY name",

    [STATEMENT_FILE_PUT] = "INSERT INTO startup_file (name, digest, applied_ns) VALUES (?1, ?2, ?3)"
                           " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest,"
                           " applied_ns = excluded.applied_ns",
    [STATEMENT_FILE] = "SELECT digest FROM startup_file WHERE name = ?1",
};
_Static_assert(ARRAY_SIZE(statement_text) == STATEMENT_N, "each statement has its text");

int statements_prepare(struct store *store, struct err *ret_err)
{
    for (size_t i = 0; i < STATEMENT_N; i++) {
        int result = sqlite3_prepare_v3(store->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                                        &store->statements[i], NULL);
        if (result != SQLITE_OK)
            return database_error(store->db, result, ret_err, "prepare the database's statements");
    }
    return 0;
}
