/* coffer-vault: the vault's service and its administrator's command line. Links no code that opens keys,
 * decrypts or reads a tree: scripts/check-wall. */
#include "cli/commands.h"

static const cf_command *const commands[] = {
    &cf_cmd_vault_init,    &cf_cmd_vault_serve,    &cf_cmd_vault_credentials,
    &cf_cmd_vault_servers, &cf_cmd_vault_points,   &cf_cmd_vault_jobs,
    &cf_cmd_vault_address, &cf_cmd_vault_settings, &cf_cmd_vault_confirm,
    &cf_cmd_vault_gc,      &cf_cmd_vault_rebuild,  &cf_cmd_vault_scrub,
    &cf_cmd_explain,       &cf_cmd_vault_routes,   NULL,
};

static const cf_program program = {
    .name = "coffer-vault",
    .summary = "keep the backups of servers",
    .commands = commands,
};

int main(int argc, char **argv) {
    return cf_cli_main(&program, argc, argv);
}
