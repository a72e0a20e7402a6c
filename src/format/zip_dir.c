#include "format/zip_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include <zip.h>

/* A data descriptor is 12 to 24 bytes; torch pads by less than 64 in an extra field of 4 + 20 bytes at most.
 */
enum { DESCRIPTOR_MAX = 24, SLACK_USUAL = 256 };
enum {
    END_SIZE = 22,
    END64_SIZE = 56,
    LOCATOR_SIZE = 20,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    DOS_FOLDER = 0x10,                          /* of the external attributes */
    UNREADABLE = 1 | 1 << 5 | 1 << 6 | 1 << 13, /* flags: encrypted, patched data, strongly, masked */
    /* miniz looks in blocks of 4096 bytes that overlap by 3, until one begins 65535 + 22 bytes before the
     * file's end or earlier. */
    SEARCH = 4096 + 16 * 4093
};

static uint16_t u16(const char *p) {
    return (uint16_t)((unsigned char)p[0] | (unsigned char)p[1] << 8);
}
static uint32_t u32(const char *p) {
    return u16(p) | (uint32_t)u16(p + 2) << 16;
}
static uint64_t u64(const char *p) {
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

static bool broken(const qs_file *f, qs_err *e, const char *why) {
    return qs_fail(e, QS_E_INPUT, "%s: is a broken or forged zip archive: %s", qs_file_path(f), why);
}

/* ---- the end record ---- */

/* Offset of the last end record, as miniz looks for it: from the end backwards. */
static bool last_end(const qs_file *f, uint64_t *at, char rec[END_SIZE], qs_err *e) {
    uint64_t size = qs_file_size(f);
    size_t n = size < SEARCH ? (size_t)size : SEARCH;
    char *tail = malloc(n);
    if (!tail) return qs_nomem(e);
    bool ok = qs_file_read(f, size - n, tail, n, e), found = false;
    for (size_t i = n; ok && !found && i >= END_SIZE; i--) {
        const char *p = tail + i - END_SIZE;
        if (memcmp(p, "PK\x05\x06", 4) != 0) continue;
        *at = size - n + (i - END_SIZE);
        memcpy(rec, p, END_SIZE);
        found = true;
    }
    free(tail);
    if (!ok) return false;
    return found ||
           qs_fail(e, QS_E_INPUT, "%s: has no end record: the archive is cut short at %" PRIu64 " bytes",
                   qs_file_path(f), size);
}

/* A 16 or 32 bit field of the end record must be full (all ones) or agree with its zip64 twin. */
static bool twin(uint64_t narrow, uint64_t full, uint64_t wide) {
    return narrow == full || narrow == wide;
}

static bool read_end64(const qs_file *f, uint64_t end_at, const char *rec, const char *locator, uint64_t *at,
                       qs_zip_end *out, qs_err *e) {
    char r[END64_SIZE];
    *at = u64(locator + 8);
    if (u32(locator + 4) != 0 || u32(locator + 16) != 1)
        return broken(f, e, "it claims to span several disks");
    if (end_at < LOCATOR_SIZE + END64_SIZE || *at > end_at - LOCATOR_SIZE - END64_SIZE)
        return broken(f, e, "its zip64 end record lies outside the file");
    if (!qs_file_read(f, *at, r, sizeof r, e)) return false;
    if (memcmp(r, "PK\x06\x06", 4) != 0)
        return broken(f, e, "its zip64 end record is not where it should be");
    uint64_t rest = end_at - LOCATOR_SIZE - *at;
    if (u64(r + 4) != rest - 12) return broken(f, e, "its zip64 end record has the wrong size");
    if (u32(r + 16) || u32(r + 20) || u64(r + 24) != u64(r + 32))
        return broken(f, e, "it claims to span several disks");
    out->entries = u64(r + 32);
    out->directory_size = u64(r + 40);
    out->directory = u64(r + 48);
    if (!twin(u16(rec + 10), 0xffff, out->entries) || !twin(u32(rec + 12), UINT32_MAX, out->directory_size) ||
        !twin(u32(rec + 16), UINT32_MAX, out->directory))
        return broken(f, e, "its two end records disagree");
    return true;
}

bool qs_zip_find_end(const qs_file *f, qs_zip_end *out, qs_err *e) {
    char rec[END_SIZE] = {0}, locator[LOCATOR_SIZE];
    uint64_t at = 0;
    *out = (qs_zip_end){0};
    if (!last_end(f, &at, rec, e)) return false;
    out->found = true;
    out->size = at + END_SIZE + u16(rec + 20);
    if (out->size > qs_file_size(f)) return broken(f, e, "the comment of its last end record is cut short");
    if (u16(rec + 4) != u16(rec + 6) || u16(rec + 8) != u16(rec + 10))
        return broken(f, e, "it claims to span several disks");
    out->entries = u16(rec + 10);
    out->directory_size = u32(rec + 12);
    out->directory = u32(rec + 16);
    uint64_t above = at;
    bool wide = false;
    if (at >= LOCATOR_SIZE) {
        if (!qs_file_read(f, at - LOCATOR_SIZE, locator, sizeof locator, e)) return false;
        wide = memcmp(locator, "PK\x06\x07", 4) == 0;
        if (wide && !read_end64(f, at, rec, locator, &above, out, e)) return false;
    }
    if (!wide && u16(rec + 4) > 1)
        return broken(f, e, "it claims to span several disks"); /* as miniz counts */
    if (out->directory_size > above || out->directory != above - out->directory_size)
        return broken(f, e,
                      "its directory does not end where its end record begins; was one archive appended to "
                      "another?");
    return true;
}

/* ---- the directory ---- */

typedef struct dir {
    const qs_file *f;
    const qs_limits *lim;
    const char *p;
    size_t n, at;
    qs_err *e;
} dir;

static bool bad_entry(const dir *d, uint64_t i, const char *why) {
    return qs_fail(d->e, QS_E_INPUT, "%s: is a broken or forged zip archive: entry %" PRIu64 " %s",
                   qs_file_path(d->f), i, why);
}

/* The zip64 extra field holds, in this order, those of the three values that are all ones in the entry. */
static bool zip64_extra(const char *p, size_t n, qs_zip_entry *x) {
    uint64_t *const field[3] = {&x->record.size, &x->record.stored_size, &x->header};
    for (int i = 0; i < 3; i++) {
        if (*field[i] != UINT32_MAX) continue;
        if (n < 8) return false;
        *field[i] = u64(p);
        p += 8;
        n -= 8;
    }
    return true;
}

static bool parse_extra(const dir *d, uint64_t i, const char *p, size_t n, qs_zip_entry *x) {
    bool wide =
             x->record.size == UINT32_MAX || x->record.stored_size == UINT32_MAX || x->header == UINT32_MAX,
         seen = false;
    while (n >= 4) {
        size_t len = u16(p + 2);
        if (len > n - 4) return bad_entry(d, i, "has an extra field that is too long");
        if (u16(p) == 1 && seen) return bad_entry(d, i, "has two zip64 fields");
        if (u16(p) == 1) {
            seen = true;
            if (!zip64_extra(p + 4, len, x)) return bad_entry(d, i, "has a zip64 field that is too short");
        }
        p += 4 + len;
        n -= 4 + len;
    }
    return !wide || seen || bad_entry(d, i, "has no zip64 field where one is needed");
}

static bool check_entry(const dir *d, uint64_t i, const qs_zip_entry *x, unsigned method) {
    const qs_record *r = &x->record;
    if (x->flags & UNREADABLE)
        return bad_entry(d, i, "is marked as encrypted or as a patch; torch cannot read it");
    if (method != ZIP_CM_STORE && method != ZIP_CM_DEFLATE)
        return bad_entry(d, i, "is compressed by a method torch cannot read");
    if (r->name.n == 0) return bad_entry(d, i, "has no name");
    if (memchr(r->name.p, 0, r->name.n)) return bad_entry(d, i, "has a NUL in its name");
    if (!r->deflated && r->size != r->stored_size) return bad_entry(d, i, "has two sizes that differ");
    if (r->size && !r->stored_size) return bad_entry(d, i, "has a size and no bytes");
    return true;
}

static bool parse_entry(dir *d, uint64_t i, qs_zip_entry *x) {
    if (d->n - d->at < CENTRAL_SIZE) return bad_entry(d, i, "is missing: the directory is too short");
    const char *p = d->p + d->at;
    if (memcmp(p, "PK\x01\x02", 4) != 0) return bad_entry(d, i, "is not where it should be");
    size_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
    if (name + extra + comment > d->n - d->at - CENTRAL_SIZE) return bad_entry(d, i, "is cut short");
    if (name > d->lim->zip_name_bytes)
        return qs_over_limit(d->e, d->lim, QS_LIMIT_ZIP_NAME, qs_file_path(d->f), name);
    unsigned method = u16(p + 10);
    *x = (qs_zip_entry){.record = {.name = {p + CENTRAL_SIZE, name},
                                   .size = u32(p + 24),
                                   .stored_size = u32(p + 20),
                                   .crc = u32(p + 16),
                                   .deflated = method == ZIP_CM_DEFLATE},
                        .flags = u16(p + 8),
                        .header = u32(p + 42)};
    d->at += CENTRAL_SIZE + name + extra + comment;
    if (u16(p + 34) != 0) return bad_entry(d, i, "claims to be on another disk");
    /* miniz extracts nothing then, says so to nobody, and torch takes whatever was in its memory. */
    bool folder = u32(p + 38) & DOS_FOLDER || (name && p[CENTRAL_SIZE + name - 1] == '/');
    return parse_extra(d, i, p + CENTRAL_SIZE + name, extra, x) && check_entry(d, i, x, method) &&
           (!folder || x->record.size == 0 || bad_entry(d, i, "is marked as a folder and has content"));
}

static int by_header(const void *a, const void *b) {
    uint64_t x = (*(qs_zip_entry *const *)a)->header, y = (*(qs_zip_entry *const *)b)->header;
    return x < y ? -1 : x > y;
}

/* Each entry's header, name and content must end before the next thing begins. The local header's extra field
 * is not known yet: qs_zip_local checks with it. */
static bool check_range(const dir *d, qs_zip_entry *x, uint64_t next) {
    uint64_t fixed = LOCAL_SIZE + x->record.name.n;
    x->bound = next;
    if (x->header > next || next - x->header < fixed || next - x->header - fixed < x->record.stored_size)
        return qs_fail(
            d->e, QS_E_INPUT,
            "%s: is a broken or forged zip archive: entry %.*s overlaps what follows it at byte %" PRIu64,
            qs_file_path(d->f), QS_FMT(x->record.name), next);
    return true;
}

/* `order` is NULL if the entries are in the order of their headers. */
static bool check_in_order(const dir *d, qs_zip_entry *v, qs_zip_entry **order, uint64_t n,
                           uint64_t directory) {
    if ((order ? order[0] : v)->header != 0)
        return broken(d->f, d->e, "its first entry is not at the beginning of the file");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t next = i + 1 == n ? directory : (order ? order[i + 1] : &v[i + 1])->header;
        if (!check_range(d, order ? order[i] : &v[i], next)) return false;
    }
    return true;
}

static bool check_ranges(const dir *d, qs_zip_entry *v, uint64_t n, uint64_t directory) {
    qs_zip_entry **order = NULL;
    bool sorted = true;
    for (uint64_t i = 1; i < n && sorted; i++) sorted = v[i].header >= v[i - 1].header;
    if (!sorted) {
        order = malloc((size_t)n * sizeof *order);
        if (!order) return qs_nomem(d->e);
        for (uint64_t i = 0; i < n; i++) order[i] = &v[i];
        qsort(order, (size_t)n, sizeof *order, by_header);
    }
    bool ok = check_in_order(d, v, order, n, directory);
    free(order);
    for (uint64_t i = 0; ok && i < n; i++)
        if (v[i].bound - v[i].header - v[i].record.name.n - v[i].record.stored_size > SLACK_USUAL)
            ok = qs_zip_local(d->f, &v[i], d->e);
    return ok;
}

static bool check_limits(const qs_file *f, const qs_zip_end *end, const qs_limits *lim, qs_err *e) {
    if (end->entries > lim->zip_entries)
        return qs_over_limit(e, lim, QS_LIMIT_ZIP_ENTRIES, qs_file_path(f), end->entries);
    if (end->directory_size > lim->zip_directory_bytes)
        return qs_over_limit(e, lim, QS_LIMIT_ZIP_DIRECTORY, qs_file_path(f), end->directory_size);
    if (end->entries == 0) return qs_fail(e, QS_E_INPUT, "%s: is an empty zip archive", qs_file_path(f));
    if (end->entries > end->directory_size / CENTRAL_SIZE)
        return broken(f, e, "its directory is too small for the entries it claims");
    return true;
}

bool qs_zip_read_dir(const qs_file *f, const qs_zip_end *end, const qs_limits *limits, char **bytes,
                     qs_zip_entry **entries, qs_err *e) {
    if (!check_limits(f, end, limits, e)) return false;
    char *p = malloc((size_t)end->directory_size);
    qs_zip_entry *v = malloc((size_t)end->entries * sizeof *v); /* fits: the directory is longer */
    dir d = {.f = f, .lim = limits, .p = p, .n = (size_t)end->directory_size, .e = e};
    bool ok = (p && v) || qs_nomem(e);
    ok = ok && qs_file_read(f, end->directory, p, d.n, e);
    for (uint64_t i = 0; ok && i < end->entries; i++) ok = parse_entry(&d, i, &v[i]);
    if (ok && d.at != d.n) ok = broken(f, e, "its directory is longer than the entries in it");
    ok = ok && check_ranges(&d, v, end->entries, end->directory);
    if (!ok) {
        free(p);
        free(v);
        return false;
    }
    *bytes = p;
    *entries = v;
    return true;
}

bool qs_zip_local(const qs_file *f, qs_zip_entry *x, qs_err *e) {
    char h[LOCAL_SIZE + UINT16_MAX];
    qs_str name = qs_zip_name(x);
    const qs_record *r = &x->record;
    size_t n = LOCAL_SIZE + name.n;
    if (x->skip) return true;
    if (!qs_file_read(f, x->header, h, n, e)) return false;
    bool same = memcmp(h, "PK\x03\x04", 4) == 0 && u16(h + 26) == name.n &&
                memcmp(h + LOCAL_SIZE, name.p, name.n) == 0 &&
                u16(h + 8) == (r->deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE) &&
                ((u16(h + 6) ^ x->flags) & UNREADABLE) == 0;
    uint32_t stored = u32(h + 18), size = u32(h + 22);
    /* With bit 3 the sizes stand behind the content; all ones mean that they are in the zip64 field. */
    if (!(u16(h + 6) & 8) &&
        ((stored != UINT32_MAX && stored != r->stored_size) || (size != UINT32_MAX && size != r->size)))
        same = false;
    uint32_t skip = (uint32_t)n + u16(h + 28);
    uint64_t data = x->header + skip;
    if (!same || data > x->bound || x->bound - data < r->stored_size)
        return qs_fail(e, QS_E_INPUT,
                       "%s: is a broken or forged zip archive: the header of %.*s at byte %" PRIu64
                       " does not agree with the directory",
                       qs_file_path(f), QS_FMT(name), x->header);
    /* Room for another archive's directory between two entries is room for another truth. */
    if (x->bound - data - r->stored_size > DESCRIPTOR_MAX)
        return qs_fail(e, QS_E_INPUT,
                       "%s: is a broken or forged zip archive: %" PRIu64
                       " bytes that belong to no entry follow %.*s",
                       qs_file_path(f), x->bound - data - r->stored_size, QS_FMT(name));
    x->skip = skip;
    return true;
}

/* ---- libzip's view ---- */

static bool same_entries(const qs_file *f, zip_t *z, const qs_zip_entry *v, uint64_t n, qs_err *e) {
    if (zip_get_num_entries(z, 0) != (zip_int64_t)n)
        return broken(f, e, "two ways of reading its directory give different entries");
    for (uint64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(z, i, ZIP_FL_ENC_RAW);
        zip_stat_t st;
        if (!name || !qs_str_eq(qs_str_of(name), qs_zip_name(&v[i])) || zip_stat_index(z, i, 0, &st) != 0 ||
            st.size != v[i].record.size || st.comp_size != v[i].record.stored_size)
            return broken(f, e, "two ways of reading its directory give different entries");
    }
    return true;
}

/* The stream closes a descriptor of its own, and moves the offset, which pread does not use. */
static zip_t *open_consistent(const qs_file *f, uint64_t size, zip_error_t *why) {
    int fd = dup(qs_file_fd(f));
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!stream) {
        zip_error_set(why, ZIP_ER_OPEN, errno);
        if (fd >= 0) close(fd);
        return NULL;
    }
    zip_source_t *source = zip_source_filep_create(stream, qs_file_base(f), (zip_int64_t)size, why);
    if (!source) {
        fclose(stream);
        return NULL;
    }
    zip_t *z = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, why);
    if (!z) zip_source_free(source);
    return z;
}

bool qs_zip_cross_check(const qs_file *f, uint64_t size, const qs_zip_entry *entries, uint64_t n, qs_err *e) {
    /* libzip calls mktime for each entry, and glibc reads the time zone file again each time while TZ is
     * unset: two thirds of the time to open a checkpoint. This value means what an unset TZ means. */
    if (setenv("TZ", ":/etc/localtime", 0) != 0) return qs_nomem(e);
    zip_error_t why;
    zip_error_init(&why);
    zip_t *z = open_consistent(f, size, &why);
    if (!z) {
        int code = zip_error_code_zip(&why);
        qs_fail(e, code == ZIP_ER_MEMORY ? QS_E_NOMEM : QS_E_INPUT,
                "%s: is a broken or forged zip archive: libzip: %s", qs_file_path(f),
                zip_error_strerror(&why));
        zip_error_fini(&why);
        return false;
    }
    zip_error_fini(&why);
    bool ok = same_entries(f, z, entries, n, e);
    zip_discard(z);
    return ok;
}
