#include "cli/home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "os/process.h"

/* Absolute without resolving links: DIR need not exist yet. */
static char *absolute(const char *path) {
    if (path[0] == '/') return strdup(path);
    CF_AUTO_FREE char *here = getcwd(NULL, 0);
    return here ? cf_text_format("%s/%s", here, path) : NULL;
}

cf_err *cf_home_resolve(const char *home, cf_home *out) {
    if (!home && !cf_process_is_root())
        return cf_fail(CF_ERR_NOT_PRIVILEGED,
                       "/etc/coffer, /var/lib/coffer and /var/cache/coffer belong to root: run as root, "
                       "or give a folder of your own with --home DIR (or COFFER_HOME=DIR)");
    if (home && !*home) return cf_fail(CF_ERR_BAD_USAGE, "--home needs the name of a folder");
    CF_AUTO_FREE char *root = home ? absolute(home) : NULL;
    if (home && !root) return cf_fail_errno(CF_ERR_IO, errno, "%s", home);
    cf_home made = {
        .etc = root ? cf_text_format("%s/etc", root) : strdup("/etc/coffer"),
        .state = root ? cf_text_format("%s/state", root) : strdup("/var/lib/coffer"),
        .scratch = root ? cf_text_format("%s/scratch", root) : strdup("/var/cache/coffer"),
    };
    made.config = made.etc ? cf_text_format("%s/agent.conf", made.etc) : NULL;
    if (!made.etc || !made.state || !made.scratch || !made.config) {
        cf_home_wipe(&made);
        return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the names of folders");
    }
    *out = made;
    return NULL;
}

static cf_err *make_folder(const char *path, mode_t mode) {
    CF_AUTO_FREE char *copy = strdup(path);
    if (!copy) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for the name of a folder");
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return cf_fail_errno(CF_ERR_IO, errno, "cannot create folder %s", copy);
        *slash = '/';
    }
    if (mkdir(copy, 0700) < 0)
        return errno == EEXIST ? NULL : cf_fail_errno(CF_ERR_IO, errno, "cannot create folder %s", copy);
    if (chmod(copy, mode) < 0) return cf_fail_errno(CF_ERR_IO, errno, "cannot set the mode of %s", copy);
    return NULL;
}

cf_err *cf_home_create(const cf_home *home) {
    CF_TRY(make_folder(home->etc, 0755));
    CF_TRY(make_folder(home->state, 0700));
    return make_folder(home->scratch, 0700);
}

void cf_home_wipe(cf_home *home) {
    free(home->etc);
    free(home->state);
    free(home->scratch);
    free(home->config);
    *home = (cf_home){0};
}
