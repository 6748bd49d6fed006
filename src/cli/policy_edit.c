#include "cli/policy_edit.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/output.h"

enum { PATIENCE_MS = 2000, TRIES = 3 };

cf_err *cf_no_policy(void) {
    return cf_fail(CF_ERR_NO_POLICY, "no policy is set for this server");
}

static bool means_away(const cf_err *err) {
    cf_code code = cf_err_code(err);
    return code == CF_ERR_VAULT_UNREACHABLE || code == CF_ERR_VAULT_BUSY || code == CF_ERR_PROXY;
}

cf_err *cf_policy_refresh(const cf_agent *agent, const cf_cli *cli, cf_remote **remote) {
    CF_AUTO(cf_remote) opened = NULL;
    cf_network network = cf_agent_network(agent, cli, NULL, PATIENCE_MS);
    CF_TRY(cf_access_connect(agent->state, &network, &opened));
    cf_policy_sync outcome;
    cf_err *err = cf_policy_store_sync(agent->state, opened, &outcome);
    if (means_away(err)) {
        cf_output_note(cli, "the vault does not answer (%s): this is what is known here", cf_err_message(err));
        cf_err_free(err);
        *remote = NULL;
        return NULL;
    }
    CF_TRY(err);
    *remote = cf_take(opened);
    return NULL;
}

cf_err *cf_policy_load_current(const cf_agent *agent, const cf_cli *cli, cf_policy *policy, bool *found) {
    CF_AUTO(cf_remote) remote = NULL;
    cf_policy_init(policy);
    CF_TRY(cf_policy_refresh(agent, cli, &remote));
    return cf_policy_store_load(agent->state, policy, found);
}

/* One round: *again when somebody else saved a version in between. */
static cf_err *edit_once(const cf_cli *cli, const cf_agent *agent, cf_policy_change *change, void *context,
                         cf_policy *policy, bool *pending, bool *again) {
    CF_AUTO(cf_remote) remote = NULL;
    bool exists = false;
    CF_TRY(cf_policy_refresh(agent, cli, &remote));
    CF_TRY(cf_policy_store_load(agent->state, policy, &exists));
    CF_TRY(change(cli, context, policy, exists));
    cf_err *err = cf_policy_store_save(agent->state, remote, policy, pending);
    *again = cf_err_code(err) == CF_ERR_POLICY_CHANGED;
    return err;
}

/* A hook that is named and not defined here fails each job: said while somebody looks. */
static void note_hooks(const cf_cli *cli, const cf_agent *agent, const cf_policy *policy) {
    for (size_t i = 0; i < policy->hooks.count; i++)
        if (!cf_config_hook(&agent->config, policy->hooks.item[i]))
            cf_output_note(cli, "agent.conf of this server defines no hook '%s' yet", policy->hooks.item[i]);
}

cf_err *cf_policy_edit(cf_cli *cli, cf_policy_change *change, void *context, bool confirm) {
    CF_AUTO_AGENT cf_agent agent = {0};
    CF_TRY(cf_agent_open(cli, &agent));
    for (int tries = 1;; tries++) {
        cf_policy policy;
        bool pending = false, again = false;
        cf_policy_init(&policy);
        cf_err *err = edit_once(cli, &agent, change, context, &policy, &pending, &again);
        if (!err && confirm) err = cf_policy_store_confirm(agent.state);
        if (!err && pending) cf_output_note(cli, "in force here; the vault gets it as soon as it answers");
        if (!err) note_hooks(cli, &agent, &policy);
        if (!err) err = cf_policy_show(cli, &agent, &policy, pending);
        cf_policy_wipe(&policy);
        if (!again || tries == TRIES) return err;
        cf_err_free(err);
    }
}

/* Parts of path onto out, which begins with "" for "/". */
static void put_parts(const char *path, cf_buf *out) {
    for (const char *part = path; *part;) {
        part += strspn(part, "/");
        size_t size = strcspn(part, "/");
        if (size == 2 && part[0] == '.' && part[1] == '.') {
            while (out->size && out->data[out->size - 1] != '/') out->size--;
            if (out->size) out->size--;
        } else if (size && !(size == 1 && part[0] == '.')) {
            cf_buf_put(out, "/", 1);
            cf_buf_put(out, part, size);
        }
        part += size;
    }
}

char *cf_absolute_path(const char *path) {
    CF_AUTO_BUF cf_buf out;
    cf_buf_init(&out, 4 * PATH_MAX);
    if (path[0] != '/') {
        CF_AUTO_FREE char *folder = getcwd(NULL, 0);
        if (!folder) return NULL;
        put_parts(folder, &out);
    }
    put_parts(path, &out);
    if (out.size == 0) cf_buf_put(&out, "/", 1);
    return out.failed ? NULL : cf_span_dup_text(cf_buf_span(&out));
}
