/* Says what cf_exclude makes of paths: reads "P pattern" (of the policy), "S source", "R pattern" (of the source before) and
 * "F path", "D path" lines; answers each of the last two with "in", or "out", and the number of the rule that decided, or -. */
#include <stdio.h>
#include <string.h>

#include "policy/exclude.h"

static int fail(cf_err *err) {
    cf_err_print(stderr, err);
    cf_err_free(err);
    return 1;
}

static cf_err *take_line(cf_exclude *exclude, char *line, char source[4096]) {
    if (line[0] == 'P') return cf_exclude_add(exclude, NULL, line + 2);
    if (line[0] == 'R') return cf_exclude_add(exclude, source, line + 2);
    if (line[0] == 'S') {
        snprintf(source, 4096, "%.4095s", line + 2);
        return cf_exclude_add_source(exclude, source);
    }
    cf_exclude_match match;
    CF_TRY(cf_exclude_test(exclude, cf_span_text(line + 2), line[0] == 'D', &match));
    printf("%s ", match.excluded ? "out" : "in");
    if (match.matched)
        printf("%zu\n", match.index);
    else
        printf("-\n");
    return NULL;
}

int main(void) {
    CF_AUTO(cf_exclude) exclude = NULL;
    cf_err *err = cf_exclude_new(&exclude);
    static char line[16384], source[4096];
    while (!err && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        err = take_line(exclude, line, source);
    }
    return err ? fail(err) : 0;
}
