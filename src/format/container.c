#include "format/container.h"

#include "base/arena.h"
#include "base/map.h"
#include "format/parts.h"
#include "format/zip_dir.h"

#include <stdlib.h>
#include <zlib.h>

/* libzip reads every local header and calls mktime for each entry: beyond this many the second opinion costs
 * more than opening the checkpoint. */
enum { CROSS_CHECK_MAX = 10000 };

/* Records that were inflated: what changes in a container that is const to its readers. */
struct cache {
    uint64_t bytes;
    char **inflated; /* [count], each NULL until first use; NULL until there is one */
};

struct qs_container {
    qs_file *file;
    qs_limits limits;
    qs_file_kind kind;
    qs_str prefix;
    uint32_t count;
    char *directory; /* names are views of it */
    qs_zip_entry *entries;
    struct cache *cache;
    bool big_endian;
    uint64_t trailing;   /* bytes of the file after the archive */
    uint32_t *by_number; /* [count] record data/0 ... data/count-1, UINT32_MAX if there is none */
    qs_map names;        /* of all the others */
    qs_parts *parts;     /* instead of a directory, for files that are no archives */
};

void qs_container_close(qs_container *c) {
    if (!c) return;
    if (c->cache && c->cache->inflated) {
        for (uint32_t i = 0; i < c->count; i++) free(c->cache->inflated[i]);
        free(c->cache->inflated);
    }
    free(c->cache);
    free(c->entries);
    free(c->directory);
    free(c->by_number);
    qs_map_free(&c->names);
    qs_parts_free(c->parts);
    qs_file_close(c->file);
    free(c);
}

const qs_file *qs_container_file(const qs_container *c) {
    return c->file;
}
bool qs_container_uses(const qs_container *c, const char *path) {
    return qs_file_same(c->file, path) || (c->parts && qs_parts_uses(c->parts, path));
}
const char *qs_file_kind_name(qs_file_kind kind) {
    switch (kind) {
    case QS_FILE_TORCHSCRIPT: return "TorchScript";
    case QS_FILE_SAFETENSORS: return "safetensors";
    case QS_FILE_JSON: return "shard index";
    case QS_FILE_DCP: return "distributed checkpoint";
    case QS_FILE_LEGACY: return "legacy torch";
    case QS_FILE_PICKLE: return "pickle";
    case QS_FILE_TAR: return "tar";
    default: return "torch zip";
    }
}

qs_file_kind qs_container_kind(const qs_container *c) {
    return c->kind;
}
bool qs_container_big_endian(const qs_container *c) {
    return c->big_endian;
}

uint64_t qs_container_trailing(const qs_container *c) {
    return c->trailing;
}
qs_str qs_container_prefix(const qs_container *c) {
    return c->prefix;
}
uint32_t qs_container_count(const qs_container *c) {
    return c->count;
}

static const qs_record *record_at(const qs_container *c, uint32_t i) {
    return c->parts ? qs_parts_record(c->parts, i) : &c->entries[i].record;
}

const qs_record *qs_container_record(const qs_container *c, uint32_t i) {
    return i < c->count ? record_at(c, i) : NULL;
}

/* ---- names ---- */

#define DATA QS_STR("data/")

/* torch names storages by counting: most names are found in an array instead of by hashing 100,000 strings.
 * The number that a key is, or UINT32_MAX if it is not how that would be printed. */
static uint32_t number_of_key(const qs_container *c, qs_str key) {
    uint32_t v = 0;
    if (key.n == 0 || key.n > 9 || (key.p[0] == '0' && key.n > 1)) return UINT32_MAX;
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] < '0' || key.p[i] > '9') return UINT32_MAX;
        v = v * 10 + (uint32_t)(key.p[i] - '0');
    }
    return v < c->count ? v : UINT32_MAX;
}

static uint32_t number_of(const qs_container *c, qs_str name) {
    return qs_str_starts(name, DATA) ? number_of_key(c, qs_str_sub(name, DATA.n, name.n)) : UINT32_MAX;
}

uint32_t qs_container_find(const qs_container *c, qs_str name) {
    uint32_t v = number_of(c, name);
    return v == UINT32_MAX ? qs_map_get(&c->names, name) : c->by_number[v];
}

uint32_t qs_container_find_data(const qs_container *c, qs_str key) {
    char name[512];
    uint32_t v = number_of_key(c, key);
    if (v != UINT32_MAX) return c->by_number[v];
    if (key.n > sizeof name - DATA.n) return UINT32_MAX;
    memcpy(name, DATA.p, DATA.n);
    if (key.n) memcpy(name + DATA.n, key.p, key.n);
    return qs_map_get(&c->names, (qs_str){name, DATA.n + key.n});
}

static bool make_names(qs_container *c, qs_err *e) {
    c->by_number = malloc(((size_t)c->count + 1) * sizeof *c->by_number);
    if (!c->by_number) return qs_nomem(e);
    memset(c->by_number, 0xff, ((size_t)c->count + 1) * sizeof *c->by_number);
    return true;
}

/* The record that has the name now: i, or one before it. UINT32_MAX when memory is out. */
static uint32_t add_name(qs_container *c, qs_str name, uint32_t i) {
    uint32_t v = number_of(c, name);
    if (v == UINT32_MAX) return qs_map_add(&c->names, name, i);
    if (c->by_number[v] == UINT32_MAX) c->by_number[v] = i;
    return c->by_number[v];
}

static bool has_upper(qs_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z') return true;
    return false;
}

static bool duplicate(const qs_container *c, qs_str name, qs_err *e) {
    return qs_fail(
        e, QS_E_INPUT,
        "%s: has two records named %.*s (capitals aside); torch could read either, so it is refused",
        qs_file_path(c->file), QS_FMT(name));
}

/* Is it, capitals aside, a record that torch looks up by its name? */
static bool is_torchs(qs_str low) {
    static const char *const names[] = {"data.pkl", "constants.pkl", "version", "byteorder", ".data/version"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (qs_str_is(low, names[i])) return true;
    return false;
}

/* No torch writes DATA.PKL or DATA/0, and who looks at the names sees none of its records. */
static bool check_capitals(const qs_container *c, qs_str name, qs_str low, qs_err *e) {
    bool data = qs_str_starts(low, DATA) && !qs_str_starts(name, DATA);
    if (!data && (!is_torchs(low) || qs_str_eq(low, name))) return true;
    return qs_fail(
        e, QS_E_INPUT,
        "%s: its record %.*s is %.*s to torch, which minds no capitals; no torch writes that, so it "
        "is refused",
        qs_file_path(c->file), QS_FMT(name), QS_FMT(low));
}

/* miniz, torch's reader, looks records up without regard to case. The sources in a TorchScript archive are
 * not looked up that way by us, and may differ in case alone. */
static bool check_case(const qs_container *c, qs_err *e) {
    qs_arena arena = {0};
    qs_map lower = {0};
    bool any = false, ok = true;
    for (uint32_t i = 0; i < c->count && !any; i++) any = has_upper(record_at(c, i)->name);
    for (uint32_t i = 0; any && ok && i < c->count; i++) {
        qs_str name = record_at(c, i)->name;
        if (qs_str_starts(name, QS_STR("code/"))) continue;
        qs_str low = qs_arena_str(&arena, name);
        if (low.p) qs_str_lower((char *)low.p, low.n);
        uint32_t at = low.p ? qs_map_add(&lower, low, i) : QS_MAP_NONE;
        if (at == QS_MAP_NONE) ok = qs_nomem(e);
        if (ok && at != i) ok = duplicate(c, name, e);
        ok = ok && check_capitals(c, name, low, e);
    }
    qs_map_free(&lower);
    qs_arena_free(&arena);
    return ok;
}

static bool add_record(qs_container *c, uint32_t i, qs_err *e) {
    qs_zip_entry *x = &c->entries[i];
    qs_str name = x->record.name;
    size_t folder = c->prefix.n + 1;
    if (!qs_str_starts(name, c->prefix) || name.n < folder || name.p[c->prefix.n] != '/')
        return qs_fail(e, QS_E_INPUT,
                       "%s: record %.*s is outside of the folder %.*s/ that the first record is in; torch "
                       "refuses it too",
                       qs_file_path(c->file), QS_FMT(name), QS_FMT(c->prefix));
    x->record.name = qs_str_sub(name, folder, name.n);
    x->folder = (uint16_t)folder;
    uint32_t at = add_name(c, x->record.name, i);
    if (at == UINT32_MAX) return qs_nomem(e);
    return at == i || duplicate(c, x->record.name, e);
}

static bool add_records(qs_container *c, qs_err *e) {
    c->cache = calloc(1, sizeof *c->cache);
    if (!c->cache) return qs_nomem(e);
    if (!make_names(c, e)) return false;
    qs_str first = c->entries[0].record.name;
    const char *slash = memchr(first.p, '/', first.n);
    if (!slash)
        return qs_fail(e, QS_E_INPUT, "%s: is no checkpoint: its first record %.*s is in no folder",
                       qs_file_path(c->file), QS_FMT(first));
    c->prefix = qs_str_sub(first, 0, (size_t)(slash - first.p));
    for (uint32_t i = 0; i < c->count; i++)
        if (!add_record(c, i, e)) return false;
    return check_case(c, e);
}

/* ---- content ---- */

static bool record_fail(const qs_container *c, uint32_t i, qs_code code, qs_err *e, const char *why) {
    char name[128];
    qs_str_printable(record_at(c, i)->name, name, sizeof name);
    return qs_fail_at(e, code, name, QS_ERR_NO_OFFSET, "%s: record %s %s", qs_file_path(c->file), name, why);
}

/* Inflates into out[size]: exactly that much must come out. */
static bool inflate_into(const qs_container *c, uint32_t i, char *out, qs_err *e) {
    const qs_zip_entry *x = &c->entries[i];
    unsigned char in[1 << 16];
    z_stream z = {0};
    uint64_t at = 0, done = 0;
    int code = Z_OK;
    bool ok = inflateInit2(&z, -MAX_WBITS) == Z_OK || qs_nomem(e);
    bool init = ok;
    while (ok && code == Z_OK) {
        if (z.avail_in == 0 && at < x->record.stored_size) {
            uint64_t left = x->record.stored_size - at;
            z.avail_in = left < sizeof in ? (uInt)left : (uInt)sizeof in;
            z.next_in = in;
            ok = qs_file_read(c->file, qs_zip_data(x) + at, in, z.avail_in, e);
            at += z.avail_in;
        }
        uint64_t room = x->record.size - done;
        z.next_out = (Bytef *)out + done;
        z.avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
        uInt before = z.avail_out, had = z.avail_in;
        if (ok) code = inflate(&z, Z_NO_FLUSH);
        done += before - z.avail_out;
        if (code == Z_OK && before == z.avail_out && had == z.avail_in) code = Z_BUF_ERROR; /* no progress */
    }
    if (init) inflateEnd(&z);
    if (ok && (code != Z_STREAM_END || done != x->record.size))
        ok = record_fail(c, i, code == Z_MEM_ERROR ? QS_E_NOMEM : QS_E_INPUT, e,
                         "is damaged: its compressed bytes do not unpack to the size the archive gives");
    return ok;
}

static bool over_limit(const qs_container *c, uint32_t i, const qs_limits *limits, qs_limit_id limit,
                       uint64_t bytes, qs_err *e) {
    char who[200];
    qs_str name = record_at(c, i)->name;
    snprintf(who, sizeof who, "%.120s: record %.*s", qs_file_path(c->file), (int)(name.n < 60 ? name.n : 60),
             name.p);
    return qs_over_limit(e, limits, limit, who, bytes);
}

static bool may_inflate(const qs_container *c, uint32_t i, qs_err *e) {
    const qs_record *x = &c->entries[i].record;
    bool pickle = qs_str_is(x->name, "data.pkl");
    uint64_t total = c->limits.unpacked_bytes, before = pickle ? 0 : c->cache->bytes;
    if (total / 4 < qs_file_size(c->file)) total = 4 * qs_file_size(c->file);
    if (pickle) total = c->limits.pickle_bytes;
    /* DEFLATE makes at most 1032 bytes out of one. */
    if (x->size / 1032 > x->stored_size)
        return record_fail(c, i, QS_E_INPUT, e, "claims a size its compressed bytes cannot unpack to");
    if (x->size > total || before > total - x->size)
        return over_limit(c, i, &c->limits, pickle ? QS_LIMIT_PICKLE_BYTES : QS_LIMIT_UNPACKED,
                          before + x->size, e);
    return true;
}

static bool inflate_record(const qs_container *c, uint32_t i, qs_err *e) {
    struct cache *cache = c->cache;
    if (!cache->inflated) cache->inflated = calloc(c->count, sizeof *cache->inflated);
    if (!cache->inflated) return qs_nomem(e);
    if (cache->inflated[i]) return true;
    if (!may_inflate(c, i, e)) return false;
    char *p = malloc((size_t)c->entries[i].record.size + 1);
    if (!p) return qs_nomem(e);
    if (!inflate_into(c, i, p, e)) {
        free(p);
        return false;
    }
    cache->inflated[i] = p;
    cache->bytes += c->entries[i].record.size;
    return true;
}

bool qs_record_read(const qs_container *c, uint32_t record, uint64_t offset, void *buf, size_t n, qs_err *e) {
    if (record >= c->count) return qs_fail(e, QS_E_INPUT, "%s: no such record", qs_file_path(c->file));
    uint64_t size = record_at(c, record)->size;
    if (offset > size || n > size - offset)
        return record_fail(c, record, QS_E_INPUT, e, "is shorter than what is to be read from it");
    if (c->parts) return qs_parts_read(c->parts, c->file, record, offset, buf, n, e);
    qs_zip_entry *x = &c->entries[record];
    if (!qs_zip_local(c->file, x, e)) return false;
    if (!x->record.deflated) return qs_file_read(c->file, qs_zip_data(x) + offset, buf, n, e);
    if (!inflate_record(c, record, e)) return false;
    memcpy(buf, c->cache->inflated[record] + offset, n);
    return true;
}

bool qs_record_slurp(const qs_container *c, uint32_t record, const qs_limits *limits, qs_limit_id limit,
                     char **out, size_t *n, qs_err *e) {
    if (record >= c->count) return qs_fail(e, QS_E_INPUT, "%s: no such record", qs_file_path(c->file));
    uint64_t size = record_at(c, record)->size;
    if (size > qs_limit_value(limits, limit) || size >= SIZE_MAX)
        return over_limit(c, record, limits, limit, size, e);
    char *p = malloc((size_t)size + 1);
    if (!p) return qs_nomem(e);
    if (!qs_record_read(c, record, 0, p, (size_t)size, e)) {
        free(p);
        return false;
    }
    p[size] = 0;
    *out = p;
    *n = (size_t)size;
    return true;
}

bool qs_record_offset(const qs_container *c, uint32_t record, uint64_t *out, qs_err *e) {
    if (record >= c->count) return qs_fail(e, QS_E_INPUT, "%s: no such record", qs_file_path(c->file));
    *out = QS_ERR_NO_OFFSET;
    if (c->parts) return qs_parts_offset(c->parts, record, out), true;
    if (!qs_zip_local(c->file, &c->entries[record], e)) return false;
    *out = qs_zip_data(&c->entries[record]);
    return true;
}

uint64_t qs_record_header(const qs_container *c, uint32_t record) {
    return record < c->count && !c->parts ? c->entries[record].header : QS_ERR_NO_OFFSET;
}

/* ---- what the small records say ---- */

static bool slurp_small(qs_container *c, uint32_t i, char out[32], qs_err *e) {
    memset(out, 0, 32);
    uint64_t n = record_at(c, i)->size;
    return qs_record_read(c, i, 0, out, n < 31 ? (size_t)n : 31, e);
}

/* torch reads `version`, or else `.data/version`, with strtoull, and takes 1 to 10 (caffe2/serialize). */
static bool check_version(qs_container *c, qs_err *e) {
    char text[32];
    uint32_t i = qs_container_find(c, QS_STR("version"));
    if (i == UINT32_MAX) i = qs_container_find(c, QS_STR(".data/version"));
    if (i == UINT32_MAX)
        return qs_fail(e, QS_E_INPUT, "%s: has no record named version; torch.load refuses it too",
                       qs_file_path(c->file));
    if (!slurp_small(c, i, text, e)) return false;
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (end != text && text[0] != '-' && v >= 1 && v <= 10) return true;
    return qs_fail(e, QS_E_INPUT, "%s: is of archive version '%s'; torch.load takes 1 to 10",
                   qs_file_path(c->file), text);
}

static bool check_byteorder(qs_container *c, qs_err *e) {
    char text[32];
    uint32_t i = qs_container_find(c, QS_STR("byteorder"));
    if (i == UINT32_MAX) return true;
    if (!slurp_small(c, i, text, e)) return false;
    c->big_endian = strcmp(text, "big") == 0;
    if (c->big_endian || strcmp(text, "little") == 0) return true;
    return qs_fail(e, QS_E_INPUT, "%s: its byteorder record says '%s', neither little nor big",
                   qs_file_path(c->file), text);
}

static bool find_kind(qs_container *c, qs_err *e) {
    if (qs_container_find(c, QS_STR("data.pkl")) == UINT32_MAX)
        return qs_sniff_refuse(c->file, QS_FILE_ZIP_OTHER, e);
    bool script = qs_container_find(c, QS_STR("constants.pkl")) != UINT32_MAX;
    c->kind = script ? QS_FILE_TORCHSCRIPT : QS_FILE_TORCH_ZIP;
    return true;
}

static bool check_all(const qs_container *c, uint64_t size, qs_err *e) {
    for (uint32_t i = 0; i < c->count; i++)
        if (!qs_zip_local(c->file, &c->entries[i], e)) return false;
    return qs_zip_cross_check(c->file, size, c->entries, c->count, e);
}

bool qs_container_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e) {
    qs_zip_end end;
    qs_container *c = calloc(1, sizeof *c);
    if (!c) {
        qs_file_close(f);
        return qs_nomem(e);
    }
    c->file = f;
    c->limits = *limits;
    c->limits.progress = NULL; /* the caller's, for the time of this call */
    bool ok = qs_zip_find_end(f, &end, e) && qs_zip_read_dir(f, &end, limits, &c->directory, &c->entries, e);
    if (ok) c->count = (uint32_t)end.entries;
    ok = ok && add_records(c, e) && find_kind(c, e) && check_version(c, e) && check_byteorder(c, e);
    ok = ok && (c->count > CROSS_CHECK_MAX || check_all(c, end.size, e));
    if (ok) c->trailing = qs_file_size(f) - end.size;
    if (!ok) {
        qs_container_close(c);
        return false;
    }
    *out = c;
    return true;
}

static bool take_parts(qs_container *c, qs_err *e) {
    c->count = qs_parts_count(c->parts);
    if (!make_names(c, e)) return false;
    for (uint32_t i = 0; i < c->count; i++)
        if (add_name(c, record_at(c, i)->name, i) == UINT32_MAX) return qs_nomem(e);
    return true;
}

bool qs_container_of_parts(qs_file *f, qs_file_kind kind, qs_parts *p, qs_container **out, qs_err *e) {
    qs_container *c = calloc(1, sizeof *c);
    if (!c) {
        qs_parts_free(p);
        qs_file_close(f);
        return qs_nomem(e);
    }
    *c = (qs_container){.file = f, .kind = kind, .parts = p, .prefix = QS_STR("archive")};
    if (!take_parts(c, e)) {
        qs_container_close(c);
        return false;
    }
    *out = c;
    return true;
}
