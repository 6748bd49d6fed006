#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sysstate/internal.h"

/* A file of the state and what prints it. */
typedef struct plain_item {
    const char *file;
    const char *words[CF_TOOL_WORDS_MAX];
} plain_item;

static const plain_item plain_tools[] = {
    {"block-devices.json",
     {"lsblk", "--json", "--bytes", "--output",
      "NAME,KNAME,PATH,TYPE,SIZE,FSTYPE,LABEL,UUID,PARTTYPE,PARTLABEL,PARTUUID,MOUNTPOINT,MODEL,SERIAL,PKNAME"}},
    {"device-mapper.txt", {"dmsetup", "table"}},
    {"users.txt", {"getent", "passwd"}},
    {"groups.txt", {"getent", "group"}},
    {"units-enabled.txt", {"systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--no-pager", "--plain"}},
    {"default-target.txt", {"systemctl", "get-default"}},
    {"network-addresses.json", {"ip", "-json", "-brief", "address"}},
    {"network-routes.json", {"ip", "-json", "route"}},
};

static const plain_item debian_tools[] = {
    {"packages.tsv", {"dpkg-query", "--show", "--showformat=${binary:Package}\\t${Version}\\t${db:Status-Abbrev}\\n"}},
    {"package-selections.txt", {"dpkg", "--get-selections"}},
    {"packages-manual.txt", {"apt-mark", "showmanual"}},
};

static const plain_item rpm_tools[] = {{"packages-rpm.txt", {"rpm", "-qa"}}};

static const char *const plain_files[][2] = {
    {"kernel-command-line.txt", "/proc/cmdline"},
    {"kernel-version.txt", "/proc/version"},
    {"mounts.txt", "/proc/self/mountinfo"},
    {"md-status.txt", "/proc/mdstat"},
};

static cf_err *emit(cf_collection *self, const char *name, const cf_buf *content) {
    return self->options->file(self->options->context, name, cf_buf_span(content));
}

static cf_err *tool_into(cf_collection *self, const char *name, const char *const *words, bool *ok) {
    CF_TRY(cf_tool_run(self, words, &self->output, ok));
    return *ok ? emit(self, name, &self->output) : NULL;
}

static cf_err *plain(cf_collection *self, const plain_item *items, size_t count) {
    bool ok;
    for (size_t i = 0; i < count; i++) CF_TRY(tool_into(self, items[i].file, items[i].words, &ok));
    return NULL;
}

/* A name for a file, out of a device's or volume group's. */
static void file_name(char out[256], const char *before, cf_span thing, const char *after) {
    char safe[160];
    size_t size = 0;
    if (thing.size > 5 && memcmp(thing.data, "/dev/", 5) == 0) thing = cf_span_of(thing.data + 5, thing.size - 5);
    for (size_t i = 0; i < thing.size && size < sizeof safe - 1; i++) {
        char byte = (char)thing.data[i];
        bool plain_byte = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                          (byte >= 'A' && byte <= 'Z') || (byte && strchr("._+-", byte));
        safe[size++] = plain_byte ? byte : '-';
    }
    safe[size] = 0;
    snprintf(out, 256, "%s%s%s", before, safe, after);
}

/* One tool for each thing in a list of lines: into the file before + thing + after. Things it worked for are kept in done. */
static cf_err *for_each(cf_collection *self, const cf_buf *things, const char *const *words, const char *before,
                        const char *after, cf_buf *done) {
    CF_AUTO_BUF cf_buf seen;
    cf_buf_init(&seen, CF_SYSSTATE_OUTPUT_MAX);
    cf_buf_put_span(&seen, cf_buf_span(things));
    CF_TRY(cf_buf_check(&seen, "devices"));
    cf_span thing;
    for (size_t at = 0; cf_line_next(cf_buf_span(&seen), &at, &thing);) {
        CF_AUTO_FREE char *text = cf_span_dup_text(thing);
        const char *argv[CF_TOOL_WORDS_MAX] = {NULL};
        char name[256];
        size_t count = 0;
        bool ok;
        if (!text) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a device's name");
        for (; words[count] && count < CF_TOOL_WORDS_MAX - 2; count++) argv[count] = words[count];
        argv[count] = text;
        file_name(name, before, thing, after);
        CF_TRY(tool_into(self, name, argv, &ok));
        if (ok && done) cf_buf_printf(done, "%s %s\n", text, name);
    }
    return NULL;
}

/* Whole disks, from lsblk's "sda disk" lines; what is made up by the kernel has no table worth keeping. */
static cf_err *partition_tables(cf_collection *self) {
    static const char *const list[] = {"lsblk", "--nodeps", "--noheadings", "--raw", "--output", "KNAME,TYPE", NULL};
    static const char *const dump[] = {"sfdisk", "--dump", NULL};
    bool ok;
    CF_TRY(cf_tool_run(self, list, &self->output, &ok));
    if (!ok) return NULL;
    CF_AUTO_BUF cf_buf disks;
    cf_buf_init(&disks, CF_SYSSTATE_OUTPUT_MAX);
    cf_span line, name, type;
    for (size_t at = 0; cf_line_next(cf_buf_span(&self->output), &at, &line);) {
        size_t word = 0;
        if (!cf_word_next(line, &word, &name) || !cf_word_next(line, &word, &type)) continue;
        bool is_disk =
            cf_span_equal(type, cf_span_text("disk")) || (type.size > 4 && memcmp(type.data, "raid", 4) == 0);
        if (!is_disk || memcmp(name.data, "zram", name.size < 4 ? name.size : 4) == 0) continue;
        cf_buf_printf(&disks, "/dev/%.*s\n", (int)name.size, (const char *)name.data);
    }
    return for_each(self, &disks, dump, "partition-table.", ".sfdisk", &self->disks);
}

static cf_err *file_systems(cf_collection *self) {
    static const char *const all[] = {"blkid", "-c", "/dev/null", NULL};
    static const char *const dump[] = {"cryptsetup", "luksDump", NULL};
    bool ok;
    CF_TRY(tool_into(self, "file-systems.txt", all, &ok));
    if (!ok) return NULL;
    cf_buf_put_span(&self->systems, cf_buf_span(&self->output));
    CF_AUTO_BUF cf_buf devices;
    cf_buf_init(&devices, CF_SYSSTATE_OUTPUT_MAX);
    cf_span line;
    for (size_t at = 0; cf_line_next(cf_buf_span(&self->systems), &at, &line);) {
        const uint8_t *colon = memchr(line.data, ':', line.size);
        if (colon && cf_span_equal(cf_field(line, "TYPE"), cf_span_text("crypto_LUKS")))
            cf_buf_printf(&devices, "%.*s\n", (int)(colon - line.data), (const char *)line.data);
    }
    return for_each(self, &devices, dump, "luks.", ".txt", &self->luks);
}

/* What pvck puts around the metadata: a line that says where it was, and lines of three dashes. */
static cf_span metadata_of(cf_span text) {
    cf_span line, none = {0};
    size_t begin = 0;
    for (size_t at = 0, before = 0; cf_line_next(text, &at, &line); before = at) {
        size_t word = 0;
        cf_span first;
        if (!cf_word_next(line, &word, &first) || !cf_span_equal(first, cf_span_text("---"))) continue;
        if (begin) return cf_span_of(text.data + begin, before - begin);
        begin = at;
    }
    return none;
}

static cf_err *volume_group(cf_collection *self, cf_span group, const char *device) {
    /* Without its lock: below the service's unit /run is read-only, and what one reads is checked by a sum. */
    const char *const dump[] = {"pvck", "--dump", "metadata", device, "--nolocking", NULL};
    char name[256];
    bool ok;
    CF_TRY(cf_tool_run(self, dump, &self->output, &ok));
    cf_span metadata = metadata_of(cf_buf_span(&self->output));
    if (ok && metadata.size == 0) cf_collection_note(self, "pvck %s: no metadata in what it printed", device);
    if (!ok || metadata.size == 0) return NULL;
    file_name(name, "lvm.", group, ".vgcfg");
    cf_buf_printf(&self->volumes, "%.*s %s\n", (int)group.size, (const char *)group.data, name);
    return self->options->file(self->options->context, name, metadata);
}

/* The metadata of each volume group as the first of its physical volumes has it: the text that vgcfgrestore reads. */
static cf_err *volume_metadata(cf_collection *self) {
    static const char *const list[] = {"pvs",        "--noheadings", "--separator",     "|",
                                       "--readonly", "-o",           "vg_name,pv_name", NULL};
    bool ok;
    CF_TRY(cf_tool_run(self, list, &self->output, &ok));
    if (!ok) return NULL;
    CF_AUTO_BUF cf_buf lines;
    cf_buf_init(&lines, CF_SYSSTATE_OUTPUT_MAX);
    cf_buf_put_span(&lines, cf_buf_span(&self->output));
    cf_span line, word, last = {0};
    for (size_t at = 0; cf_line_next(cf_buf_span(&lines), &at, &line);) {
        size_t from = 0;
        if (!cf_word_next(line, &from, &word)) continue;
        const uint8_t *bar = memchr(word.data, '|', word.size);
        if (!bar || bar == word.data) continue; /* a physical volume of no group */
        cf_span group = cf_span_of(word.data, (size_t)(bar - word.data));
        if (cf_span_equal(group, last)) continue;
        last = group;
        CF_AUTO_FREE char *device = cf_span_dup_text(cf_span_of(bar + 1, word.size - group.size - 1));
        if (!device) return cf_fail(CF_ERR_OUT_OF_MEMORY, "a volume's name");
        CF_TRY(volume_group(self, group, device));
    }
    return NULL;
}

static cf_err *volumes(cf_collection *self) {
    static const plain_item reports[] = {
        {"lvm-physical-volumes.json",
         {"pvs", "--readonly", "--reportformat", "json", "--units", "b", "-o", "pv_all,vg_name"}},
        {"lvm-volume-groups.json", {"vgs", "--readonly", "--reportformat", "json", "--units", "b", "-o", "vg_all"}},
        {"lvm-logical-volumes.json",
         {"lvs", "--readonly", "--reportformat", "json", "--units", "b", "-o", "lv_all,vg_name"}},
    };
    CF_TRY(volume_metadata(self));
    return self->volumes.size ? plain(self, reports, 3) : NULL;
}

static cf_err *arrays(cf_collection *self) {
    static const char *const scan[] = {"mdadm", "--detail", "--scan", NULL};
    static const char *const detail[] = {"mdadm", "--detail", NULL};
    bool ok;
    CF_TRY(cf_tool_run(self, scan, &self->output, &ok));
    if (!ok || self->output.size == 0) return NULL;
    CF_TRY(emit(self, "md.mdadm.conf", &self->output));
    CF_AUTO_BUF cf_buf devices;
    cf_buf_init(&devices, CF_SYSSTATE_OUTPUT_MAX);
    cf_span line, word;
    for (size_t at = 0; cf_line_next(cf_buf_span(&self->output), &at, &line);) {
        size_t from = 0;
        if (!cf_word_next(line, &from, &word) || !cf_span_equal(word, cf_span_text("ARRAY"))) continue;
        if (cf_word_next(line, &from, &word))
            cf_buf_printf(&devices, "%.*s\n", (int)word.size, (const char *)word.data);
    }
    return for_each(self, &devices, detail, "md.", ".txt", &self->arrays);
}

static cf_err *kernel_files(cf_collection *self) {
    for (size_t i = 0; i < sizeof plain_files / sizeof *plain_files; i++) {
        bool ok;
        CF_TRY(cf_tool_read(self, plain_files[i][1], &self->output, &ok));
        if (ok) CF_TRY(emit(self, plain_files[i][0], &self->output));
    }
    return NULL;
}

static cf_err *packages(cf_collection *self) {
    self->debian = access("/var/lib/dpkg/status", F_OK) == 0;
    return self->debian ? plain(self, debian_tools, sizeof debian_tools / sizeof *debian_tools)
                        : plain(self, rpm_tools, sizeof rpm_tools / sizeof *rpm_tools);
}

static cf_err *boot(cf_collection *self) {
    static const char *const entries[] = {"efibootmgr", "-v", NULL};
    bool ok;
    self->efi = access("/sys/firmware/efi", F_OK) == 0;
    return self->efi ? tool_into(self, "efi-boot.txt", entries, &ok) : NULL;
}

static cf_err *collect(cf_collection *self) {
    CF_TRY(kernel_files(self));
    CF_TRY(partition_tables(self));
    CF_TRY(arrays(self));
    CF_TRY(file_systems(self));
    CF_TRY(volumes(self));
    CF_TRY(boot(self));
    CF_TRY(plain(self, plain_tools, sizeof plain_tools / sizeof *plain_tools));
    CF_TRY(packages(self));
    CF_TRY(cf_recover_write(self));
    CF_TRY(emit(self, "RECOVER.md", &self->recover));
    return self->notes.size ? emit(self, "notes.txt", &self->notes) : NULL;
}

cf_err *cf_sysstate_collect(const cf_sysstate_options *options) {
    cf_collection self = {.options = options};
    cf_buf *const buffers[] = {&self.output, &self.notes, &self.recover, &self.disks,
                               &self.arrays, &self.luks,  &self.volumes, &self.systems};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) cf_buf_init(buffers[i], CF_SYSSTATE_OUTPUT_MAX);
    cf_err *err = collect(&self);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) cf_buf_wipe(buffers[i]);
    return err;
}
