/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/ecn.h"

#include "worker/checksum.h"

#include <string.h>

enum { NOT_ECT, ECT_1, ECT_0, CE, DROP };

/* RFC 6040, figure 4: [inner][outer]; outer is Not-ECT, ECT(1), ECT(0), CE, the code points' own order. */
static const uint8_t ecn_table[4][4] = {
    [NOT_ECT] = {NOT_ECT, NOT_ECT, NOT_ECT, DROP},
    [ECT_1] = {ECT_1, ECT_1, ECT_1, CE},
    [ECT_0] = {ECT_0, ECT_1, ECT_0, CE},
    [CE] = {CE, CE, CE, CE},
};

enum drop_reason ecn_decapsulate(uint8_t *bytes, const struct packet_view *view, uint8_t outer_tos)
{
    uint8_t before = view->tos & 3, after = ecn_table[before][outer_tos & 3];
    uint8_t *header = bytes + view->ip;
    uint8_t word[2];

    if (after == DROP)
        return DROP_ECN;
    if (after == before)
        return PACKET_FORWARD;
    memcpy(word, header, sizeof(word));
    if (view->version == 4) {
        header[1] = (uint8_t)((header[1] & ~3) | after);
        checksum_update(header + 10, word, header);
    } else {
        header[1] = (uint8_t)((header[1] & ~0x30) | after << 4);
    }
    return PACKET_FORWARD;
}
