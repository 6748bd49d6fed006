#include "local_vault.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digest/digest.h"
#include "os/dir.h"
#include "os/file.h"
#include "visible/names.h"

static void must(cf_err *err) {
    if (!err) return;
    cf_err_print(stderr, err);
    abort();
}

static void put_object(const local_vault *vault, const char *name, cf_span bytes) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", vault->folder, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    must(cf_dir_make(AT_FDCWD, path, 0700));
    *slash = '/';
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    must(cf_file_write_at(fd, 0, bytes, path));
    close(fd);
}

void local_vault_open(local_vault *vault, const char *folder) {
    memset(vault, 0, sizeof *vault);
    snprintf(vault->folder, sizeof vault->folder, "%s/vault", folder);
    snprintf(vault->scratch, sizeof vault->scratch, "%s/scratch", folder);
    must(cf_dir_make(AT_FDCWD, vault->folder, 0700));
    must(cf_dir_make(AT_FDCWD, vault->scratch, 0700));
    must(cf_random(vault->server.bytes, 16));
    must(cf_server_keys_generate(&vault->keys));
    for (int type = CF_NAME_PACK; type <= CF_NAME_POINT; type++) {
        char name[CF_NAME_MAX], path[1024];
        cf_name_folder((cf_name_type)type, &vault->server, name);
        snprintf(path, sizeof path, "%s/%s", vault->folder, name);
        must(cf_dir_make(AT_FDCWD, path, 0700));
    }
    vault->scratch_fd = open(vault->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    vault->next_number = 1;
    cf_index_options options = {0};
    memcpy(options.server_id, vault->server.bytes, 16);
    char index[600];
    snprintf(index, sizeof index, "%s/index", vault->scratch);
    must(cf_index_open(index, &options, &vault->index));
}

void local_vault_close(local_vault *vault) {
    must(cf_index_close(vault->index));
    cf_server_keys_free(vault->keys);
    cf_secret_free(vault->session_key);
    close(vault->scratch_fd);
}

static cf_err *numbers(void *context, uint64_t after, uint64_t *first, uint64_t *count) {
    local_vault *vault = context;
    (void)after;
    *first = vault->next_number;
    *count = 3; /* small: blocks run out within every test */
    vault->next_number += 3;
    return NULL;
}

static cf_err *store(void *context, const cf_stored_pack *pack) {
    local_vault *vault = context;
    if (vault->fail_after && __atomic_add_fetch(&vault->stored, 1, __ATOMIC_SEQ_CST) > vault->fail_after)
        return cf_fail(CF_ERR_VAULT_UNREACHABLE, "a test's end of the network");
    char name[CF_NAME_MAX];
    cf_name_pack(&vault->server, pack->number, &vault->session, 0, name);
    put_object(vault, name, pack->bytes);
    return NULL;
}

static void warn(void *context, cf_span path, const cf_err *why) {
    local_run *run = context;
    (void)path;
    __atomic_add_fetch(&run->warnings, 1, __ATOMIC_SEQ_CST);
    run->last_warning = cf_err_code(why);
}

static void begin_session(local_vault *vault) {
    uint8_t key[32], record[CF_RECORD_SIZE];
    char name[CF_NAME_MAX];
    cf_secret_free(vault->session_key);
    must(cf_random(vault->session.bytes, 16));
    must(cf_random(key, 32));
    must(cf_secret_from(key, 32, &vault->session_key));
    must(cf_record_seal(vault->keys->master, &vault->server, &vault->session, vault->session_key, record));
    cf_name_record(&vault->server, &vault->session, name);
    put_object(vault, name, cf_span_of(record, sizeof record));
}

static cf_err *scan(local_vault *vault, cf_cache *cache, const cf_sources *sources, const cf_map *dead, unsigned lanes,
                    local_run *run) {
    uint64_t first = 0, count = 0;
    must(numbers(vault, 0, &first, &count));
    cf_writer_options options = {.server = vault->server,
                                 .session = vault->session,
                                 .keys = vault->keys,
                                 .session_key = vault->session_key,
                                 .index = vault->index,
                                 .sink = {numbers, store, vault},
                                 .numbers_first = first,
                                 .numbers_count = count,
                                 .level = 3,
                                 .verify = true,
                                 .pack_target = {(size_t)16 << 20, (size_t)4 << 20},
                                 .sealers = lanes,
                                 .uploaders = 2,
                                 .waiting = 2};
    CF_AUTO(cf_writer) writer = NULL;
    CF_TRY(cf_writer_open(&options, &writer));
    cf_clock clock = cf_clock_system();
    cf_backup_options scan = {.keys = vault->keys,
                              .writer = writer,
                              .sources = sources,
                              .cache = cache,
                              .dead = dead,
                              .lanes = lanes,
                              .started = cf_clock_wall(&clock),
                              .made = vault->made,
                              .warn = warn,
                              .warn_context = run};
    if (vault->coverage) {
        scan.exclude = vault->coverage->exclude;
        scan.exclude_caches = vault->coverage->exclude_caches;
        scan.exclude_nodump = vault->coverage->exclude_nodump;
        scan.cross_file_systems = vault->coverage->cross_file_systems;
    }
    CF_TRY(cf_backup_scan(&scan, &run->result));
    CF_AUTO_FREE cf_pack_name *packs = NULL;
    size_t pack_count = 0;
    CF_TRY(cf_writer_finish(writer, &packs, &pack_count));
    cf_writer_get_stats(writer, &run->stats);
    cf_cache_root root = {
        .scan_started = scan.started, .block = run->result.block, .live_bytes = run->result.live_bytes};
    return cf_cache_commit(cache, &root, cf_span_of(NULL, 0));
}

cf_err *local_vault_backup(local_vault *vault, const char *path, const cf_map *dead, unsigned lanes, local_run *run) {
    memset(run, 0, sizeof *run);
    CF_AUTO(cf_sources) sources = NULL;
    CF_AUTO(cf_cache) cache = NULL;
    cf_id16 selection = {{1}};
    CF_TRY(cf_sources_new(&sources));
    if (path) CF_TRY(cf_sources_add(sources, path));
    CF_TRY(cf_cache_open(vault->scratch_fd, &vault->server, &selection, &cache));
    begin_session(vault);
    return scan(vault, cache, vault->coverage ? vault->coverage->sources : sources, dead, lanes, run);
}

void local_run_wipe(local_run *run) {
    cf_map_free(run->result.map);
    run->result.map = NULL;
}
