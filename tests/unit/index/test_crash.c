/* Damage, cut files, killed processes, power loss, full disks. */
#include "helper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t random_state = 0x5eed5eed5eed;

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

typedef struct file {
    char name[300];
    uint8_t *data;
    size_t size;
} file;

typedef struct snapshot {
    file files[80];
    size_t count;
} snapshot;

static void take_snapshot(const char *folder, snapshot *shot) {
    shot->count = 0;
    DIR *list = opendir(folder);
    assert_non_null(list);
    struct dirent *item;
    while ((item = readdir(list))) {
        if (item->d_name[0] == '.') continue;
        assert_in_range(shot->count, 0, 79);
        file *f = &shot->files[shot->count++];
        snprintf(f->name, sizeof f->name, "%s", item->d_name);
        int fd = openat(dirfd(list), f->name, O_RDONLY);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        f->size = (size_t)st.st_size;
        f->data = malloc(f->size + 1);
        assert_non_null(f->data);
        assert_int_equal(read(fd, f->data, f->size), (ssize_t)f->size);
        close(fd);
    }
    closedir(list);
}

static void free_snapshot(snapshot *shot) {
    for (size_t i = 0; i < shot->count; i++) free(shot->files[i].data);
}

/* The folder as it was, with file number changed (SIZE_MAX: none) being cut to cut bytes and byte flip inverted. */
static void restore_snapshot(const char *folder, const snapshot *shot, size_t changed, size_t cut, size_t flip) {
    expect_ok(cf_index_destroy(folder));
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < shot->count; i++) {
        const file *f = &shot->files[i];
        char path[4500];
        snprintf(path, sizeof path, "%s/%s", folder, f->name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        size_t size = i == changed && cut < f->size ? cut : f->size;
        assert_int_equal(write(fd, f->data, size), (ssize_t)size);
        if (i == changed && flip < size) {
            uint8_t byte = (uint8_t)(f->data[flip] ^ 1u << flip % 8);
            assert_int_equal(pwrite(fd, &byte, 1, (off_t)flip), 1);
        }
        close(fd);
    }
}

enum { PACKS = 60, CHUNKS = 800 };

/* Whatever was done to the files: either the index says that it is unreadable, or each pack is as the watermark says. */
static bool consistent_or_unreadable(const char *folder, const char *boot_id, bool expect_all) {
    cf_index_options options = small_options();
    options.boot_id = boot_id;
    cf_index *index = NULL;
    cf_err *err = cf_index_open(folder, &options, &index);
    if (err) {
        expect_code(err, CF_ERR_INDEX_UNREADABLE, NULL);
        return false;
    }
    bool readable = true;
    for (uint64_t pack = 0; readable && pack < PACKS; pack++) {
        bool has = cf_index_has_pack(index, pack);
        if (!has && (expect_all || !cf_index_recovered(index)))
            fail_msg("pack %d is gone and nobody says so", (int)pack);
        for (uint32_t i = 0; readable && i < CHUNKS; i += 37) {
            cf_index_entry entry = make_entry(pack, i);
            bool found = false;
            cf_index_address address;
            err = cf_index_lookup(index, entry.id, &found, &address);
            if (err) {
                expect_code(err, CF_ERR_INDEX_UNREADABLE, "damaged");
                readable = false;
            } else {
                assert_int_equal(found, has);
                if (found)
                    assert_true(address.pack == pack && address.length == entry.length &&
                                address.offset == entry.offset);
            }
        }
    }
    err = cf_index_check(index);
    if (err) {
        expect_code(err, CF_ERR_INDEX_UNREADABLE, "damaged");
        readable = false;
    }
    cf_index_discard(index);
    return readable;
}

static void test_damage(void **state) {
    (void)state;
    char *folder = new_folder();
    for (int clean = 0; clean < 2; clean++) {
        cf_index *index = open_small(folder);
        for (uint64_t pack = 0; pack < PACKS; pack++) expect_ok(try_apply(index, pack, CHUNKS));
        static const cf_index_segment retired[] = {{1000, 1}, {2000, 2}};
        expect_ok(cf_index_apply_feed(index, 1, (const uint8_t *)"0123456789abcdef", retired, 2));
        for (uint64_t pack = 0; pack < PACKS; pack++) assert_true(cf_index_has_pack(index, pack));
        expect_ok(try_apply(index, 777, 50));
        expect_ok(cf_index_settle(index));
        if (clean)
            expect_ok(cf_index_close(index));
        else
            cf_index_discard(index);
        snapshot shot;
        take_snapshot(folder, &shot);
        assert_in_range(shot.count, 4, 80); /* manifest, log, dead, runs */
        restore_snapshot(folder, &shot, SIZE_MAX, SIZE_MAX, SIZE_MAX);
        assert_true(consistent_or_unreadable(folder, "boot-1", true));
        for (size_t f = 0; f < shot.count; f++) {
            for (int i = 0; i < 40; i++) {
                size_t at = (size_t)(random_number() % (i < 10 ? (shot.files[f].size < 64 ? shot.files[f].size : 64)
                                                               : shot.files[f].size));
                bool cut = i % 2;
                restore_snapshot(folder, &shot, f, cut ? at : SIZE_MAX, cut ? SIZE_MAX : at);
                bool is_log = strncmp(shot.files[f].name, "log", 3) == 0;
                bool readable = consistent_or_unreadable(folder, "boot-1", false);
                /* No byte of a file goes unnoticed, except behind the end of an unfinished journal's last good record. */
                if (readable && !(is_log && !clean))
                    fail_msg("%s: %s at %zu went unnoticed", shot.files[f].name, cut ? "cut" : "flip", at);
            }
        }
        free_snapshot(&shot);
        expect_ok(cf_index_destroy(folder));
    }
    free(folder);
}

static void test_missing_files(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    for (uint64_t pack = 0; pack < PACKS; pack++) expect_ok(try_apply(index, pack, CHUNKS));
    expect_ok(cf_index_close(index));
    snapshot shot;
    take_snapshot(folder, &shot);
    for (size_t f = 0; f < shot.count; f++) {
        restore_snapshot(folder, &shot, SIZE_MAX, 0, 0);
        char path[4500];
        snprintf(path, sizeof path, "%s/%s", folder, shot.files[f].name);
        assert_int_equal(unlink(path), 0);
        cf_index_options options = small_options();
        cf_err *err = cf_index_open(folder, &options, &index);
        if (strcmp(shot.files[f].name, "manifest") == 0) {
            expect_ok(err);
            assert_true(cf_index_fresh(index));
            assert_false(cf_index_has_pack(index, 0));
            expect_ok(cf_index_close(index));
        } else {
            expect_code(err, CF_ERR_INDEX_UNREADABLE, "damaged");
        }
    }
    free_snapshot(&shot);
    end_folder(folder);
}

static void test_newer_version(void **state) {
    (void)state;
    char *folder = new_folder();
    expect_ok(cf_index_close(open_small(folder)));
    char path[4500];
    snprintf(path, sizeof path, "%s/manifest", folder);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x02", 1, 8), 1);
    close(fd);
    cf_index_options options = small_options();
    cf_index *index = NULL;
    expect_code(cf_index_open(folder, &options, &index), CF_ERR_INDEX_UNREADABLE, "newer");
    end_folder(folder);
}

/* Files that shrink under an open index: an error, no signal. */
static void test_truncated_while_open(void **state) {
    (void)state;
    char *folder = new_folder();
    cf_index *index = open_small(folder);
    expect_ok(try_apply(index, 1, 60000));
    snapshot shot;
    take_snapshot(folder, &shot);
    for (size_t f = 0; f < shot.count; f++) {
        char path[4500];
        snprintf(path, sizeof path, "%s/%s", folder, shot.files[f].name);
        if (strncmp(shot.files[f].name, "run", 3) == 0) assert_int_equal(truncate(path, 8192), 0);
    }
    cf_index_entry entry = make_entry(1, 5);
    bool found;
    cf_index_address address;
    expect_code(cf_index_lookup(index, entry.id, &found, &address), CF_ERR_INDEX_UNREADABLE, "damaged");
    cf_index_discard(index);
    free_snapshot(&shot);
    end_folder(folder);
}

/* What the child tells, in memory that outlives it. */
typedef struct progress {
    _Atomic uint64_t applied; /* packs below this: apply_pack returned */
    _Atomic uint64_t flushed; /* packs below this: a later flush returned */
    _Atomic uint64_t fed;     /* generation of the last feed that returned */
} progress;

/* The segment that feed number g retires: segment 0 (chunks 0 .. 7) of some earlier or later pack. */
static cf_index_segment feed_segment(uint64_t generation) {
    return (cf_index_segment){generation * 13, 0};
}

static uint32_t pack_size(uint64_t pack) {
    return pack % 29 == 3 ? 30000 : (uint32_t)(pack * 7919 % 3000); /* now and then one that becomes a run of its own */
}

static void child_applies(const char *folder, progress *done) {
    cf_index *index = open_small(folder);
    for (uint64_t pack = done->applied; pack < 1000000; pack++) {
        if (pack % 11 == 5) {
            cf_index_segment retired = feed_segment(pack / 11 + 1);
            expect_ok(cf_index_apply_feed(index, pack / 11 + 1, (const uint8_t *)"0123456789abcdef", &retired, 1));
            done->fed = pack / 11 + 1;
        }
        expect_ok(try_apply(index, pack, pack_size(pack)));
        done->applied = pack + 1;
        if (pack % 5 == 4) {
            expect_ok(cf_index_flush(index));
            done->flushed = pack + 1;
        }
    }
    _exit(0);
}

static bool is_dead(uint64_t pack, uint64_t generation) {
    return pack > 0 && pack % 13 == 0 && pack / 13 <= generation;
}

static void check_pack(cf_index *index, uint64_t pack, bool has) {
    uint32_t size = pack_size(pack);
    uint64_t generation = cf_index_generation(index);
    uint32_t step = size > 500 ? size / 100 : 1;
    for (uint32_t i = 0; i < size; i += step) {
        cf_index_entry entry = make_entry(pack, i);
        bool found = false;
        cf_index_address address;
        expect_ok(cf_index_lookup(index, entry.id, &found, &address));
        assert_int_equal(found, has && !(entry.segment == 0 && is_dead(pack, generation)));
        if (found)
            assert_true(address.pack == pack && address.offset == entry.offset && address.length == entry.length);
    }
}

static void test_killed(void **state) {
    (void)state;
    char *folder = new_folder();
    progress *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(done != MAP_FAILED);
    const char *rounds_text = getenv("CF_TEST_KILLS");
    int rounds = rounds_text ? atoi(rounds_text) : 120, killed = 0;
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) child_applies(folder, done);
        struct timespec pause = {0, (long)(random_number() % 100000000)};
        nanosleep(&pause, NULL); /* the moment of death is the point of this test */
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        killed++;
        cf_index *index = open_small(folder);
        assert_in_range(cf_index_generation(index), done->fed, done->fed + 1); /* on disk, but not yet told */
        uint64_t top = done->applied + 1;
        for (uint64_t pack = 0; pack <= top; pack++) {
            bool has = cf_index_has_pack(index, pack);
            if (pack < done->applied) assert_true(has); /* the kernel lives: nothing that was applied is lost */
            if (pack + 40 > top || pack % 17 == (uint64_t)round % 17) check_pack(index, pack, has);
        }
        if (round % 10 == 9) expect_ok(cf_index_check(index));
        if (done->applied > 1500) { /* start again, the index has grown enough */
            cf_index_discard(index);
            expect_ok(cf_index_destroy(folder));
            *done = (progress){0};
            continue;
        }
        if (round % 3 == 0)
            expect_ok(cf_index_close(index));
        else
            cf_index_discard(index);
        while (done->applied < top) { /* the child goes on behind what is on disk */
            index = open_small(folder);
            bool has = cf_index_has_pack(index, done->applied);
            cf_index_discard(index);
            if (!has) break;
            done->applied++;
        }
    }
    print_message("%d kills, %d packs at the end\n", killed, (int)done->applied);
    munmap(done, sizeof *done);
    end_folder(folder);
}

/* Power loss: what was synced is there, the journal's end behind the last flush is anything. */
static void test_power_loss(void **state) {
    (void)state;
    for (int round = 0; round < 60; round++) {
        char *folder = new_folder();
        cf_index *index = open_small(folder);
        uint64_t flushed = 1 + random_number() % 20, applied = flushed + random_number() % 20;
        char log[4500] = "";
        for (uint64_t pack = 0; pack < flushed; pack++) expect_ok(try_apply(index, pack, 300));
        expect_ok(cf_index_flush(index));
        snapshot shot;
        take_snapshot(folder, &shot);
        size_t flushed_size = 0;
        for (size_t f = 0; f < shot.count; f++) {
            if (strncmp(shot.files[f].name, "log", 3) != 0) continue;
            snprintf(log, sizeof log, "%s/%s", folder, shot.files[f].name);
            flushed_size = shot.files[f].size;
        }
        for (uint64_t pack = flushed; pack < applied; pack++) expect_ok(try_apply(index, pack, 300));
        cf_index_discard(index);
        struct stat st;
        assert_int_equal(stat(log, &st), 0);
        size_t tail = (size_t)st.st_size - flushed_size;
        int fd = open(log, O_RDWR);
        if (tail > 0 && round % 3 == 0)
            assert_int_equal(ftruncate(fd, (off_t)(flushed_size + random_number() % tail)), 0);
        if (tail > 0 && round % 3 == 1) { /* a block that never reached the disk */
            uint8_t zero[512] = {0};
            assert_int_equal(pwrite(fd, zero, sizeof zero, (off_t)(flushed_size + random_number() % tail)),
                             sizeof zero);
        }
        close(fd);
        cf_index_options options = small_options();
        options.boot_id = "boot-2";
        expect_ok(cf_index_open(folder, &options, &index));
        assert_true(cf_index_recovered(index));
        for (uint64_t pack = 0; pack < applied; pack++) {
            bool has = cf_index_has_pack(index, pack);
            if (pack < flushed) assert_true(has);
            assert_int_equal(count_found(index, pack, 300), has ? 300 : 0);
            expect_ok(try_apply(index, pack, 300)); /* repair */
            assert_int_equal(count_found(index, pack, 300), 300);
        }
        expect_ok(cf_index_close(index));
        expect_ok(cf_index_open(folder, &options, &index));
        assert_false(cf_index_recovered(index));
        for (uint64_t pack = 0; pack < applied; pack++) assert_int_equal(count_found(index, pack, 300), 300);
        expect_ok(cf_index_close(index));
        free_snapshot(&shot);
        end_folder(folder);
    }
}

static void test_disk_full(void **state) {
    (void)state;
    char *mount_point = new_folder(), folder[4200];
    if (mount("tmpfs", mount_point, "tmpfs", 0, "size=3m") != 0) {
        print_message("no right to mount: skipped\n");
        end_folder(mount_point);
        skip();
    }
    snprintf(folder, sizeof folder, "%s/index", mount_point);
    cf_index *index = open_small(folder);
    uint64_t pack = 0;
    cf_err *err = NULL;
    while (pack < 10000 && !(err = try_apply(index, pack, 997))) pack++;
    expect_code(err, CF_ERR_DISK_FULL, NULL);
    assert_in_range(pack, 20, 200);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < pack; i++) assert_int_equal(count_found(index, i, 997), 997);
        assert_false(cf_index_has_pack(index, pack));
        assert_int_equal(count_found(index, pack, 997), 0);
        if (round == 0) expect_code(try_apply(index, pack, 30000), CF_ERR_DISK_FULL, NULL);
        if (round == 1) {
            cf_index_discard(index);
            index = open_small(folder);
        }
    }
    assert_int_equal(mount("tmpfs", mount_point, "tmpfs", MS_REMOUNT, "size=30m"), 0);
    uint64_t end = pack + 100;
    for (; pack < end; pack++) expect_ok(try_apply(index, pack, 997));
    expect_ok(cf_index_close(index));
    index = open_small(folder);
    for (uint64_t i = 0; i < end; i++) assert_int_equal(count_found(index, i, 997), 997);
    expect_ok(cf_index_check(index));
    expect_ok(cf_index_close(index));
    assert_int_equal(umount(mount_point), 0);
    end_folder(mount_point);
}

/* Files of others in the folder stay. */
static void test_destroy_spares_others(void **state) {
    (void)state;
    char *folder = new_folder(), path[4500];
    cf_index *index = open_small(folder);
    expect_ok(try_apply(index, 1, 60000));
    snprintf(path, sizeof path, "%s/run-notes.txt", folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_ok(cf_index_close(index));
    expect_ok(cf_index_destroy(folder));
    snapshot shot;
    take_snapshot(folder, &shot);
    assert_int_equal(shot.count, 1);
    assert_string_equal(shot.files[0].name, "run-notes.txt");
    free_snapshot(&shot);
    assert_int_equal(unlink(path), 0);
    expect_ok(cf_index_destroy(folder));
    expect_ok(cf_index_destroy(folder)); /* nothing there: fine */
    assert_int_equal(access(folder, F_OK), -1);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_newer_version),
        cmocka_unit_test(test_truncated_while_open),
        cmocka_unit_test(test_power_loss),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_destroy_spares_others),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
