// Softmax and softmax cross entropy over rows of [rows, classes] logits with a pitch, int32 labels, label smoothing s.
//
//   softmax = e^(x − max)/Σ; loss of a row = −Σ target·ln softmax = ln Σ e^(x − max) − (1 − s)·(x[label] − max) − s·(mean(x) − max); the loss is the mean over rows.
//   logitsGradient = (or +=) (softmax − target)·lossGradient/rows, target = 1 − s + s/classes for the label, s/classes for the others.
//   dx of a softmax = y·(dy − Σ dy·y).
//
// Launch: one warp a row, eight a block; the mean over rows by one block in fixed order. A label out of range yields NaN. Moved: 8 bytes a logit: limited by latency at the sizes of classifiers.
#include "largest.cuh"
#include "rows.cuh"

struct SoftmaxArguments
{
    const float* input;
    float* output;
    int32 rows;
    int32 classes;
    int32 pitch;
};

struct CrossEntropyArguments
{
    const float* logits;
    const int32* labels;
    float* probabilities;
    double* losses;  // one a row
    int32* hits;     // one a row: 1 where the first largest logit is the label's
    float* loss;     // one
    int32* correct;  // one, or null
    float smoothing;
    int32 rows;
    int32 classes;
    int32 pitch;
};

struct CrossEntropyGradientArguments
{
    const float* probabilities;
    const int32* labels;
    const float* lossGradient;
    float* logitsGradient;
    float smoothing;
    int32 rows;
    int32 classes;
    int32 pitch;
    int32 accumulate;
};

struct SoftmaxGradientArguments
{
    const float* output;
    const float* outputGradient;
    float* inputGradient;
    int32 rows;
    int32 classes;
    int32 pitch;
    int32 accumulate;
};

// The maximum of a row, NaN if there is one, and the sum of e^(x − maximum): by a whole warp.
__device__ inline void softmaxSums(const float* x, int32 classes, float& maximum, float& sum)
{
    maximum = __int_as_float(0xFF800000);
    for (int32 c = threadIdx.x % lanes; c < classes; c += lanes)
    {
        maximum = x[c] != x[c] || maximum != maximum ? __int_as_float(0x7FC00000) : fmaxf(maximum, x[c]);
    }

    maximum = reduceWarp(maximum, [](float a, float b) { return a != a || b != b ? __int_as_float(0x7FC00000) : fmaxf(a, b); });
    sum = 0.0f;
    for (int32 c = threadIdx.x % lanes; c < classes; c += lanes)
    {
        sum += expf(x[c] - maximum);
    }

    sum = reduceWarp(sum, Sum());
}

__device__ inline void writeSoftmax(const float* x, float* y, int32 classes, int32 pitch, float maximum, float sum)
{
    for (int32 c = threadIdx.x % lanes; c < pitch; c += lanes)
    {
        y[c] = c < classes ? expf(x[c] - maximum) / sum : 0.0f;
    }
}

extern "C" __global__ void __launch_bounds__(256) softmaxForward(const __grid_constant__ SoftmaxArguments arguments)
{
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        const float* x = arguments.input + static_cast<int64>(row) * arguments.pitch;
        float maximum;
        float sum;
        softmaxSums(x, arguments.classes, maximum, sum);
        writeSoftmax(x, arguments.output + static_cast<int64>(row) * arguments.pitch, arguments.classes, arguments.pitch, maximum, sum);
    }
}

extern "C" __global__ void __launch_bounds__(256) crossEntropyRows(const __grid_constant__ CrossEntropyArguments arguments)
{
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        const float* x = arguments.logits + static_cast<int64>(row) * arguments.pitch;
        float maximum;
        float sum;
        softmaxSums(x, arguments.classes, maximum, sum);
        double mean = 0.0;
        for (int32 c = threadIdx.x % lanes; c < arguments.classes; c += lanes)
        {
            mean += x[c];
        }

        mean = reduceWarp(mean, Sum()) / arguments.classes;
        int32 best = firstOfLargest(x, arguments.classes);
        writeSoftmax(x, arguments.probabilities + static_cast<int64>(row) * arguments.pitch, arguments.classes, arguments.pitch, maximum, sum);
        if (threadIdx.x % lanes == 0)
        {
            int32 label = arguments.labels[row];
            bool known = label >= 0 && label < arguments.classes;
            double smoothing = arguments.smoothing;
            double labelled = known ? static_cast<double>(x[label]) - maximum : __longlong_as_double(0x7FF8000000000000ll);
            arguments.losses[row] = log(static_cast<double>(sum)) - (1.0 - smoothing) * labelled - smoothing * (mean - maximum);
            arguments.hits[row] = best == label ? 1 : 0;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) crossEntropyMean(const __grid_constant__ CrossEntropyArguments arguments)
{
    __shared__ double scratch[lanes];
    __shared__ int32 counts[lanes];
    double total = 0.0;
    int32 hits = 0;
    for (int32 row = threadIdx.x; row < arguments.rows; row += blockDim.x)
    {
        total += arguments.losses[row];
        hits += arguments.hits[row];
    }

    total = reduceBlock(total, Sum(), 0.0, scratch);
    hits = reduceBlock(hits, Sum(), 0, counts);
    if (threadIdx.x == 0)
    {
        *arguments.loss = static_cast<float>(total / arguments.rows);
        if (arguments.correct != nullptr)
        {
            *arguments.correct = hits;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) crossEntropyBackward(const __grid_constant__ CrossEntropyGradientArguments arguments)
{
    int32 channel = firstChannel();
    if (channel >= arguments.pitch)
    {
        return;
    }

    float scale = *arguments.lossGradient / arguments.rows;
    float others = arguments.smoothing / arguments.classes;
    for (int32 row = firstRow(); row < arguments.rows; row += rowStep())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch + channel;
        int32 label = arguments.labels[row] - channel;
        float4 p = loadFour(arguments.probabilities + at);
        auto one = [&](float probability, int32 offset) { return (probability - others - (label == offset ? 1.0f - arguments.smoothing : 0.0f)) * scale; };
        float4 gradient = withoutPadding(make_float4(one(p.x, 0), one(p.y, 1), one(p.z, 2), one(p.w, 3)), channel, arguments.classes);
        float* target = arguments.logitsGradient + at;
        storeFour(target, arguments.accumulate != 0 ? loadFour(target) + gradient : gradient);
    }
}

extern "C" __global__ void __launch_bounds__(256) softmaxBackward(const __grid_constant__ SoftmaxGradientArguments arguments)
{
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch;
        const float* y = arguments.output + at;
        const float* dy = arguments.outputGradient + at;
        float* dx = arguments.inputGradient + at;
        double product = 0.0;
        for (int32 c = threadIdx.x % lanes; c < arguments.classes; c += lanes)
        {
            product += static_cast<double>(dy[c]) * y[c];
        }

        product = reduceWarp(product, Sum());
        for (int32 c = threadIdx.x % lanes; c < arguments.pitch; c += lanes)
        {
            float value = c < arguments.classes ? static_cast<float>(y[c] * (dy[c] - product)) : 0.0f;
            dx[c] = arguments.accumulate != 0 ? dx[c] + value : value;
        }
    }
}
