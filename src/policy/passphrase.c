#include "policy/passphrase.h"

cf_span cf_passphrase_line(cf_span text) {
    if (text.size && text.data[text.size - 1] == '\n') {
        text.size--;
        if (text.size && text.data[text.size - 1] == '\r') text.size--;
    }
    return text;
}

unsigned cf_passphrase_violations(cf_span passphrase) {
    unsigned found = 0;
    if (passphrase.size == 0) return CF_PASSPHRASE_EMPTY;
    if (passphrase.size < CF_PASSPHRASE_MIN) found |= CF_PASSPHRASE_TOO_SHORT;
    if (passphrase.size > CF_PASSPHRASE_MAX) found |= CF_PASSPHRASE_TOO_LONG;
    for (size_t i = 0; i < passphrase.size; i++) {
        uint8_t byte = passphrase.data[i];
        if (byte > 127) found |= CF_PASSPHRASE_NOT_ASCII;
        if (byte < 32 || byte == 127) found |= CF_PASSPHRASE_CONTROL;
    }
    return found;
}

cf_err *cf_passphrase_check(cf_span passphrase) {
    static const struct {
        unsigned bit;
        const char *word, *sentence;
    } rules[] = {
        {CF_PASSPHRASE_EMPTY, "empty", "it is empty"},
        {CF_PASSPHRASE_TOO_SHORT, "too_short", "it has fewer than 16 characters"},
        {CF_PASSPHRASE_TOO_LONG, "too_long", "it has more than 1024 characters"},
        {CF_PASSPHRASE_NOT_ASCII, "not_ascii", "it has characters that are not ASCII"},
        {CF_PASSPHRASE_CONTROL, "control_character", "it has control characters (a newline, a tab)"},
    };
    unsigned found = cf_passphrase_violations(passphrase);
    if (!found) return NULL;
    /* 48 bytes hold all the words that can come together. */
    CF_AUTO_BUF cf_buf words, sentences;
    cf_buf_init(&words, 48);
    cf_buf_init(&sentences, 512);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!(found & rules[i].bit)) continue;
        if (words.size) cf_buf_put(&words, ",", 1);
        if (sentences.size) cf_buf_put(&sentences, "; ", 2);
        cf_buf_put_span(&words, cf_span_text(rules[i].word));
        cf_buf_put_span(&sentences, cf_span_text(rules[i].sentence));
    }
    cf_buf_put_u8(&words, 0);
    cf_buf_put_u8(&sentences, 0);
    if (words.failed || sentences.failed) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory to check the passphrase");
    return cf_fail_reason(CF_ERR_PASSPHRASE_RULE, (const char *)words.data, "the passphrase cannot be used: %s",
                          (const char *)sentences.data);
}
