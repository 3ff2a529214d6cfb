/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/figure.h"

#include <math.h>
#include <stdio.h>

const char *figure_print(double value, char out[static FIGURE_SIZE])
{
    static const char units[] = " kMGTPE";
    unsigned unit = 0;

    if (!isfinite(value) || value < 0) {
        snprintf(out, FIGURE_SIZE, "-");
        return out;
    }
    /* 999.5 would be printed as 1000 */
    for (; value >= 999.5 && unit + 1 < sizeof units - 1; unit++)
        value /= 1000;
    if (unit == 0)
        snprintf(out, FIGURE_SIZE, "%.*f", value > 0 && value < 9.95 && value != floor(value), value);
    else
        snprintf(out, FIGURE_SIZE, "%.*f%c", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, fmin(value, 1e9), units[unit]);
    return out;
}
