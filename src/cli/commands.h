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
extern const cf_command cf_cmd_drill;
extern const cf_command cf_cmd_mount;
extern const cf_command cf_cmd_unmount;
extern const cf_command cf_cmd_register;
extern const cf_command cf_cmd_policy;
extern const cf_command cf_cmd_status;
extern const cf_command cf_cmd_jobs;
extern const cf_command cf_cmd_cancel;
extern const cf_command cf_cmd_unregister;
extern const cf_command cf_cmd_passphrase;
extern const cf_command cf_cmd_recovery_kit;
extern const cf_command cf_cmd_throttle;
extern const cf_command cf_cmd_find;
extern const cf_command cf_cmd_diff;
extern const cf_command cf_cmd_sync;

/* coffer-vault */
extern const cf_command cf_cmd_vault_init;
extern const cf_command cf_cmd_vault_serve;
extern const cf_command cf_cmd_vault_credentials;
extern const cf_command cf_cmd_vault_servers;
extern const cf_command cf_cmd_vault_points;
extern const cf_command cf_cmd_vault_jobs;
extern const cf_command cf_cmd_vault_address;
extern const cf_command cf_cmd_vault_settings;
extern const cf_command cf_cmd_vault_confirm;
extern const cf_command cf_cmd_vault_gc;
extern const cf_command cf_cmd_vault_rebuild;
extern const cf_command cf_cmd_vault_scrub;
extern const cf_command cf_cmd_vault_routes;

#endif
