/* What a file is, from its first and last bytes, and what to tell a person who took it for a checkpoint. */
#include "format/container.h"

#include "format/tar.h"
#include "format/zip_dir.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

enum { HEAD = 4096, DIRECTORY_LOOK = 1 << 20 };

typedef struct head {
    char p[HEAD + 1];
    size_t n;
} head;

static bool read_head(const qs_file *f, head *h) {
    qs_err e = QS_ERR_INIT;
    uint64_t size = qs_file_size(f);
    h->n = size < HEAD ? (size_t)size : HEAD;
    bool ok = qs_file_read(f, 0, h->p, h->n, &e);
    if (!ok) h->n = 0;
    h->p[h->n] = 0;
    return ok;
}

static bool begins(const head *h, const char *magic, size_t n) {
    return h->n >= n && memcmp(h->p, magic, n) == 0;
}
#define BEGINS(h, lit) begins(h, lit, sizeof(lit) - 1)

static size_t skip_space(const head *h) {
    size_t i = begins(h, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (i < h->n && isspace((unsigned char)h->p[i])) i++;
    return i;
}

static bool is_html(const head *h) {
    static const char *const tags[] = {"<!doctype", "<html", "<?xml", "<head", "<body", "<!--"};
    size_t i = skip_space(h);
    for (size_t k = 0; k < sizeof tags / sizeof *tags; k++)
        if (strncasecmp(h->p + i, tags[k], strlen(tags[k])) == 0) return true;
    return false;
}

static bool is_safetensors(const head *h, uint64_t size) {
    uint64_t n = 0;
    if (h->n < 9) return false;
    memcpy(&n, h->p, 8);
    return n >= 2 && n <= 100000000 && n <= size - 8 && h->p[8] == '{';
}

static bool is_text(const head *h) {
    for (size_t i = 0; i < h->n; i++) {
        unsigned char c = (unsigned char)h->p[i];
        if (c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != 0x1b) return false;
        if (c == 0x7f) return false;
    }
    return h->n > 0;
}

/* torch writes 0x1950a86a20f9469cfc6c as the first of the pickles in a row. */
#define LEGACY_NUMBER "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

static qs_file_kind pickle_kind(const head *h) {
    enum { PROTO_OP = 2, FRAME_OP = 9 }; /* protocols 4 and 5 put a frame around the number */
    if (h->n < 4 || h->p[0] != '\x80' || (unsigned char)h->p[1] > 5) return QS_FILE_UNKNOWN;
    size_t at = PROTO_OP + (h->p[2] == '\x95' ? FRAME_OP : 0);
    bool legacy =
        h->n > at + sizeof LEGACY_NUMBER && memcmp(h->p + at, LEGACY_NUMBER, sizeof LEGACY_NUMBER - 1) == 0;
    if (legacy) return QS_FILE_LEGACY;
    size_t class = qs_str_find((qs_str){h->p, h->n}, QS_STR("torch.distributed.checkpoint.metadata"));
    return class < 64 ? QS_FILE_DCP : QS_FILE_PICKLE; /* the class is the first thing in it */
}

/* Names in the directory tell a checkpoint from another zip. A directory too long to look through is left to
 * qs_container_open. */
static qs_file_kind zip_kind(const qs_file *f) {
    qs_err e = QS_ERR_INIT;
    qs_zip_end end;
    if (!qs_zip_find_end(f, &end, &e)) return end.found ? QS_FILE_TORCH_ZIP : QS_FILE_ZIP_TRUNCATED;
    if (end.directory_size > DIRECTORY_LOOK) return QS_FILE_TORCH_ZIP;
    char *p = malloc((size_t)end.directory_size + 1);
    qs_file_kind kind = QS_FILE_TORCH_ZIP;
    if (p && qs_file_read(f, end.directory, p, (size_t)end.directory_size, &e)) {
        qs_str names = {p, (size_t)end.directory_size};
        qs_str_lower(p, names.n); /* torch minds no capitals */
        if (qs_str_find(names, QS_STR("/constants.pkl")) != SIZE_MAX)
            kind = QS_FILE_TORCHSCRIPT;
        else if (qs_str_find(names, QS_STR("/data.pkl")) == SIZE_MAX)
            kind = QS_FILE_ZIP_OTHER;
    }
    free(p);
    return kind;
}

qs_file_kind qs_sniff(const qs_file *f) {
    head h;
    if (!read_head(f, &h)) return QS_FILE_UNKNOWN;
    if (BEGINS(&h, "PK\x03\x04")) return zip_kind(f);
    /* torch.load asks for a tar archive before it looks for pickles: the header may be one's beginning, too.
     */
    qs_tar_header tar;
    if (h.n >= QS_TAR_BLOCK && qs_tar_read_header(h.p, &tar)) return QS_FILE_TAR;
    if (BEGINS(&h, "PK\x05\x06")) return QS_FILE_ZIP_OTHER;
    if (BEGINS(&h, "version https://git-lfs.github.com/")) return QS_FILE_LFS_POINTER;
    if (BEGINS(&h, "\x1f\x8b")) return QS_FILE_GZIP;
    if (BEGINS(&h, "\x89HDF\r\n\x1a\n")) return QS_FILE_HDF5;
    if (BEGINS(&h, "GGUF")) return QS_FILE_GGUF;
    /* Before the pickles: a header of 0x280 bytes begins like a pickle of protocol 2, but no pickle goes on
     * so. */
    if (is_safetensors(&h, qs_file_size(f))) return QS_FILE_SAFETENSORS;
    if (pickle_kind(&h) != QS_FILE_UNKNOWN) return pickle_kind(&h);
    if (h.n > 262 && memcmp(h.p + 257, "ustar", 5) == 0) return QS_FILE_TAR; /* a damaged one */
    if (is_html(&h)) return QS_FILE_HTML;
    if (!is_text(&h)) return QS_FILE_UNKNOWN;
    char first = h.p[skip_space(&h)];
    return first == '{' || first == '[' ? QS_FILE_JSON : QS_FILE_TEXT;
}

static bool refuse_lfs(const qs_file *f, const head *h, qs_err *e) {
    const char *size = strstr(h->p, "\nsize ");
    uint64_t want = size ? strtoull(size + 6, NULL, 10) : 0;
    return qs_fail(e, QS_E_INPUT,
                   "%s: is a Git LFS pointer of %" PRIu64 " bytes, not the checkpoint, which has %" PRIu64
                   " bytes; fetch it with: git lfs pull",
                   qs_file_path(f), qs_file_size(f), want);
}

/* Files that people take for checkpoints, by what they begin with. */
static const struct {
    const char *magic;
    uint8_t n, at;
    const char *says;
} others[] = {
#define QS_MAGIC(AT, magic, says) {magic, sizeof(magic) - 1, AT, says},
#include "format/sniff.def"
#undef QS_MAGIC
};

static const char *other_format(const head *h) {
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (h->n >= (size_t)others[i].at + others[i].n &&
            !memcmp(h->p + others[i].at, others[i].magic, others[i].n))
            return others[i].says;
    /* ONNX has no magic: a protobuf whose first fields are ir_version and producer_name. */
    bool onnx = h->n > 3 && h->p[0] == 0x08 && h->p[1] > 0 && h->p[1] < 32 && h->p[2] == 0x12;
    return onnx ? "looks like an ONNX model, not a checkpoint of PyTorch" : NULL;
}

static bool refuse_unknown(const qs_file *f, const head *h, qs_err *e) {
    const char *path = qs_file_path(f);
    qs_zip_end end;
    qs_err ignored = QS_ERR_INIT;
    bool zeros = h->n > 0;
    for (size_t i = 0; i < h->n && zeros; i++) zeros = h->p[i] == 0;
    if (zeros)
        return qs_fail(e, QS_E_INPUT, "%s: begins with %zu zero bytes: the download or copy did not finish",
                       path, h->n);
    if (qs_zip_find_end(f, &end, &ignored) || end.found)
        return qs_fail(
            e, QS_E_INPUT,
            "%s: ends as a zip archive but does not begin as one: something was put before it, and "
            "torch.load does not take such a file for a checkpoint either",
            path);
    const char *other = other_format(h);
    if (other) return qs_fail(e, QS_E_INPUT, "%s: %s", path, other);
    return qs_fail(
        e, QS_E_INPUT,
        "%s: is no checkpoint: it begins with bytes %02x %02x %02x %02x, which is neither a zip archive "
        "(torch.save since 1.6) nor a pickle",
        path, h->p[0] & 0xff, h->n > 1 ? h->p[1] & 0xff : 0, h->n > 2 ? h->p[2] & 0xff : 0,
        h->n > 3 ? h->p[3] & 0xff : 0);
}

bool qs_sniff_refuse(const qs_file *f, qs_file_kind kind, qs_err *e) {
    const char *path = qs_file_path(f);
    head h;
    if (!read_head(f, &h)) return qs_fail(e, QS_E_IO, "%s: cannot be read", path);
    switch (kind) {
    case QS_FILE_LFS_POINTER: return refuse_lfs(f, &h, e);
    case QS_FILE_HTML:
        return qs_fail(
            e, QS_E_INPUT,
            "%s: is an HTML page, not a checkpoint: the download link led to a web page (a login, an error "
            "or a preview); download the file itself",
            path);
    case QS_FILE_ZIP_TRUNCATED:
        return qs_fail(e, QS_E_INPUT,
                       "%s: is a truncated zip: it begins as a checkpoint, but after its %" PRIu64
                       " bytes the end record of the archive is missing; copy or download it again",
                       path, qs_file_size(f));
    case QS_FILE_ZIP_OTHER:
        return qs_fail(
            e, QS_E_INPUT,
            "%s: is a zip archive without a data.pkl, so no checkpoint of torch.save (a .npz, a wheel, a "
            "Keras file?)",
            path);
    case QS_FILE_TAR:
        return qs_fail(
            e, QS_E_UNSUPPORTED,
            "%s: is a tar archive: either a checkpoint of torch 0.1.1, which today's torch.load still "
            "converts, or a packed folder: then unpack it and open the file inside",
            path);
    case QS_FILE_PICKLE:
        return qs_fail(
            e, QS_E_UNSUPPORTED,
            "%s: is a bare pickle, not a file of torch.save; if it holds tensors, load it in Python and "
            "write it with torch.save",
            path);
    case QS_FILE_HDF5:
        return qs_fail(e, QS_E_UNSUPPORTED, "%s: is an HDF5 file (Keras?), not a PyTorch checkpoint", path);
    case QS_FILE_GGUF:
        return qs_fail(e, QS_E_UNSUPPORTED, "%s: is a GGUF file (llama.cpp), not a PyTorch checkpoint", path);
    case QS_FILE_GZIP:
        return qs_fail(e, QS_E_INPUT, "%s: is compressed with gzip; unpack it first: gunzip -k FILE", path);
    case QS_FILE_JSON:
        return qs_fail(
            e, QS_E_INPUT,
            "%s: is JSON, not a checkpoint; a manifest is given with -m, an index names the files to open",
            path);
    case QS_FILE_TEXT:
        return qs_fail(e, QS_E_INPUT,
                       "%s: is a text file, not a checkpoint; an error log is given with --log", path);
    case QS_FILE_SAFETENSORS:
    case QS_FILE_LEGACY:
    case QS_FILE_DCP:
        return qs_fail(
            e, QS_E_UNSUPPORTED,
            "%s: is a checkpoint of another kind, which cannot be a piece of this one; open it by itself",
            path);
    case QS_FILE_TORCH_ZIP:
    case QS_FILE_TORCHSCRIPT:
    case QS_FILE_UNKNOWN: break;
    }
    return refuse_unknown(f, &h, e);
}
