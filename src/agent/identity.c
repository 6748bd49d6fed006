#include "agent/identity.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "proto/json.h"

enum { VERSION = 1, NAME_MAX_SIZE = 255, URL_MAX = 2048 };

void cf_identity_free(cf_identity *identity) {
    if (!identity) return;
    free(identity->server_name);
    free(identity->vault_name);
    free(identity->region);
    free(identity->url);
    free(identity->ca_pem);
    free(identity->proxy);
    free(identity);
}

cf_err *cf_identity_to_text(const cf_identity *identity, char **text) {
    char server[CF_HEX_SIZE(16)], vault[CF_HEX_SIZE(16)], instance[CF_HEX_SIZE(16)], registered[40];
    cf_hex_encode(identity->server_id.bytes, 16, server);
    cf_hex_encode(identity->vault_id.bytes, 16, vault);
    cf_hex_encode(identity->instance.bytes, 16, instance);
    cf_time_format(identity->registered, registered);
    CF_AUTO(json_t)
    object =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:s}", "version", VERSION, "server_id", server,
                  "server_name", identity->server_name, "vault_id", vault, "vault_name", identity->vault_name, "region",
                  identity->region ? identity->region : "", "instance", instance, "url", identity->url, "ca",
                  identity->ca_pem, "proxy", identity->proxy, "registered", registered);
    *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    return *text ? NULL : cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the identity");
}

static char *copy_any(const json_t *value) {
    return json_is_string(value) ? strdup(json_string_value(value)) : NULL;
}

static cf_err *read_members(const json_t *object, const char *path, cf_identity *identity) {
    cf_json_reader reader = cf_json_reader_of(object, CF_ERR_KEYS_NOT_CONFIGURED, path);
    (void)cf_json_read_number(&reader, "version", VERSION, VERSION); /* another one is refused by the reader */
    cf_json_read_hex(&reader, "server_id", identity->server_id.bytes, 16);
    cf_json_read_hex(&reader, "vault_id", identity->vault_id.bytes, 16);
    cf_json_read_hex(&reader, "instance", identity->instance.bytes, 16);
    identity->server_name = strdup(cf_json_read_text(&reader, "server_name", 1, NAME_MAX_SIZE));
    identity->vault_name = strdup(cf_json_read_text(&reader, "vault_name", 1, NAME_MAX_SIZE));
    const char *region = cf_json_read_optional_text(&reader, "region", NAME_MAX_SIZE);
    identity->region = strdup(region ? region : "");
    identity->url = strdup(cf_json_read_text(&reader, "url", 1, URL_MAX));
    identity->ca_pem = copy_any(cf_json_read_optional_value(&reader, "ca"));
    identity->proxy = copy_any(cf_json_read_optional_value(&reader, "proxy"));
    identity->registered = cf_json_read_time(&reader, "registered");
    cf_err *err = cf_json_done(&reader);
    cf_err_set_reason(err, "identity");
    if (!err && (!identity->server_name || !identity->vault_name || !identity->region || !identity->url))
        err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the identity");
    return err;
}

cf_err *cf_identity_from_text(cf_span text, const char *path, cf_identity **out) {
    CF_AUTO(json_t) object = NULL;
    cf_err *err = cf_json_parse(text, 1 << 20, CF_ERR_KEYS_NOT_CONFIGURED, path, &object);
    cf_err_set_reason(err, "identity");
    CF_TRY(err);
    CF_AUTO(cf_identity) identity = calloc(1, sizeof *identity);
    if (!identity) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the identity");
    CF_TRY(read_members(object, path, identity));
    *out = cf_take(identity);
    return NULL;
}
