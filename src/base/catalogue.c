#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

/* Lists of causes and actions in a row are written CF_LIST("...", "..."). */
#define CF_LIST(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

#define CF_ERROR(number, symbol, name, flags, meaning, causes, actions) \
    static const cf_catalogue_row row_##symbol = {CF_ERR_##symbol, flags, #symbol, name, meaning, causes, actions};
#include "base/catalogue/all.def"
#undef CF_ERROR

/* In the order of the files, which is ascending; a unit test holds it. */
static const cf_catalogue_row *const rows[] = {
#define CF_ERROR(number, symbol, name, flags, meaning, causes, actions) &row_##symbol,
#include "base/catalogue/all.def"
#undef CF_ERROR
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const cf_catalogue_row *const *cf_catalogue_rows(size_t *count) {
    *count = ROW_COUNT;
    return rows;
}

const cf_catalogue_row *cf_catalogue_find(cf_code code) {
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i]->code == code) return rows[i];
    return NULL;
}

/* Numbers that people search for and that are not a row's own: they do not fit in an int, or the older
 * system has two numbers for the same thing. */
static const struct {
    unsigned long number;
    cf_code code;
} aliases[] = {
    {407, CF_ERR_PROXY},
    {100043, CF_ERR_PASSPHRASE_RULE},
    {100070, CF_ERR_DESTINATION_MISSING},
    {100141, CF_ERR_CLOCK_SKEW},
    {140044, CF_ERR_NAME_TAKEN},
    {0x80070002, CF_ERR_FILE_VANISHED},
    {0x80070003, CF_ERR_FOLDER_VANISHED},
    {0x80070005, CF_ERR_FILE_DENIED},
    {0x8007018b, CF_ERR_CLOUD_FILE},
    {0x80070570, CF_ERR_FILE_CORRUPT},
};

static const cf_catalogue_row *by_number(unsigned long number) {
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (aliases[i].number == number) return cf_catalogue_find(aliases[i].code);
    return number <= INT32_MAX ? cf_catalogue_find((cf_code)number) : NULL;
}

const cf_catalogue_row *cf_catalogue_lookup(const char *text) {
    char *end = NULL;
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (isdigit((unsigned char)text[0])) {
        unsigned long number = strtoul(text, &end, hex ? 16 : 10);
        return *end == '\0' ? by_number(number) : NULL;
    }
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcasecmp(rows[i]->name, text) == 0 || strcasecmp(rows[i]->symbol, text) == 0) return rows[i];
    return NULL;
}
