/* A writer of its own, and not libzip's: that one writes 4 KiB at a time (2.4 s for a GiB that cp copies in
 * 0.85), and would need a source, a sink and an alignment predicted beside it, which is more code than the
 * three kinds of record of a STORED archive (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.14-16).
 * tests/unit/test_zip_write.c has libzip read the result. */
#include "format/zip_write.h"

#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum {
    BUFFER = 512 << 10,
    STEP = 256 << 10,      /* asked from a source at once, and reported */
    KERNEL_STEP = 8 << 20, /* the same of the kernel */
    BLOCK = 64 << 10,      /* what file systems share is a multiple of their block, which divides this */
    WRITEBACK = 32 << 20,  /* the disk begins to write when so much is there, not only at the fsync */
    ALIGN = 64,
    LOCAL_SIZE = 30,
    CRC_AT = 14, /* in a local header */
    FLAG_UTF8 = 0x0800,
    DATE = 0x0021, /* 1980-01-01: two saves of one content are the same bytes */
};

typedef struct record {
    qs_str name; /* with the prefix */
    uint64_t size, header;
    qs_zip_source source;
    void *ctx;
    uint32_t crc;
    qs_zip_origin origin; /* fd -1: none */
} record;

struct qs_zip_out {
    int fd;
    qs_str prefix;
    qs_arena arena;
    qs_map names;
    QS_VEC(record) records;
    uint64_t total; /* bytes of content */
    uint64_t done;
    unsigned char *buf;
    size_t n;
    uint64_t at;     /* file offset of buf[0] */
    uint64_t handed; /* bytes the disk was asked to write */
};

bool qs_zip_out_open(int fd, qs_str prefix, qs_zip_out **out, qs_err *e) {
    qs_zip_out *z = calloc(1, sizeof *z);
    if (!z) return qs_nomem(e);
    z->fd = fd;
    z->prefix = qs_arena_str(&z->arena, prefix);
    if (!z->prefix.p) {
        qs_zip_out_abandon(z);
        return qs_nomem(e);
    }
    *out = z;
    return true;
}

void qs_zip_out_abandon(qs_zip_out *z) {
    if (!z) return;
    free(z->buf);
    free(z->records.v);
    qs_map_free(&z->names);
    qs_arena_free(&z->arena);
    free(z);
}

bool qs_zip_out_add(qs_zip_out *z, qs_str name, uint64_t size, qs_zip_source source, void *ctx, qs_err *e) {
    size_t n = z->prefix.n + 1 + name.n;
    if (name.n == 0 || n > UINT16_MAX || memchr(name.p, 0, name.n))
        return qs_fail(e, QS_E_REFUSED, "a record cannot be named '%.*s'", QS_FMT(name));
    char *p = qs_arena_alloc(&z->arena, n);
    if (!p) return qs_nomem(e);
    memcpy(p, z->prefix.p, z->prefix.n);
    p[z->prefix.n] = '/';
    memcpy(p + z->prefix.n + 1, name.p, name.n);
    record r = {.name = {p, n}, .size = size, .source = source, .ctx = ctx, .origin.fd = -1};
    uint32_t i = (uint32_t)z->records.n, at = qs_map_add(&z->names, r.name, i);
    if (at == QS_MAP_NONE || !qs_push(&z->records, r)) return qs_nomem(e);
    if (at != i) return qs_fail(e, QS_E_REFUSED, "two records would be named %.*s", QS_FMT(name));
    z->total += size;
    return true;
}

void qs_zip_out_origin(qs_zip_out *z, const qs_zip_origin *origin) {
    z->records.v[z->records.n - 1].origin = *origin;
}

/* ---- bytes ---- */

static bool write_at(const qs_zip_out *z, uint64_t at, const void *buf, size_t n, qs_err *e) {
    const char *p = buf;
    while (n) {
        ssize_t did = pwrite(z->fd, p, n, (off_t)at);
        if (did < 0 && errno == EINTR) continue;
        if (did < 0) return qs_fail_errno(e, QS_E_IO, errno, "cannot write the new file");
        p += did;
        n -= (size_t)did;
        at += (uint64_t)did;
    }
    return true;
}

/* Only a hint: the fsync at the end is what counts. */
static void hand_over(qs_zip_out *z) {
    if (z->at - z->handed < WRITEBACK) return;
    (void)!sync_file_range(z->fd, (off_t)z->handed, (off_t)(z->at - z->handed), SYNC_FILE_RANGE_WRITE);
    z->handed = z->at;
}

static bool flush(qs_zip_out *z, qs_err *e) {
    if (!write_at(z, z->at, z->buf, z->n, e)) return false;
    z->at += z->n;
    z->n = 0;
    hand_over(z);
    return true;
}

/* Where the next byte goes. */
static uint64_t here(const qs_zip_out *z) {
    return z->at + z->n;
}

/* Room for n bytes (much less than the buffer) in one piece. */
static bool room(qs_zip_out *z, size_t n, qs_err *e) {
    return n <= BUFFER - z->n || flush(z, e);
}

static void put(qs_zip_out *z, uint64_t v, size_t width) {
    for (size_t i = 0; i < width; i++) z->buf[z->n++] = (unsigned char)(v >> (8 * i));
}

static void put_str(qs_zip_out *z, qs_str s) {
    memcpy(z->buf + z->n, s.p, s.n);
    z->n += s.n;
}

static uint32_t narrow(uint64_t v) {
    return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

/* ---- records ---- */

static void put_local(qs_zip_out *z, const record *r) {
    bool wide = r->size >= UINT32_MAX;
    uint64_t data = r->header + LOCAL_SIZE + r->name.n + (wide ? 20 : 0) + 4;
    size_t pad = (size_t)(-data % ALIGN);
    put(z, 0x04034b50, 4);
    put(z, wide ? 45 : 20, 2);
    put(z, FLAG_UTF8, 2);
    put(z, 0, 2); /* STORED */
    put(z, 0, 2);
    put(z, DATE, 2);
    put(z, 0, 4); /* crc, patched in when the content has gone by */
    put(z, narrow(r->size), 4);
    put(z, narrow(r->size), 4);
    put(z, r->name.n, 2);
    put(z, (wide ? 20 : 0) + 4 + pad, 2);
    put_str(z, r->name);
    if (wide) {
        put(z, 1, 2);
        put(z, 16, 2);
        put(z, r->size, 8);
        put(z, r->size, 8);
    }
    put(z, 0x4246, 2); /* "FB", as torch pads */
    put(z, pad, 2);
    memset(z->buf + z->n, 'Z', pad);
    z->n += pad;
}

/* Not a failure of the disk: this kernel does not copy between these two files. */
static bool cannot_copy(int error) {
    return error == EXDEV || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL || error == EPERM;
}

/* n bytes to the end of the file, *did of them: all, or less where the kernel cannot copy between these
 * files. */
static bool copy(qs_zip_out *z, int fd, uint64_t from, uint64_t n, uint64_t *did, const qs_progress *progress,
                 qs_err *e) {
    if (!flush(z, e)) return false;
    for (*did = 0; *did < n;) {
        off_t in = (off_t)(from + *did), out = (off_t)z->at;
        uint64_t step = n - *did < KERNEL_STEP ? n - *did : KERNEL_STEP;
        ssize_t got = copy_file_range(fd, &in, z->fd, &out, (size_t)step, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && !cannot_copy(errno))
            return qs_fail_errno(e, QS_E_IO, errno, "cannot write the new file");
        if (got <= 0) return true;
        *did += (uint64_t)got;
        z->at += (uint64_t)got;
        z->done += (uint64_t)got;
        hand_over(z);
        if (!qs_progress_step(progress, z->done < z->total ? z->done : z->total, z->total, e)) return false;
    }
    return true;
}

static bool put_content(qs_zip_out *z, record *r, const qs_progress *progress, qs_err *e) {
    uLong crc = crc32(0, NULL, 0);
    uint64_t copied = 0;
    bool known = r->origin.fd >= 0;
    if (known && !copy(z, r->origin.fd, r->origin.at, r->size, &copied, progress, e)) return false;
    for (uint64_t done = copied; done < r->size;) {
        if (z->n == BUFFER && !flush(z, e)) return false;
        size_t n = BUFFER - z->n < STEP ? BUFFER - z->n : STEP;
        if (r->size - done < n) n = (size_t)(r->size - done);
        if (!r->source(r->ctx, done, z->buf + z->n, n, e)) return false;
        crc = crc32(crc, z->buf + z->n, (uInt)n);
        z->n += n;
        done += n;
        z->done += n;
        if (!qs_progress_step(progress, z->done, z->total, e)) return false;
    }
    r->crc = known ? r->origin.crc : (uint32_t)crc;
    if (r->origin.copied) *r->origin.copied = copied == r->size;
    return true;
}

static bool patch_crc(qs_zip_out *z, const record *r, qs_err *e) {
    uint64_t at = r->header + CRC_AT;
    unsigned char b[4];
    for (size_t i = 0; i < 4; i++) b[i] = (unsigned char)(r->crc >> (8 * i));
    /* A header is put in one piece: it is in the buffer whole, or in the file whole. */
    if (at >= z->at) {
        memcpy(z->buf + (at - z->at), b, 4);
        return true;
    }
    return write_at(z, at, b, 4, e);
}

static bool put_record(qs_zip_out *z, record *r, const qs_progress *progress, qs_err *e) {
    if (!room(z, LOCAL_SIZE + r->name.n + 24 + ALIGN, e)) return false;
    r->header = here(z);
    put_local(z, r);
    return put_content(z, r, progress, e) && patch_crc(z, r, e);
}

/* ---- what stands in another file just so ---- */

/* Do r's header and content stand at byte `at` of its origin's file? The content's end, 0 if not. */
static uint64_t stands(qs_zip_out *z, record *r, uint64_t at) {
    unsigned char there[UINT16_MAX + LOCAL_SIZE + 24 + ALIGN];
    if (r->origin.fd < 0) return 0;
    r->header = at;
    z->n = 0;
    put_local(z, r);
    size_t n = z->n;
    z->n = CRC_AT;
    put(z, r->origin.crc, 4);
    z->n = 0;
    if (r->origin.at != at + n || pread(r->origin.fd, there, n, (off_t)at) != (ssize_t)n) return 0;
    return memcmp(z->buf, there, n) == 0 ? at + n + r->size : 0;
}

/* Copies the records that stand in one file as they shall stand here, up to a border of blocks; *next is the
 * first that does not, or of which not all was copied. */
static bool put_head(qs_zip_out *z, size_t *next, const qs_progress *progress, qs_err *e) {
    uint64_t end = 0, did = 0;
    int fd = z->records.n ? z->records.v[0].origin.fd : -1;
    size_t i = 0;
    for (uint64_t to; i < z->records.n && z->records.v[i].origin.fd == fd; end = to, i++)
        if (!(to = stands(z, &z->records.v[i], end))) break;
    *next = 0;
    /* The piece after the last border is copied by itself: whole blocks alone can be shared. */
    uint64_t whole = end / BLOCK * BLOCK, rest = 0;
    if (!whole) return true;
    if (!copy(z, fd, 0, whole, &did, progress, e)) return false;
    if (did == whole && !copy(z, fd, whole, end - whole, &rest, progress, e)) return false;
    if (did + rest == end) {
        for (size_t k = 0; k < i; k++) {
            const qs_zip_origin *o = &z->records.v[k].origin;
            z->records.v[k].crc = o->crc;
            if (o->copied) *o->copied = true;
        }
        *next = i;
        return true;
    }
    z->at = z->done = 0; /* not between these files: all is written anew, over what was copied */
    return true;
}

static bool put_central(qs_zip_out *z, const record *r, qs_err *e) {
    bool wide_size = r->size >= UINT32_MAX, wide_at = r->header >= UINT32_MAX;
    size_t extra = wide_size || wide_at ? 4 + (wide_size ? 16 : 0) + (wide_at ? 8 : 0) : 0;
    if (!room(z, 46 + r->name.n + extra, e)) return false;
    put(z, 0x02014b50, 4);
    put(z, extra ? 45 : 20, 2);
    put(z, extra ? 45 : 20, 2);
    put(z, FLAG_UTF8, 2);
    put(z, 0, 2);
    put(z, 0, 2);
    put(z, DATE, 2);
    put(z, r->crc, 4);
    put(z, narrow(r->size), 4);
    put(z, narrow(r->size), 4);
    put(z, r->name.n, 2);
    put(z, extra, 2);
    put(z, 0, 6); /* comment, disk, internal attributes */
    put(z, 0, 4); /* external attributes */
    put(z, narrow(r->header), 4);
    put_str(z, r->name);
    if (extra) {
        put(z, 1, 2);
        put(z, extra - 4, 2);
    }
    if (wide_size) {
        put(z, r->size, 8);
        put(z, r->size, 8);
    }
    if (wide_at) put(z, r->header, 8);
    return true;
}

static void put_end64(qs_zip_out *z, uint64_t directory, uint64_t size) {
    uint64_t at = here(z);
    put(z, 0x06064b50, 4);
    put(z, 44, 8);
    put(z, 45, 2);
    put(z, 45, 2);
    put(z, 0, 8); /* disks */
    put(z, z->records.n, 8);
    put(z, z->records.n, 8);
    put(z, size, 8);
    put(z, directory, 8);
    put(z, 0x07064b50, 4);
    put(z, 0, 4);
    put(z, at, 8);
    put(z, 1, 4);
}

static bool put_end(qs_zip_out *z, uint64_t directory, qs_err *e) {
    uint64_t size = here(z) - directory, n = z->records.n;
    if (!room(z, 56 + 20 + 22, e)) return false;
    if (n >= UINT16_MAX || size >= UINT32_MAX || directory >= UINT32_MAX) put_end64(z, directory, size);
    put(z, 0x06054b50, 4);
    put(z, 0, 4); /* disks */
    put(z, n < UINT16_MAX ? n : UINT16_MAX, 2);
    put(z, n < UINT16_MAX ? n : UINT16_MAX, 2);
    put(z, narrow(size), 4);
    put(z, narrow(directory), 4);
    put(z, 0, 2); /* comment */
    return flush(z, e);
}

bool qs_zip_out_close(qs_zip_out *z, const qs_progress *progress, qs_err *e) {
    z->buf = malloc(BUFFER);
    bool ok = z->buf || qs_nomem(e);
    ok = ok && qs_progress_step(progress, 0, z->total, e);
    size_t first = 0;
    ok = ok && put_head(z, &first, progress, e);
    for (size_t i = first; ok && i < z->records.n; i++) ok = put_record(z, &z->records.v[i], progress, e);
    uint64_t directory = here(z);
    for (size_t i = 0; ok && i < z->records.n; i++) ok = put_central(z, &z->records.v[i], e);
    ok = ok && put_end(z, directory, e);
    qs_zip_out_abandon(z);
    return ok;
}
