/* Every command of the programs; each stands in the file of its name. */
#ifndef CF_CLI_COMMANDS_H
#define CF_CLI_COMMANDS_H

#include "cli/cli.h"

extern const cf_command cf_cmd_explain; /* in both programs */

#endif
