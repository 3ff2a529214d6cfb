/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openapi: the contract, as a part of the program. cmake/embed_openapi.py makes it of api/openapi.yaml.
 */
#ifndef TUNWRIGHT_HTTP_OPENAPI_H
#define TUNWRIGHT_HTTP_OPENAPI_H

#include <stddef.h>

extern const unsigned char openapi_json[];
extern const size_t openapi_json_length;

#endif
