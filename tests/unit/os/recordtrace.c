/* recordtrace FOLDER: the work of a small store, for the test of the power-loss replay. Each round writes a
 * pack (streamed, create-only) in a folder of its own, then the file "current" that names it; then prints
 * "ack ROUND SIZE": SIZE is what the recorder's log has then (COFFER_OS_RECORD).                       */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "os/beneath.h"
#include "os/dir.h"
#include "os/file.h"

static cf_err *write_pack(int folder, const char *path, int number) {
    CF_AUTO(cf_file_writer) writer = NULL;
    CF_TRY(cf_file_writer_open(folder, path, 0600, &writer));
    char block[512];
    memset(block, 'a' + number, sizeof block);
    for (int i = 0; i < 4; i++) CF_TRY(cf_file_writer_write(writer, cf_span_of(block, sizeof block)));
    bool created = false;
    CF_TRY(cf_file_writer_commit_new(writer, &created));
    return created ? NULL : cf_fail(CF_ERR_EXISTS, "%s", path);
}

static cf_err *one_round(int folder, int number) {
    char path[64], current[64];
    snprintf(path, sizeof path, "packs-%d/pack-%d", number / 2, number);
    snprintf(current, sizeof current, "packs-%d", number / 2);
    CF_TRY(cf_dir_make_durable(folder, current, 0700));
    CF_TRY(write_pack(folder, path, number));
    int size = snprintf(current, sizeof current, "%s %d end", path, number);
    const cf_span span = cf_span_of(current, (size_t)size);
    CF_TRY(cf_file_write_durable(folder, "current", &span, 1, 0600));
    if (number < 2) return NULL;
    snprintf(path, sizeof path, "packs-%d/pack-%d", (number - 2) / 2, number - 2);
    return cf_file_remove_durable(folder, path, NULL);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    CF_AUTO_FD int folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *log = getenv("COFFER_OS_RECORD");
    for (int number = 0; number < 5; number++) {
        CF_AUTO(cf_err) err = one_round(folder, number);
        if (err) {
            cf_err_print(stderr, err);
            return 1;
        }
        struct stat now = {0};
        if (!log || stat(log, &now) < 0) return 3;
        printf("ack %d %lld\n", number, (long long)now.st_size);
    }
    return 0;
}
