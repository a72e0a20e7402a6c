/* A checkpoint in pieces: `*.index.json` says which key is in which file beside it. The pieces are opened as
 * any other file, and their entries put into one dict. A piece that is missing or broken leaves a text that
 * says so in the place of each of its entries. */
#include "base/map.h"
#include "base/vec.h"
#include "format/parts.h"
#include "format/pickle.h"
#include "format/pickle_emit.h"
#include "model/foreign.h"
#include "model/foreign_emit.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

typedef struct shard {
    const char *name;  /* borrowed from the JSON */
    qs_container *box; /* owned by the parts; NULL if it could not be opened */
    char *pickle;
    qs_graph *g;
    qs_map entries; /* key -> node */
    char why[800];  /* it could not be */
} shard;

typedef struct builder {
    const qs_file *index;
    const qs_limits *limits;
    QS_VEC(shard) shards;
    qs_map by_name; /* file -> shard */
    qs_parts *parts;
    qs_emit *emit;
    qs_storage_number current; /* shard */
    qs_buf pickle;
    qs_err *err;
} builder;

/* ---- one shard ---- */

static bool open_box(const builder *b, shard *s, qs_err *why) {
    qs_file *f = NULL;
    if (!qs_file_open_beside(b->index, s->name, &f, why)) return false;
    qs_file_kind kind = qs_sniff(f);
    if (kind == QS_FILE_TORCH_ZIP) return qs_container_open(f, b->limits, &s->box, why);
    if (kind == QS_FILE_SAFETENSORS || kind == QS_FILE_LEGACY)
        return qs_foreign_open(f, kind, b->limits, &s->box, why);
    qs_sniff_refuse(f, kind, why);
    qs_file_close(f);
    return false;
}

static bool read_entries(const builder *b, shard *s, qs_err *why) {
    size_t n;
    uint32_t r = qs_container_find(s->box, QS_STR("data.pkl"));
    if (r == UINT32_MAX) return qs_fail(why, QS_E_INPUT, "has no data.pkl");
    if (qs_container_big_endian(s->box))
        return qs_fail(why, QS_E_UNSUPPORTED, "its bytes are big-endian, which is read of single files only");
    if (!qs_record_slurp(s->box, r, b->limits, QS_LIMIT_PICKLE_BYTES, &s->pickle, &n, why) ||
        !qs_pickle_read(s->pickle, n, "data.pkl", b->limits, &s->g, why))
        return false;
    qs_node root = qs_graph_root(s->g);
    if (!qs_node_is_dict_like(s->g, root)) return qs_fail(why, QS_E_INPUT, "holds no state dict");
    for (size_t i = 0; i < qs_node_pairs(s->g, root); i++)
        if (!qs_map_put(&s->entries, qs_node_str(s->g, qs_node_key(s->g, root, i)),
                        qs_node_value(s->g, root, i)))
            return qs_nomem(why);
    return true;
}

static bool open_shard(builder *b, uint32_t index) {
    shard *s = &b->shards.v[index];
    qs_err why = QS_ERR_INIT;
    if (open_box(b, s, &why)) {
        qs_container *box = s->box;
        if (!qs_parts_own(b->parts, box, b->err)) return false;
        if (read_entries(b, s, &why)) return qs_parts_add_numbered(b->parts, box, index, b->err);
    }
    if (why.code == QS_E_NOMEM) return qs_nomem(b->err);
    qs_graph_free(s->g);
    s->g = NULL;
    snprintf(s->why, sizeof s->why, "not read: %.200s: %s", s->name, why.msg);
    return true;
}

static bool refuse_name(const builder *b, const char *name) {
    char shown[120];
    qs_str_printable(qs_str_of(name), shown, sizeof shown);
    return qs_fail(b->err, QS_E_INPUT,
                   "the index names the file '%s'; only plain names beside the index are opened", shown);
}

static bool shard_of(builder *b, const char *name, uint32_t *out) {
    uint32_t n = (uint32_t)b->shards.n;
    if (!qs_is_plain_name(name)) return refuse_name(b, name);
    *out = qs_map_add(&b->by_name, qs_str_of(name), n);
    if (*out == QS_MAP_NONE) return qs_nomem(b->err);
    if (*out < n) return true;
    if (n >= b->limits->files)
        return qs_over_limit(b->err, b->limits, QS_LIMIT_FILES, qs_file_path(b->index), 0);
    return (qs_push(&b->shards, (shard){.name = name}) || qs_nomem(b->err)) && open_shard(b, n);
}

/* ---- the pickle ---- */

static bool emit_entry(builder *b, qs_str key, uint32_t index) {
    const shard *s = &b->shards.v[index];
    uint32_t node = s->g ? qs_map_get(&s->entries, key) : QS_MAP_NONE;
    if (!qs_emit_str(b->emit, key, b->err)) return false;
    b->current.number = index;
    if (node != QS_MAP_NONE) return qs_emit_node(b->emit, s->g, node, b->limits, b->err);
    char why[900];
    snprintf(why, sizeof why, "not read: %.200s has no such key", s->name);
    return qs_emit_str(b->emit, qs_str_of(s->why[0] ? s->why : why), b->err);
}

static bool add_entry(builder *b, const cJSON *item) {
    uint32_t index;
    if (!cJSON_IsString(item))
        return qs_fail(b->err, QS_E_INPUT, "weight_map[\"%.100s\"]: expected the name of a file",
                       item->string);
    return shard_of(b, item->valuestring, &index) && emit_entry(b, qs_str_of(item->string), index) &&
           qs_emit_code(b->emit, QS_OP_SETITEM, b->err);
}

static bool unique(const builder *b, const cJSON *map) {
    qs_map seen = {0};
    bool ok = true;
    uint32_t n = 0;
    for (const cJSON *item = map->child; item && ok; item = item->next, n++) {
        uint32_t at = qs_map_add(&seen, qs_str_of(item->string), n);
        if (at == QS_MAP_NONE)
            ok = qs_nomem(b->err);
        else if (at != n)
            ok = qs_fail(b->err, QS_E_INPUT, "weight_map has the key \"%.100s\" twice", item->string);
    }
    qs_map_free(&seen);
    return ok;
}

static bool any_read(const builder *b) {
    for (size_t i = 0; i < b->shards.n; i++)
        if (b->shards.v[i].g) return true;
    return b->shards.n == 0 ||
           qs_fail(b->err, QS_E_INPUT, "none of the files of this index can be read; %.*s",
                   (int)sizeof b->shards.v[0].why, b->shards.v[0].why);
}

static bool build(builder *b, const cJSON *map) {
    qs_err *e = b->err;
    b->emit = qs_emit_new(qs_emit_to_buf, &b->pickle);
    b->parts = qs_parts_new();
    if (!b->emit || !b->parts) return qs_nomem(e);
    qs_emit_set_hook(b->emit, qs_emit_numbered_storages, &b->current);
    if (!unique(b, map) || !qs_emit_begin(b->emit, e) ||
        !qs_emit_global(b->emit, QS_STR("collections"), QS_STR("OrderedDict"), e) ||
        !qs_emit_code(b->emit, QS_OP_EMPTY_TUPLE, e) || !qs_emit_code(b->emit, QS_OP_REDUCE, e))
        return false;
    for (const cJSON *item = map->child; item; item = item->next)
        if (!add_entry(b, item)) return false;
    return any_read(b) && qs_emit_end(b->emit, e) &&
           qs_parts_add_bytes(b->parts, QS_STR("data.pkl"), qs_buf_str(&b->pickle), e);
}

static void release(builder *b) {
    qs_emit_free(b->emit);
    for (size_t i = 0; i < b->shards.n; i++) {
        qs_graph_free(b->shards.v[i].g);
        free(b->shards.v[i].pickle);
        qs_map_free(&b->shards.v[i].entries);
    }
    qs_vec_free(&b->shards);
    qs_map_free(&b->by_name);
    qs_buf_free(&b->pickle);
}

bool qs_shards_open(qs_file *f, const qs_limits *limits, qs_container **out, qs_err *e) {
    builder b = {.index = f, .limits = limits, .current.limits = limits, .err = e};
    char *json = NULL;
    size_t n = 0;
    bool ok = qs_file_slurp_json(qs_file_path(f), limits, &json, &n, e);
    cJSON *root = ok ? cJSON_ParseWithLength(json, n) : NULL;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    if (ok) ok = cJSON_IsObject(map) ? build(&b, map) : qs_sniff_refuse(f, QS_FILE_JSON, e);
    release(&b);
    cJSON_Delete(root);
    free(json);
    if (ok) return qs_container_of_parts(f, QS_FILE_JSON, b.parts, out, e);
    qs_parts_free(b.parts);
    qs_file_close(f);
    return false;
}
