// Which source pixels and filter taps meet in a convolution, one dimension at a time.
#pragma once
#include "common.cuh"

// One dimension of a gather: pixel p, tap t reads source position origin + p·pixelStep + t·tapStep. Pixel p is position phase + p·positionStep of the output.
struct Axis
{
    int32 pixels;
    int32 origin;
    int32 pixelStep;
    int32 taps;
    int32 tapStep;
    int32 firstTap; // of the filter, and from one tap to the next
    int32 tapStride;
    int32 phase;
    int32 positionStep;
};

__device__ inline Axis forwardAxis(int32 pixels, int32 kernel, int32 stride, int32 padding, int32 dilation)
{
    return {pixels, -padding, stride, kernel, dilation, 0, 1, 0, 1};
}

// The positions phase, phase + stride, … of the input meet the taps r with (phase + padding − r·dilation) divisible by the stride, every tapStride-th one.
__device__ inline Axis gradientAxis(int32 positions, int32 phase, int32 kernel, int32 stride, int32 padding, int32 dilation)
{
    int32 first = 0;
    int32 tapStride = 1;
    if (stride > 1)
    {
        while (first < kernel && (phase + padding - first * dilation) % stride != 0)
        {
            first++;
        }

        while (tapStride * dilation % stride != 0)
        {
            tapStride++;
        }
    }

    int32 taps = first < kernel ? (kernel - first + tapStride - 1) / tapStride : 0;
    return {(positions - phase + stride - 1) / stride, (phase + padding - first * dilation) / stride, 1, taps, -(tapStride * dilation / stride), first, tapStride, phase, stride};
}
