/* coffer cancel: end a running job. */
#include <stdio.h>

#include "agent/jobs.h"
#include "base/text.h"
#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/output.h"

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    (void)given;
    CF_AUTO_AGENT cf_agent agent = {0};
    cf_job_row row = {0};
    char id[CF_HEX_SIZE(16)];
    CF_TRY(cf_agent_open(cli, &agent));
    CF_TRY(cf_jobs_find(agent.state, arguments->item[0], &row));
    cf_hex_encode(row.id.bytes, 16, id);
    cf_err *err = cf_jobs_cancel(agent.state, &row);
    cf_job_row_wipe(&row);
    CF_TRY(err);
    if (cli->json) return cf_output_json(json_pack("{s:s, s:b}", "id", id, "cancelling", 1));
    if (!cli->quiet) printf("job %.12s is asked to stop\n", id);
    return NULL;
}

const cf_command cf_cmd_cancel = {
    .name = "cancel",
    .arguments = "ID",
    .summary = "cancel a running job",
    .description =
        "ID is a job's, or its beginning. What a backup has sent stays in the vault: the next one continues.\n",
    .examples = "coffer cancel 3f2a\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
