// Layer normalization over the last dimension of [rows, channels] with a pitch.
//
//   y = γ·(x − mean)/√(variance + ε) + β by row; saved: [rows, 2] mean and inverseStd. With g = dy·γ, x̂ = (x − mean)·inverseStd:
//   dx = inverseStd·(g − mean(g) − x̂·mean(g·x̂)), dγ = Σ_rows dy·x̂, dβ = Σ_rows dy.
//
// Launch: forward and dx: one warp a row, eight a block; sums of a row in float64, in a fixed order. dγ and dβ: slabs.cuh, merged by blocks of 32 channels × 8 groups.
// Moved: forward 8 bytes an element (the row stays in the cache for its second and third reading), dx 12, parameters 8: limited by memory.
#include "slabs.cuh"

struct LayerForwardArguments
{
    const float* input;
    const float* gamma; // null for 1
    const float* beta;  // null for 0
    float* output;
    float* saved;
    int32 rows;
    int32 channels;
    int32 pitch;
    float epsilon;
};

struct LayerBackwardArguments
{
    const float* input;
    const float* gamma;
    const float* saved;
    const float* outputGradient;
    float* inputGradient;
    double* partials; // [slabs][2][pitch]: Σ dy and Σ dy·x̂
    float* gammaGradient;
    float* betaGradient;
    int32 rows;
    int32 rowsOfSlab;
    int32 slabs;
    int32 channels;
    int32 pitch;
    int32 accumulateInput;
    int32 accumulateParameters;
};

extern "C" __global__ void __launch_bounds__(256) layerForward(const __grid_constant__ LayerForwardArguments arguments)
{
    int32 lane = threadIdx.x % lanes;
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        const float* x = arguments.input + static_cast<int64>(row) * arguments.pitch;
        float* y = arguments.output + static_cast<int64>(row) * arguments.pitch;
        double sum = 0.0;
        for (int32 c = lane; c < arguments.channels; c += lanes)
        {
            sum += x[c];
        }

        double mean = reduceWarp(sum, Sum()) / arguments.channels;
        double squares = 0.0;
        for (int32 c = lane; c < arguments.channels; c += lanes)
        {
            double difference = x[c] - mean;
            squares += difference * difference;
        }

        double inverseStd = 1.0 / sqrt(reduceWarp(squares, Sum()) / arguments.channels + arguments.epsilon);
        for (int32 c = lane; c < arguments.pitch; c += lanes)
        {
            float value = 0.0f;
            if (c < arguments.channels)
            {
                float normal = static_cast<float>((x[c] - mean) * inverseStd);
                value = fmaf(normal, arguments.gamma != nullptr ? arguments.gamma[c] : 1.0f, arguments.beta != nullptr ? arguments.beta[c] : 0.0f);
            }

            y[c] = value;
        }

        if (lane == 0)
        {
            arguments.saved[2 * static_cast<int64>(row)] = static_cast<float>(mean);
            arguments.saved[2 * static_cast<int64>(row) + 1] = static_cast<float>(inverseStd);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) layerBackward(const __grid_constant__ LayerBackwardArguments arguments)
{
    int32 lane = threadIdx.x % lanes;
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        int64 at = static_cast<int64>(row) * arguments.pitch;
        const float* x = arguments.input + at;
        const float* dy = arguments.outputGradient + at;
        float* dx = arguments.inputGradient + at;
        float mean = arguments.saved[2 * static_cast<int64>(row)];
        float inverseStd = arguments.saved[2 * static_cast<int64>(row) + 1];
        double sum = 0.0;
        double product = 0.0;
        for (int32 c = lane; c < arguments.channels; c += lanes)
        {
            float g = arguments.gamma != nullptr ? dy[c] * arguments.gamma[c] : dy[c];
            sum += g;
            product += static_cast<double>(g) * ((x[c] - mean) * inverseStd);
        }

        float meanGradient = static_cast<float>(reduceWarp(sum, Sum()) / arguments.channels);
        float meanProduct = static_cast<float>(reduceWarp(product, Sum()) / arguments.channels);
        for (int32 c = lane; c < arguments.pitch; c += lanes)
        {
            float value = 0.0f;
            if (c < arguments.channels)
            {
                float g = arguments.gamma != nullptr ? dy[c] * arguments.gamma[c] : dy[c];
                value = inverseStd * (g - meanGradient - (x[c] - mean) * inverseStd * meanProduct);
            }

            dx[c] = arguments.accumulateInput != 0 ? dx[c] + value : value;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) layerParameterSums(const __grid_constant__ LayerBackwardArguments arguments)
{
    __shared__ SlabSums<4> sums;
    int32 channel = firstChannel();
    int32 first = blockIdx.y * arguments.rowsOfSlab;
    int32 last = min(first + arguments.rowsOfSlab, arguments.rows);
    float4 sum = fillFour(0.0f);
    float4 product = fillFour(0.0f);
    if (channel < arguments.pitch)
    {
        for (int32 row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            int64 at = static_cast<int64>(row) * arguments.pitch + channel;
            float mean = arguments.saved[2 * static_cast<int64>(row)];
            float inverseStd = arguments.saved[2 * static_cast<int64>(row) + 1];
            float4 x = loadFour(arguments.input + at);
            float4 dy = loadFour(arguments.outputGradient + at);
            float4 normal = make_float4((x.x - mean) * inverseStd, (x.y - mean) * inverseStd, (x.z - mean) * inverseStd, (x.w - mean) * inverseStd);
            sum = sum + dy;
            product = fmaFour(dy, normal, product);
        }
    }

    const float sumOfThread[4] = {sum.x, sum.y, sum.z, sum.w};
    const float productOfThread[4] = {product.x, product.y, product.z, product.w};
    double* partials = arguments.partials + static_cast<int64>(blockIdx.y) * 2 * arguments.pitch;
    addThreads(sums, sumOfThread, productOfThread, arguments.pitch, [&](int32 at, double total, double totalProduct) {
        partials[at] = total;
        partials[arguments.pitch + at] = totalProduct;
    });
}

extern "C" __global__ void __launch_bounds__(256) layerParameters(const __grid_constant__ LayerBackwardArguments arguments)
{
    __shared__ double sums[2][8][32];
    int32 channel = blockIdx.x * 32 + threadIdx.x;
    double sum = 0.0;
    double product = 0.0;
    if (channel < arguments.channels)
    {
        for (int32 slab = threadIdx.y; slab < arguments.slabs; slab += 8)
        {
            const double* partial = arguments.partials + static_cast<int64>(slab) * 2 * arguments.pitch + channel;
            sum += partial[0];
            product += partial[arguments.pitch];
        }
    }

    sums[0][threadIdx.y][threadIdx.x] = sum;
    sums[1][threadIdx.y][threadIdx.x] = product;
    __syncthreads();
    if (threadIdx.y != 0 || channel >= arguments.pitch)
    {
        return;
    }

    for (int32 group = 1; group < 8; group++)
    {
        sum += sums[0][group][threadIdx.x];
        product += sums[1][group][threadIdx.x];
    }

    if (arguments.gammaGradient != nullptr)
    {
        float* target = arguments.gammaGradient + channel;
        *target = arguments.accumulateParameters != 0 ? *target + static_cast<float>(product) : static_cast<float>(product);
    }

    if (arguments.betaGradient != nullptr)
    {
        float* target = arguments.betaGradient + channel;
        *target = arguments.accumulateParameters != 0 ? *target + static_cast<float>(sum) : static_cast<float>(sum);
    }
}
