// Parameter updates of many tensors in one launch, with regulariser and masked noise, and clipping by the global norm.
//
//   gradient = part₀ + part₁ + …                                (where it comes in parts)
//   g ← scale·gradient + (decay + 2·λ₂)·w + λ₁·sign(w)          (the decay here only where it is not decoupled)
//   SGD:  m ← momentum·m + g;  u = m, or g + momentum·m with Nesterov, or g without momentum
//   dual averaging: u as SGD
//   Adam: m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²;  u = m̂/(√v̂ + ε)
//   w ← (1 − η·decay)·w − η·u                                   (the decay here only where it is decoupled)
//   w ← w + σ·normal                                            for live rows (elements of a vector), or where |scale·gradient| reaches a threshold
//
// Dual averaging takes the last two lines with its accumulator a in the place of w, and then w ← sign(a)·max(|a| − g, 0); so noise never lifts a weight that is below the threshold g.
// Where w is not what the last step's threshold left of a, it was written in between, and a is set anew first.
//
// Where a copy of the weight in bfloat16 is kept, it is written along, rounded to nearest even.
//
// What changes from step to step travels in the arguments, or, where a recorded graph repeats the launch with the arguments it had, lies in device memory: UpdateScalars, and behind them
// UpdateRates, one a tensor.
//
// The normal number of weight (o, tap, i) of tensor T is lane i₀ mod 4 of Philox counter (i₀ div 4, tap, o₀, T), where o₀ and i₀ are the dense model's channels. All
// roundings are spelled out, because the host's update gives the same bits: nothing is left to the compiler to fuse.
//
// Launch: a block of 256 threads updates one chunk of 4,096 floats of one tensor (jobs.cuh), a thread four floats at a time: it loads them from all arrays before it uses any, 48 bytes with momentum,
// which 1,024 resident threads make 48 KB.
//
// Moved: w twice, the gradient once, each moment twice: 12 bytes a parameter for plain SGD, 20 with momentum, 28 for Adam; the accumulator of dual averaging adds 8 to SGD's, each further part of
// the gradient 4, the copy 2. Limited by memory, where there is noise by its integer multiplications.
#include "jobs.cuh"
#include "philox.cuh"
#include "tensor_core.cuh"

enum
{
    chunkFours = 1024,
    smallJobs = 31,
    largeJobs = 255,
};

enum Rule
{
    sgd,
    adaptive, // Adam
    dualAveraging,
};

// The settings of one tensor that change from step to step.
struct UpdateRates
{
    float learningRate;
    float decay; // what is added to the gradient times w
    float kept;  // what is left of w by decoupled decay
    float l1;
    float noise;          // σ
    float noiseThreshold; // above 0: liveness is decided weight by weight
    float threshold;      // g of dual averaging
    float lastThreshold;  // that of the last step
};

struct UpdateJob
{
    float* weight;
    const float* gradient;
    float* firstMoment;  // or null: SGD and dual averaging without momentum
    float* secondMoment; // Adam's, or the accumulator of dual averaging
    uint2* reducedCopy;  // bfloat16, or null
    const uint32* liveFlags;       // or null: all are live
    const uint32* originalRows;    // or null: unchanged
    const uint32* originalColumns; // or null: unchanged
    int32 gradientParts;
    uint32 partFours; // from one part of the gradient to the next
    int32 firstChunk;
    int32 segments; // rows · middle
    int32 middle;
    int32 columns;
    uint32 tensorId;
    int32 vector; // 1: live flags count elements; 0: rows
    UpdateRates rates;
};

// What all tensors share and changes from step to step.
struct UpdateScalars
{
    float firstCorrection; // 1/(1 − β₁^step)
    float secondCorrection;
    uint32 key0;
    uint32 key1;
};

struct UpdateRule
{
    const float* gradientScale;         // or null: 1
    const UpdateScalars* deviceScalars; // or null: those below
    const UpdateRates* deviceRates;     // or null: those of the jobs
    int32 rule; // enum Rule
    int32 nesterov;
    float momentum;
    float beta1;
    float beta2;
    float epsilon;
    UpdateScalars scalars;
};

struct UpdateArguments
{
    UpdateRule rule;
    int32 jobCount;
    int32 unused;
    UpdateJob jobs[smallJobs];
};

struct LargeUpdateArguments
{
    UpdateRule rule;
    int32 jobCount;
    int32 unused;
    UpdateJob jobs[largeJobs];
};

__device__ inline float4 addParts(float4 sum, float4 part)
{
    return {__fadd_rn(sum.x, part.x), __fadd_rn(sum.y, part.y), __fadd_rn(sum.z, part.z), __fadd_rn(sum.w, part.w)};
}

// Four elements of a gradient that comes in parts, added in ascending order; four loads are under way at a time.
__device__ inline float4 loadGradient(const float* gradient, int32 parts, uint32 partFours, uint32 four)
{
    constexpr int atOnce = 4;
    const float4* source = reinterpret_cast<const float4*>(gradient) + four;
    float4 sum = *source;
#pragma unroll 1
    for (int32 part = 1; part < parts; part += atOnce)
    {
        float4 further[atOnce];
#pragma unroll
        for (int i = 0; i < atOnce; i++)
        {
            source += partFours;
            if (part + i < parts)
            {
                further[i] = *source;
            }
        }

#pragma unroll
        for (int i = 0; i < atOnce; i++)
        {
            if (part + i < parts)
            {
                sum = addParts(sum, further[i]);
            }
        }
    }

    return sum;
}

// The gradient that the rule sees.
__device__ inline float regularise(const UpdateRates& rates, float weight, float gradient)
{
    float g = fmaf(weight, rates.decay, gradient);
    float pull = weight == 0 ? 0 : copysignf(rates.l1, weight);
    return rates.l1 == 0 ? g : __fadd_rn(g, pull);
}

__device__ inline float adam(const UpdateRule& rule, const UpdateScalars& scalars, float g, float& first, float& second)
{
    first = fmaf(g, __fsub_rn(1, rule.beta1), __fmul_rn(first, rule.beta1));
    second = fmaf(__fmul_rn(g, g), __fsub_rn(1, rule.beta2), __fmul_rn(second, rule.beta2));
    float root = __fadd_rn(__fsqrt_rn(__fmul_rn(second, scalars.secondCorrection)), rule.epsilon);
    return __fdiv_rn(__fmul_rn(first, scalars.firstCorrection), root);
}

__device__ inline float momentum(const UpdateRule& rule, float g, float& first)
{
    first = fmaf(first, rule.momentum, g);
    return rule.nesterov ? fmaf(first, rule.momentum, g) : first;
}

__device__ inline float step(const UpdateRates& rates, float weight, float update)
{
    return __fsub_rn(__fmul_rn(weight, rates.kept), __fmul_rn(rates.learningRate, update));
}

// What a soft threshold leaves of the accumulator. What is not a number stays none: a run that has diverged must be seen, not pruned.
__device__ inline float shrink(float threshold, float accumulator)
{
    float magnitude = fabsf(accumulator);
    return magnitude <= threshold ? 0 : copysignf(__fsub_rn(magnitude, threshold), accumulator);
}

// The accumulator, or where the weight was written since the last step, one that the last threshold turns into the weight.
__device__ inline float follow(float lastThreshold, float accumulator, float weight)
{
    float restarted = weight == 0 ? 0 : __fadd_rn(weight, copysignf(lastThreshold, weight));
    return shrink(lastThreshold, accumulator) == weight ? accumulator : restarted;
}

// Four neighbouring weights of one row and tap. Neighbours in the dense model share a Philox block, and of it a pair of numbers, which are then computed once.
struct Noise
{
    const UpdateScalars& scalars;
    const UpdateJob& job;
    const UpdateRates& rates;
    uint32 row; // of the dense model
    uint32 tap;
    bool vector;
    uint32 block;
    uint32 pair;
    uint4 words;
    float2 normals;

    __device__ void add(uint32 column, float& weight, float gradient)
    {
        bool live = column < static_cast<uint32>(job.columns);
        if (live && vector && job.liveFlags != nullptr)
        {
            live = (job.liveFlags[column / 32] >> (column % 32) & 1) != 0;
        }

        if (rates.noiseThreshold > 0)
        {
            live = live && fabsf(gradient) >= rates.noiseThreshold;
        }

        if (live)
        {
            uint32 index = job.originalColumns == nullptr ? column : job.originalColumns[column];
            if (index / 2 != pair)
            {
                if (index / 4 != block)
                {
                    block = index / 4;
                    words = philoxBlock(block, tap, row, job.tensorId, scalars.key0, scalars.key1);
                }

                pair = index / 2;
                bool upper = pair % 2 != 0;
                normals = philoxNormalPair(upper ? words.z : words.x, upper ? words.w : words.y);
            }

            weight = __fadd_rn(weight, __fmul_rn(index % 2 == 0 ? normals.x : normals.y, rates.noise));
        }
    }
};

__device__ inline void addNoise(const UpdateScalars& scalars, const UpdateJob& job, const UpdateRates& rates, uint32 four, float4& weight, float4 gradient)
{
    uint32 foursPerSegment = divideUp(job.columns, 8) * 2;
    uint32 segment = four / foursPerSegment;
    uint32 column = (four - segment * foursPerSegment) * 4;
    uint32 row = segment / static_cast<uint32>(job.middle);
    uint32 tap = segment - row * job.middle;
    bool vector = job.vector != 0;
    if (!vector && job.liveFlags != nullptr && (job.liveFlags[row / 32] >> (row % 32) & 1) == 0)
    {
        return;
    }

    Noise noise{scalars, job, rates, job.originalRows == nullptr ? row : job.originalRows[row], tap, vector, 0xFFFFFFFF, 0xFFFFFFFF, {}, {}};
    noise.add(column, weight.x, gradient.x);
    noise.add(column + 1, weight.y, gradient.y);
    noise.add(column + 2, weight.z, gradient.z);
    noise.add(column + 3, weight.w, gradient.w);
}

template <class Arguments>
__device__ inline void updateChunk(const Arguments& arguments)
{
    int32 chunk = blockIdx.x;
    int32 jobIndex = findJob(arguments, chunk);
    const UpdateJob& job = arguments.jobs[jobIndex];
    const UpdateRule& rule = arguments.rule;
    __shared__ UpdateScalars scalars;
    __shared__ UpdateRates rates;
    if (threadIdx.x == 0)
    {
        scalars = rule.deviceScalars == nullptr ? rule.scalars : *rule.deviceScalars;
        rates = rule.deviceRates == nullptr ? job.rates : rule.deviceRates[jobIndex];
    }

    __syncthreads();
    uint32 fours = static_cast<uint32>(job.segments) * (divideUp(job.columns, 8) * 2);
    uint32 start = static_cast<uint32>(chunk - job.firstChunk) * chunkFours;
    uint32 last = min(start + chunkFours, fours);
    float scale = rule.gradientScale == nullptr ? 1.0f : *rule.gradientScale;
    float4* weights = reinterpret_cast<float4*>(job.weight);
    float4* firsts = reinterpret_cast<float4*>(job.firstMoment);
    float4* seconds = reinterpret_cast<float4*>(job.secondMoment);
    bool hasFirst = firsts != nullptr;
    bool hasSecond = rule.rule != sgd;
#pragma unroll 1
    for (uint32 four = start + threadIdx.x; four < last; four += blockDim.x)
    {
        // All loads before the first use.
        float4 weight = weights[four];
        float4 first = hasFirst ? firsts[four] : float4{};
        float4 second = hasSecond ? seconds[four] : float4{};
        float4 gradient = loadGradient(job.gradient, job.gradientParts, job.partFours, four);
        gradient = {__fmul_rn(gradient.x, scale), __fmul_rn(gradient.y, scale), __fmul_rn(gradient.z, scale), __fmul_rn(gradient.w, scale)};
        float4 update = {
            regularise(rates, weight.x, gradient.x), regularise(rates, weight.y, gradient.y), regularise(rates, weight.z, gradient.z),
            regularise(rates, weight.w, gradient.w)};
        if (rule.rule == adaptive)
        {
            update.x = adam(rule, scalars, update.x, first.x, second.x);
            update.y = adam(rule, scalars, update.y, first.y, second.y);
            update.z = adam(rule, scalars, update.z, first.z, second.z);
            update.w = adam(rule, scalars, update.w, first.w, second.w);
            firsts[four] = first;
            seconds[four] = second;
        }
        else if (hasFirst)
        {
            update.x = momentum(rule, update.x, first.x);
            update.y = momentum(rule, update.y, first.y);
            update.z = momentum(rule, update.z, first.z);
            update.w = momentum(rule, update.w, first.w);
            firsts[four] = first;
        }

        bool averages = rule.rule == dualAveraging;
        if (averages)
        {
            float threshold = rates.lastThreshold;
            weight = {follow(threshold, second.x, weight.x), follow(threshold, second.y, weight.y), follow(threshold, second.z, weight.z), follow(threshold, second.w, weight.w)};
        }

        weight = {step(rates, weight.x, update.x), step(rates, weight.y, update.y), step(rates, weight.z, update.z), step(rates, weight.w, update.w)};
        if (rates.noise != 0)
        {
            addNoise(scalars, job, rates, four, weight, gradient);
        }

        if (averages)
        {
            seconds[four] = weight;
            float threshold = rates.threshold;
            weight = {shrink(threshold, weight.x), shrink(threshold, weight.y), shrink(threshold, weight.z), shrink(threshold, weight.w)};
        }

        weights[four] = weight;
        if (job.reducedCopy != nullptr)
        {
            job.reducedCopy[four] = {packBf16(weight.x, weight.y), packBf16(weight.z, weight.w)};
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) update(const __grid_constant__ UpdateArguments arguments)
{
    updateChunk(arguments);
}

#ifdef LARGE_ARGUMENTS
extern "C" __global__ void __launch_bounds__(256) updateLarge(const __grid_constant__ LargeUpdateArguments arguments)
{
    updateChunk(arguments);
}
#endif

// Clipping: Σ g² by chunks in float64, then the chunks in order.
enum
{
    squareJobs = 170,
};

struct SquareJob
{
    const float* gradient;
    int32 gradientParts;
    uint32 partFours;
    int32 firstChunk;
    uint32 fours;
};

struct SquareArguments
{
    double* partials; // one a chunk of this launch
    int32 jobCount;
    int32 unused;
    SquareJob jobs[squareJobs];
};

extern "C" __global__ void __launch_bounds__(256) squareGradients(const __grid_constant__ SquareArguments arguments)
{
    __shared__ double scratch[lanes];
    int32 chunk = blockIdx.x;
    const SquareJob& job = arguments.jobs[findJob(arguments, chunk)];
    uint32 start = static_cast<uint32>(chunk - job.firstChunk) * chunkFours;
    uint32 last = min(start + chunkFours, job.fours);
    double sum = 0;
#pragma unroll 1
    for (uint32 four = start + threadIdx.x; four < last; four += blockDim.x)
    {
        float4 gradient = loadGradient(job.gradient, job.gradientParts, job.partFours, four);
        sum = fma(static_cast<double>(gradient.x), static_cast<double>(gradient.x), sum);
        sum = fma(static_cast<double>(gradient.y), static_cast<double>(gradient.y), sum);
        sum = fma(static_cast<double>(gradient.z), static_cast<double>(gradient.z), sum);
        sum = fma(static_cast<double>(gradient.w), static_cast<double>(gradient.w), sum);
    }

    sum = reduceBlock(sum, Sum(), 0.0, scratch);
    if (threadIdx.x == 0)
    {
        arguments.partials[chunk] = sum;
    }
}

struct ClipArguments
{
    const double* partials;
    float* result; // the scale of the gradients, and their norm
    int32 chunks;
    float scale;
    float maximumNorm;
    int32 unused;
};

extern "C" __global__ void __launch_bounds__(256) clipScale(const __grid_constant__ ClipArguments arguments)
{
    __shared__ double scratch[lanes];
    double sum = 0;
    for (int32 chunk = threadIdx.x; chunk < arguments.chunks; chunk += blockDim.x)
    {
        sum += arguments.partials[chunk];
    }

    sum = reduceBlock(sum, Sum(), 0.0, scratch);
    if (threadIdx.x == 0)
    {
        double scale = arguments.scale;
        double norm = sqrt(sum) * fabs(scale);
        double ratio = arguments.maximumNorm / (norm + 1e-6);
        // Written so that a norm that is not a number makes the scale none either.
        arguments.result[0] = static_cast<float>(ratio >= 1 ? scale : scale * ratio);
        arguments.result[1] = static_cast<float>(norm);
    }
}
