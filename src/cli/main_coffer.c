/* coffer: the agent's command line and job runner. */
#include "cli/commands.h"

/* clang-format off: one to a line */
static const cf_command *const commands[] = {
    &cf_cmd_register,
    &cf_cmd_status,
    &cf_cmd_policy,
    &cf_cmd_backup,
    &cf_cmd_points,
    &cf_cmd_ls,
    &cf_cmd_find,
    &cf_cmd_diff,
    &cf_cmd_cat,
    &cf_cmd_restore,
    &cf_cmd_verify,
    &cf_cmd_drill,
    &cf_cmd_mount,
    &cf_cmd_unmount,
    &cf_cmd_jobs,
    &cf_cmd_cancel,
    &cf_cmd_unregister,
    &cf_cmd_throttle,
    &cf_cmd_passphrase,
    &cf_cmd_recovery_kit,
    &cf_cmd_explain,
    &cf_cmd_sync,
    NULL,
};
/* clang-format on */

static const cf_program program = {
    .name = "coffer",
    .summary = "back up this server to a vault, and get it back",
    .commands = commands,
    .has_home = true,
};

int main(int argc, char **argv) {
    return cf_cli_main(&program, argc, argv);
}
