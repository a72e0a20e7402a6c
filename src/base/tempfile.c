#include "base/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct qs_temp {
    int fd;
    char path[PATH_MAX], target[PATH_MAX];
};

/* The one mutable global of the core besides the signal flag: what a dying process must remove. The path is
 * complete before the flag is set, so a handler never sees half of it. */
static char pending_path[PATH_MAX];
static volatile int pending;

void qs_temp_unlink_pending(void) {
    if (pending) unlink(pending_path);
}

/* A symlink is resolved, so that the file it points at is replaced and not the link. */
static bool resolve_target(const char *target, char out[PATH_MAX], qs_err *e) {
    struct stat st;
    if (stat(target, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return qs_fail(e, QS_E_USAGE, "%s: is a directory; give a file name", target);
        if (!S_ISREG(st.st_mode)) return qs_fail(e, QS_E_USAGE, "%s: is not a regular file", target);
        if (!realpath(target, out)) return qs_fail_errno(e, QS_E_IO, errno, "%s", target);
        return true;
    }
    if (strlen(target) >= PATH_MAX) return qs_fail(e, QS_E_USAGE, "the output path is too long");
    strncpy(out, target, PATH_MAX);
    return true;
}

static void set_mode(int fd, const char *target) {
    struct stat st;
    if (stat(target, &st) == 0) {
        /* Another owner can only be kept by root; failing to is no reason not to save. */
        if (st.st_uid != geteuid() || st.st_gid != getegid()) (void)!fchown(fd, st.st_uid, st.st_gid);
        fchmod(fd, st.st_mode & 07777);
        return;
    }
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
}

bool qs_temp_create(const char *target, qs_temp **out, qs_err *e) {
    qs_temp *t = calloc(1, sizeof *t);
    if (!t) return qs_nomem(e);
    if (!resolve_target(target, t->target, e)) goto fail;
    const char *slash = strrchr(t->target, '/');
    int dir = slash ? (int)(slash - t->target + 1) : 0;
    const char *name = t->target + dir;
    /* NAME_MAX is 255: a long name is cut, the random part keeps it unique. */
    int n = snprintf(t->path, sizeof t->path, "%.*s.%.200s.XXXXXX.qatscope", dir, t->target, name);
    if (n < 0 || (size_t)n >= sizeof t->path) {
        qs_fail(e, QS_E_USAGE, "the output path is too long");
        goto fail;
    }
    t->fd = mkostemps(t->path, (int)strlen(".qatscope"), O_CLOEXEC);
    if (t->fd < 0) {
        qs_fail_errno(e, QS_E_IO, errno, "%s: cannot create a file beside it", target);
        goto fail;
    }
    memcpy(pending_path, t->path, sizeof pending_path);
    pending = 1;
    set_mode(t->fd, t->target);
    *out = t;
    return true;
fail:
    free(t);
    return false;
}

int qs_temp_fd(const qs_temp *t) {
    return t->fd;
}
const char *qs_temp_path(const qs_temp *t) {
    return t->path;
}

static bool sync_dir(const char *file, qs_err *e) {
    char dir[PATH_MAX];
    const char *slash = strrchr(file, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - file + 1) : 1, slash ? file : ".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return qs_fail_errno(e, QS_E_IO, errno, "%s: cannot open the directory to sync it", dir);
    /* Some file systems cannot sync a directory and say EINVAL; the rename is done, nothing better exists. */
    bool ok = fsync(fd) == 0 || errno == EINVAL;
    if (!ok) qs_fail_errno(e, QS_E_IO, errno, "%s: fsync", dir);
    close(fd);
    return ok;
}

/* The backup's name while it is not certain yet that the target will be replaced. */
static void backup_temp(const qs_temp *t, char out[PATH_MAX + 8]) {
    snprintf(out, PATH_MAX + 8, "%s.bak", t->path);
}

static bool link_backup(const qs_temp *t, const char *as, qs_err *e) {
    unlink(as);
    if (link(t->target, as) == 0 || errno == ENOENT) return true;
    return qs_fail_errno(e, QS_E_IO, errno, "%s: cannot make a backup beside it", t->target);
}

bool qs_temp_publish(qs_temp *t, const char *backup, qs_err *e) {
    char kept[PATH_MAX + 8] = "";
    if (fsync(t->fd) != 0) {
        qs_fail_errno(e, QS_E_IO, errno, "%s: fsync", t->target);
        goto fail;
    }
    if (backup) {
        backup_temp(t, kept);
        if (!link_backup(t, kept, e)) goto fail;
    }
    if (rename(t->path, t->target) != 0) {
        qs_fail_errno(e, QS_E_IO, errno, "%s: cannot rename the new file onto it", t->target);
        goto fail;
    }
    pending = 0;
    close(t->fd);
    /* The new file is in place; a backup that cannot take its name keeps the temporary one rather than be
     * lost. */
    bool ok =
        !backup || rename(kept, backup) == 0 || errno == ENOENT ||
        qs_fail_errno(e, QS_E_IO, errno, "%s: cannot be named; the old file is kept as %s", backup, kept);
    ok = sync_dir(t->target, e) && ok;
    free(t);
    return ok;
fail:
    if (kept[0]) unlink(kept);
    qs_temp_discard(t);
    return false;
}

void qs_temp_discard(qs_temp *t) {
    if (!t) return;
    unlink(t->path);
    pending = 0;
    close(t->fd);
    free(t);
}
