#include "service/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "digest/digest.h"
#include "objects/folder.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/file.h"
#include "service/certificate.h"
#include "service/reclaim.h"
#include "visible/names.h"

enum { SECRET_MODE = 0600 };

char *cf_vault_path(const cf_vault *vault, const char *name) {
    return cf_text_format("%s/%s", vault->path, name);
}

void cf_vault_close(cf_vault *vault) {
    if (!vault) return;
    cf_records_close(vault->records);
    cf_objects_free(vault->objects);
    if (vault->lock >= 0) close(vault->lock);
    if (vault->fd >= 0) close(vault->fd);
    free(vault->path);
    free(vault);
}

static cf_err *open_folder(const char *path, cf_clock clock, cf_vault **out) {
    CF_AUTO(cf_vault) vault = calloc(1, sizeof *vault);
    if (!vault) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a vault");
    vault->fd = vault->lock = -1;
    vault->clock = clock;
    vault->path = strdup(path);
    if (!vault->path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a vault");
    vault->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (vault->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return cf_fail_errno(CF_ERR_NOT_A_VAULT, errno, "%s", path);
    if (vault->fd < 0) return cf_os_fail(errno, "open", path);
    *out = cf_take(vault);
    return NULL;
}

static cf_err *take_lock(cf_vault *vault) {
    vault->lock = openat(vault->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, SECRET_MODE);
    if (vault->lock < 0) return cf_os_fail(errno, "open", "lock");
    if (flock(vault->lock, LOCK_EX | LOCK_NB) == 0) return NULL;
    if (errno == EWOULDBLOCK)
        return cf_fail(CF_ERR_VAULT_IN_USE, "another service or rebuild works on %s", vault->path);
    return cf_os_fail(errno, "lock", "lock");
}

static cf_err *open_objects(cf_vault *vault, bool clean) {
    CF_AUTO_FD int fd = openat(vault->fd, "objects", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_fail_errno(CF_ERR_NOT_A_VAULT, errno, "%s/objects", vault->path);
    return cf_objects_folder_open(fd, vault->path, clean, &vault->objects);
}

cf_err *cf_vault_open_objects(const char *path, cf_clock clock, cf_vault **out) {
    CF_AUTO(cf_vault) vault = NULL;
    CF_TRY(open_folder(path, clock, &vault));
    bool exists = false;
    CF_TRY(cf_file_exists(vault->fd, "objects", &exists));
    if (!exists) return cf_fail(CF_ERR_NOT_A_VAULT, "%s has no objects folder", path);
    CF_TRY(take_lock(vault));
    CF_TRY(open_objects(vault, true));
    *out = cf_take(vault);
    return NULL;
}

cf_err *cf_vault_open(const char *path, cf_vault_use use, cf_clock clock, cf_vault **out) {
    CF_AUTO(cf_vault) vault = NULL;
    CF_TRY(open_folder(path, clock, &vault));
    bool exists = false;
    CF_TRY(cf_file_exists(vault->fd, CF_VAULT_DATABASE, &exists));
    if (!exists) return cf_fail(CF_ERR_NOT_A_VAULT, "%s has no %s", path, CF_VAULT_DATABASE);
    if (use == CF_VAULT_SERVE) CF_TRY(take_lock(vault));
    CF_TRY(open_objects(vault, use == CF_VAULT_SERVE));
    CF_AUTO_FREE char *database = cf_vault_path(vault, CF_VAULT_DATABASE);
    if (!database) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a vault");
    CF_TRY(cf_records_open(database, false, &vault->records));
    CF_TRY(cf_records_get_vault(vault->records, &vault->row));
    *out = cf_take(vault);
    return NULL;
}

static cf_err *encode_entry(cf_vault *vault, cf_journal_type type, uint64_t sequence, const json_t *body, cf_buf *out) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, CF_JOURNAL_BODY_MAX);
    char *dump = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    if (!dump) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a journal entry");
    cf_buf_put_span(&text, cf_span_text(dump));
    free(dump);
    CF_TRY(cf_buf_check(&text, "a journal entry"));
    cf_journal_entry entry = {(uint16_t)type, sequence, (uint64_t)cf_vault_now(vault), cf_buf_span(&text)};
    return cf_journal_encode(&entry, out);
}

static cf_err *append_entry(cf_vault *vault, cf_journal_type type, const json_t *body, uint64_t *out) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, CF_JOURNAL_BODY_MAX + 4096);
    uint64_t sequence = 0;
    CF_TRY(cf_records_get_journal_next(vault->records, &sequence));
    /* An entry that is there already was written before a crash and has no row: it stays, this one is next. */
    for (bool created = false; !created; sequence++) {
        cf_buf_reset(&bytes);
        CF_TRY(encode_entry(vault, type, sequence, body, &bytes));
        char key[CF_NAME_MAX];
        cf_name_journal(sequence, key);
        CF_TRY(cf_objects_put(vault->objects, key, cf_buf_span(&bytes), &created));
        if (!created) CF_TRY(cf_reclaim_entry_ahead(vault, key)); /* nobody looks at it again */
    }
    CF_TRY(cf_records_set_journal_next(vault->records, sequence));
    if (out) *out = sequence - 1;
    return NULL;
}

cf_err *cf_vault_journal(cf_vault *vault, cf_journal_type type, json_t *body, uint64_t *sequence) {
    if (!body) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a journal entry");
    cf_err *err = append_entry(vault, type, body, sequence);
    json_decref(body);
    return err;
}

/* The folder itself: new or empty. */
static cf_err *make_folder(const char *path) {
    CF_TRY(cf_dir_make_durable(AT_FDCWD, path, 0700));
    CF_AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", path);
    bool empty = false;
    CF_TRY(cf_dir_empty(fd, path, &empty));
    if (!empty) return cf_fail(CF_ERR_EXISTS, "%s is not empty", path);
    if (fchmod(fd, 0700) < 0) return cf_os_fail(errno, "set the permissions of", path);
    CF_TRY(cf_dir_make_durable(fd, "objects", 0700));
    return cf_dir_make_durable(fd, "tls", 0700);
}

static void set_url(cf_vault_row *row, const char *url) {
    snprintf(row->url, sizeof row->url, "%s", url);
    while (strlen(row->url) > 8 && row->url[strlen(row->url) - 1] == '/') row->url[strlen(row->url) - 1] = '\0';
}

static cf_err *fill_row(const cf_vault_init_options *options, int64_t now, cf_vault_row *row) {
    *row = (cf_vault_row){.created = now};
    char host[256] = "localhost";
    if (gethostname(host, sizeof host - 1) < 0) return cf_os_fail(errno, "learn", "this machine's name");
    const char *name = options->name ? options->name : host;
    const char *region = options->region ? options->region : "";
    CF_AUTO_FREE char *made = cf_text_format("https://%s:8443", host);
    const char *url = options->url ? options->url : made;
    if (!url) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a vault");
    if (name[0] == '\0' || strlen(name) > CF_SERVER_NAME_MAX || !cf_utf8_valid(cf_span_text(name)))
        return cf_fail(CF_ERR_BAD_USAGE, "the vault's name must have 1 to %d bytes of UTF-8", CF_SERVER_NAME_MAX);
    if (strlen(region) > CF_REGION_MAX || !cf_utf8_valid(cf_span_text(region)))
        return cf_fail(CF_ERR_BAD_USAGE, "the region may have at most %d bytes", CF_REGION_MAX);
    CF_TRY(cf_certificate_check_url(url));
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->region, sizeof row->region, "%s", region);
    set_url(row, url);
    CF_TRY(cf_random(row->id.bytes, 16));
    CF_TRY(cf_random(row->epoch.bytes, 16));
    return cf_random(row->url_key, sizeof row->url_key);
}

static cf_err *record_creation(cf_vault *vault) {
    char id[CF_HEX_SIZE(16)];
    cf_hex_encode(vault->row.id.bytes, 16, id);
    CF_TRY(cf_vault_journal(vault, CF_JOURNAL_VAULT_CREATED,
                            json_pack("{ssssssss}", "vault_id", id, "name", vault->row.name, "region",
                                      vault->row.region, "url", vault->row.url),
                            NULL));
    return cf_records_set_vault(vault->records, &vault->row);
}

/* The database is made last: a folder without one is no vault, so a failed init leaves nothing that looks
 * like one. */
static cf_err *fill_folder(cf_vault *vault) {
    CF_TRY(take_lock(vault));
    CF_TRY(open_objects(vault, false));
    CF_TRY(cf_certificate_make_authority(vault));
    CF_AUTO_FREE char *database = cf_vault_path(vault, CF_VAULT_DATABASE);
    if (!database) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a vault");
    CF_TRY(cf_records_open(database, true, &vault->records));
    CF_TRY(cf_records_begin(vault->records));
    CF_TRY(cf_records_finish(vault->records, record_creation(vault)));
    return cf_file_sync_folder(vault->fd, vault->path);
}

cf_err *cf_vault_init(const cf_vault_init_options *options, cf_clock clock, cf_vault_row *row) {
    CF_AUTO(cf_vault) vault = NULL;
    cf_vault_row fresh;
    CF_TRY(fill_row(options, cf_clock_wall(&clock).seconds, &fresh));
    CF_TRY(make_folder(options->path));
    CF_TRY(open_folder(options->path, clock, &vault));
    vault->row = fresh;
    CF_TRY(cf_note(fill_folder(vault), "%s", options->path));
    *row = fresh;
    return NULL;
}

cf_err *cf_vault_move(cf_vault *vault, const char *url) {
    CF_TRY(cf_certificate_check_url(url));
    set_url(&vault->row, url);
    CF_TRY(cf_certificate_replace(vault)); /* first: the new address is of no use without it */
    CF_TRY(cf_records_begin(vault->records));
    return cf_records_finish(vault->records, record_creation(vault));
}
