/* Backup sessions: at most one open for each server, held by a lease; and the pack numbers that they may use. */
#include "service/call.h"
#include "service/feed.h"
#include "service/reclaim.h"

cf_err *cf_call_session(cf_call *call, const cf_id16 *id, cf_session_row *session) {
    bool found = false;
    cf_records *records = call->vault->records;
    CF_TRY(cf_records_find_session(records, &call->token.server, id, &found, session));
    if (found && strcmp(session->state, "open") == 0 && session->lease_until <= call->now) {
        CF_TRY(cf_records_end_session(records, &call->token.server, id, "expired"));
        snprintf(session->state, sizeof session->state, "expired");
    }
    if (found && strcmp(session->state, "open") == 0) return NULL;
    return cf_fail_reason(CF_ERR_SESSION_LOST, found ? session->state : "unknown", "the session is %s",
                          found ? session->state : "unknown");
}

/* A fresh block, or the one that was handed out for this `after` before. Inside a transaction. */
static cf_err *take_block(cf_call *call, const cf_id16 *session, uint64_t after, cf_block_row *block) {
    bool found = false;
    cf_server_row server;
    cf_records *records = call->vault->records;
    CF_TRY(cf_records_find_block_after(records, &call->token.server, session, after, &found, block));
    if (found) return NULL;
    CF_TRY(cf_call_server(call, &server));
    *block = (cf_block_row){call->token.server, *session, server.next_number, CF_NUMBERS_PER_BLOCK, after};
    uint64_t end = block->first + block->count;
    if (end > CF_PACK_NUMBER_MAX) return cf_fail(CF_ERR_TOO_LARGE, "this server has used all pack numbers");
    CF_TRY(cf_vault_journal(call->vault, CF_JOURNAL_NUMBERS_RESERVED,
                            json_pack("{so,so,so,so,so}", "server_id", cf_value_hex(call->token.server.bytes, 16),
                                      "end", cf_value_number(end), "first", cf_value_number(block->first), "session",
                                      cf_value_hex(session->bytes, 16), "after", cf_value_number(after)),
                            NULL));
    CF_TRY(cf_records_add_block(records, block));
    return cf_records_set_next_number(records, &call->token.server, end);
}

static cf_err *open_fresh(cf_call *call, const cf_session_row *wanted) {
    cf_records *records = call->vault->records;
    bool found = false;
    cf_session_row old;
    CF_TRY(cf_records_find_open_session(records, &wanted->server, &found, &old));
    if (found && old.lease_until > call->now && !cf_id16_equal(&old.instance, &wanted->instance))
        return cf_fail(CF_ERR_OTHER_INSTANCE, "another installation of this server has a session open");
    if (found)
        CF_TRY(cf_records_end_session(records, &wanted->server, &old.id,
                                      old.lease_until > call->now ? "superseded" : "expired"));
    return cf_records_add_session(records, wanted);
}

static cf_err *reply_open(cf_call *call, const cf_session_row *session, const cf_block_row *block,
                          const cf_feed *feed) {
    cf_server_row server;
    CF_TRY(cf_call_server(call, &server));
    json_t *newest = server.has_newest ? json_pack("{so,so}", "id", cf_value_hex(server.newest.bytes, 32), "counter",
                                                   cf_value_number(server.newest_counter))
                                       : json_null();
    return cf_call_reply(call, 200,
                         json_pack("{so,so,so,sO,sb,sb,s{so,si},si,so}", "session", cf_value_hex(session->id.bytes, 16),
                                   "epoch", cf_value_hex(call->vault->row.epoch.bytes, 16), "generation",
                                   cf_value_number(feed->upto), "feed", feed->list, "feed_more", (int)feed->more,
                                   "resync", (int)feed->resync, "numbers", "first", cf_value_number(block->first),
                                   "count", (int)block->count, "lease_seconds", CF_SESSION_LEASE_SECONDS, "newest",
                                   newest));
}

/* A vault that was put back to an older copy would hand out numbers again whose packs the agent's index still knows:
 * other bytes would pass for them. At most so many at once: no agent can use its numbers up by saying so. */
static cf_err *skip_numbers(cf_call *call, uint64_t seen) {
    cf_server_row server;
    CF_TRY(cf_call_server(call, &server));
    if (seen < server.next_number) return NULL;
    CF_TRY(cf_reclaim_freeze(call->vault, &server.id, "a server knows pack numbers that were not handed out"));
    if (seen - server.next_number > UINT32_MAX)
        return cf_fail_reason(CF_ERR_BAD_REQUEST, "numbers", "numbers_after is far above what this vault handed out");
    return cf_records_set_next_number(call->vault->records, &server.id, seen + 1);
}

/* What the request says besides the session itself. */
typedef struct opening {
    uint64_t seen; /* the highest pack number that the agent knows of */
    cf_id16 epoch; /* of its generation */
    bool has_epoch, has_base;
    cf_id32 base; /* the point whose tree it goes on from */
} opening;

/* The newest point and the base stay while the session is open, whatever expires meanwhile. */
static cf_err *pin(cf_call *call, const cf_session_row *session, const opening *what) {
    cf_server_row server;
    cf_point_row base;
    uint8_t pins[64];
    size_t size = 0;
    bool found = false;
    CF_TRY(cf_call_server(call, &server));
    if (server.has_newest)
        CF_TRY(cf_records_find_point(call->vault->records, &server.id, &server.newest, &found, &base));
    if (found && !base.expired) {
        memcpy(pins, server.newest.bytes, 32);
        size = 32;
    }
    found = false;
    if (what->has_base) CF_TRY(cf_records_find_point(call->vault->records, &server.id, &what->base, &found, &base));
    if (found && !base.expired) {
        memcpy(pins + size, what->base.bytes, 32);
        size += 32;
    }
    return size ? cf_records_pin_session(call->vault->records, &server.id, &session->id, cf_span_of(pins, size)) : NULL;
}

static cf_err *open_session(cf_call *call, cf_session_row *wanted, const opening *what) {
    bool found = false;
    cf_session_row known;
    cf_block_row block;
    CF_AUTO_FEED cf_feed feed = {0};
    cf_records *records = call->vault->records;
    CF_TRY(cf_records_find_session(records, &wanted->server, &wanted->id, &found, &known));
    if (found) {
        CF_TRY(cf_call_session(call, &wanted->id, &known));
        if (!cf_id16_equal(&known.instance, &wanted->instance))
            return cf_fail(CF_ERR_OTHER_INSTANCE, "another installation of this server opened this session");
        CF_TRY(cf_records_renew_session(records, &wanted->server, &wanted->id, wanted->lease_until));
    } else {
        CF_TRY(open_fresh(call, wanted));
        CF_TRY(skip_numbers(call, what->seen));
        CF_TRY(pin(call, wanted, what));
    }
    CF_TRY(
        cf_feed_read(call->vault, &wanted->server, what->has_epoch ? &what->epoch : NULL, wanted->generation, &feed));
    CF_TRY(take_block(call, &wanted->id, 0, &block));
    return reply_open(call, wanted, &block, &feed);
}

/* A lost session is an answer whose transaction (the lease that is found over) must be kept. */
static cf_err *finish_session(cf_call *call, cf_err *err) {
    if (!err || cf_err_code(err) != CF_ERR_SESSION_LOST) return cf_records_finish(call->vault->records, err);
    cf_err *failed = cf_records_finish(call->vault->records, NULL);
    if (!failed) return err;
    cf_err_free(err);
    return failed;
}

cf_err *cf_api_sessions_open(cf_call *call) {
    cf_session_row wanted = {.server = call->token.server,
                             .opened = call->now,
                             .lease_until = call->now + CF_SESSION_LEASE_SECONDS,
                             .state = "open"};
    cf_json_reader reader = cf_call_read(call);
    cf_json_read_hex(&reader, "session", wanted.id.bytes, 16);
    wanted.generation = cf_json_read_number(&reader, "generation", 0, INT64_MAX);
    cf_json_read_hex(&reader, "instance", wanted.instance.bytes, 16);
    cf_json_read_hex(&reader, "job", wanted.job.bytes, 16);
    opening what = {0};
    const char *epoch = cf_json_read_optional_text(&reader, "epoch", 64);
    what.has_epoch = epoch && strlen(epoch) == 32 && cf_hex_decode(epoch, what.epoch.bytes, 16);
    what.has_base = cf_json_read_optional_hex(&reader, "base", what.base.bytes, 32);
    what.seen = cf_json_read_optional_number(&reader, "numbers_after", CF_PACK_NUMBER_MAX, 0);
    CF_TRY(cf_json_done(&reader));
    CF_TRY(cf_records_begin(call->vault->records));
    return finish_session(call, open_session(call, &wanted, &what));
}

static cf_err *renew(cf_call *call, const cf_id16 *id) {
    cf_session_row session;
    CF_TRY(cf_call_session(call, id, &session));
    return cf_records_renew_session(call->vault->records, &call->token.server, id,
                                    call->now + CF_SESSION_LEASE_SECONDS);
}

cf_err *cf_api_sessions_heartbeat(cf_call *call) {
    cf_id16 id;
    CF_TRY(cf_call_argument(call, id.bytes, 16));
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(finish_session(call, renew(call, &id)));
    return cf_call_reply(call, 200, json_pack("{si}", "lease_seconds", CF_SESSION_LEASE_SECONDS));
}

static cf_err *more_numbers(cf_call *call, const cf_id16 *id, uint64_t after, cf_block_row *block) {
    cf_session_row session;
    bool found = false;
    CF_TRY(cf_call_session(call, id, &session));
    /* Only the end of a block of this session: otherwise a client could chain up blocks without end. */
    CF_TRY(cf_records_find_block_of(call->vault->records, &call->token.server, id, after, &found, block));
    if (!found || after != block->first + block->count - 1)
        return cf_fail(CF_ERR_BAD_REQUEST, "%llu is not the last number of a block of this session",
                       (unsigned long long)after);
    return take_block(call, id, after, block);
}

cf_err *cf_api_sessions_numbers(cf_call *call) {
    cf_id16 id;
    cf_block_row block;
    CF_TRY(cf_call_argument(call, id.bytes, 16));
    cf_json_reader reader = cf_call_read(call);
    uint64_t after = cf_json_read_number(&reader, "after", 1, CF_PACK_NUMBER_MAX);
    CF_TRY(cf_json_done(&reader));
    CF_TRY(cf_records_begin(call->vault->records));
    CF_TRY(finish_session(call, more_numbers(call, &id, after, &block)));
    return cf_call_reply(
        call, 200, json_pack("{so,so}", "first", cf_value_number(block.first), "count", cf_value_number(block.count)));
}

cf_err *cf_api_sessions_close(cf_call *call) {
    cf_id16 id;
    bool found = false;
    cf_session_row session;
    CF_TRY(cf_call_argument(call, id.bytes, 16));
    CF_TRY(cf_records_find_session(call->vault->records, &call->token.server, &id, &found, &session));
    if (!found) return cf_fail_reason(CF_ERR_SESSION_LOST, "unknown", "the session is unknown");
    return cf_records_end_session(call->vault->records, &call->token.server, &id, "closed");
}
