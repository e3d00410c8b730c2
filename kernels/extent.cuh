// What a tile's statistics are made of.
#pragma once
#include "common.cuh"

// Moments and extrema of some values; the moments are sums of differences from a pivot, and of their squares.
struct Extent
{
    float sum;
    float squares;
    float maximum;
    float minimum;

    __device__ void add(float value, float pivot)
    {
        float difference = value - pivot;
        sum += difference;
        squares = fmaf(difference, difference, squares);
        maximum = fmaxf(maximum, value);
        minimum = fminf(minimum, value);
    }

    __device__ void merge(const Extent& other)
    {
        sum += other.sum;
        squares += other.squares;
        maximum = fmaxf(maximum, other.maximum);
        minimum = fminf(minimum, other.minimum);
    }
};
