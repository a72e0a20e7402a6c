#include "model/error_log.h"

#include "base/file.h"

#include "model/manifest_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* As torch 1.13 prints it, the trailing spaces included. */
static const char strict[] = "RuntimeError: Error(s) in loading state_dict for Net:\n"
                             "\tMissing key(s) in state_dict: \"conv.module.weight\", \"conv.quant.scale\", "
                             "\"conv.quant.zero_point\", "
                             "\"conv.quant.scale\". \n"
                             "\tUnexpected key(s) in state_dict: \"conv.weight\", \"bn.bias\". \n"
                             "\tsize mismatch for head.weight: copying a param with shape torch.Size([80, "
                             "64, 1, 1]) from checkpoint, the "
                             "shape in current model is torch.Size([3, 64, 1, 1]).\n"
                             "\tsize mismatch for head.bias: copying a param with shape torch.Size([]) from "
                             "checkpoint, the shape in current "
                             "model is torch.Size([3]).";

static qs_error_log *parse_n(const char *text, size_t n) {
    qs_error_log *log = NULL;
    qs_err e = QS_ERR_INIT;
    if (!qs_error_log_parse(text, n, NULL, &log, &e)) fail_msg("%s\nin: %.*s", e.msg, (int)n, text);
    return log;
}

static qs_error_log *parse(const char *text) {
    return parse_n(text, strlen(text));
}

/* The end of a text that may be long. */
static const char *tail(const char *text) {
    size_t n = strlen(text);
    return n > 800 ? text + n - 800 : text;
}

/* names: separated by blanks */
static void assert_names(const qs_str *v, size_t n, const char *names, const char *text) {
    qs_buf b = {0};
    qs_buf_addz(&b, "");
    for (size_t i = 0; i < n; i++) qs_buf_addf(&b, "%s%.*s", i ? " " : "", QS_FMT(v[i]));
    if (strcmp(b.p ? b.p : "", names) != 0) fail_msg("\"%s\", wanted \"%s\"\nin: %s", b.p, names, tail(text));
    qs_buf_free(&b);
}

static void assert_shape(qs_shape s, const char *wanted) {
    char text[80];
    qs_shape_text(s, "x", text, sizeof text);
    assert_string_equal(text, wanted);
}

static void assert_is_strict_n(const char *text, size_t size) {
    qs_error_log *log = parse_n(text, size);
    if (!qs_str_is(log->model, "Net")) fail_msg("model \"%.*s\" in: %s", QS_FMT(log->model), tail(text));
    assert_names(log->missing.v, log->missing.n, "conv.module.weight conv.quant.scale conv.quant.zero_point",
                 text);
    assert_names(log->unexpected.v, log->unexpected.n, "conv.weight bn.bias", text);
    assert_int_equal(log->missing_printed, 4);
    if (log->mismatches.n != 2) fail_msg("%zu mismatches in: %s", log->mismatches.n, tail(text));
    assert_names(&log->mismatches.v[0].key, 1, "head.weight", text);
    assert_shape(log->mismatches.v[0].in_checkpoint, "80x64x1x1");
    assert_shape(log->mismatches.v[0].in_model, "3x64x1x1");
    assert_shape(log->mismatches.v[1].in_checkpoint, "[]");
    assert_shape(log->mismatches.v[1].in_model, "3");
    assert_false(log->truncated);
    assert_int_equal(log->form, QS_LOG_FORM_STRICT);
    qs_error_log_close(log);
}

static void assert_is_strict(const char *text) {
    assert_is_strict_n(text, strlen(text));
}

static void reads_what_torch_prints(void **state) {
    (void)state;
    assert_is_strict(strict);
}

/* ---- what happens to a text on its way ---- */

static void replace_all(qs_buf *b, const char *from, const char *to) {
    qs_buf out = {0};
    size_t n = strlen(from);
    for (size_t i = 0; i < b->n;) {
        if (b->n - i >= n && memcmp(b->p + i, from, n) == 0) {
            qs_buf_addz(&out, to);
            i += n;
        } else {
            qs_buf_addc(&out, b->p[i++]);
        }
    }
    qs_buf_free(b);
    *b = out;
}

static void tabs(qs_buf *b, unsigned r) {
    replace_all(b, "\t", r & 1 ? "    " : "        ");
}
static void curly(qs_buf *b, unsigned r) {
    replace_all(b, "\"", r & 1 ? "\xe2\x80\x9d" : "\xe2\x80\x9c");
}
static void entities(qs_buf *b, unsigned r) {
    replace_all(b, "\"", r & 1 ? "&quot;" : "&#34;");
}
static void lost_space(qs_buf *b, unsigned r) {
    static const char *const pairs[][2] = {
        {"shape in current", "shape incurrent"},
        {" from checkpoint", "fromcheckpoint"},
        {"for Net", "forNet"},
        {"key(s) in state_dict: ", "key(s) in state_dict:"},
        {"\", \"", "\",\""},
        {"mismatch for", "mismatchfor"},
        {"loading state_dict", "loadingstate_dict"},
        {". \n\t", "."},
        {"shape torch.Size", "shapetorch.Size"},
    };
    const char *const *p = pairs[r % (sizeof pairs / sizeof *pairs)];
    replace_all(b, p[0], p[1]);
}
static void windows(qs_buf *b, unsigned r) {
    (void)r;
    replace_all(b, "\n", "\r\n");
}
/* A terminal's line ends after `width` columns, wherever that is. */
static void wrap(qs_buf *b, unsigned r) {
    static const size_t widths[] = {37, 60, 79, 80, 100, 120};
    size_t width = widths[r % 6], column = 0;
    qs_buf out = {0};
    for (size_t i = 0; i < b->n; i++) {
        if (column >= width && ((unsigned char)b->p[i] & 0xc0) != 0x80) {
            qs_buf_addc(&out, '\n');
            column = 0;
        }
        column = b->p[i] == '\n' ? 0 : column + 1;
        qs_buf_addc(&out, b->p[i]);
    }
    qs_buf_free(b);
    *b = out;
}
static void before_lines(qs_buf *b, const char *prefix) {
    char to[40];
    snprintf(to, sizeof to, "\n%s", prefix);
    replace_all(b, "\n", to);
}
static void pytest(qs_buf *b, unsigned r) {
    (void)r;
    before_lines(b, "E       ");
}
static void quoted(qs_buf *b, unsigned r) {
    static const char *const marks[] = {"> ", ">> ", "| ", "[rank0]: ", "\xe2\x94\x82 "};
    before_lines(b, marks[r % 5]);
}
static void json(qs_buf *b, unsigned r) {
    (void)r;
    qs_buf out = {0};
    qs_buf_addz(&out, "{\"level\": \"error\", \"message\": ");
    qs_buf_add_json(&out, qs_buf_str(b));
    qs_buf_addz(&out, "}\n");
    qs_buf_free(b);
    *b = out;
}
/* Lines no longer than `width`, each between the words; " P " in them is " F " where a line ends. */
static void in_pieces(qs_buf *b, size_t width, const char *before, const char *after) {
    qs_buf out = {0};
    for (size_t i = 0; i < b->n;) {
        const char *end = memchr(b->p + i, '\n', b->n - i);
        size_t line = (end ? (size_t)(end - b->p) : b->n) - i, n = line < width ? line : width;
        size_t flag = out.n + (strstr(before, " P ") ? (size_t)(strstr(before, " P ") - before) + 1 : 0);
        qs_buf_addf(&out, "%s%.*s%s\n", before, (int)n, b->p + i, after);
        if (n == line && strstr(before, " P ")) out.p[flag] = 'F';
        i += n + (n == line);
    }
    qs_buf_free(b);
    *b = out;
}
static void logged_in_pieces(qs_buf *b, unsigned r) {
    static const char *const before[] = {
        "2024-05-01T10:22:33.123456789Z stderr P ",
        "2024-05-01 10:22:33,123 - trainer - ERROR - ",
        "Nov 28 01:30:00 gpu-1 train.sh[4242]: ",
        "trainer-1  | ",
        "(RayTrainWorker pid=1234) ",
        "[default0]:",
        "12: ",
        "\033[36m(Worker pid=7)\033[0m ",
    };
    static const size_t widths[] = {90, 200, 333, 1000};
    in_pieces(b, widths[r / 8 % 4], before[r % 8], "");
}
static void in_a_panel(qs_buf *b, unsigned r) {
    in_pieces(b, r & 1 ? 90 : 120, r & 2 ? "\033[31m\xe2\x94\x82\033[0m " : "\xe2\x94\x82 ",
              r & 2 ? "   \033[31m\xe2\x94\x82\033[0m" : "   \xe2\x94\x82");
}
/* docker logs -t: the time stands where a long line was cut, without a line end. */
static void timed_in_the_middle(qs_buf *b, unsigned r) {
    static const char time[] = "2024-05-01T10:22:33.123456789Z ";
    qs_buf out = {0};
    for (size_t i = 0, column = 0; i < b->n; i++, column++) {
        if (column % (60 + r) == 0) qs_buf_addz(&out, time);
        if (b->p[i] == '\n') column = SIZE_MAX;
        qs_buf_addc(&out, b->p[i]);
    }
    qs_buf_free(b);
    *b = out;
}
static void json_lines(qs_buf *b, unsigned r) {
    static const char *const forms[][2] = {
        {"{\"log\":", ",\"stream\":\"stderr\",\"time\":\"2024-05-01T10:22:33Z\"}"},
        {"{\"_HOSTNAME\": \"gpu\", \"MESSAGE\": ", ", \"_PID\": \"42\"}"},
        {"{\"jsonPayload\": {\"message\": ", ", \"level\": \"ERROR\"}, \"severity\": \"ERROR\"}"},
    };
    qs_buf out = {0};
    size_t width = 100 + r / 3;
    for (size_t i = 0; i < b->n; i += width) {
        qs_buf_addz(&out, forms[r % 3][0]);
        qs_buf_add_json(&out, qs_str_sub(qs_buf_str(b), i, i + width));
        qs_buf_addf(&out, "%s\n", forms[r % 3][1]);
    }
    qs_buf_free(b);
    *b = out;
}
static void csv(qs_buf *b, unsigned r) {
    (void)r;
    replace_all(b, "\"", "\"\"");
    replace_all(b, "RuntimeError", "2024-05-01,ERROR,\"RuntimeError");
}
static void markdown(qs_buf *b, unsigned r) {
    (void)r;
    replace_all(b, "_", "\\_");
}
static void utf16(qs_buf *b, unsigned r) {
    qs_buf out = {0};
    if (r & 1) qs_buf_add(&out, r & 2 ? QS_STR("\xfe\xff") : QS_STR("\xff\xfe"));
    for (size_t i = 0; i < b->n; i++) {
        if (r & 2) qs_buf_addc(&out, 0);
        qs_buf_addc(&out, b->p[i]);
        if (!(r & 2)) qs_buf_addc(&out, 0);
    }
    qs_buf_free(b);
    *b = out;
}
static void colours(qs_buf *b, unsigned r) {
    (void)r;
    replace_all(b, "Missing", "\033[1;31mMissing\033[0m");
}
static void surrounded(qs_buf *b, unsigned r) {
    qs_buf out = {0};
    for (unsigned i = 0; i < r % 2000; i++)
        qs_buf_addf(&out, "epoch %u loss 0.%u size Missing _Incompatible\n", i, r);
    qs_buf_add(&out, qs_buf_str(b));
    qs_buf_addz(&out, "\n\nSentry is attempting to send 1 pending event\nE  end, \"of\" log\n");
    qs_buf_free(b);
    *b = out;
}

static void (*const mutations[])(qs_buf *, unsigned) = {
    tabs,   curly,    entities, lost_space, windows,          wrap,       pytest,
    quoted, json,     colours,  surrounded, logged_in_pieces, in_a_panel, timed_in_the_middle,
    csv,    markdown, utf16,    json_lines,
};
enum { MUTATIONS = sizeof mutations / sizeof *mutations };

static void survives_each_mutation(void **state) {
    (void)state;
    for (unsigned m = 0; m < MUTATIONS; m++)
        for (unsigned r = 0; r < 32; r++) {
            qs_buf b = {0};
            qs_buf_addz(&b, strict);
            mutations[m](&b, r);
            assert_is_strict_n(b.p, b.n);
            qs_buf_free(&b);
        }
}

/* Several at once; the order is the one in which they happen to a real paste. */
static void survives_combinations(void **state) {
    (void)state;
    const char *given = getenv("QS_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 20260715u;
    print_message("seed %u (QS_SEED)\n", seed);
    srand(seed);
    static const int order[] = {3, 0, 1, 9, 6, 5, 7, 8, 10, 8};
    for (int round = 0; round < 3000; round++) {
        qs_buf b = {0};
        qs_buf_addz(&b, strict);
        for (size_t i = 0; i < sizeof order / sizeof *order; i++)
            if (rand() % 3 == 0) mutations[order[i]](&b, (unsigned)rand());
        qs_buf_addc(&b, '\0');
        assert_is_strict(b.p);
        qs_buf_free(&b);
    }
}

static void cuts_are_noticed(void **state) {
    (void)state;
    static const struct {
        const char *text, *missing;
    } cases[] = {
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\", \"c.d\", ...",
         "a.b c.d"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\", \"c.d...", "a.b"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\", \"c.", "a.b"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\", \"c.d\", ",
         "a.b c.d"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\", \"c.d\"",
         "a.b c.d"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\",\n01:02 INFO "
         "end\n",
         "a.b"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\", \xe2\x80\xa6",
         "a.b"},
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"a.b\". \n\tUnexp\n",
         "a.b"},
        {"b\", \"c.d\". \n\tUnexpected key(s) in state_dict: \"x\". ", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_error_log *log = parse(cases[i].text);
        assert_names(log->missing.v, log->missing.n, cases[i].missing, cases[i].text);
        assert_true(log->truncated);
        qs_error_log_close(log);
    }
}

/* Every prefix of the text: never a name that is not one, and always "truncated" or all of a list. */
static void any_cut_is_safe(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof strict; n++) {
        qs_error_log *log = NULL;
        qs_err e = QS_ERR_INIT;
        if (!qs_error_log_parse(strict, n, NULL, &log, &e)) continue;
        for (size_t i = 0; i < log->missing.n; i++) {
            char name[80];
            snprintf(name, sizeof name, "\"%.*s\"", QS_FMT(log->missing.v[i]));
            assert_non_null(strstr(strict, name));
        }
        qs_error_log_close(log);
    }
}

/* ---- other texts ---- */

static void reads_old_and_other_forms(void **state) {
    (void)state;
    static const struct {
        const char *text;
        qs_log_form form;
        const char *missing, *unexpected;
    } cases[] = {
        {"Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"odd,name\", \"lost, "
         "\"q/r[0]|s\", "
         "\"d'e\". ",
         QS_LOG_FORM_STRICT, "odd,name lost q/r[0]|s d'e", ""},
        {"Error(s) in loading state_dict for Net:\n\tUnexpected key(s) in state_dict: \"odd, name\", \"b\". ",
         QS_LOG_FORM_STRICT, "", "odd, name b"},
        {"_IncompatibleKeys(missing_keys=['a.w', 'b'], unexpected_keys=['c'])", QS_LOG_FORM_INCOMPATIBLE,
         "a.w b", "c"},
        {"_IncompatibleKeys(missing_keys=[], unexpected_keys=['c'])", QS_LOG_FORM_INCOMPATIBLE, "", "c"},
        {"KeyError: 'missing keys in state_dict: \"{\\'a.w\\', \\'b\\'}\"'", QS_LOG_FORM_STRICT, "a.w b", ""},
        {"KeyError: 'unexpected key \"module.conv1.weight\" in state_dict'", QS_LOG_FORM_STRICT, "",
         "module.conv1.weight"},
        {"2023-01-01 00:00:00 - mmdet - WARNING - The model and loaded state dict do not match exactly\n\n"
         "unexpected key in source state_dict: fc.weight, fc.bias\n\n"
         "missing keys in source state_dict: head.fc.weight, head.fc.bias\n\n2023-01-01 00:00:01 - mmdet - "
         "start\n",
         QS_LOG_FORM_MMCV, "head.fc.weight head.fc.bias", "fc.weight fc.bias"},
        {"\tMissing key(s) in state_dict: \"a\", \"b\". \n\tUnexpected key(s) in state_dict: \"c\". ",
         QS_LOG_FORM_STRICT, "a b", "c"},
        {"Missing key(s) in state_dict: a.weight, b.bias. \nUnexpected key(s) in state_dict: c.d. \n",
         QS_LOG_FORM_STRICT, "a.weight b.bias", "c.d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qs_error_log *log = parse(cases[i].text);
        assert_names(log->missing.v, log->missing.n, cases[i].missing, cases[i].text);
        assert_names(log->unexpected.v, log->unexpected.n, cases[i].unexpected, cases[i].text);
        assert_int_equal(log->form, cases[i].form);
        qs_error_log_close(log);
    }
}

static qs_error_log *parse_two(const char *first, const char *second) {
    qs_buf b = {0};
    qs_buf_addf(&b, "line\n%s\nbetween\n%s\nend\n", first, second);
    qs_error_log *log = parse_n(b.p, b.n);
    qs_buf_free(&b);
    return log;
}

/* ---- the warnings of libraries ---- */

static void reads_the_warnings_of_libraries(void **state) {
    (void)state;
    static const char mismatch[] = "head.weight 80x64 3x64";
    static const struct {
        const char *text, *model, *missing, *unexpected, *mismatched;
    } cases[] = {
        {"Some weights of the model checkpoint at ./a: b were not used when initializing BertModel: "
         "['cls.bias', 'cls.w']\n"
         "- This IS expected if you are initializing BertModel from the checkpoint of a model trained on "
         "another task\n"
         "Some weights of BertModel were not initialized from the model checkpoint at ./a and are newly "
         "initialized: "
         "['pooler.weight']\nYou should probably TRAIN this model\n"
         "Some weights of BertModel were not initialized from the model checkpoint at ./a and are newly "
         "initialized because "
         "the shapes did not match:\n- head.weight: found shape torch.Size([80, 64]) in the checkpoint and "
         "torch.Size([3, 64]) in the model instantiated\nYou should probably TRAIN this model\n",
         "BertModel", "pooler.weight", "cls.bias cls.w", mismatch},
        {"Some weights of Other were not initialized from the model checkpoint at x and are newly "
         "initialized: ['z']\n"
         "[WARNING|modeling_utils.py:3949] >> Some weights of Net were not initialized from the model "
         "checkpoint at y and "
         "are newly initialized: ['a']\n",
         "Net", "a", "", NULL},
        {"Net LOAD REPORT from: ./ckpt\nKey               | Status     | Details\n"
         "------------------+------------+--------\n"
         "fc.{0, 12}.weight | MISSING    | \ncls.bias          | \033[33mUNEXPECTED\033[0m |  |\n"
         "head.weight       | MISMATCH   | Reinit due to size mismatch ckpt: torch.Size([80, 64]) vs "
         "model:torch.Size([3, 64])\n\nNotes:\n- MISSING\t:those params were newly initialized\n",
         "Net", "fc.0.weight fc.12.weight", "cls.bias", mismatch},
        {"WARNING [05/01 10:22:33 fvcore.common.checkpoint]: Skip loading parameter 'head.weight' to the "
         "model due to "
         "incompatible shapes: (80, 64) in the checkpoint but (3, 64) in the model! You might want to double "
         "check\n"
         "WARNING [05/01 10:22:33 fvcore.common.checkpoint]: Some model parameters or buffers are not found "
         "in the "
         "checkpoint:\n\033[34mfpn.{bias, weight}\033[0m\n\033[34mpixel_mean\033[0m\n"
         "WARNING [05/01 10:22:33 fvcore.common.checkpoint]: The checkpoint state_dict contains keys that "
         "are not used by "
         "the model:\n  \033[35mfc1000.{bias, weight}\033[0m\n[05/01 10:22:34 d2.engine]: Starting "
         "training\n",
         "", "fpn.bias fpn.weight pixel_mean", "fc1000.bias fc1000.weight", mismatch},
        {"saving.py:195: Found keys that are in the model state dict but not in the checkpoint: ['a.b']\n"
         "saving.py:199: Found keys that are not in the model state dict but in the checkpoint: ['c', 'd']\n",
         "", "a.b", "c d", NULL},
        {"Missing keys (old.w) discovered while loading pretrained weights.\n"
         "Missing keys (head.weight, head.bias) discovered while loading pretrained weights. This is "
         "expected\n"
         "Unexpected keys (fc.weight) found while loading pretrained weights.\n",
         "", "head.weight head.bias", "fc.weight", NULL},
        {"Missing keys: ['a', 'b']\nUnexpected keys: []\nepoch 1\n", "", "a b", "", NULL},
        {"missing keys: ['a']\nunexpected keys: ['b']\n", "", "a", "b", NULL},
        {"{'missing_keys': ['a'], 'unexpected_keys': ['b'], 'error_msgs': []}\n", "", "a", "b", NULL},
        {"missing_keys: ['a'], unexpected_keys: ['b']\n", "", "a", "b", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        qs_error_log *log = parse(text);
        assert_names(log->missing.v, log->missing.n, cases[i].missing, text);
        assert_names(log->unexpected.v, log->unexpected.n, cases[i].unexpected, text);
        assert_names(&log->model, 1, cases[i].model, text);
        if (log->mismatches.n != (cases[i].mismatched != NULL))
            fail_msg("%zu mismatches in %s", log->mismatches.n, text);
        if (cases[i].mismatched) {
            assert_names(&log->mismatches.v[0].key, 1, "head.weight", text);
            assert_shape(log->mismatches.v[0].in_checkpoint, "80x64");
            assert_shape(log->mismatches.v[0].in_model, "3x64");
        }
        assert_int_equal(log->form, QS_LOG_FORM_WARNING);
        if (log->truncated) fail_msg("cut off: %s", text);
        qs_error_log_close(log);
    }
}

/* Many models warn while they load: what raised counts more, wherever it stands. A row that stands for layers
 * it does not name leaves the list open. */
static void warnings_count_less(void **state) {
    (void)state;
    static const char warning[] =
        "Some weights of Bert were not initialized from the model checkpoint at x and are newly "
        "initialized: ['z']";
    for (int i = 0; i < 2; i++) {
        qs_error_log *log = parse_two(i ? warning : strict, i ? strict : warning);
        assert_int_equal(log->form, QS_LOG_FORM_STRICT);
        assert_int_equal(log->missing.n, 3);
        qs_error_log_close(log);
    }
    qs_error_log *log =
        parse("Net LOAD REPORT from: x\nKey | Status | Details\na.{0...11}.w | MISSING |\nb | MISSING |\n");
    assert_names(log->missing.v, log->missing.n, "b", "range");
    assert_true(log->truncated);
    qs_error_log_close(log);
}

static void unquoted_lists_survive_wrapping(void **state) {
    (void)state;
    static const char text[] =
        "The model and loaded state dict do not match exactly\n\n"
        "missing keys in source state_dict: backbone.layer1.0.conv1.weight, backbone.layer1.0.bn1.wei\n"
        "ght, backbone.layer1.0.bn1.bias, backbone.layer1.0.bn1.running_mean, backbone.layer1.0.bn1.\n"
        "running_var\n2023-01-01 00:00:01,123 - mmdet - INFO - start\n";
    qs_error_log *log = parse(text);
    assert_names(log->missing.v, log->missing.n,
                 "backbone.layer1.0.conv1.weight backbone.layer1.0.bn1.weight backbone.layer1.0.bn1.bias "
                 "backbone.layer1.0.bn1.running_mean backbone.layer1.0.bn1.running_var",
                 text);
    qs_error_log_close(log);
}

static void reads_shapes_of_every_version(void **state) {
    (void)state;
    static const char *const texts[] = {
        "While copying the parameter named fc.weight, whose dimensions in the model are torch.Size([10, 4]) "
        "and whose "
        "dimensions in the checkpoint are torch.Size([1000, 4]).",
        "While copying the parameter named \"fc.weight\", whose dimensions in the model are torch.Size([10, "
        "4]) and "
        "whose dimensions in the checkpoint are torch.Size([1000, 4]), an exception occurred : ('x',).",
        "size mismatch for fc.weight: copying a param of torch.Size([1000, 4]) from checkpoint, where the "
        "shape is "
        "torch.Size([10, 4]) in current model.",
        "size mismatch for fc.weight: copying a param with shape torch.Size([10\n00, 4]) from\n checkpoint, "
        "the shape "
        "in current model is torch.Size([10, 4]).",
        "The model and loaded state dict do not match exactly\n\nthese keys have mismatched shape:\n"
        "+-----------+---------------------+-----------------------+\n"
        "| key       | expected shape      | loaded shape          |\n"
        "+-----------+---------------------+-----------------------+\n"
        "| fc.weight | torch.Size([10, 4]) | torch.Size([1000, 4]) |\n"
        "+-----------+---------------------+-----------------------+\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        qs_error_log *log = parse(texts[i]);
        if (log->mismatches.n != 1) fail_msg("%zu mismatches in %s", log->mismatches.n, texts[i]);
        assert_names(&log->mismatches.v[0].key, 1, "fc.weight", texts[i]);
        assert_true(log->mismatches.v[0].shapes_known);
        assert_shape(log->mismatches.v[0].in_checkpoint, "1000x4");
        assert_shape(log->mismatches.v[0].in_model, "10x4");
        qs_error_log_close(log);
    }
    qs_error_log *log =
        parse("While copying the parameter named \"a.b\", expected torch.Tensor or Tensor-like object "
              "from checkpoint but received <class 'list'>");
    assert_int_equal(log->mismatches.n, 1);
    assert_false(log->mismatches.v[0].shapes_known);
    qs_error_log_close(log);
}

/* ---- which report ---- */

static void the_last_report_counts(void **state) {
    (void)state;
    static const char other[] =
        "Error(s) in loading state_dict for Other:\n\tMissing key(s) in state_dict: \"z\". ";
    qs_error_log *log = parse_two(strict, other);
    assert_names(log->missing.v, log->missing.n, "z", other);
    assert_int_equal(log->line, 8);
    qs_error_log_close(log);
    log = parse_two(other, strict);
    assert_true(qs_str_is(log->model, "Net"));
    qs_error_log_close(log);
}

static void a_shortened_repetition_does_not_count(void **state) {
    (void)state;
    static const char *const summaries[] = {
        "FAILED test_load.py::test - RuntimeError: Error(s) in loading state_dict for Net:",
        "FAILED test_load.py::test - RuntimeError: Error(s) in loading state_dict for Net:\n\tMissing key(s) "
        "in "
        "state_dict: \"conv.module.weight\", \"conv.qu...",
    };
    for (int i = 0; i < 2; i++) {
        qs_error_log *log = parse_two(strict, summaries[i]);
        assert_int_equal(log->missing.n, 3);
        assert_int_equal(log->mismatches.n, 2);
        assert_int_equal(log->line, 2);
        assert_false(log->truncated);
        qs_error_log_close(log);
    }
}

static void later_success_is_said(void **state) {
    (void)state;
    qs_error_log *log = parse_two(strict, "<All keys matched successfully>");
    assert_int_equal(log->missing.n, 3);
    assert_true(log->matched_later);
    qs_error_log_close(log);
    log = parse_two("<All keys matched successfully>", strict);
    assert_false(log->matched_later);
    qs_error_log_close(log);
}

static void assert_refused(const char *text, const char *words) {
    qs_error_log *log = NULL;
    qs_err e = QS_ERR_INIT;
    assert_false(qs_error_log_parse(text, strlen(text), NULL, &log, &e));
    assert_int_equal(e.code, QS_E_INPUT);
    if (!strstr(e.msg, words)) fail_msg("%s", e.msg);
}

static void says_when_there_is_none(void **state) {
    (void)state;
    assert_refused("epoch 1 loss 0.3\n", "no load_state_dict error");
    assert_refused("epoch 1 loss 0.3\n", "-m (qatscope manifest --exporter)");
    assert_refused("", "no load_state_dict error");
    assert_refused("<All keys matched successfully>\n", "fitted");
    assert_refused("Missing keys: 3\nUnexpected keys: none\n", "no load_state_dict error");
}

/* The report lies across the borders of the blocks in which a log is read. */
static void streams_across_blocks(void **state) {
    (void)state;
    for (size_t shift = 0; shift < 700; shift += 23) {
        qs_buf b = {0};
        while (b.n < (256u << 10) - 700 + shift) qs_buf_addc(&b, b.n % 80 == 79 ? '\n' : 'E');
        qs_buf_addz(&b, "\n");
        qs_buf_addz(&b, strict);
        while (b.n < 600u << 10) qs_buf_addz(&b, "\nstep");
        qs_error_log *log = parse_n(b.p, b.n);
        assert_int_equal(log->missing.n, 3);
        assert_int_equal(log->mismatches.n, 2);
        qs_error_log_close(log);
        qs_buf_free(&b);
    }
}

/* The last word of a log may be one that a phrase begins with. */
static void the_end_of_a_log_is_no_cut(void **state) {
    (void)state;
    qs_buf b = {0};
    qs_buf_addf(&b, "%s\n    + FullyQualifiedErrorId : NativeCommandError\n", strict);
    assert_is_strict_n(b.p, b.n);
    qs_buf_free(&b);
}

/* What follows a report for megabytes does not make it look cut off, nor is it kept; a list that is long is.
 */
static void a_long_log_ends_a_report(void **state) {
    (void)state;
    qs_limits limits = QS_LIMITS_DEFAULT;
    qs_error_log *log = NULL;
    qs_err e = QS_ERR_INIT;
    qs_buf b = {0};
    limits.json_bytes = 4 << 20;
    qs_buf_addz(&b, strict);
    for (int i = 0; b.n < (10u << 20); i++) qs_buf_addf(&b, "\nepoch %d, \"loss\" 0.5, size Missing", i);
    assert_true(qs_error_log_parse(b.p, b.n, &limits, &log, &e));
    assert_int_equal(log->missing.n, 3);
    assert_false(log->truncated);
    qs_error_log_close(log);
    b.n = 0;
    qs_buf_addz(&b, "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"k\"");
    for (int i = 0; i < 90000; i++) qs_buf_addf(&b, ", \"layers.%d.block.attention.weight\"", i);
    qs_buf_addz(&b, ". \n\tUnexpected key(s) in state_dict: \"x\". \n");
    assert_true(qs_error_log_parse(b.p, b.n, &limits, &log, &e));
    assert_int_equal(log->missing.n, 90001);
    assert_int_equal(log->unexpected.n, 1);
    assert_false(log->truncated);
    qs_error_log_close(log);
    qs_buf_free(&b);
}

static void makes_a_partial_target(void **state) {
    (void)state;
    char path[] = "/tmp/qatscope-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, strict, sizeof strict - 1), sizeof strict - 1);
    close(fd);
    qs_manifest *m = NULL;
    qs_log_summary sum;
    qs_err e = QS_ERR_INIT;
    bool ok = qs_log_manifest(path, NULL, NULL, &m, &sum, &e);
    unlink(path);
    if (!ok) fail_msg("%s", e.msg);
    assert_int_equal(qs_manifest_count(m), 5);
    assert_true(qs_manifest_partial(m));
    assert_true(qs_str_is(qs_manifest_model(m), "Net"));
    const qs_expected *x = qs_manifest_entry(m, qs_manifest_find(m, QS_STR("head.weight")));
    assert_shape(x->shape, "3x64x1x1");
    assert_false(qs_manifest_entry(m, qs_manifest_find(m, QS_STR("conv.quant.scale")))->shape_known);
    assert_int_equal(sum.missing, 3);
    assert_int_equal(sum.missing_printed, 4);
    assert_string_equal(sum.model, "Net");
    qs_manifest_close(m);
    assert_false(qs_log_manifest("/tmp", NULL, NULL, &m, &sum, &e));
    assert_int_equal(e.code, QS_E_INPUT);
}

/* ---- cases of real torch, made by oracle/log_cases.py ---- */

static void describe(const qs_error_log *log, qs_buf *b) {
    qs_buf_addf(b, "model %.*s\nprinted %u\n", QS_FMT(log->model), log->missing_printed);
    for (size_t i = 0; i < log->missing.n; i++) qs_buf_addf(b, "missing %.*s\n", QS_FMT(log->missing.v[i]));
    for (size_t i = 0; i < log->unexpected.n; i++)
        qs_buf_addf(b, "unexpected %.*s\n", QS_FMT(log->unexpected.v[i]));
    for (size_t i = 0; i < log->mismatches.n; i++) {
        const qs_log_mismatch *m = &log->mismatches.v[i];
        char a[80], c[80];
        qs_shape_text(m->in_checkpoint, "x", a, sizeof a);
        qs_shape_text(m->in_model, "x", c, sizeof c);
        qs_buf_addf(b, "mismatch %.*s %s %s\n", QS_FMT(m->key), a, c);
    }
}

static void reads_given_cases(void **state) {
    (void)state;
    const char *dir = getenv("QS_LOG_CASES");
    if (!dir) skip();
    int count = 0;
    for (;; count++) {
        char path[600], *want = NULL;
        size_t n;
        qs_err e = QS_ERR_INIT;
        qs_error_log *log = NULL;
        qs_buf got = {0};
        snprintf(path, sizeof path, "%s/%d.want", dir, count);
        if (!qs_file_slurp(path, 1 << 24, &want, &n, &e)) break;
        snprintf(path, sizeof path, "%s/%d.log", dir, count);
        if (!qs_error_log_open(path, NULL, &log, &e)) fail_msg("%s", e.msg);
        describe(log, &got);
        if (strcmp(got.p, want) != 0 || log->truncated)
            fail_msg("%s: got\n%s\nwanted\n%s", path, got.p, want);
        qs_error_log_close(log);
        qs_buf_free(&got);
        free(want);
    }
    assert_true(count > 0);
}

/* A phrase that a read ends in the middle of is found all the same, and the last one counts. */
static void test_other_failures(void **state) {
    (void)state;
    static const struct {
        const char *says, *told;
    } cases[] = {
        {"DDP expects same model across all ranks, but Rank 0 has 3 params", "torch.distributed.run"},
        {"_pickle.UnpicklingError: Weights only load failed. This file", "--bare"},
        {"_pickle.UnpicklingError: invalid load key, 'v'.", "git lfs pull"},
        {"RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory",
         "cut short"},
        {"RuntimeError: Zero-point must be Int32, Float or Half, found Long", "int32"},
        {"ValueError: loaded state dict contains a parameter group that doesn't match the size of "
         "optimizer's group",
         "optimizer afresh"},
        {"RuntimeError: Missing key in checkpoint state_dict: model.0.weight.", "its folder"},
        {"AttributeError: 'collections.OrderedDict' object has no attribute 'eval'", "build the model"},
        {"Transferred 319/355 items from pretrained weights", "manifest --exporter"}};
    enum { READ = 256 << 10 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t before = READ - 40; before < READ + 2; before += 7) {
            qs_buf text = {0};
            qs_error_log *log = NULL;
            qs_err e = QS_ERR_INIT;
            qs_buf_addz(&text, "Ran out of input\n");
            while (text.n < before - 1) qs_buf_addc(&text, 'x');
            qs_buf_addf(&text, "\n%s\nand so on\n", cases[i].says);
            assert_false(qs_error_log_parse(text.p, text.n, NULL, &log, &e));
            if (!strstr(e.msg, cases[i].told) || !strstr(e.msg, "line 3 ")) fail_msg("%s", e.msg);
            qs_buf_free(&text);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_failures),
        cmocka_unit_test(reads_what_torch_prints),
        cmocka_unit_test(survives_each_mutation),
        cmocka_unit_test(survives_combinations),
        cmocka_unit_test(cuts_are_noticed),
        cmocka_unit_test(any_cut_is_safe),
        cmocka_unit_test(reads_old_and_other_forms),
        cmocka_unit_test(reads_the_warnings_of_libraries),
        cmocka_unit_test(warnings_count_less),
        cmocka_unit_test(unquoted_lists_survive_wrapping),
        cmocka_unit_test(reads_shapes_of_every_version),
        cmocka_unit_test(the_last_report_counts),
        cmocka_unit_test(a_shortened_repetition_does_not_count),
        cmocka_unit_test(later_success_is_said),
        cmocka_unit_test(says_when_there_is_none),
        cmocka_unit_test(streams_across_blocks),
        cmocka_unit_test(the_end_of_a_log_is_no_cut),
        cmocka_unit_test(a_long_log_ends_a_report),
        cmocka_unit_test(makes_a_partial_target),
        cmocka_unit_test(reads_given_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
