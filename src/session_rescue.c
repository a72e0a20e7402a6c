#include "session_rescue.h"

#include "base/map.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Directory of the state, without its last part made; false if the environment names none. */
static bool state_dir(char *out, size_t cap) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state && state[0] == '/')
        n = snprintf(out, cap, "%s/qatscope", state);
    else if (home && home[0] == '/')
        n = snprintf(out, cap, "%s/.local/state/qatscope", home);
    return n > 0 && (size_t)n < cap;
}

static bool make_dirs(char *path, qs_err *e) {
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/') continue;
        char was = *p;
        *p = 0;
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        int why = errno;
        if (!ok) return qs_fail_errno(e, QS_E_IO, why, "%s: cannot make the directory", path);
        *p = was;
        if (!was) return true;
    }
}

/* The plan's path. The real path of A is hashed: names are long, and hold anything. */
static bool plan_path(const qs_session *s, char *dir, size_t dir_cap, char *out) {
    char real[PATH_MAX];
    const qs_checkpoint *a = qs_session_a(s);
    if (!a || !realpath(qs_checkpoint_path(a), real) || !state_dir(dir, dir_cap)) return false;
    uint64_t hash = qs_hash(real, strlen(real), 0);
    int n = snprintf(out, QS_RESCUE_PATH_MAX, "%s/lost-%016llx.json", dir, (unsigned long long)hash);
    return n > 0 && n < QS_RESCUE_PATH_MAX;
}

bool qs_session_rescue(qs_session *s, char *out, qs_err *e) {
    char dir[QS_RESCUE_PATH_MAX - 64];
    if (!plan_path(s, dir, sizeof dir, out))
        return qs_fail(e, QS_E_USAGE, "neither XDG_STATE_HOME nor HOME names a directory for the plan");
    return make_dirs(dir, e) && qs_session_save_plan(s, out, e);
}

bool qs_session_rescued(const qs_session *s, char *out) {
    char dir[QS_RESCUE_PATH_MAX - 64];
    return plan_path(s, dir, sizeof dir, out) && access(out, R_OK) == 0;
}

void qs_session_rescue_forget(const qs_session *s) {
    char dir[QS_RESCUE_PATH_MAX - 64], path[QS_RESCUE_PATH_MAX];
    if (plan_path(s, dir, sizeof dir, path)) unlink(path);
}
