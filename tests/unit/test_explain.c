/* Every kind of key has a text; the texts are well formed. */
#include "teach/explain.h"
#include "teach/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Keys as the real files have them (shared YOLOv8n pair, torch.ao models of four versions) and as the other
 * families write them; '~' marks those that the recogniser must take by itself. */
static const struct {
    const char *key, *id;
} keys[] = {
    {"~model.0.conv.module.weight_fake_quant.scale", "weight-scale"},
    {"~model.0.conv.module.weight_fake_quant.zero_point", "weight-zero-point"},
    {"~model.0.conv.module.weight_fake_quant.fake_quant_enabled", "fake-quant-enabled"},
    {"~model.0.conv.module.weight_fake_quant.observer_enabled", "observer-enabled"},
    {"~model.0.conv.module.weight_fake_quant.activation_post_process.eps", "eps"},
    {"~model.0.conv.module.weight_fake_quant.activation_post_process.min_val", "weight-range"},
    {"~model.0.conv.module.weight_fake_quant.activation_post_process.max_val", "weight-range"},
    {"~model.0.conv.module.weight_fake_quant.activation_post_process.min_vals", "old-channel-range"},
    {"~model.0.conv.module.weight_fake_quant.static_enabled", "static-enabled"},
    {"~model.0.conv.module.weight_fake_quant.learning_enabled", "learning-enabled"},
    {"~model.0.conv.module.weight_fake_quant.eps", "eps"},
    {"~model.0.conv.quant.activation_post_process.scale", "activation-scale"},
    {"~model.0.conv.quant.activation_post_process.zero_point", "activation-zero-point"},
    {"~model.0.conv.quant.activation_post_process.fake_quant_enabled", "fake-quant-enabled"},
    {"~model.0.conv.quant.activation_post_process.activation_post_process.scale", "nested-scale"},
    {"~model.0.conv.quant.activation_post_process.activation_post_process.zero_point", "nested-zero-point"},
    {"~model.0.conv.quant.activation_post_process.activation_post_process.min_val", "activation-range"},
    {"~model.0.conv.quant.activation_post_process.activation_post_process.max_val", "activation-range"},
    {"~model.0.conv.quant.activation_post_process.activation_post_process.histogram", "histogram"},
    {"~activation_post_process_12.scale", "activation-scale"},
    {"~activation_post_process_12.activation_post_process.max_val", "activation-range"},
    {"~add_1_activation_post_process_0.zero_point", "activation-zero-point"},
    {"~module.0.activation_post_process.max_vals", "old-channel-range"},
    {"~module.0._packed_params.dtype", "packed-dtype"},
    {"~module.0._packed_params._packed_params", "packed-params"},
    {"model.0.conv.weight", "weight"},
    {"model.22.cv2.0.2.bias", "bias"},
    {"model.22.dfl.conv.weight", "dfl"},
    {"model.0.bn.weight", "bn-weight"},
    {"model.0.bn.bias", "bn-bias"},
    {"model.0.conv.module.bn.running_mean", "running-mean"},
    {"model.0.conv.module.bn.running_var", "running-var"},
    {"model.0.conv.module.bn.num_batches_tracked", "num-batches-tracked"},
    {"_metadata", "metadata"},
    {"head._extra_state", "extra-state"},
    {"a._input_quantizer._amax", "amax"},
    {"a.weight_quantizer._amax", "amax"},
    {"a.weight_scale", "ct-scale"},
    {"a.weight_packed", "ct-packed"},
    {"a.weight_zero_point", "ct-zero-point"},
    {"a.qweight", "gptq"},
    {"a.weight.absmax", "bnb-4bit"},
    {"a.weight.quant_state.bitsandbytes__nf4", "bnb-4bit"},
    {"a.SCB", "bnb-int8"},
    {"a.weight_scale_inv", "fp8-scale"},
    {"a.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value", "brevitas"},
    {"a/NNCFConv2d[conv1]/pre_ops.0.op.scale", "nncf"},
    {"a.param_quantizers.weight.min", "aimet"},
    {"a.weight._scale", "quanto"},
    {"a.weight_quantizer.log_threshold", "vitis"},
    {"a.scale", "bare-scale"},
    {"a.total_ops", "profiler"},
    {"a.logit_scale", "look-alike"},
    {"model.anchors", "other"},
};

static void every_key_has_its_text(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool must = keys[i].key[0] == '~';
        qs_str key = qs_str_of(keys[i].key + must);
        qs_quant_key k;
        bool known = qs_quant_classify(key, NULL, &k);
        if (must && !known) fail_msg("%s is not recognised", key.p);
        const qs_explanation *x = qs_explain(known ? &k : NULL, key);
        if (strcmp(x->id, keys[i].id) != 0) fail_msg("%s is explained as %s", key.p, x->id);
    }
}

/* Recognised by its neighbours. The keys are in one set, and each has a text of its family, not the last
 * resort. */
struct set {
    const struct one {
        const char *key;
        qs_dtype dtype;
        uint32_t ndim;
        int64_t dim[2];
        const char *id;
    } * keys;
    size_t n;
};

static bool find_key(const void *ctx, qs_str key, qs_key_info *info) {
    const struct set *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (qs_str_is(key, s->keys[i].key)) {
            *info = (qs_key_info){true, {s->keys[i].ndim, s->keys[i].dim}, s->keys[i].dtype};
            return true;
        }
    return false;
}

static void keys_recognised_by_neighbours(void **state) {
    (void)state;
    static const struct one all[] = {
        {"t.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"t.weight_fake_quant.scale", QS_FLOAT32, 1, {1}, "weight-scale"},
        {"s.quant.activation_post_process.scale", QS_FLOAT32, 1, {1}, "activation-scale"},
        {"s.module.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"s.module.weight_fake_quant.scale", QS_FLOAT32, 1, {1}, "weight-scale"},
        {"i.scale", QS_FLOAT32, 0, {0}, "int8-scale"},
        {"i.zero_point", QS_INT64, 0, {0}, "int8-zero-point"},
        {"i.weight", QS_QINT8, 2, {8, 8}, "int8-weight"},
        {"_scale_0", QS_FLOAT32, 0, {0}, "int8-pt2e"},
        {"_zero_point_0", QS_INT64, 0, {0}, "int8-pt2e"},
        {"c_input_scale_0", QS_FLOAT32, 0, {0}, "int8-pt2e"},
        {"c_input_zero_point_0", QS_INT64, 0, {0}, "int8-pt2e"},
        {"_frozen_param0", QS_INT8, 2, {4, 4}, "int8-weight"},
        {"n.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"n._weight_quantizer._amax", QS_FLOAT32, 2, {8, 1}, "amax"},
        {"n._input_quantizer._pre_quant_scale", QS_FLOAT32, 1, {8}, "nvidia-other"},
        {"n._input_quantizer._bias_value", QS_FLOAT32, 0, {0}, "nvidia-other"},
        {"n._weight_quantizer._double_scale", QS_FLOAT32, 0, {0}, "nvidia-other"},
        {"n._input_quantizer.clip.clip_value_max", QS_FLOAT32, 0, {0}, "nvidia-other"},
        {"q.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"q._weight_quantizer.scale", QS_FLOAT32, 0, {0}, "quark"},
        {"q._input_quantizer.zero_point", QS_INT32, 0, {0}, "quark"},
        {"v.weight_quantizer.log_threshold", QS_FLOAT32, 1, {1}, "vitis"},
        {"v.weight_quantizer.bitwidth", QS_UINT8, 1, {1}, "vitis"},
        {"b.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"b.weight_quant.tensor_quant.scaling_impl.value", QS_FLOAT32, 0, {0}, "brevitas"},
        {"k.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"k.pre_ops.0.op.scale", QS_FLOAT32, 2, {8, 1}, "nncf"},
        {"k.pre_ops.0.op._num_bits", QS_INT32, 1, {1}, "nncf"},
        {"external_quantizers.a/b_0.input_low", QS_FLOAT32, 1, {1}, "nncf"},
        {"a.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"a.param_quantizers.weight.min", QS_FLOAT32, 0, {0}, "aimet"},
        {"o.weight", QS_FLOAT32, 2, {8, 8}, "qat-weight"},
        {"o.weight_fake_quantizer.scale", QS_FLOAT32, 1, {8}, "torchao"},
        {"o.activation_fake_quantizer.zero_point", QS_INT32, 1, {1}, "torchao"},
        {"i4.weight", QS_INT32, 2, {8, 8}, "packed-weight"},
        {"i4.scales_and_zeros", QS_BFLOAT16, 2, {8, 2}, "torchao"},
        {"bb.weight", QS_UINT8, 2, {32, 1}, "packed-weight"},
        {"bb.weight.absmax", QS_FLOAT32, 1, {1}, "bnb-4bit"},
        {"bb.weight.quant_map", QS_FLOAT32, 1, {16}, "bnb-4bit"},
        {"bb.weight.quant_state.bitsandbytes__nf4", QS_UINT8, 1, {80}, "bnb-4bit"},
        {"b8.weight", QS_INT8, 2, {8, 8}, "packed-weight"},
        {"b8.SCB", QS_FLOAT32, 1, {8}, "bnb-int8"},
        {"b8.weight_format", QS_UINT8, 0, {0}, "bnb-int8"},
        {"qq.weight._data", QS_INT8, 2, {8, 8}, "quanto"},
        {"qq.weight._scale", QS_FLOAT32, 2, {8, 1}, "quanto"},
        {"qq.weight._shift", QS_FLOAT32, 2, {8, 1}, "quanto"},
        {"qq.input_scale", QS_FLOAT32, 0, {0}, "quanto"},
        {"g.qweight", QS_INT32, 2, {16, 64}, "gptq"},
        {"g.qzeros", QS_INT32, 2, {1, 8}, "gptq"},
        {"g.scales", QS_FLOAT16, 2, {1, 64}, "gptq"},
        {"g.g_idx", QS_INT32, 1, {128}, "gptq"},
        {"w.qweight", QS_INT32, 2, {128, 8}, "gptq"},
        {"w.scales", QS_FLOAT16, 2, {1, 64}, "gptq"},
        {"h.W_q", QS_UINT8, 2, {8, 8}, "hqq"},
        {"h.scale", QS_FLOAT16, 2, {8, 1}, "hqq"},
        {"h.zero", QS_FLOAT16, 2, {8, 1}, "hqq"},
        {"f.weight", QS_FLOAT8_E4M3FN, 2, {256, 256}, "packed-weight"},
        {"f.weight_scale_inv", QS_FLOAT32, 2, {2, 2}, "fp8-scale"},
        {"ct.weight", QS_INT8, 2, {8, 8}, "packed-weight"},
        {"ct.weight_scale", QS_BFLOAT16, 2, {8, 1}, "ct-scale"},
        {"cf.weight", QS_BFLOAT16, 2, {8, 8}, "qat-weight"},
        {"cf.weight_scale", QS_BFLOAT16, 2, {8, 1}, "ct-scale"},
        {"cf.weight_zero_point", QS_INT8, 2, {8, 1}, "ct-zero-point"},
        {"cf.input_scale", QS_FLOAT32, 1, {1}, "ct-scale"},
        {"cf.input_global_scale", QS_FLOAT32, 1, {1}, "ct-global-scale"},
        {"cp.weight_packed", QS_INT32, 2, {8, 1}, "ct-packed"},
        {"cp.weight_shape", QS_INT64, 1, {2}, "ct-packed"},
        {"cp.weight_g_idx", QS_INT32, 1, {8}, "ct-packed"},
        {"cp.weight_scale", QS_BFLOAT16, 2, {8, 1}, "ct-scale"},
        {"cp.weight_scale_2", QS_FLOAT32, 0, {0}, "ct-global-scale"},
    };
    struct set set = {all, sizeof all / sizeof *all};
    qs_key_set keys_around = {find_key, &set};
    bool seen[QS_FAMILY_COUNT] = {true};
    for (size_t i = 0; i < set.n; i++) {
        qs_quant_key k;
        qs_str key = qs_str_of(all[i].key);
        if (!qs_quant_classify(key, &keys_around, &k)) fail_msg("%s is not recognised", key.p);
        const qs_explanation *x = qs_explain(&k, key);
        if (strcmp(x->id, all[i].id) != 0)
            fail_msg("%s of %s is explained as %s", key.p, qs_family_label(k.family), x->id);
        if (!strstr(x->families, qs_family_label(k.family)))
            fail_msg("%s: not a text of %s", x->id, qs_family_label(k.family));
        seen[k.family] = true;
    }
    for (int f = 0; f < QS_FAMILY_COUNT; f++)
        if (!seen[f]) fail_msg("no key of %s was tried", qs_family_label((qs_family)f));
}

static bool is_ascii(const char *s) {
    for (; *s; s++)
        if (*s < ' ' || *s > '~') return false;
    return true;
}

static void texts_are_well_formed(void **state) {
    (void)state;
    for (size_t i = 0; i < qs_explain_count(); i++) {
        const qs_explanation *x = qs_explain_at(i);
        const char *all[] = {x->id,      x->keys,    x->title, x->what,   x->who,
                             x->typical, x->missing, x->wrong, x->coupled};
        for (size_t f = 0; f < sizeof all / sizeof *all; f++) {
            if (!all[f] || !is_ascii(all[f]) || strstr(all[f], "  ")) fail_msg("%s: field %zu", x->id, f);
            size_t n = strlen(all[f]);
            if (f > 2 && n && all[f][n - 1] != '.') fail_msg("%s: field %zu has no full stop", x->id, f);
        }
        assert_true(*x->what && *x->missing && *x->title && *x->keys);
        for (size_t j = 0; j < i; j++) assert_string_not_equal(x->id, qs_explain_at(j)->id);
    }
    assert_null(qs_explain_at(qs_explain_count()));
    assert_null(qs_explain_fact(qs_explain_fact_count()));
}

static void facts_belong_to_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < qs_explain_fact_count(); i++) {
        const qs_fact *f = qs_explain_fact(i);
        bool found = false;
        for (size_t j = 0; j < qs_explain_count(); j++) found |= strcmp(qs_explain_at(j)->id, f->id) == 0;
        if (!found) fail_msg("a fact names %s", f->id);
        assert_true(f->since >= 107 && (f->until == 0 || f->until >= f->since));
        assert_int_not_equal(qs_dtype_parse(qs_str_of(f->dtype)), QS_DTYPE_UNKNOWN);
    }
}

static void lines_fit(void **state) {
    (void)state;
    for (unsigned width = 30; width <= 100; width += 7) {
        qs_buf out = {0};
        for (size_t i = 0; i < qs_explain_count(); i++)
            qs_explain_print(qs_explain_at(i), QS_EXPLAIN_PLAIN, width, &out);
        assert_false(out.failed);
        size_t col = 0;
        for (size_t i = 0; i < out.n; i++) {
            col = out.p[i] == '\n' ? 0 : col + 1;
            /* a single word may be longer than a narrow line */
            if (width >= 72) assert_true(col <= width);
        }
        qs_buf_free(&out);
    }
}

static void cheatsheet_is_one_page(void **state) {
    (void)state;
    qs_buf out = {0};
    qs_explain_print_cheatsheet(false, &out);
    size_t lines = 0, col = 0;
    for (size_t i = 0; i < out.n; i++) {
        assert_true(out.p[i] == '\n' || (out.p[i] >= ' ' && out.p[i] <= '~'));
        col = out.p[i] == '\n' ? 0 : col + 1;
        lines += out.p[i] == '\n';
        assert_true(col <= 80);
    }
    assert_in_range(lines, 30, 60);
    qs_buf_free(&out);
}

static void search_finds_a_bare_word(void **state) {
    (void)state;
    const qs_explanation *x[8];
    assert_in_range(qs_explain_search(QS_STR("scale"), x, 8), 4, 8);
    assert_string_equal(x[0]->id, "weight-scale");
    assert_int_equal(qs_explain_search(QS_STR("observer_enabled"), x, 8), 1);
    assert_int_equal(qs_explain_search(QS_STR("no_such_thing"), x, 8), 0);
}

static void wrap_keeps_words_and_line_feeds(void **state) {
    (void)state;
    qs_buf out = {0};
    qs_wrap(QS_STR("one two three\n\nfour incomprehensibilities"), "> ", "  ", 11, &out);
    assert_string_equal(out.p, "> one two\n  three\n\n  four\n  incompreh\n  ensibilit\n  ies\n");
    qs_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_its_text),
        cmocka_unit_test(keys_recognised_by_neighbours),
        cmocka_unit_test(texts_are_well_formed),
        cmocka_unit_test(facts_belong_to_texts),
        cmocka_unit_test(lines_fit),
        cmocka_unit_test(cheatsheet_is_one_page),
        cmocka_unit_test(search_finds_a_bare_word),
        cmocka_unit_test(wrap_keeps_words_and_line_feeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
