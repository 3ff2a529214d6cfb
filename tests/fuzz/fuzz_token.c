/* SPDX-License-Identifier: Apache-2.0 */
/* A token that is taken is the same after printing and reading; so is a time. */
#include "fuzz.h"

static void token_check(const struct token *token)
{
    struct err_list errors = {0};
    struct token again;

    cJSON *json = token_to_json(token);
    MUST(json);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "created");
    char *printed = cJSON_PrintUnformatted(json);
    MUST(printed && token_parse(printed, strlen(printed), &again, &errors) == 0);
    MUST(strcmp(token->name, again.name) == 0 && strcmp(token->selector, again.selector) == 0);
    MUST(token->role == again.role && token->kind == again.kind && token->expires_ns == again.expires_ns);
    cJSON_Delete(json);
    free(printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), printed[CLOCK_TEXT_SIZE];
    struct err_list errors = {0};
    struct token token;
    int64_t time_ns, again_ns;

    MUST(text);
    int result = token_parse((const char *)data, size, &token, &errors);
    faults_check(result, &errors);
    if (result == 0)
        token_check(&token);
    if (clock_parse(text, &time_ns) == 0) {
        MUST(clock_parse(clock_print(time_ns, printed), &again_ns) == 0);
        MUST(again_ns <= time_ns && time_ns - again_ns < NSEC_PER_MSEC);
    }
    free(text);
    return 0;
}
