// deps: replies_dep
/* What a vault answers. The first byte chooses the request, the rest is the reply's body. This file stands in for the
 * part of the client that fetches replies. */
#include <stdlib.h>
#include <string.h>

#include "remote/call.h"
#include "remote/packs.h"
#include "remote/points.h"
#include "remote/policy.h"
#include "remote/sessions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The client's handle, as far as the readers of replies know it. */
struct cf_remote {
    cf_span reply;
    pthread_mutex_t lock;
};

cf_err *cf_call_run(cf_remote *remote, cf_call *call, json_t **reply, json_t **details) {
    json_decref(call->body);
    call->body = NULL;
    json_t *value = NULL;
    CF_TRY(cf_json_parse(remote->reply, 1 << 20, CF_ERR_BAD_REPLY, "reply", &value));
    if (details) { /* a point's commit: the reply is what is missing */
        *details = value;
        return cf_fail(CF_ERR_MISSING_SEGMENTS, "missing");
    }
    if (reply)
        *reply = value;
    else
        json_decref(value);
    return NULL;
}

cf_err *cf_call_run_raw(cf_remote *remote, cf_call *call, cf_buf *out) {
    (void)call;
    cf_buf_put_span(out, remote->reply);
    return cf_buf_check(out, "reply");
}

cf_err *cf_transfer_run(cf_remote *remote, const cf_transfer *transfer, int *status) {
    (void)remote;
    *status = transfer->into ? 404 : 201; /* a read asks for another address, an upload works */
    return NULL;
}

pthread_mutex_t *cf_remote_access_lock(cf_remote *remote) {
    return &remote->lock;
}

cf_time cf_remote_now(const cf_remote *remote) {
    (void)remote;
    return (cf_time){0, 0};
}

static cf_err *identities(cf_remote *remote, uint8_t choice) {
    cf_id16 id = {{0}};
    cf_remote_version version;
    cf_remote_credentials credentials;
    cf_remote_challenge challenge;
    cf_remote_self self;
    cf_remote_unlock unlock = {.takeover = true, .name = "x"};
    cf_remote_unlocked unlocked;
    cf_remote_registration registration = {.name = "x"};
    uint8_t record[CF_REMOTE_RECORD_SIZE];
    switch (choice) {
    case 0:
        return cf_remote_get_version(remote, &version);
    case 1:
        return cf_remote_check_credentials(remote, &credentials);
    case 2:
        return cf_remote_get_challenge(remote, &id, &challenge);
    case 3:
        return cf_remote_get_self(remote, &self);
    case 4:
        return cf_remote_unlock_server(remote, &unlock, &unlocked);
    case 5:
        return cf_remote_get_record(remote, &id, record);
    default:
        return cf_remote_register(remote, &registration);
    }
}

static cf_err *lists(cf_remote *remote, uint8_t choice) {
    void *list = NULL;
    size_t count;
    bool more;
    cf_err *err = NULL;
    switch (choice) {
    case 0:
        err = cf_remote_list_servers(remote, (cf_remote_server **)&list, &count);
        break;
    case 1:
        err = cf_remote_list_slots(remote, (cf_remote_slot **)&list, &count);
        break;
    case 2:
        err = cf_remote_list_points(remote, (cf_remote_point **)&list, &count);
        break;
    default:
        err = cf_remote_list_packs(remote, 0, 10, (cf_remote_pack_info **)&list, &count, &more, NULL, NULL);
        break;
    }
    free(list);
    return err;
}

static cf_err *open_session(cf_remote *remote) {
    cf_remote_session_request request = {.epoch = "e"};
    cf_remote_session session;
    CF_TRY(cf_remote_open_session(remote, &request, &session));
    cf_remote_session_wipe(&session);
    return NULL;
}

static cf_err *store_point(cf_remote *remote) {
    cf_id16 session = {{0}};
    cf_id32 id = {{0}};
    cf_remote_missing missing = {0};
    cf_err *err = cf_remote_store_point(remote, &session, &id, NULL, NULL, cf_span_of(NULL, 0), &missing);
    cf_remote_missing_wipe(&missing);
    return err;
}

static cf_err *store_pack(cf_remote *remote) {
    cf_id16 session = {{0}};
    uint8_t sum[16] = {0};
    uint64_t sent;
    return cf_remote_store_pack(remote, &session, 1, cf_span_text("pack"), sum, cf_span_text("k"), &sent);
}

static cf_err *fetch_packs(cf_remote *remote) {
    const uint64_t numbers[2] = {1, 2};
    cf_remote_pack packs[2];
    uint8_t bytes[8];
    CF_TRY(cf_remote_fetch_packs(remote, numbers, 2, packs));
    if (packs[0].access) cf_err_free(cf_remote_read_range(remote, &packs[0], 0, sizeof bytes, bytes));
    cf_remote_pack_wipe(&packs[0]);
    cf_remote_pack_wipe(&packs[1]);
    return NULL;
}

static cf_err *sessions(cf_remote *remote, uint8_t choice) {
    cf_id16 id = {{0}};
    cf_remote_numbers numbers;
    uint32_t seconds;
    switch (choice) {
    case 0:
        return open_session(remote);
    case 1:
        return cf_remote_more_numbers(remote, &id, 7, &numbers);
    case 2:
        return cf_remote_renew_session(remote, &id, &seconds);
    case 3:
        return store_point(remote);
    case 4:
        return store_pack(remote);
    default:
        return fetch_packs(remote);
    }
}

static cf_err *policies(cf_remote *remote) {
    cf_remote_policy newest;
    cf_err *err = cf_remote_get_policy(remote, &newest);
    cf_remote_policy_wipe(&newest);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    cf_remote remote = {.reply = cf_span_of(data + 1, size - 1)};
    uint8_t choice = (uint8_t)(data[0] & 31);
    pthread_mutex_init(&remote.lock, NULL);
    cf_err *err = choice < 8    ? identities(&remote, choice)
                  : choice < 12 ? lists(&remote, (uint8_t)(choice - 8))
                  : choice > 29 ? policies(&remote)
                                : sessions(&remote, (uint8_t)(choice - 12));
    cf_err_free(err);
    pthread_mutex_destroy(&remote.lock);
    return 0;
}
