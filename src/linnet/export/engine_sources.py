"""Texts that the files of `linnet.export.engine_folder` have in common; `@name@` is filled in.

What differs by what the network is for stands in `linnet.export.engine_tasks`.
"""

HEADER = """/* @network@, written by linnet. Include it where pictures are looked at; model.c belongs to it. */
#ifndef LINNET_MODEL_H
#define LINNET_MODEL_H

#include "linnet.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINNET_MODEL_HEIGHT @height@
#define LINNET_MODEL_WIDTH @width@
#define LINNET_MODEL_CHANNELS @channels@
@macros@#define LINNET_MODEL_BYTES @bytes@ /* of model.bin */

extern const char* const linnet_model_classes[@named@];

/* Opens the network; `weights` are the bytes of model.bin, aligned to 4, and are not needed afterwards. */
int linnet_model_open(const void* weights, int32_t threads, linnet_session** session, linnet_error* error);

@declarations@
#ifdef __cplusplus
}
#endif

#endif
"""

MODEL = """/* @network@, written by linnet. */
#include "model.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const linnet_layer layers[] = {
@layers@};

static const int32_t inputs[] = {
    @inputs@};

/* What each byte of a picture stands for, channel by channel. */
static const @table_type@ table[] = {
    @table@};

/* The layers whose tensors are asked for. */
static const int32_t outputs[] = {@outputs@};

const char* const linnet_model_classes[@named@] = {
@names@};

int linnet_model_open(const void* weights, int32_t threads, linnet_session** session, linnet_error* error) {
  static const char other[] = "The library is of another version of linnet than linnet.h. Take both from one.";
  linnet_network* network = NULL;
  const linnet_options options = {.height = LINNET_MODEL_HEIGHT, .width = LINNET_MODEL_WIDTH, .threads = threads,
                                  .joins_rows = -1, .outputs = outputs, .output_count = @output_count@, .table = table};
  if (linnet_interface_version() != LINNET_INTERFACE) {
    if (error != NULL) memcpy(error->text, other, sizeof(other));
    return LINNET_BAD_ARGUMENT;
  }
  int code = linnet_network_open(layers, sizeof(layers) / sizeof(layers[0]), inputs,
                                 sizeof(inputs) / sizeof(inputs[0]), weights, LINNET_MODEL_BYTES, &network, error);
  if (code == LINNET_OK) code = linnet_session_open(network, &options, session, error);
  linnet_network_close(network); /* the session keeps what it needs */
  return code;
}

@run@"""

MAIN = """/* model model.bin picture.raw@usage@ */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static int read_file(const char* name, void* content, size_t bytes) {
  FILE* file = fopen(name, "rb");
  const int whole = file != NULL && fread(content, 1, bytes, file) == bytes;
  if (!whole) fprintf(stderr, "%s cannot be read, or is too short\\n", name);
  if (file != NULL) fclose(file);
  return whole;
}

int main(int count, char** arguments) {
  static uint8_t pixels[LINNET_MODEL_HEIGHT * LINNET_MODEL_WIDTH * LINNET_MODEL_CHANNELS];
@places@  linnet_session* session = NULL;
  linnet_error error = {""};
  void* weights = malloc(LINNET_MODEL_BYTES);
  if (count != @count@ || weights == NULL@there@ || !read_file(arguments[1], weights, LINNET_MODEL_BYTES)) return 2;
  int code = linnet_model_open(weights, 1, &session, &error);
  free(weights);
  if (!read_file(arguments[2], pixels, sizeof(pixels))) return 2;
  if (code == LINNET_OK) code = @call@;
  if (code != LINNET_OK) fprintf(stderr, "%s\\n", error.text);
@say@  linnet_session_close(session);
  return code != LINNET_OK;
}
"""

CHECK = """/* Not in the folder: pictures from stdin, numbers and what is made of them to stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

int main(int count, char** arguments) {
  static uint8_t pixels[LINNET_MODEL_HEIGHT * LINNET_MODEL_WIDTH * LINNET_MODEL_CHANNELS];
  static float numbers[LINNET_MODEL_NUMBERS];
@places@  linnet_session* session = NULL;
  linnet_error error = {""};
  void* weights = malloc(LINNET_MODEL_BYTES);
  FILE* file = count == 2 ? fopen(arguments[1], "rb") : NULL;
  if (weights == NULL || file == NULL || fread(weights, 1, LINNET_MODEL_BYTES, file) != LINNET_MODEL_BYTES) return 2;
  int code = linnet_model_open(weights, 1, &session, &error);
  while (code == LINNET_OK && fread(pixels, 1, sizeof(pixels), stdin) == sizeof(pixels)) {
    code = @call@;
    fwrite(numbers, 1, sizeof(numbers), stdout);
@more@  }
  if (code != LINNET_OK) fprintf(stderr, "%s\\n", error.text);
  return code != LINNET_OK;
}
"""

CMAKE = """# Builds `model` of main.c and model.c. With -DLINNET_SOURCE=… the engine is built of linnet's sources, for
# another processor too; with -DLINNET_LIBRARY=… the one of an installed linnet is linked.
cmake_minimum_required(VERSION 3.20)
project(model LANGUAGES C CXX)

set(LINNET_SOURCE "" CACHE PATH "linnet's sources.")
set(LINNET_LIBRARY "" CACHE FILEPATH "linnet's library.")
if(LINNET_SOURCE)
  add_subdirectory(${LINNET_SOURCE} linnet EXCLUDE_FROM_ALL)
  set(LINNET_LIBRARY linnet_native)
elseif(NOT LINNET_LIBRARY)
  message(FATAL_ERROR "Say where linnet is: -DLINNET_SOURCE=FOLDER or -DLINNET_LIBRARY=FILE.")
endif()

add_executable(model main.c model.c)
set_target_properties(model PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
target_link_libraries(model PRIVATE ${LINNET_LIBRARY} m)
"""
