// The training functions of linnet.h: checks, parts for the threads, and the sums of their results.

#include <cstdlib>
#include <cstring>

#include "instruction_sets.h"
#include "linnet_training.h"
#include "parts.h"
#include "training_kernels.h"

namespace linnet {
namespace {

int kernel_set() {
  static std::atomic<int> chosen{kNotChosen};
  return choose_once(chosen, kTrainingTables);
}

const TrainingKernels* kernels() { return kernel_set() < 0 ? nullptr : kTrainingTables[kernel_set()]; }

// Memory for one call, [count] zeros.
template <typename Number>
class Zeros {
 public:
  explicit Zeros(Index count)
      : data_(static_cast<Number*>(std::calloc(static_cast<std::size_t>(count + 1), sizeof(Number)))) {}
  ~Zeros() { std::free(data_); }
  Zeros(const Zeros&) = delete;
  Zeros& operator=(const Zeros&) = delete;
  Number* data() const { return data_; }

 private:
  Number* data_;
};

bool bad_threads(int threads) { return kernels() == nullptr || threads < 1 || threads > kMostThreads; }

int run(int threads, Index scratch_floats, Part part, void* context) {
  const auto bytes = scratch_floats * static_cast<Index>(sizeof(float)) + 64;
  return run_parts(threads, bytes, part, context) ? LINNET_OK : LINNET_OUT_OF_MEMORY;
}

// Joins the moments of all threads, which lie one after the other, into mean and variance.
void join_all(int threads, Index channels, Index rows, const double* parts, double* moments) {
  for (Index c = 0; c < channels; ++c) {
    double seen = 0, mean = 0, squares = 0;
    for (int thread = 0; thread < threads; ++thread) {
      const double* part = parts + thread * (2 * channels + 1);
      const double count = part[2 * channels];
      if (count == 0) continue;
      const double all = seen + count, distance = part[c] - mean;
      mean += distance * count / all;
      squares += part[channels + c] + distance * distance * seen * count / all;
      seen = all;
    }
    moments[c] = mean;
    moments[channels + c] = squares / static_cast<double>(rows);
  }
}

template <typename Number>
void add_all(int threads, Index count, const Number* parts, Number* sums) {
  std::memcpy(sums, parts, static_cast<std::size_t>(count) * sizeof(Number));
  for (int thread = 1; thread < threads; ++thread) {
    const Number* part = parts + thread * count;
    for (Index i = 0; i < count; ++i) sums[i] += part[i];
  }
}

// What the part of any thread needs to know.
template <typename Job>
struct Work {
  Job job;
  Index items;  // rows or pictures
  int threads;
};

// Runs `forward` on every thread's range and joins the moments.
template <typename Job, void (*TrainingKernels::*forward)(const Job&, Index, Index, float*, Moments*)>
int run_forward(Work<Job> work, Index scratch, Index channels, Index rows, double* moments) {
  Zeros<double> parts(work.threads * (2 * channels + 1));
  if (parts.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  struct Context {
    Work<Job>* work;
    double* parts;
    Index channels;
  } context = {&work, parts.data(), channels};
  const int code = run(
      work.threads, scratch,
      [](void* pointer, int thread, void* scratch) {
        const Context& c = *static_cast<Context*>(pointer);
        double* part = c.parts + thread * (2 * c.channels + 1);
        Moments moments = {0, part, part + c.channels};
        const Range range = share_of(c.work->items, thread, c.work->threads);
        (kernels()->*forward)(c.work->job, range.first, range.last, static_cast<float*>(scratch), &moments);
        part[2 * c.channels] = moments.rows;
      },
      &context);
  if (code == LINNET_OK) join_all(work.threads, channels, rows, parts.data(), moments);
  return code;
}

// Runs `backward` on every thread's range and adds up the gradients of the weights and the sums.
template <typename Job, void (*TrainingKernels::*backward)(const Job&, Index, Index, float*, float*, double*)>
int run_backward(Work<Job> work, Index scratch, Index weights, Index channels, float* weight_gradient, double* sums) {
  Zeros<float> weight_parts(work.threads * weights);
  Zeros<double> sum_parts(work.threads * 2 * channels);
  if (weight_parts.data() == nullptr || sum_parts.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  struct Context {
    Work<Job>* work;
    float* weight_parts;
    double* sum_parts;
    Index weights, channels;
  } context = {&work, weight_parts.data(), sum_parts.data(), weights, channels};
  const int code = run(
      work.threads, scratch,
      [](void* pointer, int thread, void* scratch) {
        const Context& c = *static_cast<Context*>(pointer);
        const Range range = share_of(c.work->items, thread, c.work->threads);
        (kernels()->*backward)(c.work->job, range.first, range.last, static_cast<float*>(scratch),
                               c.weight_parts + thread * c.weights, c.sum_parts + thread * 2 * c.channels);
      },
      &context);
  if (code != LINNET_OK) return code;
  add_all(work.threads, weights, weight_parts.data(), weight_gradient);
  if (sums != nullptr) add_all(work.threads, 2 * channels, sum_parts.data(), sums);
  return LINNET_OK;
}

constexpr Index kMostDilation = 1024;

// Output or gradients reach from the picture's edge to at most two pixels beyond the other; dilated ones as far as one
// step of the filter on both sides.
bool bad_axis(const linnet_depthwise_shape& s, Index length, Index output, Index padding) {
  if (s.dilation > 1) return length < 1 || output != length || padding != s.dilation;
  const Index reach = (output - 1) * s.stride + 3 - padding;
  return length < 1 || output < 1 || padding < 0 || padding > 1 || reach < length || reach > length + 2;
}

bool bad_shape(const linnet_depthwise_shape* s) {
  return s == nullptr || s->pictures < 1 || s->channels < 1 || (s->stride != 1 && s->stride != 2) || s->dilation < 1 ||
         s->dilation > kMostDilation || (s->dilation > 1 && s->stride > 1) ||
         bad_axis(*s, s->height, s->output_height, s->pad_top) || bad_axis(*s, s->width, s->output_width, s->pad_left);
}

// [channels][9] to [9][channels], or back.
void transpose(Index rows, Index columns, const float* from, float* to) {
  for (Index row = 0; row < rows; ++row) {
    for (Index column = 0; column < columns; ++column) to[column * rows + row] = from[row * columns + column];
  }
}

// A job on rows alone.
struct RowsJob {
  Index channels, rows;
  int threads;
  const float* values;
  const linnet_transform* transform;
  const linnet_gradient* gradient;
  const float* added;
  float* output;
  double* parts;
};

int run_rows(RowsJob job, Part part) { return run(job.threads, 0, part, &job); }

}  // namespace
}  // namespace linnet

using namespace linnet;

extern "C" const char* linnet_training_instruction_set(void) {
  return kernel_set() < 0 ? nullptr : kSetNames[kernel_set()];
}

extern "C" int linnet_train_pointwise(int threads, int64_t rows, int64_t in, int64_t out, const float* input,
                                      const linnet_transform* transform, const float* weight, float* output,
                                      double* moments) {
  if (bad_threads(threads) || rows < 1 || in < 1 || out < 1) return LINNET_BAD_ARGUMENT;
  Zeros<float> packed(kernels()->packed_size(in, out));
  if (packed.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  kernels()->pack(in, out, weight, 1, in, packed.data());
  const Work<PointwiseJob> work = {{rows, in, out, input, transform, nullptr, packed.data(), output}, rows, threads};
  return run_forward<PointwiseJob, &TrainingKernels::pointwise>(work, kernels()->pointwise_scratch(in, out), out, rows,
                                                                moments);
}

extern "C" int linnet_train_pointwise_backward(int threads, int64_t rows, int64_t in, int64_t out,
                                               const linnet_gradient* gradient, const float* input,
                                               const linnet_transform* transform, const float* weight,
                                               float* input_gradient, float* weight_gradient, double* sums) {
  if (bad_threads(threads) || rows < 1 || in < 1 || out < 1) return LINNET_BAD_ARGUMENT;
  Zeros<float> packed(kernels()->packed_size(out, in));
  if (packed.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  kernels()->pack(out, in, weight, in, 1, packed.data());
  const Work<PointwiseJob> work = {
      {rows, in, out, input, transform, gradient, packed.data(), input_gradient}, rows, threads};
  return run_backward<PointwiseJob, &TrainingKernels::pointwise_backward>(work, kernels()->pointwise_scratch(in, out),
                                                                          in * out, in, weight_gradient, sums);
}

extern "C" int linnet_train_depthwise(int threads, const linnet_depthwise_shape* shape, const float* input,
                                      const linnet_transform* transform, const float* weight, float* output,
                                      double* moments) {
  if (bad_threads(threads) || bad_shape(shape)) return LINNET_BAD_ARGUMENT;
  Zeros<float> taps(9 * shape->channels);
  if (taps.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  transpose(shape->channels, 9, weight, taps.data());
  const Work<DepthwiseJob> work = {{*shape, input, transform, nullptr, taps.data(), output}, shape->pictures, threads};
  return run_forward<DepthwiseJob, &TrainingKernels::depthwise>(
      work, kernels()->depthwise_scratch(*shape), shape->channels,
      shape->pictures * shape->output_height * shape->output_width, moments);
}

extern "C" int linnet_train_depthwise_backward(int threads, const linnet_depthwise_shape* shape,
                                               const linnet_gradient* gradient, const float* input,
                                               const linnet_transform* transform, const float* weight,
                                               float* input_gradient, float* weight_gradient, double* sums) {
  if (bad_threads(threads) || bad_shape(shape)) return LINNET_BAD_ARGUMENT;
  Zeros<float> taps(9 * shape->channels), collected(9 * shape->channels);
  if (taps.data() == nullptr || collected.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  transpose(shape->channels, 9, weight, taps.data());
  const Work<DepthwiseJob> work = {
      {*shape, input, transform, gradient, taps.data(), input_gradient}, shape->pictures, threads};
  const int code = run_backward<DepthwiseJob, &TrainingKernels::depthwise_backward>(
      work, kernels()->depthwise_scratch(*shape), 9 * shape->channels, shape->channels, collected.data(), sums);
  if (code == LINNET_OK) transpose(9, shape->channels, collected.data(), weight_gradient);
  return code;
}

extern "C" int linnet_train_moments(int threads, int64_t rows, int64_t channels, const float* values, double* moments) {
  if (bad_threads(threads) || rows < 1 || channels < 1) return LINNET_BAD_ARGUMENT;
  Zeros<double> parts(threads * (2 * channels + 1));
  if (parts.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  const int code = run_rows({channels, rows, threads, values, nullptr, nullptr, nullptr, nullptr, parts.data()},
                            [](void* pointer, int thread, void*) {
                              const RowsJob& job = *static_cast<RowsJob*>(pointer);
                              double* part = job.parts + thread * (2 * job.channels + 1);
                              Moments moments = {0, part, part + job.channels};
                              const Range range = share_of(job.rows, thread, job.threads);
                              kernels()->moments(job.channels, job.values, range.first, range.last, &moments);
                              part[2 * job.channels] = moments.rows;
                            });
  if (code == LINNET_OK) join_all(threads, channels, rows, parts.data(), moments);
  return code;
}

extern "C" int linnet_train_activate(int threads, int64_t rows, int64_t channels, const float* values,
                                     const linnet_transform* transform, const float* added, float* output) {
  if (bad_threads(threads) || rows < 1 || channels < 1) return LINNET_BAD_ARGUMENT;
  return run_rows({channels, rows, threads, values, transform, nullptr, added, output, nullptr}, [](void* pointer,
                                                                                                    int thread, void*) {
    const RowsJob& job = *static_cast<RowsJob*>(pointer);
    const Range range = share_of(job.rows, thread, job.threads);
    kernels()->activate(job.channels, job.values, job.transform, job.added, job.output, range.first, range.last);
  });
}

extern "C" int linnet_train_sums(int threads, int64_t rows, int64_t channels, const linnet_gradient* gradient,
                                 double* sums) {
  if (bad_threads(threads) || rows < 1 || channels < 1 || gradient == nullptr) return LINNET_BAD_ARGUMENT;
  Zeros<double> parts(threads * 2 * channels);
  if (parts.data() == nullptr) return LINNET_OUT_OF_MEMORY;
  const int code = run_rows({channels, rows, threads, nullptr, nullptr, gradient, nullptr, nullptr, parts.data()},
                            [](void* pointer, int thread, void*) {
                              const RowsJob& job = *static_cast<RowsJob*>(pointer);
                              const Range range = share_of(job.rows, thread, job.threads);
                              kernels()->sums(job.channels, *job.gradient, range.first, range.last,
                                              job.parts + thread * 2 * job.channels);
                            });
  if (code == LINNET_OK) add_all(threads, 2 * channels, parts.data(), sums);
  return code;
}

extern "C" int linnet_train_gradient(int threads, int64_t rows, int64_t channels, const linnet_gradient* gradient,
                                     float* output) {
  if (bad_threads(threads) || rows < 1 || channels < 1 || gradient == nullptr) return LINNET_BAD_ARGUMENT;
  return run_rows({channels, rows, threads, nullptr, nullptr, gradient, nullptr, output, nullptr},
                  [](void* pointer, int thread, void*) {
                    const RowsJob& job = *static_cast<RowsJob*>(pointer);
                    const Range range = share_of(job.rows, thread, job.threads);
                    kernels()->gradient(job.channels, *job.gradient, job.output, range.first, range.last);
                  });
}
