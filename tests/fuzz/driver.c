/* Runs a fuzz target without libFuzzer on every file of a corpus folder, and on every beginning of the small
 * ones: a decoder must survive an input that is cut anywhere.                                          */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { FILE_MAX = 1 << 20, CUT_MAX = 2048 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly size bytes, so that the sanitizers see a read past its end. */
static void run(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    if (size) memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path) {
    static uint8_t data[FILE_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    run(data, size);
    for (size_t cut = 0; size <= CUT_MAX && cut < size; cut++) run(data, cut);
    return 0;
}

int main(int argc, char **argv) {
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    int count = 0, failed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        char *path = cf_text_format("%s/%s", argv[1], entry->d_name);
        failed += path ? run_file(path) : 1;
        count++;
        free(path);
    }
    closedir(folder);
    printf("%d inputs\n", count);
    return failed || count == 0;
}
