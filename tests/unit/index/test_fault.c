/* The n-th system call or allocation fails, for every 7th n (CF_TEST_STRIDE=1: for every n): what was acknowledged stays, what was not is not there, and the index
 * goes on. The calls are wrapped by the linker (meson.build). */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct {
    bool armed;
    long left;  /* calls until one fails */
    bool lasts; /* from then on all fail */
    int err_no;
    bool hit;
} fault;

static bool fails(void) {
    if (!fault.armed) return false;
    if (fault.hit) return fault.lasts;
    if (fault.left-- > 0) return false;
    fault.hit = true;
    return true;
}

#define WRAP(type, name, parameters, arguments, failure) \
    type __real_##name parameters;                       \
    type __wrap_##name parameters;                       \
    type __wrap_##name parameters {                      \
        if (fails()) {                                   \
            errno = fault.err_no;                        \
            return failure;                              \
        }                                                \
        return __real_##name arguments;                  \
    }

WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), -1)
WRAP(int, fsync, (int fd), (fd), -1)
WRAP(int, ftruncate64, (int fd, off_t size), (fd, size), -1)
WRAP(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b), -1)
WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), NULL)

/* The scenario: packs, so that each third makes a run; one that is a run by itself; feeds; a flush. */
enum { STEPS = 16 };

static uint32_t step_size(int step) {
    return step == 9 ? 13000 : 4500;
}

static bool is_feed(int step) {
    return step == 4 || step == 12;
}

static cf_index_entry *entries_of[STEPS];

static cf_err *take_step(cf_index *index, int step) {
    if (step == 7) return cf_index_flush(index);
    if (is_feed(step)) {
        cf_index_segment retired = {(uint64_t)step - 1, 3};
        return cf_index_apply_feed(index, (uint64_t)step, (const uint8_t *)"0123456789abcdef", &retired, 1);
    }
    return cf_index_apply_pack(index, (uint64_t)step, entries_of[step], step_size(step));
}

static void expect_state(cf_index *index, const bool *done) {
    for (int step = 0; step < STEPS; step++) {
        if (step == 7 || is_feed(step)) continue;
        if (done[step]) assert_true(cf_index_has_pack(index, (uint64_t)step));
        bool has = cf_index_has_pack(index, (uint64_t)step);
        bool dead = step + 1 < STEPS && is_feed(step + 1) && cf_index_generation(index) >= (uint64_t)step + 1;
        for (uint32_t i = 0; i < step_size(step); i += i < 40 ? 8 : 501) {
            bool found = false;
            cf_index_address address;
            expect_ok(cf_index_lookup(index, entries_of[step][i].id, &found, &address));
            assert_int_equal(found, has && !(dead && entries_of[step][i].segment == 3));
            if (found) assert_true(address.pack == (uint64_t)step && address.length == entries_of[step][i].length);
        }
    }
    for (int step = 0; step < STEPS; step++) {
        if (is_feed(step) && done[step]) assert_true(cf_index_generation(index) >= (uint64_t)step);
    }
}

static cf_index *open_inline(const char *folder, cf_err **err) {
    cf_index_options options = small_options();
    cf_index *index = NULL;
    options.merge_inline = true;
    *err = cf_index_open(folder, &options, &index);
    return index;
}

static void expect_honest(cf_err *err) {
    cf_code code = cf_err_code(err);
    if (code != CF_ERR_OUT_OF_MEMORY && code != CF_ERR_IO && code != CF_ERR_DISK_FULL) {
        cf_err_print(stderr, err);
        fail_msg("a failing call was reported as something else");
    }
    cf_err_free(err);
}

/* False: the scenario ended before the n-th call. */
static bool run_scenario(const char *folder, long n, int err_no, bool lasts, bool crash) {
    bool done[STEPS] = {false};
    cf_err *err = NULL;
    expect_ok(cf_index_destroy(folder));
    fault.left = n;
    fault.err_no = err_no;
    fault.lasts = lasts;
    fault.hit = false;
    fault.armed = true;
    cf_index *index = open_inline(folder, &err);
    for (int step = 0; !err && step < STEPS; step++) {
        err = take_step(index, step);
        done[step] = !err;
    }
    fault.armed = false;
    bool hit = fault.hit;
    if (err) expect_honest(err);
    if (!index) {
        index = open_inline(folder, &err);
        expect_ok(err);
    }
    expect_state(index, done);
    if (crash) {
        cf_index_discard(index);
        index = open_inline(folder, &err);
        expect_ok(err);
        expect_state(index, done);
    }
    for (int step = 0; step < STEPS; step++) {
        if (done[step]) continue;
        expect_ok(take_step(index, step));
        done[step] = true;
    }
    expect_state(index, done);
    if (n % 2)
        expect_ok(cf_index_close(index));
    else
        cf_index_discard(index);
    index = open_inline(folder, &err);
    expect_ok(err);
    expect_state(index, done);
    expect_ok(cf_index_check(index));
    cf_index_discard(index);
    return hit;
}

static void test_every_call(void **state) {
    (void)state;
    char *folder = new_folder();
    const char *stride_text = getenv("CF_TEST_STRIDE");
    long stride = stride_text ? atol(stride_text) : 7, runs = 0;
    for (int mode = 0; mode < 4; mode++) {
        long n = mode % stride;
        while (run_scenario(folder, n, mode % 2 ? ENOSPC : EIO, mode == 3, mode >= 1)) {
            n += stride;
            runs++;
        }
    }
    print_message("%ld failing calls\n", runs);
    assert_true(runs > 50);
    end_folder(folder);
}

int main(void) {
    for (int step = 0; step < STEPS; step++) {
        entries_of[step] = calloc(step_size(step), sizeof **entries_of);
        if (!entries_of[step]) return 1;
        for (uint32_t i = 0; i < step_size(step); i++) entries_of[step][i] = make_entry((uint64_t)step, i);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_call)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int step = 0; step < STEPS; step++) free(entries_of[step]);
    return failed;
}
