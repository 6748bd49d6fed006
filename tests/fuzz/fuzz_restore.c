// deps: restore_dep build_repo.c
/* The planner of a restore against a hostile tree: whoever has a server's keys can store folder records with any bytes in
 * them (names with "/" and "..", loops, absurd sizes, links to elsewhere), and whoever restores them must not lose
 * anything outside the destination. The input is a folder record and, behind the first 0xFF 0x00 0xFF in it, a
 * second one, which the first can name by "sub". */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build_repo.h"
#include "os/dir.h"
#include "restore/restore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char canary_text[] = "nobody may touch this";

static void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    abort();
}

static void done(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    abort();
}

/* A folder that holds the destination and a file that nothing may change. */
static void make_place(char place[200], char destination[210]) {
    const char *tmp = getenv("TMPDIR");
    snprintf(place, 200, "%s/coffer-fuzz-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(place)) die("no place to restore to");
    snprintf(destination, 210, "%s/to", place);
    char canary[300];
    snprintf(canary, sizeof canary, "%s/canary", place);
    FILE *file = fopen(canary, "w");
    if (!file || fputs(canary_text, file) < 0 || fclose(file) != 0) die("no canary");
}

static void check_place(const char *place) {
    char canary[300], text[64] = "";
    struct stat st;
    snprintf(canary, sizeof canary, "%s/canary", place);
    FILE *file = fopen(canary, "r");
    if (!file || !fgets(text, sizeof text, file) || strcmp(text, canary_text) != 0) die("the canary was changed");
    if (fstat(fileno(file), &st) < 0 || st.st_nlink != 1) die("the canary was linked");
    fclose(file);
    DIR *dir = opendir(place);
    if (!dir) die("the place is gone");
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, "to") != 0 &&
            strcmp(entry->d_name, "canary") != 0)
            die("something was made outside the destination");
    closedir(dir);
}

static void restore(build *b, const cf_id32 *point_id, const char *destination) {
    cf_source *source;
    cf_reader *reader;
    cf_point *point = NULL;
    done(cf_source_folder_open(build_dir(b), build_server(b), &source));
    done(cf_reader_open(source, build_keys(b), build_server(b), 1 << 20, &reader));
    done(cf_reader_point_open(reader, point_id, &point));
    done(cf_reader_point_map(reader, point));
    for (int run = 0; run < 2; run++) { /* the second finds what the first made */
        cf_restore_options options = {
            .to = destination, .conflict = run ? CF_CONFLICT_OVERWRITE : CF_CONFLICT_COPY, .lanes = 2};
        cf_restore_result result;
        cf_err_free(cf_restore(reader, point, &options, &result)); /* refused or not: nothing may leave */
    }
    cf_point_close(point);
    cf_reader_close(reader);
    cf_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t mark[] = {0xFF, 0x00, 0xFF};
    if (size == 0 || size > CF_CHUNK_MAX) return 0;
    if (access("/dev/shm", W_OK) == 0) (void)setenv("TMPDIR", "/dev/shm", 1); /* a restore ends by syncing the disk */
    const uint8_t *cut = memmem(data, size, mark, sizeof mark);
    size_t first = cut ? (size_t)(cut - data) : size;
    build *b = build_new(8);
    build_dir_writer *writer = build_dir_new(b);
    if (first > 0) build_dir_folder(writer, "evil", build_chunk(b, CF_KIND_TREE, data, first));
    build_dir_file(writer, "good", "ok", 2);
    if (cut && size > first + sizeof mark)
        build_dir_folder(writer, "sub", build_chunk(b, CF_KIND_TREE, cut + sizeof mark, size - first - sizeof mark));
    cf_id32 point = build_point(b, build_dir_end(writer, 0), "/", false);
    char place[200], destination[210];
    make_place(place, destination);
    restore(b, &point, destination);
    check_place(place);
    done(cf_dir_remove_tree_forced(AT_FDCWD, place));
    build_free(b);
    return 0;
}
