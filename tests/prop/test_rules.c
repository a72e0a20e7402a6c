/* A list of renames becomes a rule when one says the same, and only then: random keys, renamed by a random
 * rule, by hand, or by a rule with some keys left out. RULES=N tries N, SEED=N others. */
#include "repair/diagnose_rule.h"
#include "unit/repair_fixture.h"

#include <stdlib.h>
#include <time.h>

enum { KEYS = 60, NAME = 96 };

static uint64_t rng;
static uint32_t rnd(uint32_t n) {
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return n ? (uint32_t)(rng >> 33) % n : 0;
}

typedef struct net {
    char name[KEYS][NAME];
    small_entry entry[KEYS];
    uint32_t n;
} net;

static bool has(const net *x, const char *name) {
    for (uint32_t i = 0; i < x->n; i++)
        if (strcmp(x->name[i], name) == 0) return true;
    return false;
}

static void make_net(net *x) {
    static const char *const blocks[] = {"stem", "layer", "enc.block", "m", "head"},
                             *const mods[] = {"conv", "bn", "attn.q", "fc", "conv1", "bn1"},
                             *const leaves[] = {"weight", "bias", "running_mean", "gamma"};
    uint32_t want = 10 + rnd(KEYS - 10);
    x->n = 0;
    for (int tries = 0; x->n < want && tries < 1000; tries++) {
        char name[NAME];
        snprintf(name, sizeof name, "%s.%u.%s.%s", blocks[rnd(5)], rnd(6), mods[rnd(6)], leaves[rnd(4)]);
        if (has(x, name)) continue;
        strcpy(x->name[x->n], name);
        x->entry[x->n] = (small_entry){x->name[x->n], QS_FLOAT32, 1, {2}};
        x->n++;
    }
}

/* What real renames do, by one rule each. */
static bool change(int how, const char *from, char out[NAME]) {
    static const char *const inside[][2] = {
        {".conv.", ".conv.module."}, {".bn.", ".norm.bn."}, {".fc.", ".linear."}};
    const char *at;
    switch (how) {
    case 0: snprintf(out, NAME, "module.%s", from); return true;
    case 1: snprintf(out, NAME, "net.backbone.%s", from); return true;
    case 2:
        if (strncmp(from, "layer.", 6) != 0) return false;
        snprintf(out, NAME, "blocks.%s", from + 6);
        return true;
    default:
        at = strstr(from, inside[how - 3][0]);
        if (!at) return false;
        snprintf(out, NAME, "%.*s%s%s", (int)(at - from), from, inside[how - 3][1],
                 at + strlen(inside[how - 3][0]));
        return true;
    }
}

typedef struct list {
    char to[KEYS][NAME];
    qs_rename_pair v[KEYS];
    size_t n;
} list;

static void add_pair(list *l, const char *from, const char *to) {
    strcpy(l->to[l->n], to);
    l->v[l->n] = (qs_rename_pair){qs_str_of(from), qs_str_of(l->to[l->n])};
    l->n++;
}

/* Every pair done, and nothing else. */
static void assert_does(bundle *x, const list *l) {
    size_t moved = 0;
    for (uint32_t i = 0; i < qs_resolution_live(x->r); i++)
        moved += qs_resolution_entry(x->r, i)->mark == QS_MARK_RENAMED;
    assert_int_equal(moved, l->n);
    for (size_t i = 0; i < l->n; i++) {
        uint32_t k = qs_resolution_find(x->r, l->v[i].to);
        assert_true(k != QS_NO_INDEX);
        assert_true(qs_str_eq(qs_checkpoint_entry(x->a, qs_resolution_entry(x->r, k)->a)->key, l->v[i].from));
    }
}

static void check(bundle *x, const list *l, bool must) {
    qs_arena arena = {0};
    qs_action rule, *rules = NULL;
    bool found;
    size_t count;
    assert_true(bundle_resolve(x));
    assert_true(qs_rule_for_pairs(x->r, l->v, l->n, &arena, &rule, &found, &x->e));
    if (must && !found) fail_msg("no rule for %zu pairs like %s -> %s", l->n, l->v[0].from.p, l->v[0].to.p);
    assert_true(qs_rules_for_families(x->r, l->v, l->n, &arena, &rules, &count, &x->e));
    if (found) {
        assert_true(push(x, rule));
        assert_does(x, l);
        assert_true(qs_plan_undo(x->plan));
    }
    /* Of the families each rule is right by itself: those it renames are among the pairs. */
    for (size_t i = 0; i < count; i++) {
        assert_true(push(x, rules[i]));
        for (uint32_t k = 0; k < qs_resolution_live(x->r); k++) {
            const qs_resolved *y = qs_resolution_entry(x->r, k);
            bool wanted = y->mark != QS_MARK_RENAMED;
            qs_str was = qs_checkpoint_entry(x->a, y->a)->key;
            for (size_t j = 0; j < l->n && !wanted; j++)
                wanted = qs_str_eq(l->v[j].from, was) && qs_str_eq(l->v[j].to, y->key);
            assert_true(wanted);
        }
        assert_true(qs_plan_undo(x->plan));
    }
    qs_arena_free(&arena);
}

static void try_one(uint64_t seed) {
    rng = seed * 0x9e3779b97f4a7c15u + 1;
    net x;
    make_net(&x);
    int how = (int)rnd(6), other = (int)rnd(6);
    bool by_hand = rnd(4) == 0, holes = !by_hand && rnd(2);
    list l = {.n = 0};
    uint32_t matching = 0;
    for (uint32_t i = 0; i < x.n; i++) {
        char to[NAME];
        if (by_hand) {
            snprintf(to, sizeof to, "%s.%u", x.name[i], rnd(3));
            if (rnd(2)) add_pair(&l, x.name[i], to);
            continue;
        }
        if (!change(how, x.name[i], to) && !(holes && change(other, x.name[i], to))) continue;
        matching++;
        if (!holes || rnd(5)) add_pair(&l, x.name[i], to);
    }
    for (size_t i = 0; i < l.n; i++)
        if (has(&x, l.to[i])) return; /* a collision is another matter */
    if (l.n < 2) return;
    bundle b = bundle_of(small_open(x.entry, x.n, NULL, 0), NULL);
    check(&b, &l, !by_hand && !holes && matching == l.n);
    bundle_free(&b);
}

static void test_rules_say_the_same(void **state) {
    (void)state;
    const char *count = getenv("RULES"), *first = getenv("SEED");
    uint64_t n = count ? strtoull(count, NULL, 10) : 400,
             seed = first ? strtoull(first, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < n; i++) try_one(seed + i);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules_say_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
