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
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum {
    BUFFER = 512 << 10,
    STEP = 256 << 10,      /* asked from a source at once, and reported */
    KERNEL_STEP = 8 << 20, /* the same of the kernel */
    BLOCK = 64 << 10,      /* see kernel_step */
    WRITEBACK = 32 << 20,  /* the disk begins to write when so much is there, not only at the fsync */
    ALIGN = 64,
    PAGE = 4096,
    LARGE = 1 << 20, /* from this on half a page of padding does not matter */
    LOCAL_SIZE = 30,
    ZIP64_SIZE = 20,
    DESCRIPTOR_SIZE = 16,
    CRC_AT = 14, /* in a local header */
    FLAG_UTF8 = 0x0800,
    FLAG_DESCRIPTOR = 0x0008, /* crc and sizes stand behind the content */
    DATE = 0x0021,            /* 1980-01-01: two saves of one content are the same bytes */
    ENDS = 4 << 10,           /* compared of a piece that the kernel copied, at each of its ends */
    WINDOW = 8 << 10,         /* read at once where headers are looked at; longer ones are written anew */
};

typedef struct record {
    qs_str name; /* with the prefix */
    uint64_t size, header;
    qs_zip_source source;
    void *ctx;
    uint32_t crc;
    bool torchs;          /* the header as torch writes it: the descriptor tells what ours does */
    bool follows;         /* the record before it, in the file of both as here: one span */
    qs_zip_origin origin; /* file NULL: none */
} record;

/* A piece of a file that was read. */
typedef struct window {
    const qs_file *file;
    uint64_t at;
    size_t n;
    unsigned char b[WINDOW];
} window;

struct qs_zip_out {
    int fd;
    bool sync;
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
    record r = {.name = {p, n}, .size = size, .source = source, .ctx = ctx};
    uint32_t i = (uint32_t)z->records.n, at = qs_map_add(&z->names, r.name, i);
    if (at == QS_MAP_NONE || !qs_push(&z->records, r)) return qs_nomem(e);
    if (at != i) return qs_fail(e, QS_E_REFUSED, "two records would be named %.*s", QS_FMT(name));
    z->total += size;
    return true;
}

void qs_zip_out_origin(qs_zip_out *z, const qs_zip_origin *origin) {
    record *r = &z->records.v[z->records.n - 1];
    r->origin = *origin;
    r->crc = origin->crc;
}

void qs_zip_out_will_sync(qs_zip_out *z) {
    z->sync = true;
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
    if (!z->sync || z->at - z->handed < WRITEBACK) return;
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

static bool is_wide(const record *r) {
    return r->size >= UINT32_MAX;
}

/* Of the local header, without what pads it. */
static size_t header_size(const record *r) {
    return LOCAL_SIZE + r->name.n + (is_wide(r) ? ZIP64_SIZE : 0) + 4;
}

/* As torch: nothing stands behind an empty record. */
static bool has_descriptor(const record *r) {
    return r->torchs && r->size > 0;
}

static unsigned flags_of(const record *r) {
    return FLAG_UTF8 | (has_descriptor(r) ? FLAG_DESCRIPTOR : 0);
}

static void put_local(qs_zip_out *z, const record *r, size_t pad) {
    bool wide = is_wide(r), told = !r->torchs;
    put(z, 0x04034b50, 4);
    put(z, told ? (wide ? 45 : 20) : 0, 2);
    put(z, flags_of(r), 2);
    put(z, 0, 2); /* STORED */
    put(z, 0, 2);
    put(z, told ? DATE : 0, 2);
    put(z, told ? r->crc : 0, 4);
    put(z, told ? narrow(r->size) : 0, 4);
    put(z, told ? narrow(r->size) : 0, 4);
    put(z, r->name.n, 2);
    put(z, (wide ? ZIP64_SIZE : 0) + 4 + pad, 2);
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

static void put_descriptor(qs_zip_out *z, const record *r) {
    put(z, 0x08074b50, 4);
    put(z, r->crc, 4);
    put(z, r->size, 4);
    put(z, r->size, 4);
}

/* The header of the record that comes next, padded for its content to begin where byte `like` is of a unit.
 */
static bool put_header(qs_zip_out *z, record *r, uint64_t like, uint64_t unit, qs_err *e) {
    if (!room(z, header_size(r) + PAGE, e)) return false;
    r->header = here(z);
    put_local(z, r, (size_t)((like - r->header - header_size(r)) % unit));
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

/* A record whose content only its source has. */
static bool put_made(qs_zip_out *z, record *r, const qs_progress *progress, qs_err *e) {
    uLong crc = crc32(0, NULL, 0);
    if (!put_header(z, r, 0, ALIGN, e)) return false;
    for (uint64_t done = 0; done < r->size;) {
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
    r->crc = (uint32_t)crc;
    return patch_crc(z, r, e);
}

/* ---- from another file ---- */

/* Bytes of a file that are copied to the end of this one. */
typedef struct piece {
    const qs_file *file;
    uint64_t at, n, done;
    uint64_t content; /* bytes of records among them, for the progress */
} piece;

static bool advance(qs_zip_out *z, piece *p, uint64_t n, const qs_progress *progress, qs_err *e) {
    p->done += n;
    uint64_t content = (uint64_t)((double)p->content * ((double)p->done / (double)p->n));
    return qs_progress_step(progress, z->done + content, z->total, e);
}

/* Not a failure of the disk: this kernel does not copy between these two files. */
static bool cannot_copy(int error) {
    return error == EXDEV || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL || error == EPERM;
}

/* How much to ask of the kernel at once: it copies through a pipe of 64 KiB, and the pages of a file stay
 * large, and cheap, where each filling of it begins at a multiple of that; what file systems share is a
 * multiple of their block, which divides it, too. */
static size_t kernel_step(const qs_zip_out *z, uint64_t left) {
    uint64_t over = z->at % BLOCK, most = over ? BLOCK - over : KERNEL_STEP;
    if (left >= most) return (size_t)most;
    return (size_t)(over || left < BLOCK ? left : left - left % BLOCK);
}

/* The last n bytes of the file, which the kernel was asked to copy, can only have been taken from a wrong
 * place or put into one: their ends tell. */
static bool check_ends(const qs_zip_out *z, const piece *p, uint64_t n, qs_err *e) {
    char want[ENDS], got[ENDS];
    size_t part = n < ENDS ? (size_t)n : ENDS;
    for (int end = 0; end < 2; end++) {
        uint64_t back = end ? part : n;
        if (!qs_file_read(p->file, p->at + p->done - back, want, part, e)) return false;
        if (pread(z->fd, got, part, (off_t)(z->at - back)) != (ssize_t)part || memcmp(want, got, part) != 0)
            return qs_fail(e, QS_E_IO,
                           "the file that was written is not what it should be: what was copied to byte "
                           "%" PRIu64 " has other bytes; nothing was saved",
                           z->at - n);
    }
    return true;
}

/* All of p, or less where the kernel cannot copy between these files. */
static bool copy(qs_zip_out *z, piece *p, const qs_progress *progress, qs_err *e) {
    int fd = qs_file_fd(p->file);
    if (!flush(z, e)) return false;
    while (p->done < p->n) {
        off_t in = (off_t)(qs_file_base(p->file) + p->at + p->done), out = (off_t)z->at;
        ssize_t got = copy_file_range(fd, &in, z->fd, &out, kernel_step(z, p->n - p->done), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && !cannot_copy(errno))
            return qs_fail_errno(e, QS_E_IO, errno, "cannot write the new file");
        if (got <= 0) return true;
        z->at += (uint64_t)got;
        hand_over(z);
        if (!advance(z, p, (uint64_t)got, progress, e) || !check_ends(z, p, (uint64_t)got, e)) return false;
    }
    return true;
}

/* The rest of p, through our hands. */
static bool carry(qs_zip_out *z, piece *p, const qs_progress *progress, qs_err *e) {
    while (p->done < p->n) {
        if (z->n == BUFFER && !flush(z, e)) return false;
        size_t n = BUFFER - z->n < STEP ? BUFFER - z->n : STEP;
        if (p->n - p->done < n) n = (size_t)(p->n - p->done);
        if (!qs_file_read(p->file, p->at + p->done, z->buf + z->n, n, e)) return false;
        z->n += n;
        if (!advance(z, p, n, progress, e)) return false;
    }
    return true;
}

/* Byte of its origin's file at which r ends. */
static uint64_t origin_end(const record *r) {
    return r->origin.at + r->size + (has_descriptor(r) ? DESCRIPTOR_SIZE : 0);
}

/* n records from first: one, or a span. */
static bool put_copied(qs_zip_out *z, record *first, size_t n, const qs_progress *progress, qs_err *e) {
    uint64_t at = first->origin.at;
    piece p = {.file = first->origin.file, .at = at, .n = origin_end(&first[n - 1]) - at};
    for (size_t i = 0; i < n; i++) p.content += first[i].size;
    bool aligned = at % ALIGN == 0, large = p.n >= LARGE;
    if (!put_header(z, first, aligned ? at : 0, aligned && large ? PAGE : ALIGN, e)) return false;
    uint64_t shift = here(z) - at;
    for (size_t i = 1; i < n; i++) first[i].header = first[i].origin.header + shift;
    if (p.n >= BLOCK && !copy(z, &p, progress, e)) return false;
    bool copied = p.n >= BLOCK && p.done == p.n;
    if (!carry(z, &p, progress, e)) return false;
    z->done += p.content;
    for (size_t i = 0; i < n; i++)
        if (first[i].origin.copied) *first[i].origin.copied = copied;
    return true;
}

/* ---- what stands in another file just so ---- */

/* n bytes of a file, or NULL. */
static const unsigned char *look(window *w, const qs_file *f, uint64_t at, size_t n) {
    uint64_t size = qs_file_size(f);
    qs_err ignored = QS_ERR_INIT;
    if (n > WINDOW || at > size || n > size - at) return NULL;
    if (w->file != f || at < w->at || at + n > w->at + w->n) {
        w->file = f;
        w->at = at;
        w->n = size - at < WINDOW ? (size_t)(size - at) : WINDOW;
        if (!qs_file_read(f, at, w->b, w->n, &ignored)) w->n = 0;
    }
    return w->n ? w->b + (at - w->at) : NULL;
}

/* Are the bytes there what was just put? Takes them out of the buffer. */
static bool matches(qs_zip_out *z, window *w, const qs_file *f, uint64_t at) {
    const unsigned char *there = look(w, f, at, z->n);
    bool same = there && memcmp(z->buf, there, z->n) == 0;
    z->n = 0;
    return same;
}

/* Is all that is around r's content in its origin's file what we would put there, in our way or torch's? */
static bool stands_as(qs_zip_out *z, record *r, bool torchs, window *w) {
    const qs_zip_origin *o = &r->origin;
    r->torchs = torchs;
    put_local(z, r, (size_t)(o->at - o->header - header_size(r)));
    bool same = matches(z, w, o->file, o->header);
    if (!same || !has_descriptor(r)) return same;
    put_descriptor(z, r);
    return matches(z, w, o->file, o->at + r->size);
}

static bool stands(qs_zip_out *z, record *r, window *w) {
    const qs_zip_origin *o = &r->origin;
    if (!o->file || o->header == QS_ERR_NO_OFFSET || o->at % ALIGN) return false;
    uint64_t n = o->at - o->header;
    if (n < header_size(r) || n > WINDOW) return false;
    if (stands_as(z, r, true, w) && !is_wide(r)) return true;
    return stands_as(z, r, false, w);
}

static void find_spans(qs_zip_out *z) {
    window w = {0};
    bool before = false;
    for (size_t i = 0; i < z->records.n; i++) {
        record *r = &z->records.v[i];
        bool now = stands(z, r, &w);
        r->follows =
            before && now && r->origin.file == r[-1].origin.file && r->origin.header == origin_end(&r[-1]);
        before = now;
    }
}

static size_t span_length(const qs_zip_out *z, size_t first) {
    size_t n = 1;
    while (first + n < z->records.n && z->records.v[first + n].follows) n++;
    return n;
}

static bool put_records(qs_zip_out *z, const qs_progress *progress, qs_err *e) {
    find_spans(z);
    for (size_t i = 0, n; i < z->records.n; i += n) {
        record *r = &z->records.v[i];
        n = span_length(z, i);
        if (!(r->origin.file ? put_copied(z, r, n, progress, e) : put_made(z, r, progress, e))) return false;
    }
    return true;
}

/* ---- the directory ---- */

static bool put_central(qs_zip_out *z, const record *r, qs_err *e) {
    bool wide_size = is_wide(r), wide_at = r->header >= UINT32_MAX;
    size_t extra = wide_size || wide_at ? 4 + (wide_size ? 16 : 0) + (wide_at ? 8 : 0) : 0;
    if (!room(z, 46 + r->name.n + extra, e)) return false;
    put(z, 0x02014b50, 4);
    put(z, extra ? 45 : 20, 2);
    put(z, extra ? 45 : 20, 2);
    put(z, flags_of(r), 2);
    put(z, 0, 2);
    put(z, 0, 2);
    put(z, r->torchs ? 0 : DATE, 2);
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
    ok = ok && qs_progress_step(progress, 0, z->total, e) && put_records(z, progress, e);
    uint64_t directory = here(z);
    for (size_t i = 0; ok && i < z->records.n; i++) ok = put_central(z, &z->records.v[i], e);
    ok = ok && put_end(z, directory, e);
    qs_zip_out_abandon(z);
    return ok;
}
