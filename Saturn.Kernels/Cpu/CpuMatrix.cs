using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Matrix products on the host, on the tiles of the convolutions: rows of A are the pixels, and B is packed like the weights of a 1×1 filter.</summary>
internal sealed unsafe class CpuMatrix(WorkerTeam team, CpuMemory memory, bool wide) : IMatrixKernels
{
    /// <summary>A multiple of the rows of every tile.</summary>
    private const int RowsPerTask = 48;

    /// <inheritdoc/>
    public void Multiply(in MatrixShape shape, DeviceBuffer left, DeviceBuffer right, DeviceBuffer output, float alpha = 1, float beta = 0)
    {
        long packedFloats = (shape.Columns + 15) / 16 * 16L * shape.Depth;
        DeviceBuffer packed = memory.Allocate(packedFloats * sizeof(float));
        DeviceBuffer rows = shape.TransposeLeft ? memory.Allocate((long)shape.Rows * shape.Depth * sizeof(float)) : default;
        for (int batch = 0; batch < shape.Batch; batch++)
        {
            PackJob pack = new()
            {
                Shape = shape,
                Left = (float*)left.Address + batch * shape.LeftBatchStride,
                Right = (float*)right.Address + batch * shape.RightBatchStride,
                Packed = (float*)packed.Address,
                Rows = (float*)rows.Address,
                Wide = wide,
            };
            int vectors = (shape.Columns + 15) / 16;
            pack.Vectors = vectors;
            team.Run(ref pack, vectors + (shape.TransposeLeft ? (shape.Rows + RowsPerTask - 1) / RowsPerTask : 0));
            ProductJob product = new()
            {
                Shape = shape,
                Left = shape.TransposeLeft ? pack.Rows : pack.Left,
                LeftPitch = shape.TransposeLeft ? shape.Depth : shape.LeftPitch,
                Packed = pack.Packed,
                Output = (float*)output.Address + batch * shape.OutputBatchStride,
                Alpha = alpha,
                Beta = beta,
                Wide = wide,
            };
            team.Run(ref product, (shape.Rows + RowsPerTask - 1) / RowsPerTask);
        }

        memory.Free(packed);
        if (shape.TransposeLeft)
        {
            memory.Free(rows);
        }
    }

    private struct PackJob : IParallelJob
    {
        public MatrixShape Shape;
        public float* Left;
        public float* Right;
        public float* Packed;
        public float* Rows;
        public int Vectors;
        public bool Wide;

        public readonly void Run(int item, int worker)
        {
            if (item >= Vectors)
            {
                int first = (item - Vectors) * RowsPerTask;
                int last = Math.Min(first + RowsPerTask, Shape.Rows);
                for (int k = 0; k < Shape.Depth; k++)
                {
                    for (int m = first; m < last; m++)
                    {
                        Rows[(long)m * Shape.Depth + k] = Left[(long)k * Shape.LeftPitch + m];
                    }
                }

                return;
            }

            float* target = Packed + new ChannelBlocks(Shape.Columns, Wide).PackedOffset(item, Shape.Depth, out int step);
            int lanes = Math.Min(16, Shape.Columns - item * 16);
            for (int k = 0; k < Shape.Depth; k++)
            {
                for (int lane = 0; lane < 16; lane++)
                {
                    long column = item * 16 + lane;
                    target[lane] = lane >= lanes ? 0 : Shape.TransposeRight ? Right[column * Shape.RightPitch + k] : Right[(long)k * Shape.RightPitch + column];
                }

                target += step;
            }
        }
    }

    private struct ProductJob : IParallelJob
    {
        public MatrixShape Shape;
        public float* Left;
        public int LeftPitch;
        public float* Packed;
        public float* Output;
        public float Alpha;
        public float Beta;
        public bool Wide;

        [SkipLocalsInit]
        public readonly void Run(int item, int worker)
        {
            float* initial = stackalloc float[48];
            float* buffer = stackalloc float[8 * 48];
            int* offsets = stackalloc int[8];
            int* outputOffsets = stackalloc int[8];
            int* bufferOffsets = stackalloc int[8];
            new Span<float>(initial, 48).Clear();
            TapRun run = new() { Offset = 0, Length = Shape.Depth };
            ConvolutionTile tile = new() { Runs = &run, RunCount = 1, Initial = initial, Pixels = offsets };
            int first = item * RowsPerTask;
            int last = Math.Min(first + RowsPerTask, Shape.Rows);
            ChannelBlocks blocks = new(Shape.Columns, Wide);
            int step = Wide ? 8 : CpuNarrowTiles.Pixels;
            int width;
            for (int vector = 0; vector < blocks.Vectors; vector += width)
            {
                width = blocks.WidthAt(vector);
                tile.Weights = Packed + (long)vector * 16 * Shape.Depth;
                bool plain = Alpha == 1 && Beta == 0 && (vector + width) * 16 <= Math.Min(Shape.OutputPitch, Kernels.Shape.PitchOf(Shape.Columns));
                for (int row = first; row < last; row += step)
                {
                    int count = Math.Min(step, last - row);
                    for (int i = 0; i < step; i++)
                    {
                        offsets[i] = Math.Min(i, count - 1) * LeftPitch;
                        outputOffsets[i] = i * Shape.OutputPitch;
                        bufferOffsets[i] = i * width * 16;
                    }

                    bool direct = plain && count == step;
                    tile.Source = Left + (long)row * LeftPitch;
                    tile.Output = direct ? Output + (long)row * Shape.OutputPitch + vector * 16 : buffer;
                    tile.OutputOffsets = direct ? outputOffsets : bufferOffsets;
                    switch (width)
                    {
                        case var _ when !Wide:
                            CpuNarrowTiles.Convolution(tile);
                            break;
                        case 1:
                            CpuConvolutionTiles.Tile1(tile);
                            break;
                        case 2:
                            CpuConvolutionTiles.Tile2(tile);
                            break;
                        default:
                            CpuConvolutionTiles.Tile3(tile);
                            break;
                    }

                    for (int i = 0; !direct && i < count; i++)
                    {
                        for (int v = 0; v < width; v++)
                        {
                            Store(Vector512.Load(buffer + bufferOffsets[i] + v * 16), row + i, (vector + v) * 16);
                        }
                    }
                }
            }
        }

        private readonly void Store(Vector512<float> sum, int row, int column)
        {
            float* target = Output + (long)row * Shape.OutputPitch + column;
            int valid = Math.Min(16, Shape.Columns - column);
            int written = Math.Min(16, Math.Min(Shape.OutputPitch, Kernels.Shape.PitchOf(Shape.Columns)) - column);
            if (Alpha != 1)
            {
                sum *= Alpha;
            }

            if (Beta != 0)
            {
                sum = Vector512.FusedMultiplyAdd(CpuTapConvolution.LoadLanes(target, valid), Vector512.Create(Beta), sum);
            }

            CpuTapConvolution.StoreLanes(sum, target, written);
        }
    }
}
