#include "agent/server_zone.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "policy/zone.h"

static bool take(const char *name, char zone[CF_POLICY_ZONE_MAX + 1]) {
    if (!name || strlen(name) > CF_POLICY_ZONE_MAX || !*name) return false;
    CF_AUTO(cf_zone) opened = NULL;
    cf_err *err = cf_zone_open(name, &opened);
    bool good = !err;
    cf_err_free(err); /* a name that is not known here is as good as none */
    if (good) snprintf(zone, CF_POLICY_ZONE_MAX + 1, "%s", strcmp(name, "Etc/UTC") == 0 ? "UTC" : name);
    return good;
}

/* /etc/localtime -> /usr/share/zoneinfo/Europe/Berlin */
static bool from_link(char zone[CF_POLICY_ZONE_MAX + 1]) {
    static const char mark[] = "/zoneinfo/";
    char target[PATH_MAX];
    ssize_t size = readlink("/etc/localtime", target, sizeof target - 1);
    if (size < 0) return false;
    target[size] = '\0';
    const char *name = strstr(target, mark);
    return name && take(name + strlen(mark), zone);
}

static bool from_file(char zone[CF_POLICY_ZONE_MAX + 1]) {
    CF_AUTO_BUF cf_buf text;
    cf_buf_init(&text, 4096);
    cf_err *err = cf_file_read(AT_FDCWD, "/etc/timezone", 4095, &text);
    bool read = !err;
    cf_err_free(err); /* many systems have none */
    if (!read) return false;
    cf_buf_put_u8(&text, 0);
    if (text.failed) return false;
    char *name = (char *)text.data;
    name[strcspn(name, " \t\r\n")] = '\0';
    return take(name, zone);
}

bool cf_server_zone(char zone[CF_POLICY_ZONE_MAX + 1]) {
    const char *given = getenv("TZ");
    zone[0] = '\0';
    if (given && *given == ':') given++;
    return take(given, zone) || from_link(zone) || from_file(zone);
}
