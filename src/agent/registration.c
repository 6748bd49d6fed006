/* The registration folder: made and removed as a whole, by one rename. See agent/identity.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/keyfile.h"
#include "base/text.h"
#include "os/dir.h"
#include "os/fail.h"
#include "os/file.h"
#include "os/hooks.h"

#define FOLDER "registration"
#define BUILDING ".registration-new"
#define LEAVING ".registration-old"

enum { FILE_MAX = 1 << 20, TOKEN_SIZE = 32 };

void cf_registration_wipe(cf_registration *registration) {
    cf_identity_free(registration->identity);
    cf_secret_free(registration->token);
    cf_server_keys_free(registration->keys);
    memset(registration, 0, sizeof *registration);
}

static cf_err *write_file(int fd, const char *name, cf_span bytes) {
    return cf_file_write_durable(fd, name, &bytes, 1, 0600);
}

static cf_err *write_token(int fd, const cf_secret *token) {
    CF_AUTO(cf_secret) text = NULL;
    CF_TRY(cf_secret_new(CF_HEX_SIZE(TOKEN_SIZE), &text));
    uint8_t *data = cf_secret_data(text);
    cf_hex_encode(cf_secret_bytes(token), TOKEN_SIZE, (char *)data);
    data[2 * TOKEN_SIZE] = '\n';
    return write_file(fd, "token", cf_span_of(data, 2 * TOKEN_SIZE + 1));
}

static cf_err *write_parts(int fd, const cf_registration *registration) {
    CF_AUTO_FREE char *identity = NULL;
    CF_AUTO(cf_secret) keys = NULL;
    CF_TRY(cf_identity_to_text(registration->identity, &identity));
    CF_TRY(cf_keyfile_encode(registration->keys, &keys));
    CF_TRY(write_file(fd, "identity.json", cf_span_text(identity)));
    CF_TRY(write_token(fd, registration->token));
    CF_TRY(write_file(fd, "keys", cf_span_of(cf_secret_bytes(keys), cf_secret_size(keys))));
    return write_file(fd, "slot", cf_span_of(registration->slot, CF_SLOT_SIZE));
}

static cf_err *build(int state_fd, const cf_registration *registration) {
    CF_TRY(cf_dir_remove_tree(state_fd, BUILDING)); /* of a run that was killed */
    CF_TRY(cf_dir_make_durable(state_fd, BUILDING, 0700));
    CF_AUTO_FD int fd = openat(state_fd, BUILDING, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cf_os_fail(errno, "open", BUILDING);
    return write_parts(fd, registration);
}

cf_err *cf_registration_commit(int state_fd, const cf_registration *registration) {
    bool exists;
    CF_TRY(cf_file_exists(state_fd, FOLDER, &exists));
    if (exists) return cf_fail(CF_ERR_EXISTS, "this server has a registration already");
    cf_err *err = build(state_fd, registration);
    if (!err && cf_sys_rename(state_fd, BUILDING, state_fd, FOLDER, RENAME_NOREPLACE) < 0)
        err = cf_os_fail(errno, "rename", BUILDING);
    if (!err && cf_sys_sync_folder(state_fd) < 0) err = cf_os_fail(errno, "sync", "the state folder");
    if (!err) return NULL;
    cf_err *left = cf_registration_remove(state_fd);
    cf_err_free(left); /* the first failure is the one to tell; what is left is cleared by the next attempt */
    return err;
}

cf_err *cf_registration_remove(int state_fd) {
    CF_TRY(cf_dir_remove_tree(state_fd, BUILDING));
    CF_TRY(cf_dir_remove_tree(state_fd, LEAVING));
    bool exists;
    CF_TRY(cf_file_exists(state_fd, FOLDER, &exists));
    if (!exists) return NULL;
    CF_TRY(cf_file_rename_durable(state_fd, FOLDER, state_fd, LEAVING));
    return cf_dir_remove_tree(state_fd, LEAVING);
}

/* A part that is missing although the folder is there is damage; without the folder we are not registered. */
static cf_err *read_part(int state_fd, const char *name, cf_buf *out) {
    CF_AUTO_FREE char *path = cf_text_format(FOLDER "/%s", name);
    if (!path) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for a path");
    bool exists;
    CF_TRY(cf_file_exists(state_fd, FOLDER, &exists));
    if (!exists) return cf_fail(CF_ERR_NOT_REGISTERED, "no registration in this state folder");
    cf_err *err = cf_file_read(state_fd, path, FILE_MAX, out);
    return err ? cf_wrap_reason(err, CF_ERR_KEYS_NOT_CONFIGURED, name, "the registration's part \"%s\" cannot be read",
                                name)
               : NULL;
}

cf_err *cf_registration_load_identity(int state_fd, cf_identity **identity) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, FILE_MAX);
    CF_TRY(read_part(state_fd, "identity.json", &text));
    return cf_identity_from_text(cf_buf_span(&text), FOLDER "/identity.json", identity);
}

cf_err *cf_registration_load_token(int state_fd, cf_secret **token) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, FILE_MAX);
    CF_TRY(read_part(state_fd, "token", &text));
    char digits[CF_HEX_SIZE(TOKEN_SIZE)] = "";
    uint8_t bytes[TOKEN_SIZE];
    if (text.size >= 2 * TOKEN_SIZE && text.size <= 2 * TOKEN_SIZE + 1) memcpy(digits, text.data, 2 * TOKEN_SIZE);
    bool valid = cf_hex_decode(digits, bytes, sizeof bytes);
    cf_wipe(digits, sizeof digits);
    if (text.size) cf_wipe(text.data, text.size);
    if (!valid) return cf_fail_reason(CF_ERR_KEYS_NOT_CONFIGURED, "token", FOLDER "/token is damaged");
    cf_err *err = cf_secret_from(bytes, sizeof bytes, token);
    cf_wipe(bytes, sizeof bytes);
    return err;
}

cf_err *cf_registration_load_keys(int state_fd, cf_server_keys **keys) {
    CF_AUTO_BUF cf_buf bytes;
    cf_buf_init(&bytes, FILE_MAX);
    CF_TRY(read_part(state_fd, "keys", &bytes));
    cf_err *err = cf_keyfile_decode(cf_buf_span(&bytes), FOLDER "/keys", keys);
    if (bytes.size) cf_wipe(bytes.data, bytes.size);
    return err;
}
