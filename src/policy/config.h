/* The agent's settings, agent.conf: INI text to a struct. Pure.
 *
 *   # a comment, also with ;
 *   [agent]
 *   compression = default
 *
 * Only settings that this version uses exist; each is described in coffer.conf(5). */
#ifndef CF_POLICY_CONFIG_H
#define CF_POLICY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { CF_CONFIG_SIZE_MAX = 65536, CF_CONFIG_TEXT_MAX = 1024 };

typedef enum cf_compression { CF_COMPRESSION_FAST, CF_COMPRESSION_DEFAULT, CF_COMPRESSION_MAX } cf_compression;

/* Commands that go with a backup of the policy's selection, when the policy names them:
 *   NAME.pre, NAME.post  a command before and after it: an absolute path, words separated by blanks (no shell)
 *   NAME.timeout         how long each may take, 1s .. 24h, 10 min ("90s", "10min", "2h")
 *   NAME.on_failure      fail | warning | ignore: what a failure means, fail                             */
enum { CF_CONFIG_HOOKS_MAX = 16, CF_HOOK_NAME_MAX = 63 };
typedef enum cf_hook_failure { CF_HOOK_FAIL, CF_HOOK_WARNING, CF_HOOK_IGNORE } cf_hook_failure;
typedef struct cf_hook {
    char name[CF_HOOK_NAME_MAX + 1];
    char pre[CF_CONFIG_TEXT_MAX], post[CF_CONFIG_TEXT_MAX]; /* empty: none */
    uint32_t timeout_s;
    cf_hook_failure on_failure;
    unsigned seen; /* keys that were set */
} cf_hook;

typedef struct cf_config {
    /* [agent] */
    cf_compression compression; /* fast | default | max                                                */
    uint32_t lanes;             /* lanes: worker threads, 1 .. 64; 0 (default): one for each processor   */
    bool verify_uploads;        /* verify_uploads: open every segment again before it is sent, yes      */
    uint64_t pack_size_bytes;   /* pack_size: 1 MiB .. 64 MiB, 16 MiB                                   */
    uint64_t memory_bytes;      /* memory: what a backup may take, 64 MiB .. 16 GiB, 150 MiB; packs get
                                   smaller to fit                                                       */
    uint64_t kdf_memory_bytes;  /* kdf_memory: for the passphrase, 19 MiB .. 1 GiB, 256 MiB             */
    uint32_t kdf_passes;        /* kdf_passes: 2 .. 16, 3                                               */
    /* [jobs] */
    uint32_t history_days; /* history: days that ended jobs are remembered, 7 .. 3660, 366                  */
    /* [hooks] */
    cf_hook hooks[CF_CONFIG_HOOKS_MAX];
    size_t hook_count;
    /* [proxy], empty when not set */
    char proxy_url[CF_CONFIG_TEXT_MAX];           /* url: http://HOST:PORT                             */
    char proxy_user[CF_CONFIG_TEXT_MAX];          /* user                                              */
    char proxy_password_file[CF_CONFIG_TEXT_MAX]; /* password_file                                     */
} cf_config;

/* cf_config_hook: by name; NULL when there is none. */
const cf_hook *cf_config_hook(const cf_config *config, const char *name);

void cf_config_defaults(cf_config *config);
/* cf_config_parse: apply text (at most 64 KiB) on top of what config holds; name stands in messages. On
 * failure config is half changed: throw it away. Fails: 900901 CONFIG with the reasons unknown_section,
 * unknown_key (both with the nearest known one), bad_value, duplicate, syntax, too_large; the message begins
 * "NAME:LINE: ".                                                                                        */
cf_err *cf_config_parse(cf_span text, const char *name, cf_config *config) __attribute__((warn_unused_result));

/* One setting, for documentation and for tests that hold coffer.conf(5) to the code.                   */
typedef struct cf_config_key {
    const char *section, *key, *values;
} cf_config_key;
const cf_config_key *cf_config_keys(size_t *count);

#endif
