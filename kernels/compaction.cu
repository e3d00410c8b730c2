// Physical compaction: destination[o, m, i] = source[rowIndex[o], m, columnIndex[i]] for many arrays of 4-byte elements in one launch. Bits are moved, never changed;
// the padding of the destinations is written as zero.
//
// Launch: a block of 256 threads writes one chunk of 4,096 elements of one array (jobs.cuh), a thread four elements at a time.
//
// Moved: what is kept, read once (in sectors of 32 bytes: scattered columns read up to all of their row) and written once. Limited by memory.
#include "jobs.cuh"

enum
{
    chunkFours = 1024,
    smallJobs = 72,
    largeJobs = 584,
};

struct GatherTableJob
{
    const uint32* source;
    uint32* destination;
    const int32* rowIndex;    // or null: all rows
    const int32* columnIndex; // or null: all columns
    int32 firstChunk;
    int32 segments; // rows · middle of the destination
    int32 middle;
    int32 columns;
    int32 sourcePitch;
    int32 unused;
};

struct GatherArguments
{
    int32 jobCount;
    int32 unused;
    GatherTableJob jobs[smallJobs];
};

struct LargeGatherArguments
{
    int32 jobCount;
    int32 unused;
    GatherTableJob jobs[largeJobs];
};

template <class Arguments>
__device__ inline void gatherChunk(const Arguments& arguments)
{
    int32 chunk = blockIdx.x;
    const GatherTableJob& job = arguments.jobs[findJob(arguments, chunk)];
    uint32 columns = job.columns;
    uint32 middle = job.middle;
    uint32 foursPerSegment = divideUp(columns, 8u) * 2;
    uint32 fours = job.segments * foursPerSegment;
    uint32 first = static_cast<uint32>(chunk - job.firstChunk) * chunkFours;
    uint32 last = min(first + chunkFours, fours);
    for (uint32 four = first + threadIdx.x; four < last; four += blockDim.x)
    {
        uint32 segment = four / foursPerSegment;
        uint32 column = (four - segment * foursPerSegment) * 4;
        uint32 row = segment / middle;
        uint32 within = segment - row * middle;
        uint32 sourceRow = job.rowIndex == nullptr ? row : job.rowIndex[row];
        const uint32* source = job.source + (static_cast<int64>(sourceRow) * middle + within) * job.sourcePitch;
        uint4 value{};
        if (job.columnIndex != nullptr)
        {
            const int32* index = job.columnIndex + column;
            value.x = column < columns ? source[index[0]] : 0;
            value.y = column + 1 < columns ? source[index[1]] : 0;
            value.z = column + 2 < columns ? source[index[2]] : 0;
            value.w = column + 3 < columns ? source[index[3]] : 0;
        }
        else if (column < columns)
        {
            value = *reinterpret_cast<const uint4*>(source + column);
            value.y = column + 1 < columns ? value.y : 0;
            value.z = column + 2 < columns ? value.z : 0;
            value.w = column + 3 < columns ? value.w : 0;
        }

        reinterpret_cast<uint4*>(job.destination)[four] = value;
    }
}

extern "C" __global__ void __launch_bounds__(256) gather(const __grid_constant__ GatherArguments arguments)
{
    gatherChunk(arguments);
}

#ifdef LARGE_ARGUMENTS
extern "C" __global__ void __launch_bounds__(256) gatherLarge(const __grid_constant__ LargeGatherArguments arguments)
{
    gatherChunk(arguments);
}
#endif
