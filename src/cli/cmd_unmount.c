/* coffer unmount: end what coffer mount began. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "mount/mount.h"

struct unmount_options {
    bool force;
};

static const cf_option options[] = {CF_OPTION_FLAG(struct unmount_options, force, "force",
                                                   "also when it is in use: what is open there fails from then on"),
                                    CF_OPTION_END};

static cf_err *run(cf_cli *cli, const void *given, const cf_words *arguments) {
    const struct unmount_options *opt = given;
    const char *folder = arguments->item[0];
    cf_mount_state state;
    CF_AUTO_FREE char *path = NULL;
    CF_TRY(cf_mount_examine(folder, &state, &path));
    if (state == CF_MOUNT_NONE) return cf_fail(CF_ERR_NOT_MOUNTED, "%s", folder);
    CF_TRY(cf_mount_remove(path, opt->force || state == CF_MOUNT_STALE));
    if (cli->json)
        return cf_output_json(json_pack("{s:s, s:o, s:b}", "type", "unmounted", "folder",
                                        cf_json_text(cf_span_text(path)), "stale", state == CF_MOUNT_STALE));
    if (state == CF_MOUNT_STALE) cf_output_note(cli, "%s: its process had been killed; nothing is left of it", path);
    return NULL;
}

const cf_command cf_cmd_unmount = {
    .name = "unmount",
    .arguments = "DIR",
    .summary = "end a coffer mount",
    .description = "A mount that is in use stays. What a killed process left behind is cleaned up, too.\n",
    .examples = "coffer unmount /mnt\n",
    .options = options,
    .options_size = sizeof(struct unmount_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
