/* Every command of the programs; each stands in the file of its name. */
#ifndef CF_CLI_COMMANDS_H
#define CF_CLI_COMMANDS_H

#include "cli/cli.h"

extern const cf_command cf_cmd_explain; /* in both programs */

/* coffer */
extern const cf_command cf_cmd_backup;
extern const cf_command cf_cmd_points;
extern const cf_command cf_cmd_ls;
extern const cf_command cf_cmd_cat;
extern const cf_command cf_cmd_restore;
extern const cf_command cf_cmd_verify;
extern const cf_command cf_cmd_register;
extern const cf_command cf_cmd_status;
extern const cf_command cf_cmd_jobs;
extern const cf_command cf_cmd_cancel;
extern const cf_command cf_cmd_unregister;

/* coffer-vault */
extern const cf_command cf_cmd_vault_init;
extern const cf_command cf_cmd_vault_serve;
extern const cf_command cf_cmd_vault_credentials;
extern const cf_command cf_cmd_vault_servers;
extern const cf_command cf_cmd_vault_points;
extern const cf_command cf_cmd_vault_jobs;
extern const cf_command cf_cmd_vault_address;
extern const cf_command cf_cmd_vault_rebuild;
extern const cf_command cf_cmd_vault_routes;

#endif
