/* SPDX-License-Identifier: Apache-2.0 */
/* figure: numbers for people, with three digits at least and a unit of 1000s: "0", "999", "1.50k", "12.3M". */
#ifndef TUNWRIGHT_CLI_FIGURE_H
#define TUNWRIGHT_CLI_FIGURE_H

#define FIGURE_SIZE 24

/* For what is not finite or negative, "-". */
const char *figure_print(double value, char out[static FIGURE_SIZE]);

#endif
