/* RECOVER.md: the order in which the recorded state is applied to a new machine, with this machine's own commands. */
#include <stdio.h>
#include <string.h>

#include "sysstate/internal.h"

static void say(cf_collection *self, const char *text) {
    cf_buf_put_span(&self->recover, cf_span_text(text));
}

/* "thing file" lines through a format with the two as its %s. */
static void each(cf_collection *self, const cf_buf *list, const char *command, const char *between, const char *end) {
    cf_span line, thing, file;
    for (size_t at = 0; cf_line_next(cf_buf_span(list), &at, &line);) {
        size_t word = 0;
        if (!cf_word_next(line, &word, &thing) || !cf_word_next(line, &word, &file)) continue;
        cf_buf_printf(&self->recover, "    %s%.*s%s%.*s%s\n", command, (int)thing.size, (const char *)thing.data,
                      between, (int)file.size, (const char *)file.data, end);
    }
}

static bool is(cf_span text, const char *word) {
    return cf_span_equal(text, cf_span_text(word));
}

/* A volume ID as mkfs.vfat takes it: eight digits without the dash. */
static void plain_digits(cf_span id, char out[16]) {
    size_t size = 0;
    for (size_t i = 0; i < id.size && size < 15; i++)
        if (id.data[i] != '-') out[size++] = (char)id.data[i];
    out[size] = 0;
}

static void make_system(cf_collection *self, cf_span line) {
    const uint8_t *colon = memchr(line.data, ':', line.size);
    cf_span type = cf_field(line, "TYPE"), uuid = cf_field(line, "UUID"), label = cf_field(line, "LABEL");
    if (!colon || uuid.size == 0) return;
    const char *device = (const char *)line.data;
    int device_size = (int)(colon - line.data), id_size = (int)uuid.size;
    const char *id = (const char *)uuid.data;
    char digits[16], named[128] = "";
    bool fat = is(type, "vfat");
    if (label.size && label.size < 64)
        snprintf(named, sizeof named, " -%c '%.*s'", fat ? 'n' : 'L', (int)label.size, (const char *)label.data);
    cf_buf *out = &self->recover;
    if (type.size == 4 && memcmp(type.data, "ext", 3) == 0)
        cf_buf_printf(out, "    mkfs.%.4s -U %.*s%s %.*s\n", (const char *)type.data, id_size, id, named, device_size,
                      device);
    else if (is(type, "xfs"))
        cf_buf_printf(out, "    mkfs.xfs -m uuid=%.*s%s %.*s\n", id_size, id, named, device_size, device);
    else if (is(type, "btrfs"))
        cf_buf_printf(out, "    mkfs.btrfs -U %.*s%s %.*s\n", id_size, id, named, device_size, device);
    else if (is(type, "swap"))
        cf_buf_printf(out, "    mkswap -U %.*s%s %.*s\n", id_size, id, named, device_size, device);
    else if (fat) {
        plain_digits(uuid, digits);
        cf_buf_printf(out, "    mkfs.vfat -i %s%s %.*s\n", digits, named, device_size, device);
    }
}

static void disks(cf_collection *self) {
    say(self,
        "## 2. Partitions\n\n"
        "The dumps keep the identifiers, so /etc/fstab and the boot loader find them again. The new disk must be at least\n"
        "as large; check its name with `lsblk` first, this destroys what is on it:\n\n");
    each(self, &self->disks, "sfdisk ", " < ", "");
    if (self->disks.size == 0) say(self, "(no partition table was recorded: see the notes)\n");
    if (self->arrays.size) {
        say(self,
            "\n## 3. Software RAID\n\n"
            "Disks that survived: `mdadm --assemble --scan --config=md.mdadm.conf`. New disks: make each array again with\n"
            "the level, layout, chunk size and UUID (`--uuid`) that its file names:\n\n");
        each(self, &self->arrays, "mdadm --create ", "   # see ", "");
    }
    if (self->luks.size) {
        say(self,
            "\n## 4. Encrypted volumes\n\n"
            "Keys and headers are not in the backup (an old header would open the disk with passphrases that were taken\n"
            "away since). Make each anew with the UUID that its file names, then open it under the name that\n"
            "/etc/crypttab gives it:\n\n");
        each(self, &self->luks, "cryptsetup luksFormat --uuid UUID ", "   # see ", "");
    }
    if (self->volumes.size) {
        say(self, "\n## 5. Volume groups\n\n"
                  "For each physical volume in lvm-physical-volumes.json (`pv_uuid`, `pv_name`), then each group:\n\n"
                  "    pvcreate --uuid PV_UUID --restorefile FILE PV_NAME\n");
        each(self, &self->volumes, "vgcfgrestore ", " -f ", "");
        say(self, "    vgchange -ay\n");
    }
}

static void systems(cf_collection *self) {
    say(self, "\n## 6. File systems\n\nWith the identifiers that /etc/fstab and the boot loader look for:\n\n");
    cf_span line;
    for (size_t at = 0; cf_line_next(cf_buf_span(&self->systems), &at, &line);) make_system(self, line);
    say(self,
        "\nMount them below /mnt in the order of etc/fstab (mounts.txt says how they were mounted), the root first.\n\n");
}

static void files_and_boot(cf_collection *self) {
    say(self,
        "## 7. Files\n\n"
        "    coffer restore POINT --to /mnt --on-conflict overwrite --numeric-ids --server NAME --credentials FILE "
        "--passphrase-file FILE\n\n"
        "`--numeric-ids` because the rescue system has other users (users.txt, groups.txt list those of this machine).\n\n"
        "## 8. Boot\n\n"
        "    for d in dev proc sys run; do mount --rbind /$d /mnt/$d; done\n    chroot /mnt\n\n");
    if (self->debian)
        say(self,
            "If the point holds the system state only, and not /usr: install a minimal system first (debootstrap), then\n\n"
            "    dpkg --set-selections < package-selections.txt && apt-get dselect-upgrade\n\n"
            "and restore /etc again. packages.tsv has the exact versions, packages-manual.txt what was chosen by hand.\n\n"
            "    update-initramfs -u -k all\n    update-grub\n");
    else
        say(self, "If the point does not hold /usr: install the packages of packages-rpm.txt first. Then\n\n"
                  "    dracut --regenerate-all --force\n    grub2-mkconfig -o /boot/grub2/grub.cfg\n");
    if (self->efi)
        say(self,
            "    grub-install --target=x86_64-efi --efi-directory=/boot/efi   # efi-boot.txt: the entries as they were\n");
    else
        say(self, "    grub-install /dev/DISK   # this machine started by BIOS\n");
    say(self,
        "\nkernel-command-line.txt is what the kernel was started with.\n\n"
        "## 9. After the first start\n\n"
        "Compare `systemctl list-unit-files --state=enabled` with units-enabled.txt, `ip address` with\n"
        "network-addresses.json (names of network devices follow the hardware), then `coffer doctor`. Take the scratch\n"
        "folder as it is: it is made again.\n");
}

cf_err *cf_recover_write(cf_collection *self) {
    cf_buf_printf(&self->recover, "# Rebuilding %s\n\n", self->options->host ? self->options->host : "this machine");
    say(self,
        "This folder was made by Coffer at the time of the recovery point. It holds what no file of the machine holds; its\n"
        "files, /etc and the boot files among them, stand beside it in the same point. Work through the sections in order.\n\n"
        "## 1. Begin\n\n"
        "Start a rescue system (the same architecture, and the same firmware: ");
    say(self, self->efi ? "UEFI" : "BIOS");
    say(self,
        ").\nInstall coffer there. You need the credentials file of the vault and the passphrase. Fetch this folder:\n\n"
        "    coffer restore POINT /.coffer-system-state --to /tmp/state --server NAME --credentials FILE "
        "--passphrase-file FILE\n    cd /tmp/state/.coffer-system-state\n\n");
    disks(self);
    systems(self);
    files_and_boot(self);
    if (self->notes.size) {
        say(self, "\n## What could not be recorded\n\n");
        cf_span line;
        for (size_t at = 0; cf_line_next(cf_buf_span(&self->notes), &at, &line);)
            cf_buf_printf(&self->recover, "- %.*s\n", (int)line.size, (const char *)line.data);
    }
    return cf_buf_check(&self->recover, "RECOVER.md");
}
