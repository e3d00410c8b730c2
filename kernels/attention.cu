// Scaled dot-product self-attention on packed [batch, tokens, 3·width]: queries, keys, values, each with its heads side by side; one head is headWidth ≤ 128 channels.
//
//   s_ij = q_i·k_j·scale, L_i = ln Σ_j exp s_ij, p_ij = exp(s_ij − L_i), o_i = Σ_j p_ij·v_j
//   D_i = dO_i·O_i, dS_ij = p_ij·(dO_i·v_j − D_i)·scale, dq_i = Σ_j dS_ij·k_j, dk_j = Σ_i dS_ij·q_i, dv_j = Σ_i p_ij·dO_i
//
// Launch: one warp a row (sequence, head, token), eight a block. A warp walks over the other tokens in tiles of 32: first every lane takes one of them and computes its score, then the lanes share the channels, four
// each at most, and add the tile up in the order of the tokens. The forward pass keeps a running maximum and sum, so no array of tokens² exists; the backward pass recomputes p from L. attentionQueries
// writes D, which attentionKeys reads.
//
// Moved: every row reads all keys and values of its head, from the cache for up to some hundred tokens; from memory the packed input and the output once: limited by arithmetic and latency.
#include "rows.cuh"

enum
{
    channelsOfLane = 4,
};

struct AttentionArguments
{
    const float* packed;
    float* output;
    float* statistics; // [2][rows]: L, D
    const float* outputGradient;
    float* packedGradient;
    int32 rows; // batch · heads · tokens
    int32 tokens;
    int32 heads;
    int32 headWidth;
    int32 packedPitch;
    int32 outputPitch;
    float scale;
    int32 accumulate;
};

__device__ inline float negativeInfinity()
{
    return __int_as_float(0xFF800000);
}

// Where one row's head begins.
struct Place
{
    const float* queries; // of token 0; keys and values lie width and 2·width further
    int64 packed;         // of this token, in the packed arrays
    int64 output;         // of token 0, in the output
    int32 token;
    int32 head;
    int32 width;

    __device__ Place(const AttentionArguments& arguments, int32 row)
    {
        token = row % arguments.tokens;
        int32 item = row / arguments.tokens;
        head = item % arguments.heads;
        int64 first = static_cast<int64>(item / arguments.heads) * arguments.tokens;
        width = arguments.heads * arguments.headWidth;
        int64 start = first * arguments.packedPitch + head * arguments.headWidth;
        queries = arguments.packed + start;
        packed = start + static_cast<int64>(token) * arguments.packedPitch;
        output = first * arguments.outputPitch + head * arguments.headWidth;
    }
};

__device__ inline float dot(const float* left, const float* right, int32 count)
{
    float sum = 0.0f;
    for (int32 c = 0; c < count; c++)
    {
        sum = fmaf(left[c], right[c], sum);
    }

    return sum;
}

// sums[k] += Σ_j factor_j · rows[j][lane + 32k] over the tile, factor_j being lane j's.
__device__ inline void addTile(float factor, const float* rows, int64 pitch, int32 count, int32 headWidth, float* sums)
{
    int32 lane = threadIdx.x % lanes;
    for (int32 j = 0; j < count; j++)
    {
        float own = __shfl_sync(0xFFFFFFFFu, factor, j);
#pragma unroll
        for (int32 k = 0; k < channelsOfLane; k++)
        {
            int32 c = lane + k * lanes;
            if (c < headWidth)
            {
                sums[k] = fmaf(own, rows[j * pitch + c], sums[k]);
            }
        }
    }
}

__device__ inline void store(float* target, const float* sums, float factor, int32 headWidth, int32 accumulate)
{
    int32 lane = threadIdx.x % lanes;
#pragma unroll
    for (int32 k = 0; k < channelsOfLane; k++)
    {
        int32 c = lane + k * lanes;
        if (c < headWidth)
        {
            float value = sums[k] * factor;
            target[c] = accumulate != 0 ? target[c] + value : value;
        }
    }
}

__device__ inline void clear(float* first, int32 count)
{
    for (int32 c = threadIdx.x % lanes; c < count; c += lanes)
    {
        first[c] = 0.0f;
    }
}

extern "C" __global__ void __launch_bounds__(256) attentionForward(const __grid_constant__ AttentionArguments arguments)
{
    int32 lane = threadIdx.x % lanes;
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        Place place(arguments, row);
        const float* query = arguments.packed + place.packed;
        float sums[channelsOfLane] = {};
        float maximum = negativeInfinity();
        float sum = 0.0f;
        for (int32 start = 0; start < arguments.tokens; start += lanes)
        {
            int32 count = min(lanes, arguments.tokens - start);
            const float* keys = place.queries + place.width + static_cast<int64>(start) * arguments.packedPitch;
            float score = lane < count ? arguments.scale * dot(query, keys + static_cast<int64>(lane) * arguments.packedPitch, arguments.headWidth) : negativeInfinity();
            float largest = fmaxf(maximum, reduceWarp(score, Maximum()));
            float correction = expf(maximum - largest);
            float probability = lane < count ? expf(score - largest) : 0.0f;
            sum = sum * correction + reduceWarp(probability, Sum());
#pragma unroll
            for (int32 k = 0; k < channelsOfLane; k++)
            {
                sums[k] *= correction;
            }

            addTile(probability, keys + place.width, arguments.packedPitch, count, arguments.headWidth, sums);
            maximum = largest;
        }

        float* output = arguments.output + place.output + static_cast<int64>(place.token) * arguments.outputPitch;
        store(output, sums, 1.0f / sum, arguments.headWidth, 0);
        if (place.head == arguments.heads - 1)
        {
            clear(output + arguments.headWidth, arguments.outputPitch - place.width);
        }

        if (lane == 0)
        {
            arguments.statistics[row] = maximum + logf(sum);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) attentionQueries(const __grid_constant__ AttentionArguments arguments)
{
    int32 lane = threadIdx.x % lanes;
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        Place place(arguments, row);
        const float* query = arguments.packed + place.packed;
        int64 out = place.output + static_cast<int64>(place.token) * arguments.outputPitch;
        const float* gradient = arguments.outputGradient + out;
        float product = 0.0f;
        for (int32 c = lane; c < arguments.headWidth; c += lanes)
        {
            product = fmaf(gradient[c], arguments.output[out + c], product);
        }

        product = reduceWarp(product, Sum());
        float logSum = arguments.statistics[row];
        float sums[channelsOfLane] = {};
        for (int32 start = 0; start < arguments.tokens; start += lanes)
        {
            int32 count = min(lanes, arguments.tokens - start);
            const float* keys = place.queries + place.width + static_cast<int64>(start) * arguments.packedPitch;
            float score = 0.0f;
            if (lane < count)
            {
                const float* key = keys + static_cast<int64>(lane) * arguments.packedPitch;
                float probability = expf(arguments.scale * dot(query, key, arguments.headWidth) - logSum);
                score = probability * (dot(gradient, key + place.width, arguments.headWidth) - product);
            }

            addTile(score, keys, arguments.packedPitch, count, arguments.headWidth, sums);
        }

        float* target = arguments.packedGradient + place.packed;
        store(target, sums, arguments.scale, arguments.headWidth, arguments.accumulate);
        if (place.head == arguments.heads - 1 && arguments.accumulate == 0)
        {
            clear(target + 2 * place.width + arguments.headWidth, arguments.packedPitch - 3 * place.width);
        }

        if (lane == 0)
        {
            arguments.statistics[arguments.rows + row] = product;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) attentionKeys(const __grid_constant__ AttentionArguments arguments)
{
    int32 lane = threadIdx.x % lanes;
    for (int32 row = warpRow(); row < arguments.rows; row += warpRows())
    {
        Place place(arguments, row);
        const float* key = arguments.packed + place.packed + place.width;
        int32 firstRow = row - place.token;
        float keySums[channelsOfLane] = {};
        float valueSums[channelsOfLane] = {};
        for (int32 start = 0; start < arguments.tokens; start += lanes)
        {
            int32 count = min(lanes, arguments.tokens - start);
            const float* queries = place.queries + static_cast<int64>(start) * arguments.packedPitch;
            const float* gradients = arguments.outputGradient + place.output + static_cast<int64>(start) * arguments.outputPitch;
            float probability = 0.0f;
            float score = 0.0f;
            if (lane < count)
            {
                int32 other = firstRow + start + lane;
                probability = expf(arguments.scale * dot(queries + static_cast<int64>(lane) * arguments.packedPitch, key, arguments.headWidth) - arguments.statistics[other]);
                score = probability
                    * (dot(gradients + static_cast<int64>(lane) * arguments.outputPitch, key + place.width, arguments.headWidth) - arguments.statistics[arguments.rows + other]);
            }

            addTile(score, queries, arguments.packedPitch, count, arguments.headWidth, keySums);
            addTile(probability, gradients, arguments.outputPitch, count, arguments.headWidth, valueSums);
        }

        float* target = arguments.packedGradient + place.packed + place.width;
        store(target, keySums, arguments.scale, arguments.headWidth, arguments.accumulate);
        store(target + place.width, valueSums, 1.0f, arguments.headWidth, arguments.accumulate);
    }
}
