// Filter gradient of a convolution on tensor cores: operands bf16 as they lie in memory, or float32 rounded to tf32; float32 sums. Images NHWC, filters
// [out, kernelHeight, kernelWidth, in/groups]. Groups must start on multiples of 8 channels.
//
//   ∂w[o, r, s, i] = Σ_{n,oh,ow} ∂y[n, oh, ow, o]·x[n, oh·stride + r·dilation − padding, ow·stride + s·dilation − padding, i]
//
// One product C[o, (tap, i)] a group, with the output's pixels as depth: both operands have their elements, not the depth, contiguous, in memory as in shared memory; bf16
// is transposed by ldmatrix, tf32 read four elements at a time. There are few tiles of C but many pixels, so the pixels are divided into splits, a number of the sizes
// only; every split writes partial sums [split][out][taps·pitch] laid out as the weight, padding zero. combineFilterGradient adds them in ascending order, or the optimizer does.
//
// Launch: a block of 128 threads a tile of C (rows × columns of the name) and split: tiles in x, splits in y, groups in z. 256 · (rows + columns) bytes of dynamic shared
// memory, and 2.3 KB for what is known of the next pixels.
//
// Moved: ∂y once a column of tiles and x once a tap and row of tiles, mostly out of the second-level cache; the partial sums once, and once more by who adds them up.
// Limits, predicted and not measured: from 64 channels on the tensor cores, 2·pixels·taps·in·out operations, of which mma.sync reaches at most about 65 % of wgmma's rate on compute
// capability 9.0; a warp of 64 × 64 reads shared memory for 32 clocks where the tensor cores are busy for 32. Below 64 channels, the copies: 16 bytes feed few products.
//   Issue slots: a scheduler issues one instruction a clock, and an mma.sync keeps its tensor core for about 6.4 clocks on compute capability 9.0. Instructions of a step, finding pixels included,
//   for each mma.sync (`saturn kernels show`, sm_90a, one or two taps a block): bf16 2.5 (128 × 128), 3.6 (64 × 128, 128 × 64), 5.4 (32 × 128); tf32, which rounds its operands, 3.2, 4.5, 7.
//   bf16, batch 128, in thousands of clocks of each of 528 schedulers: 64 to 64 channels, 3 × 3, 32 × 32 (64 × 128 tiles): 32 on the tensor cores, 18 of issue; 256 to 256, 3 × 3, 8 × 8 (128 × 128):
//   29 and 11. Only 32 × 128 tiles of tf32 are limited by issue.
#include "filter_gradient.cuh"
#include "tensor_product.cuh"

template <class Product>
__device__ inline void filterGradient(const FilterGradientArguments& arguments)
{
    extern __shared__ __align__(128) char shared[];
    FilterGradientPart<Product::rows, Product::columns> part(arguments);
    __shared__ FilterGradientPixels<Product::threads> pixels;
    FilterGradientSource<typename Product::Left::Element, typename Product::Left, typename Product::Right, Product::depths, Product::threads> source(arguments, part, pixels);
    Product product;
    product.multiply(source, divideUp<int32>(part.pixels, Product::depths), shared);

    float* partials = part.partials(arguments);
#pragma unroll
    for (int run = 0; run < Product::runs; run++)
    {
        int32 element = part.firstColumn + Product::column(run);
        if (element >= part.totalColumns)
        {
            continue;
        }

        // A pitch is a multiple of 8, so a run is of one tap. Products with the padding are zero, unless they are with something infinite.
        int32 channels = arguments.inputChannels - element % arguments.depth;
#pragma unroll
        for (int i = 0; i < Product::rowFragments; i++)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                int32 output = part.firstRow + Product::row(i, half);
                if (output < arguments.outputChannels)
                {
                    float* target = partials + static_cast<int64>(output) * part.totalColumns + element;
                    float values[Product::runLength];
#pragma unroll
                    for (int j = 0; j < Product::runLength; j++)
                    {
                        values[j] = j < channels ? product.sum(i, half, run, j) : 0.0f;
                    }

                    storeRun(target, values);
                }
            }
        }
    }
}

// Blocks on a multiprocessor, as many as shared memory allows.
#define ENTRY_POINTS(rows, columns, rowWarps, columnWarps, blocks)                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128, blocks) filterGradientBf16_##rows##x##columns(const __grid_constant__ FilterGradientArguments arguments)           \
    {                                                                                                                                                            \
        filterGradient<TensorProduct<Bf16Outer<rows>, Bf16Outer<columns>, rowWarps, columnWarps>>(arguments);                                                    \
    }                                                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, blocks) filterGradientTf32_##rows##x##columns(const __grid_constant__ FilterGradientArguments arguments)           \
    {                                                                                                                                                            \
        filterGradient<TensorProduct<Tf32Outer<rows>, Tf32Outer<columns>, rowWarps, columnWarps>>(arguments);                                                    \
    }

ENTRY_POINTS(128, 128, 2, 2, 2)
ENTRY_POINTS(64, 128, 2, 2, 4)
ENTRY_POINTS(128, 64, 2, 2, 4)
ENTRY_POINTS(32, 128, 1, 4, 5)
