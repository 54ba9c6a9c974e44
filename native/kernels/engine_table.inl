// All kernels of the engine for one instruction set. The including file defines the constants that the parts
// name; everything here is static, so that no linker can take one set's code for another's.

#include "vector.inl"
// Above: vectors. Below: what is written with them.
#include "engine_product.inl"
// These use kParts.
#include "engine_depthwise.inl"
#include "engine_resize.inl"

#define LINNET_ENGINE_TABLE \
  {panel_blocks, product, depthwise_rows, resize_row, pool_block, accumulate, join_block, multiply_add}
