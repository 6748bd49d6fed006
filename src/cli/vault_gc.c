/* coffer-vault gc: one pass of reclaiming now. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "records/reclaim.h"
#include "service/reclaim.h"
#include "service/service.h"

/* What holds data besides the points themselves. */
static cf_err *count_leases(cf_vault *vault, cf_lease_total *all) {
    CF_AUTO_FREE cf_server_row *rows = NULL;
    size_t count = 0;
    *all = (cf_lease_total){0};
    CF_TRY(cf_records_list_servers(vault->records, &rows, &count));
    for (size_t i = 0; i < count; i++) {
        cf_lease_total one;
        CF_TRY(cf_records_total_leases(vault->records, &rows[i].id, &one));
        all->restore += one.restore;
        all->verify += one.verify;
        all->mount += one.mount;
    }
    return NULL;
}

static cf_err *ask_service(cf_cli *cli, const char *path, char **why, cf_lease_total *leases, bool *answered,
                           cf_reclaim_report *report) {
    CF_AUTO(cf_vault) vault = NULL;
    bool may = false;
    CF_TRY(cf_vault_open(path, CF_VAULT_LIST, cf_clock_system(), &vault));
    atomic_store(&vault->looked, true); /* the service has, or does before it answers */
    CF_TRY(cf_reclaim_ask(vault, cli->cancel, answered, report));
    CF_TRY(count_leases(vault, leases));
    return cf_reclaim_may_delete(&(cf_reclaimer){vault, NULL, cli->cancel}, &may, why);
}

/* The service that runs does it; without one, this program does, holding the vault's lock meanwhile. */
static cf_err *one_pass(cf_cli *cli, const char *path, bool *beside, char **why, cf_lease_total *leases,
                        cf_reclaim_report *report) {
    CF_AUTO(cf_vault) vault = NULL;
    bool may = false, answered = false;
    for (;;) { /* again when the service ended while it was asked */
        cf_err *err = cf_vault_open(path, CF_VAULT_SERVE, cf_clock_system(), &vault);
        *beside = cf_err_code(err) == CF_ERR_VAULT_IN_USE;
        if (!*beside) {
            CF_TRY(err);
            break;
        }
        cf_err_free(err);
        free(*why);
        *why = NULL;
        CF_TRY(ask_service(cli, path, why, leases, &answered, report));
        if (answered) return NULL;
    }
    cf_reclaimer reclaimer = {vault, NULL, cli->cancel};
    CF_TRY(cf_reclaim_may_delete(&reclaimer, &may, NULL));
    CF_TRY(cf_service_tick(vault)); /* leases that ran out hold nothing any more */
    CF_TRY(cf_reclaim_all(&reclaimer, true, report));
    CF_TRY(count_leases(vault, leases));
    free(*why);
    return cf_reclaim_may_delete(&reclaimer, &may, why);
}

static cf_err *print(cf_cli *cli, const cf_reclaim_report *report, const char *why, const cf_lease_total *leases,
                     bool beside) {
    if (cli->json)
        return cf_output_json(json_pack(
            "{sI,sI,sI,sI,sI,sI,sI,sI,ss?,sb,s{sI,sI,sI}}", "servers", (json_int_t)report->servers, "failed",
            (json_int_t)report->failed, "retired_segments", (json_int_t)report->retired_segments, "revived_segments",
            (json_int_t)report->revived_segments, "deleted_packs", (json_int_t)report->deleted_packs, "deleted_bytes",
            (json_int_t)report->deleted_bytes, "deleted_points", (json_int_t)report->deleted_points, "deleted_strays",
            (json_int_t)report->deleted_strays, "stopped", why, "by_service", (int)beside, "leases", "restore",
            (json_int_t)leases->restore, "verify", (json_int_t)leases->verify, "mount", (json_int_t)leases->mount));
    if (why) {
        printf("nothing was reclaimed: %s\n", why);
        return NULL;
    }
    printf("looked at %" PRIu64 " servers: %" PRIu64 " segments retired; removed %" PRIu64 " packs (%" PRIu64
           " bytes), %" PRIu64 " expired recovery points, %" PRIu64 " uploads that were never completed\n",
           report->servers, report->retired_segments, report->deleted_packs, report->deleted_bytes,
           report->deleted_points, report->deleted_strays);
    if (leases->restore + leases->verify + leases->mount > 0)
        printf("held by read leases: %" PRIu64 " of restores, %" PRIu64 " of verifications, %" PRIu64 " of mounts\n",
               leases->restore, leases->verify, leases->mount);
    if (report->failed)
        printf("%" PRIu64 " servers were left alone: a recovery point of theirs cannot be read (see the log)\n",
               report->failed);
    return NULL;
}

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given; /* no options */
    cf_reclaim_report report = {0};
    cf_lease_total leases;
    CF_AUTO_FREE char *why = NULL;
    bool beside = false;
    CF_TRY(one_pass(cli, arguments->item[0], &beside, &why, &leases, &report));
    cli->warnings = why != NULL || report.failed > 0;
    return print(cli, &report, why, &leases, beside);
}

const cf_command cf_cmd_vault_gc = {
    .name = "gc",
    .arguments = "DIR",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "reclaim space now",
    .description =
        "What no recovery point needs any more is retired, and removed when its grace is over (setting\n"
        "reclaim_grace_seconds). The service does this by itself; beside a running one, this command asks it\n"
        "for a pass and waits for its end; without one it does the pass itself, holding the vault's lock.\n",
    .examples = "coffer-vault gc /srv/coffer\n",
    .run = run,
};
