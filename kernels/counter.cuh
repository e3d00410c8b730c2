// Walking through images pixel by pixel, or through filters tap by tap, without divisions.
#pragma once
#include "common.cuh"

// A position (outer, middle, inner) in mixed radix that advances by a fixed number of inner steps without divisions.
struct Counter
{
    int32 outer;
    int32 middle;
    int32 inner;

    __device__ Counter() {}

    __device__ Counter(int32 position, int32 middleExtent, int32 innerExtent)
    {
        middle = position / innerExtent;
        inner = position - middle * innerExtent;
        outer = middle / middleExtent;
        middle -= outer * middleExtent;
    }

    // The step is itself a position: so many outer, middle and inner steps.
    __device__ void advance(const Counter& step, int32 middleExtent, int32 innerExtent)
    {
        inner += step.inner;
        middle += step.middle;
        outer += step.outer;
        if (inner >= innerExtent)
        {
            inner -= innerExtent;
            middle++;
        }

        if (middle >= middleExtent)
        {
            middle -= middleExtent;
            outer++;
        }
    }
};
