/* A vault of its own for the tests of retention, with a clock that stands until it is moved. */
#ifndef TESTS_RETENTION_WORLD_H
#define TESTS_RETENTION_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/dir.h"
#include "service/retention_run.h"
#include "service/retention_view.h"
#include "service/settings.h"
#include "visible/point.h"

#define OK(call)                              \
    do {                                      \
        cf_err *err_ = (call);                \
        if (err_) cf_err_print(stderr, err_); \
        assert_null(err_);                    \
    } while (0)
#define FAILS(expected, call)                          \
    do {                                               \
        CF_AUTO(cf_err) err_ = (call);                 \
        assert_int_equal(cf_err_code(err_), expected); \
    } while (0)

enum { DAY = 86400, START = 1800000000 /* 2027-01-15T08:00:00Z */ };

typedef struct world {
    char folder[64], path[80];
    int64_t wall;
    uint64_t ms;
    cf_clock clock;
    cf_vault *vault;
    cf_id16 server;
    uint64_t counter; /* of the last point */
} world;

static cf_time world_wall(void *context) {
    return (cf_time){((world *)context)->wall, 0};
}

static uint64_t world_ms(void *context) {
    return ((world *)context)->ms;
}

static inline void world_pass(world *w, int64_t seconds) {
    w->wall += seconds;
    w->ms += (uint64_t)seconds * 1000;
}

static inline void world_reopen(world *w) {
    cf_vault_close(w->vault);
    w->vault = NULL;
    OK(cf_vault_open(w->path, CF_VAULT_SERVE, w->clock, &w->vault));
    atomic_store(&w->vault->looked, true);
}

static inline void world_open(world *w) {
    cf_vault_row row;
    *w = (world){.wall = START, .ms = 5000, .server = {{7}}};
    snprintf(w->folder, sizeof w->folder, "/tmp/cf-retention-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/vault", w->folder);
    w->clock = (cf_clock){world_wall, world_ms, w, false};
    OK(cf_vault_init(&(cf_vault_init_options){.path = w->path, .name = "test", .url = "https://localhost:1"}, w->clock,
                     &row));
    world_reopen(w);
}

static inline void world_close(world *w) {
    cf_vault_close(w->vault);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
}

static inline void world_add_server(world *w, const cf_id16 *id) {
    cf_server_row row = {.id = *id, .registered = w->wall, .next_number = 1};
    snprintf(row.name, sizeof row.name, "server-%u-%u", id->bytes[0], id->bytes[1]);
    OK(cf_records_add_server(w->vault->records, &row));
}

static inline void world_set_policy(world *w, const cf_id16 *server, uint64_t number, const char *document) {
    cf_policy_row row = {.server = *server, .number = number, .changed = w->wall, .changed_by = "agent"};
    OK(cf_records_put_policy(w->vault->records, &row, document));
}

static inline cf_id32 world_point_id(const cf_id16 *server, uint64_t counter) {
    cf_id32 id = {{0}};
    memcpy(id.bytes, server->bytes, 16);
    memcpy(id.bytes + 16, &counter, sizeof counter);
    return id;
}

static inline cf_point_row world_point(const cf_id16 *server, uint64_t counter, int64_t received) {
    cf_point_row row = {.id = world_point_id(server, counter),
                        .server = *server,
                        .counter = counter,
                        .size = 1000,
                        .received = received,
                        .scheduled = true,
                        .slot = received};
    CF_AUTO_BUF cf_buf summary;
    cf_buf_init(&summary, sizeof row.summary);
    cf_summary_encode(&(cf_summary){.files = 10}, &summary);
    memcpy(row.summary, summary.data, summary.size);
    row.summary_size = summary.size;
    return row;
}

#endif
