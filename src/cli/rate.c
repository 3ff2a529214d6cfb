/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rate.h"

#include "cli/cli.h"

#include <cjson/cJSON.h>

void rate_of(const cJSON *entry, struct rate *ret_rate)
{
    const cJSON *rates = json_object(entry, "rates"), *kernel = json_object(rates, "kernel"), *drop;
    const cJSON *worker = json_object(rates, "worker");
    double most = 0;
    struct rate rate = {.known = rates, .reason = ""};

    rate.in_packets = json_number(kernel, "rx_packets");
    rate.in_bits = 8 * json_number(kernel, "rx_bytes");
    rate.out_packets = json_number(kernel, "tx_packets");
    rate.out_bits = 8 * json_number(kernel, "tx_bytes");
    if (worker) { /* a super-packet of the kernel is one there, and many here */
        rate.in_packets = json_number(json_object(worker, "device_out"), "packets");
        rate.out_packets = json_number(json_object(worker, "device_in"), "packets");
        rate.drops = json_number(worker, "drops");
    }
    cJSON_ArrayForEach (drop, json_object(json_object(entry, "worker"), "drops")) {
        double count = cJSON_IsNumber(drop) && drop->valuedouble > 0 ? drop->valuedouble : 0;
        rate.dropped += count;
        if (count > most) {
            most = count;
            rate.reason = drop->string ? drop->string : "";
        }
    }
    *ret_rate = rate;
}
