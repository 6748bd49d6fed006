/* The system state in a backup: what sysstate collects, as files of the folder /.coffer-system-state. */
#ifndef CF_AGENT_BACKUP_STATE_H
#define CF_AGENT_BACKUP_STATE_H

#include "backup/backup.h"

/* cf_backup_state_made: how the scan gets the folder. cancel is borrowed for the scan, may be NULL. */
cf_backup_made cf_backup_state_made(cf_cancel *cancel);

#endif
