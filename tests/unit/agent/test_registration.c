/* The registration folder: whole or not there, whatever fails and whenever the process is killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/identity.h"
#include "agent/keyfile.h"
#include "agent/state.h"
#include "os/dir.h"
#include "os/file.h"
#include "os/hooks.h"

static char folder[64];
static int folder_fd = -1;

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/coffer-test-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder_fd < 0;
}

static int remove_folder(void **state) {
    (void)state;
    close(folder_fd);
    cf_err *err = cf_dir_remove_tree(AT_FDCWD, folder);
    if (err) cf_err_print(stderr, err);
    cf_err_free(err);
    return 0;
}

static void fill(cf_registration *registration) {
    memset(registration, 0, sizeof *registration);
    cf_identity *identity = calloc(1, sizeof *identity);
    assert_non_null(identity);
    memset(identity->server_id.bytes, 1, 16);
    memset(identity->vault_id.bytes, 2, 16);
    memset(identity->instance.bytes, 3, 16);
    identity->server_name = strdup("w\xc3\xa9"
                                   "b \"1\"");
    identity->vault_name = strdup("vault");
    identity->region = strdup("");
    identity->url = strdup("https://vault:8443");
    identity->ca_pem = strdup("-----BEGIN CERTIFICATE-----\nx\n");
    identity->registered.seconds = 1763683200;
    registration->identity = identity;
    assert_null(cf_secret_from("0123456789abcdef0123456789abcdef", 32, &registration->token));
    assert_null(cf_server_keys_generate(&registration->keys));
    memset(registration->slot, 7, CF_SLOT_SIZE);
}

static void expect_whole(const cf_registration *given) {
    CF_AUTO(cf_identity) identity = NULL;
    CF_AUTO(cf_secret) token = NULL;
    CF_AUTO(cf_server_keys) keys = NULL;
    assert_null(cf_registration_load_identity(folder_fd, &identity));
    assert_null(cf_registration_load_token(folder_fd, &token));
    assert_null(cf_registration_load_keys(folder_fd, &keys));
    assert_string_equal(identity->server_name, given->identity->server_name);
    assert_string_equal(identity->ca_pem, given->identity->ca_pem);
    assert_null(identity->proxy);
    assert_memory_equal(identity->instance.bytes, given->identity->instance.bytes, 16);
    assert_int_equal(identity->registered.seconds, 1763683200);
    assert_memory_equal(cf_secret_bytes(token), cf_secret_bytes(given->token), 32);
    assert_memory_equal(cf_secret_bytes(keys->gear), cf_secret_bytes(given->keys->gear), 32);
}

static bool is_registered(void) {
    CF_AUTO(cf_identity) identity = NULL;
    cf_err *err = cf_registration_load_identity(folder_fd, &identity);
    bool registered = !err;
    if (err) assert_int_equal(cf_err_code(err), CF_ERR_NOT_REGISTERED);
    cf_err_free(err);
    return registered;
}

static void it_comes_back_and_goes(void **state) {
    (void)state;
    cf_registration given;
    struct stat info;
    fill(&given);
    assert_false(is_registered());
    assert_null(cf_registration_commit(folder_fd, &given));
    expect_whole(&given);
    assert_int_equal(fstatat(folder_fd, "registration/keys", &info, 0), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(fstatat(folder_fd, "registration", &info, 0), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    CF_AUTO(cf_err) again = cf_registration_commit(folder_fd, &given);
    assert_int_equal(cf_err_code(again), CF_ERR_EXISTS);
    assert_null(cf_registration_remove(folder_fd));
    assert_null(cf_registration_remove(folder_fd));
    assert_false(is_registered());
    cf_registration_wipe(&given);
}

/* Counts changing calls; the one at `at` fails, or ends the process. */
typedef struct trap {
    int count, at;
    bool kill;
} trap;

static int spring(void *context, const cf_os_op *op) {
    (void)op;
    trap *t = context;
    if (++t->count != t->at) return 0;
    if (t->kill) _exit(9);
    return EIO;
}

static void a_failing_disk_leaves_nothing(void **state) {
    (void)state;
    cf_registration given;
    fill(&given);
    int at = 1;
    for (;; at++) {
        trap t = {.at = at};
        const cf_os_hooks hooks = {.before = spring, .context = &t};
        cf_os_hooks_set(&hooks);
        cf_err *err = cf_registration_commit(folder_fd, &given);
        cf_os_hooks_set(NULL);
        if (!err) break;
        cf_err_free(err);
        assert_false(is_registered());
        assert_true(at < 200);
    }
    assert_true(at > 10);
    expect_whole(&given);
    assert_null(cf_registration_remove(folder_fd));
    cf_registration_wipe(&given);
}

/* Every moment of registering and of unregistering: afterwards it is whole or gone, and either works again. */
static void a_kill_leaves_all_or_nothing(void **state) {
    (void)state;
    cf_registration given;
    fill(&given);
    int whole = 0, gone = 0;
    for (int removing = 0; removing < 2; removing++) {
        for (int at = 1, status = 9 << 8; status; at++) {
            if (removing && !is_registered()) assert_null(cf_registration_commit(folder_fd, &given));
            if (!removing) assert_null(cf_registration_remove(folder_fd));
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                trap t = {.at = at, .kill = true};
                const cf_os_hooks hooks = {.before = spring, .context = &t};
                cf_os_hooks_set(&hooks);
                cf_err *err = removing ? cf_registration_remove(folder_fd) : cf_registration_commit(folder_fd, &given);
                _exit(err ? 1 : 0);
            }
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(status == 0 || WEXITSTATUS(status) == 9);
            if (is_registered()) {
                expect_whole(&given);
                whole++;
            } else {
                gone++;
            }
            assert_true(at < 200);
        }
    }
    assert_true(whole >= 2 && gone > 10);
    cf_registration_wipe(&given);
}

static void damage(const char *name, const char *content, size_t size) {
    int fd = openat(folder_fd, name, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, size), size);
    close(fd);
}

static void damage_is_named(void **state) {
    (void)state;
    cf_registration given;
    CF_AUTO(cf_identity) identity = NULL;
    CF_AUTO(cf_secret) token = NULL;
    CF_AUTO(cf_server_keys) keys = NULL;
    fill(&given);
    assert_null(cf_registration_remove(folder_fd));
    assert_null(cf_registration_commit(folder_fd, &given));
    damage("registration/identity.json", "{\"version\":1}", 13);
    damage("registration/token", "zz", 2);
    assert_int_equal(unlinkat(folder_fd, "registration/keys", 0), 0);
    CF_AUTO(cf_err) first = cf_registration_load_identity(folder_fd, &identity);
    CF_AUTO(cf_err) second = cf_registration_load_token(folder_fd, &token);
    CF_AUTO(cf_err) third = cf_registration_load_keys(folder_fd, &keys);
    assert_int_equal(cf_err_code(first), CF_ERR_KEYS_NOT_CONFIGURED);
    assert_string_equal(cf_err_reason(first), "identity");
    assert_int_equal(cf_err_code(second), CF_ERR_KEYS_NOT_CONFIGURED);
    assert_string_equal(cf_err_reason(second), "token");
    assert_int_equal(cf_err_code(third), CF_ERR_KEYS_NOT_CONFIGURED);
    assert_string_equal(cf_err_reason(third), "keys");
    cf_registration_wipe(&given);
}

static void a_key_file_is_checked(void **state) {
    (void)state;
    CF_AUTO(cf_server_keys) keys = NULL;
    CF_AUTO(cf_server_keys) back = NULL;
    CF_AUTO(cf_secret) bytes = NULL;
    assert_null(cf_server_keys_generate(&keys));
    assert_null(cf_keyfile_encode(keys, &bytes));
    assert_int_equal(cf_secret_size(bytes), CF_KEYFILE_SIZE);
    assert_null(cf_keyfile_decode(cf_span_of(cf_secret_bytes(bytes), CF_KEYFILE_SIZE), "f", &back));
    assert_memory_equal(cf_secret_bytes(back->master), cf_secret_bytes(keys->master), 32);
    for (size_t i = 0; i < CF_KEYFILE_SIZE; i++) { /* any cut, any flipped bit */
        cf_server_keys *none = NULL;
        uint8_t *data = cf_secret_data(bytes);
        CF_AUTO(cf_err) cut = cf_keyfile_decode(cf_span_of(data, i), "f", &none);
        data[i] ^= 4;
        CF_AUTO(cf_err) flipped = cf_keyfile_decode(cf_span_of(data, CF_KEYFILE_SIZE), "f", &none);
        data[i] ^= 4;
        assert_null(none);
        assert_int_equal(cf_err_code(cut), CF_ERR_KEYS_NOT_CONFIGURED);
        assert_string_equal(cf_err_reason(cut), "truncated");
        assert_int_equal(cf_err_code(flipped), CF_ERR_KEYS_NOT_CONFIGURED);
        assert_string_equal(cf_err_reason(flipped), i == 7 ? "too_new" : "damaged");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back_and_goes),       cmocka_unit_test(a_failing_disk_leaves_nothing),
        cmocka_unit_test(a_kill_leaves_all_or_nothing), cmocka_unit_test(damage_is_named),
        cmocka_unit_test(a_key_file_is_checked),
    };
    return cmocka_run_group_tests_name("registration", tests, make_folder, remove_folder);
}
