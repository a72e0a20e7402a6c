#include "base/file.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct qs_file {
    int fd;
    bool borrowed; /* the descriptor is another's */
    uint64_t base, size;
    dev_t dev;
    ino_t ino;
    char path[];
};

static bool open_regular(const char *path, int *fd, struct stat *st, qs_err *e) {
    /* O_NONBLOCK: opening a fifo must not wait for a writer. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return qs_fail_errno(e, QS_E_INPUT, errno, "%s: cannot open", path);
    if (fstat(*fd, st) != 0) return qs_fail_errno(e, QS_E_INPUT, errno, "%s: cannot stat", path);
    if (!S_ISREG(st->st_mode)) return qs_fail(e, QS_E_INPUT, "%s: is not a regular file", path);
    if (st->st_size == 0)
        return qs_fail(e, QS_E_INPUT, "%s: is empty (0 bytes); the copy or download did not finish", path);
    return true;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "DIR/NAME" of what stands for the whole of a folder. */
static bool find_inside(const char *folder, char out[PATH_MAX], qs_err *e) {
    static const char *const names[] = {".metadata",
                                        "model.safetensors.index.json",
                                        "pytorch_model.bin.index.json",
                                        "diffusion_pytorch_model.safetensors.index.json",
                                        "model.safetensors",
                                        "pytorch_model.bin",
                                        "diffusion_pytorch_model.safetensors",
                                        "adapter_model.safetensors",
                                        "adapter_model.bin"};
    struct stat st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int n =
            snprintf(out, PATH_MAX, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", names[i]);
        if (n < PATH_MAX && stat(out, &st) == 0 && S_ISREG(st.st_mode)) return true;
    }
    return qs_fail(e, QS_E_INPUT, "%s: is a directory; name the checkpoint file inside it", folder);
}

bool qs_file_open(const char *path, qs_file **out, qs_err *e) {
    char inside[PATH_MAX];
    int fd = -1;
    if (*path && is_folder(path)) {
        if (!find_inside(path, inside, e)) return false;
        path = inside;
    }
    struct stat st;
    size_t n = strlen(path) + 1;
    qs_file *f = NULL;
    if (!open_regular(path, &fd, &st, e)) goto fail;
    f = malloc(sizeof *f + n);
    if (!f) {
        qs_nomem(e);
        goto fail;
    }
    *f = (qs_file){.fd = fd, .size = (uint64_t)st.st_size, .dev = st.st_dev, .ino = st.st_ino};
    memcpy(f->path, path, n);
    *out = f;
    return true;
fail:
    if (fd >= 0) close(fd);
    return false;
}

void qs_file_close(qs_file *f) {
    if (!f) return;
    if (!f->borrowed) close(f->fd);
    free(f);
}

bool qs_is_plain_name(const char *name) {
    return *name && !strchr(name, '/') && !strchr(name, '\\') && strcmp(name, ".") != 0 &&
           !strstr(name, "..");
}

bool qs_file_open_beside(const qs_file *index, const char *name, qs_file **out, qs_err *e) {
    const char *from = qs_file_path(index), *slash = strrchr(from, '/');
    qs_buf path = {0};
    char shown[120];
    qs_str_printable(qs_str_of(name), shown, sizeof shown);
    if (!qs_is_plain_name(name))
        return qs_fail(e, QS_E_INPUT, "%s: names the file '%s'; only plain names beside it are opened", from,
                       shown);
    if (slash) qs_buf_add(&path, (qs_str){from, (size_t)(slash + 1 - from)});
    qs_buf_addz(&path, name);
    bool ok = path.failed ? qs_nomem(e) : qs_file_open(path.p, out, e);
    qs_buf_free(&path);
    return ok;
}

bool qs_file_window(const qs_file *of, uint64_t offset, uint64_t n, qs_file **out, qs_err *e) {
    if (offset > of->size || n > of->size - offset)
        return qs_fail(e, QS_E_INPUT,
                       "%s: has %" PRIu64 " bytes, %" PRIu64 " from byte %" PRIu64 " are missing", of->path,
                       of->size, n, offset);
    size_t path = strlen(of->path) + 1;
    qs_file *f = malloc(sizeof *f + path);
    if (!f) return qs_nomem(e);
    *f = *of;
    f->borrowed = true;
    f->base += offset;
    f->size = n;
    memcpy(f->path, of->path, path);
    *out = f;
    return true;
}

uint64_t qs_file_size(const qs_file *f) {
    return f->size;
}
const char *qs_file_path(const qs_file *f) {
    return f->path;
}
int qs_file_fd(const qs_file *f) {
    return f->fd;
}
uint64_t qs_file_base(const qs_file *f) {
    return f->base;
}

bool qs_file_read(const qs_file *f, uint64_t offset, void *buf, size_t n, qs_err *e) {
    char *p = buf;
    /* What follows a window is another's. */
    if (f->borrowed && (offset > f->size || n > f->size - offset))
        return qs_fail(e, QS_E_INPUT, "%s: ends before byte %" PRIu64, f->path, offset + n);
    while (n > 0) {
        ssize_t got = pread(f->fd, p, n, (off_t)(f->base + offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return qs_fail_errno(e, QS_E_IO, errno, "%s: read at byte %" PRIu64, f->path, offset);
        if (got == 0)
            return qs_fail(e, QS_E_IO, "%s: ends at byte %" PRIu64 "; the file changed while it was open",
                           f->path, offset);
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

bool qs_file_same(const qs_file *f, const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino;
}

bool qs_file_same_path(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool too_long(const char *path, uint64_t limit, qs_err *e) {
    return qs_fail(e, QS_E_LIMIT, "%s: is more than the %" PRIu64 " bytes this kind of file may have", path,
                   limit);
}

/* To the end of a pipe, whose length nobody knows. */
static bool slurp_stream(int fd, const char *path, uint64_t limit, char **out, size_t *n, qs_err *e) {
    size_t cap = 1 << 16, got = 0;
    char *p = malloc(cap);
    for (ssize_t k = 1; p && k != 0;) {
        if (got + 1 == cap) {
            char *more = cap <= SIZE_MAX / 2 ? realloc(p, cap *= 2) : NULL;
            if (!more) break;
            p = more;
        }
        k = read(fd, p + got, cap - got - 1);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 || (got += (size_t)k) > limit) {
            free(p);
            return k < 0 ? qs_fail_errno(e, QS_E_INPUT, errno, "%s: cannot read", path)
                         : too_long(path, limit, e);
        }
        if (k > 0) continue;
        p[got] = 0;
        *out = p;
        *n = got;
        return true;
    }
    free(p);
    return qs_nomem(e);
}

static bool slurp_pipe(const char *path, uint64_t limit, char **out, size_t *n, qs_err *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return qs_fail_errno(e, QS_E_INPUT, errno, "%s: cannot open", path);
    bool ok = slurp_stream(fd, path, limit, out, n, e);
    close(fd);
    return ok;
}

bool qs_file_slurp(const char *path, uint64_t limit, char **out, size_t *n, qs_err *e) {
    qs_file *f = NULL;
    char *p = NULL;
    bool ok = false;
    struct stat st;
    if (strcmp(path, "-") == 0) return slurp_stream(STDIN_FILENO, "standard input", limit, out, n, e);
    if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) return slurp_pipe(path, limit, out, n, e);
    if (!qs_file_open(path, &f, e)) goto done;
    if (f->size > limit) {
        too_long(path, limit, e);
        goto done;
    }
    p = malloc((size_t)f->size + 1);
    if (!p) {
        qs_nomem(e);
        goto done;
    }
    if (!qs_file_read(f, 0, p, (size_t)f->size, e)) goto done;
    p[f->size] = 0;
    *out = p;
    *n = (size_t)f->size;
    p = NULL;
    ok = true;
done:
    free(p);
    qs_file_close(f);
    return ok;
}

bool qs_file_slurp_json(const char *path, const qs_limits *limits, char **out, size_t *n, qs_err *e) {
    qs_err own = QS_ERR_INIT;
    if (qs_file_slurp(path, limits->json_bytes, out, n, &own)) return true;
    if (own.code == QS_E_LIMIT) return qs_over_limit(e, limits, QS_LIMIT_JSON_BYTES, path, 0);
    if (e->code == QS_OK) *e = own;
    return false;
}
