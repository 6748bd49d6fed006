#include "cli/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/output.h"
#include "os/file.h"
#include "policy/passphrase.h"

/* One more than what can be right, so that too long is noticed. */
enum { READ_MAX = CF_PASSPHRASE_MAX + 3 };

static cf_err *read_all(int fd, const char *what, cf_cancel *cancel, bool stop_at_newline, cf_secret **out) {
    CF_AUTO(cf_secret) secret = NULL;
    CF_TRY(cf_secret_new(READ_MAX, &secret));
    size_t size = 0;
    while (size < READ_MAX) {
        ssize_t got = read(fd, cf_secret_data(secret) + size, READ_MAX - size);
        if (got < 0 && errno == EINTR) {
            CF_TRY(cf_cancel_check(cancel));
            continue;
        }
        if (got < 0) return cf_fail_errno(CF_ERR_IO, errno, "cannot read the passphrase from %s", what);
        if (got == 0) break;
        size += (size_t)got;
        if (stop_at_newline && cf_secret_data(secret)[size - 1] == '\n') break;
    }
    cf_span line = cf_passphrase_line(cf_span_of(cf_secret_bytes(secret), size));
    if (line.size == 0) return cf_fail_reason(CF_ERR_PASSPHRASE_RULE, "empty", "%s holds no passphrase", what);
    if (line.size > CF_PASSPHRASE_MAX)
        return cf_fail_reason(CF_ERR_PASSPHRASE_RULE, "too_long", "%s holds more than %d characters", what,
                              CF_PASSPHRASE_MAX);
    if (memchr(line.data, '\n', line.size) || memchr(line.data, '\0', line.size))
        return cf_fail_reason(CF_ERR_PASSPHRASE_RULE, "control_character", "%s holds more than one line", what);
    cf_secret_shrink(secret, line.size);
    *out = cf_take(secret);
    return NULL;
}

static cf_err *read_file(const cf_cli *cli, const char *path, cf_secret **secret) {
    CF_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return cf_fail_errno(errno == ENOENT ? CF_ERR_NOT_FOUND : CF_ERR_IO, errno,
                             "cannot open the passphrase file %s", path);
    struct stat info;
    if (fstat(fd, &info) < 0) return cf_fail_errno(CF_ERR_IO, errno, "%s", path);
    if (S_ISREG(info.st_mode) && (info.st_mode & 0077))
        cf_output_note(cli, "warning: %s can be read by others (mode %03o); chmod 600 it", path,
                       (unsigned)info.st_mode & 0777);
    return read_all(fd, path, cli->cancel, false, secret);
}

/* No echo while fd is read, and the terminal as it was afterwards whatever happens. The prompt comes when the echo is off:
 * what is typed before that is thrown away. */
static cf_err *read_without_echo(int fd, const char *prompt, cf_cancel *cancel, cf_secret **secret) {
    struct termios before, quiet;
    if (tcgetattr(fd, &before) < 0) return cf_fail_errno(CF_ERR_IO, errno, "the terminal cannot be asked");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    quiet.c_lflag |= ICANON | ECHONL;
    if (tcsetattr(fd, TCSAFLUSH, &quiet) < 0)
        return cf_fail_errno(CF_ERR_IO, errno, "cannot switch off the terminal's echo");
    cf_err *err = dprintf(fd, "%s: ", prompt) < 0 ? cf_fail_errno(CF_ERR_IO, errno, "cannot ask at the terminal")
                                                  : read_all(fd, "the terminal", cancel, true, secret);
    (void)tcsetattr(fd, TCSAFLUSH, &before); /* nothing more can be done when even this fails */
    return err;
}

static cf_err *ask(const cf_cli *cli, const char *prompt, cf_secret **secret) {
    CF_AUTO_FD int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return cf_cli_usage(
            cli, "%s is needed and there is no terminal to ask at: give a file, or - for standard input", prompt);
    return read_without_echo(fd, prompt, cli->cancel, secret);
}

cf_err *cf_secret_read(const cf_cli *cli, const char *source, const char *prompt, cf_secret **secret) {
    bool standard_input = source && strcmp(source, "-") == 0;
    if (!source || (standard_input && isatty(STDIN_FILENO))) return ask(cli, prompt, secret);
    if (standard_input) return read_all(STDIN_FILENO, "standard input", cli->cancel, false, secret);
    return read_file(cli, source, secret);
}

cf_err *cf_passphrase_get(const cf_cli *cli, const char *file, cf_secret **passphrase) {
    return cf_secret_read(cli, file, "Passphrase", passphrase);
}

cf_err *cf_passphrase_get_new(const cf_cli *cli, const char *file, cf_secret **out) {
    CF_AUTO(cf_secret) first = NULL;
    CF_TRY(cf_secret_read(cli, file, "New passphrase (16 characters or more)", &first));
    CF_TRY(cf_passphrase_check(cf_span_of(cf_secret_bytes(first), cf_secret_size(first))));
    if (!file) {
        CF_AUTO(cf_secret) again = NULL;
        CF_TRY(ask(cli, "The same again", &again));
        if (cf_secret_size(again) != cf_secret_size(first) ||
            !cf_equal_secret(cf_secret_bytes(again), cf_secret_bytes(first), cf_secret_size(first)))
            return cf_fail(CF_ERR_PASSPHRASE_MISMATCH, "the two passphrases differ");
    }
    *out = cf_take(first);
    return NULL;
}

/* 32 characters of Crockford's 32-letter alphabet, which leaves out what is confused when copied by hand
 * (i l o u): 160 bits, in groups of four: "7gk2-m0xe-..." */
static cf_err *draw(cf_secret **out) {
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    _Static_assert(sizeof letters == 33, "five bits choose a letter");
    enum { GROUPS = 8, SIZE = GROUPS * 5 - 1 };
    uint8_t random[GROUPS * 4];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cf_fail_errno(CF_ERR_IO, errno, "the kernel gave no random bytes");
    CF_AUTO(cf_secret) secret = NULL;
    CF_TRY(cf_secret_new(SIZE, &secret));
    for (size_t i = 0, at = 0; i < sizeof random; i++) {
        if (i && i % 4 == 0) cf_secret_data(secret)[at++] = '-';
        cf_secret_data(secret)[at++] = (uint8_t)letters[random[i] & 31];
    }
    cf_wipe(random, sizeof random);
    *out = cf_take(secret);
    return NULL;
}

static cf_err *store(const char *path, const cf_secret *secret) {
    const cf_span spans[] = {cf_span_of(cf_secret_bytes(secret), cf_secret_size(secret)), cf_span_text("\n")};
    bool created = false;
    CF_TRY(cf_note(cf_file_create_durable(AT_FDCWD, path, spans, 2, 0600, &created), "passphrase file"));
    if (created) return NULL;
    return cf_fail(CF_ERR_EXISTS, "the passphrase file %s exists already and is not overwritten", path);
}

cf_err *cf_passphrase_generate(const char *file, cf_secret **out) {
    CF_AUTO(cf_secret) secret = NULL;
    CF_TRY(draw(&secret));
    CF_TRY(store(file, secret));
    *out = cf_take(secret);
    return NULL;
}
