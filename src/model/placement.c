#include "model/placement.h"

#include "base/map.h"
#include "model/foreign.h"

#include <stdlib.h>

struct qs_placement {
    const qs_graph *g;
    qs_str root;   /* path of the chosen root: keys in the file begin with it */
    qs_map by_key; /* key in the file -> node of its chunks */
};

bool qs_placement_new(const qs_checkpoint *c, qs_placement **out, qs_err *e) {
    const qs_graph *g = qs_checkpoint_graph(c);
    *out = NULL;
    if (qs_container_kind(qs_checkpoint_container(c)) != QS_FILE_DCP) return true;
    qs_node places = qs_node_get(g, qs_node_build(g, qs_graph_root(g), 0), QS_DCP_PLACES);
    qs_placement *p = calloc(1, sizeof *p);
    if (!p) return qs_nomem(e);
    p->g = g;
    p->root = qs_checkpoint_chosen_root(c)->path;
    bool ok = true;
    for (size_t i = 0; ok && i < qs_node_pairs(g, places); i++)
        ok = qs_map_put(&p->by_key, qs_node_str(g, qs_node_key(g, places, i)), qs_node_value(g, places, i));
    if (ok)
        *out = p;
    else
        qs_placement_free(p);
    return ok || qs_nomem(e);
}

void qs_placement_free(qs_placement *p) {
    if (!p) return;
    qs_map_free(&p->by_key);
    free(p);
}

static qs_node chunks_of(const qs_placement *p, qs_str key) {
    qs_buf full = {0};
    if (!p) return QS_NODE_NONE;
    qs_buf_add(&full, p->root);
    if (p->root.n) qs_buf_addc(&full, '.');
    qs_buf_add(&full, key);
    uint32_t n = full.failed ? QS_MAP_NONE : qs_map_get(&p->by_key, qs_buf_str(&full));
    qs_buf_free(&full);
    return n == QS_MAP_NONE ? QS_NODE_NONE : n;
}

uint32_t qs_placement_count(const qs_placement *p, qs_str key) {
    return p ? (uint32_t)qs_node_len(p->g, chunks_of(p, key)) : 0;
}

bool qs_placement_chunk(const qs_placement *p, qs_str key, uint32_t i, qs_chunk *out) {
    if (i >= qs_placement_count(p, key)) return false;
    qs_node n = qs_node_item(p->g, chunks_of(p, key), i);
    *out = (qs_chunk){.file = qs_node_str(p->g, qs_node_item(p->g, n, 0)),
                      .at = (uint64_t)qs_node_int(p->g, qs_node_item(p->g, n, 1)),
                      .length = (uint64_t)qs_node_int(p->g, qs_node_item(p->g, n, 2)),
                      .offsets = qs_node_item(p->g, n, 3),
                      .sizes = qs_node_item(p->g, n, 4)};
    return true;
}

void qs_placement_text(const qs_placement *p, qs_str key, char *out, size_t cap) {
    qs_chunk first, last;
    char a[64], b[64];
    uint32_t n = qs_placement_count(p, key);
    out[0] = '\0';
    if (!n || !qs_placement_chunk(p, key, 0, &first) || !qs_placement_chunk(p, key, n - 1, &last)) return;
    qs_str_printable(first.file, a, sizeof a);
    qs_str_printable(last.file, b, sizeof b);
    if (n > 1)
        snprintf(out, cap, "in %u chunks, %s ... %s", n, a, b);
    else if (first.length)
        snprintf(out, cap, "in %s at %llu, %llu bytes", a, (unsigned long long)first.at,
                 (unsigned long long)first.length);
}
