/* Names for the opcode bytes of pickle_ops.def; shared by the machine and the emitter. */
#ifndef QS_FORMAT_PICKLE_OPS_H
#define QS_FORMAT_PICKLE_OPS_H

enum {
#define QS_PICKLE_OP(byte, NAME, protocol, wo) PK_##NAME = byte,
#include "format/pickle_ops.def"
#undef QS_PICKLE_OP
};

/* "BINPUT", or NULL if no opcode has this byte. */
const char *qs_pickle_op_name(unsigned char byte);

#endif
