#include "base/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct qs_temp {
    int fd; /* -1: closed */
    bool sync;
    char path[PATH_MAX], target[PATH_MAX];
};

/* The one mutable global of the core besides the signal flag: what a dying process must remove. The path is
 * complete before the flag is set, so a handler never sees half of it. */
static char pending_path[PATH_MAX];
static volatile int pending;

/* The same for a set: paths one after the other, each ended by NUL, the directory last, then an empty one. */
static char *volatile pending_set;

void qs_temp_unlink_pending(void) {
    if (pending) unlink(pending_path);
    for (const char *p = pending_set; p && *p; p += strlen(p) + 1)
        if (unlink(p) != 0) rmdir(p);
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
    t->sync = true;
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

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

bool qs_temp_spare_sync(qs_temp *t) {
    return t->sync = exists(t->target);
}

/* What could not be written only shows here on some file systems: a network's, one with quotas. */
static bool sync_and_close(int fd, bool sync, const char *dir, const char *name, qs_err *e) {
    bool ok = !sync || fsync(fd) == 0 || qs_fail_errno(e, QS_E_IO, errno, "%s%s: fsync", dir, name);
    return (close(fd) == 0 || qs_fail_errno(e, QS_E_IO, errno, "%s%s: cannot be written", dir, name)) && ok;
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
    int fd = t->fd;
    t->fd = -1;
    t->sync = t->sync || exists(t->target); /* it came to be meanwhile */
    if (!sync_and_close(fd, t->sync, "", t->target, e)) goto fail;
    if (backup) {
        backup_temp(t, kept);
        if (!link_backup(t, kept, e)) goto fail;
    }
    if (rename(t->path, t->target) != 0) {
        qs_fail_errno(e, QS_E_IO, errno, "%s: cannot rename the new file onto it", t->target);
        goto fail;
    }
    pending = 0;
    /* The new file is in place; a backup that cannot take its name keeps the temporary one rather than be
     * lost. */
    bool ok =
        !backup || rename(kept, backup) == 0 || errno == ENOENT ||
        qs_fail_errno(e, QS_E_IO, errno, "%s: cannot be named; the old file is kept as %s", backup, kept);
    ok = (!t->sync || sync_dir(t->target, e)) && ok;
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
    if (t->fd >= 0) close(t->fd);
    free(t);
}

/* ---- several that appear together ---- */

struct qs_temp_set {
    size_t n;
    bool sync;     /* one of them existed */
    char *dir;     /* "" or with a slash at its end */
    char *temp;    /* the temporary directory, with a slash */
    char **names;  /* [n] */
    char **paths;  /* [n] temporary */
    char *pending; /* as pending_set */
};

/* a + b, owned; NULL when memory is out. */
static char *joined(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    char *p = malloc(n + m + 1);
    if (!p) return NULL;
    memcpy(p, a, n);
    memcpy(p + n, b, m + 1);
    return p;
}

static void free_set(qs_temp_set *s) {
    for (size_t i = 0; i < s->n; i++) {
        free(s->names ? s->names[i] : NULL);
        free(s->paths ? s->paths[i] : NULL);
    }
    free(s->names);
    free(s->paths);
    free(s->dir);
    free(s->temp);
    free(s->pending);
    free(s);
}

/* Those that end the process wait: what they should remove is not listed yet, or is moving. */
static void hold_signals(sigset_t *before) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigaddset(&ending, SIGQUIT);
    sigprocmask(SIG_BLOCK, &ending, before);
}

static bool make_names(qs_temp_set *s, const char *const *names, qs_err *e) {
    size_t total = strlen(s->temp) + 2;
    s->names = calloc(s->n, sizeof *s->names);
    s->paths = calloc(s->n, sizeof *s->paths);
    if (!s->names || !s->paths) return qs_nomem(e);
    for (size_t i = 0; i < s->n; i++) {
        s->names[i] = joined("", names[i]);
        s->paths[i] = joined(s->temp, names[i]);
        char *target = joined(s->dir, names[i]);
        s->sync = s->sync || (target && exists(target));
        free(target);
        if (!s->names[i] || !s->paths[i] || !target) return qs_nomem(e);
        total += strlen(s->paths[i]) + 1;
    }
    char *p = s->pending = calloc(1, total);
    if (!p) return qs_nomem(e);
    for (size_t i = 0; i < s->n; i++) p = stpcpy(p, s->paths[i]) + 1;
    stpcpy(p, s->temp);
    pending_set = s->pending;
    return true;
}

/* ".qatscope-XXXXXX/" in s->dir, and the names in it. */
static bool make_directory(qs_temp_set *s, const char *dir, const char *const *names, qs_err *e) {
    char *name = joined(dir, ".qatscope-XXXXXX");
    s->dir = joined("", dir);
    bool ok = (name && s->dir) || qs_nomem(e);
    if (ok && !mkdtemp(name)) {
        ok = qs_fail_errno(e, QS_E_IO, errno, "%s: cannot create files there", *dir ? dir : "this directory");
    } else if (ok) {
        s->temp = joined(name, "/");
        ok = s->temp ? make_names(s, names, e) : qs_nomem(e);
        if (!ok) rmdir(name);
    }
    free(name);
    return ok;
}

bool qs_temp_set_create(const char *dir, const char *const *names, size_t n, qs_temp_set **out, qs_err *e) {
    qs_temp_set *s = calloc(1, sizeof *s);
    sigset_t before;
    if (!s) return qs_nomem(e);
    s->n = n;
    hold_signals(&before);
    bool ok = make_directory(s, dir, names, e);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (ok)
        *out = s;
    else
        free_set(s);
    return ok;
}

const char *qs_temp_set_path(const qs_temp_set *s, size_t i) {
    return s->paths[i];
}

bool qs_temp_set_open(const qs_temp_set *s, size_t i, int *fd, qs_err *e) {
    char *target = joined(s->dir, s->names[i]);
    if (!target) return qs_nomem(e);
    *fd = open(s->paths[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = *fd >= 0 || qs_fail_errno(e, QS_E_IO, errno, "%s: cannot create it", target);
    if (ok) set_mode(*fd, target);
    free(target);
    return ok;
}

bool qs_temp_set_close(const qs_temp_set *s, size_t i, int fd, qs_err *e) {
    return sync_and_close(fd, s->sync, s->dir, s->names[i], e);
}

/* Where file i's predecessor is kept until all is in place. */
static bool old_name(const qs_temp_set *s, size_t i, char out[PATH_MAX], qs_err *e) {
    int n = snprintf(out, PATH_MAX, "%s%zu.old", s->temp, i);
    return (n > 0 && n < PATH_MAX) || qs_fail(e, QS_E_USAGE, "the output path is too long");
}

static bool move_away(const qs_temp_set *s, size_t i, const char *target, qs_err *e) {
    char old[PATH_MAX];
    return old_name(s, i, old, e) && (rename(target, old) == 0 || errno == ENOENT ||
                                      qs_fail_errno(e, QS_E_IO, errno, "%s: cannot be replaced", target));
}

/* File k as it was. */
static void put_back(const qs_temp_set *s, size_t k) {
    qs_err ignored = QS_ERR_INIT;
    char old[PATH_MAX];
    char *target = joined(s->dir, s->names[k]);
    /* No old one, and its temporary file is not there any more: the target is new. */
    if (target && old_name(s, k, old, &ignored) && rename(old, target) != 0 && access(s->paths[k], F_OK) != 0)
        unlink(target);
    free(target);
}

/* Once for the last file alone, then for all: the last one is away first. */
static bool replace_one(const qs_temp_set *s, size_t i, bool away_only, qs_err *e) {
    char *target = joined(s->dir, s->names[i]);
    if (!target) return qs_nomem(e);
    bool ok = move_away(s, i, target, e);
    if (ok && !away_only && rename(s->paths[i], target) != 0)
        ok = qs_fail_errno(e, QS_E_IO, errno, "%s: cannot rename the new file onto it", target);
    free(target);
    return ok;
}

static bool replace_all(const qs_temp_set *s, qs_err *e) {
    size_t done = 0;
    bool ok = replace_one(s, s->n - 1, true, e);
    while (ok && done < s->n) ok = replace_one(s, done++, false, e);
    if (ok) return true;
    for (size_t k = 0; k < done; k++) put_back(s, k);
    if (done < s->n) put_back(s, s->n - 1);
    return false;
}

bool qs_temp_set_publish(qs_temp_set *s, qs_err *e) {
    sigset_t before;
    hold_signals(&before);
    bool ok = replace_all(s, e) && (!s->sync || sync_dir(s->dir, e));
    qs_temp_set_discard(s);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}

void qs_temp_set_discard(qs_temp_set *s) {
    if (!s) return;
    qs_err ignored = QS_ERR_INIT;
    char old[PATH_MAX];
    for (size_t i = 0; i < s->n; i++) {
        unlink(s->paths[i]);
        if (old_name(s, i, old, &ignored)) unlink(old);
    }
    rmdir(s->temp);
    pending_set = NULL;
    free_set(s);
}
