// All kernels of bytes for one instruction set. The including file defines the constants that the parts name, Operand,
// and, between the vectors and the rest, `Weights`, `load_weights`, `dot` and `dot16`; everything is static, so that no
// linker can take one set's code for another's.

#include "integer_narrow.inl"
#if LINNET_WIDE
#include "integer_wide.inl"
#endif
// Uses both.
#include "integer_product.inl"
// These use kParts.
#include "integer_depthwise.inl"
#include "integer_resize.inl"
// Stands for itself.
#include "integer_pixels.inl"

#define LINNET_INTEGER_TABLE                                                               \
  {sizeof(Operand), kOperandZero, kPanelBlocks, kCrossedInputs, product,   depthwise_rows, \
   resize_row,      read_colours, widen,        sum_pixels,     join_block}
