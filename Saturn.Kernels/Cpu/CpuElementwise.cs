using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Elementwise arithmetic on the host. Rows are chunked; padding is written as zero whatever the function of zero is.</summary>
internal sealed unsafe class CpuElementwise(WorkerTeam team) : IElementwiseKernels
{
    /// <inheritdoc/>
    public void Unary(UnaryOperation operation, in Shape shape, DeviceBuffer input, DeviceBuffer output, float a = 0, float b = 0)
    {
        UnaryJob job = new()
        {
            Chunks = new RowChunks(shape.Rows, shape.Pitch),
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            Operation = operation,
            A = a,
            B = b,
            Input = (float*)input.Address,
            Output = (float*)output.Address,
        };
        team.Run(ref job, job.Chunks.Count);
    }

    /// <inheritdoc/>
    public void Binary(
        BinaryOperation operation, in Shape leftShape, DeviceBuffer left, in Shape rightShape, DeviceBuffer right, in Shape outputShape, DeviceBuffer output)
    {
        BinaryJob job = new()
        {
            Chunks = new RowChunks(outputShape.Rows, outputShape.Pitch),
            Operation = operation,
            Left = leftShape,
            Right = rightShape,
            OutputShape = outputShape,
            LeftData = (float*)left.Address,
            RightData = (float*)right.Address,
            Output = (float*)output.Address,
        };
        team.Run(ref job, job.Chunks.Count);
    }

    /// <inheritdoc/>
    public void Accumulate(in Shape shape, DeviceBuffer input, DeviceBuffer output, float scale = 1)
    {
        AccumulateJob job = new() { Chunks = new RowChunks(shape.Rows, shape.Pitch), Pitch = shape.Pitch, Scale = scale, Input = (float*)input.Address, Output = (float*)output.Address };
        team.Run(ref job, job.Chunks.Count);
    }

    /// <inheritdoc/>
    public void Convert(in Shape shape, DeviceBuffer input, DeviceBuffer output, GradientMode mode) =>
        throw new NotSupportedException($"The host processor keeps everything in float32, but was asked to convert {input.Type} to {output.Type}.");

    /// <inheritdoc/>
    public void Fill(in Shape shape, DeviceBuffer output, float value)
    {
        float* target = (float*)output.Address;
        for (int row = 0; row < shape.Rows; row++)
        {
            new Span<float>(target, shape.Channels).Fill(value);
            new Span<float>(target + shape.Channels, shape.Pitch - shape.Channels).Clear();
            target += shape.Pitch;
        }
    }

    /// <inheritdoc/>
    public void MappedAdd(in Shape shape, DeviceBuffer branch, int shortcutChannels, DeviceBuffer shortcut, DeviceBuffer map, DeviceBuffer output)
    {
        MappedJob job = new()
        {
            Chunks = new RowChunks(shape.Rows, shape.Pitch),
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            SourcePitch = Shape.PitchOf(shortcutChannels),
            Map = (int*)map.Address,
            Base = (float*)branch.Address,
            Source = (float*)shortcut.Address,
            Output = (float*)output.Address,
        };
        team.Run(ref job, job.Chunks.Count);
    }

    /// <inheritdoc/>
    public void MappedAddBackward(
        in Shape outputShape, DeviceBuffer outputGradient, int shortcutChannels, DeviceBuffer inverseMap, DeviceBuffer shortcutGradient, GradientMode mode)
    {
        int pitch = Shape.PitchOf(shortcutChannels);
        MappedJob job = new()
        {
            Chunks = new RowChunks(outputShape.Rows, pitch),
            Channels = shortcutChannels,
            Pitch = pitch,
            SourcePitch = outputShape.Pitch,
            Map = (int*)inverseMap.Address,
            Base = mode == GradientMode.Accumulate ? (float*)shortcutGradient.Address : null,
            Source = (float*)outputGradient.Address,
            Output = (float*)shortcutGradient.Address,
        };
        team.Run(ref job, job.Chunks.Count);
    }

    /// <inheritdoc/>
    public void CopyChannels(
        int rows, int count, int sourceChannels, int sourceOffset, DeviceBuffer source, int destinationChannels, int destinationOffset, DeviceBuffer destination,
        GradientMode mode)
    {
        int sourcePitch = Shape.PitchOf(sourceChannels);
        int destinationPitch = Shape.PitchOf(destinationChannels);
        for (int row = 0; row < rows; row++)
        {
            float* from = (float*)source.Address + (long)row * sourcePitch + sourceOffset;
            float* to = (float*)destination.Address + (long)row * destinationPitch + destinationOffset;
            for (int c = 0; c < count; c++)
            {
                to[c] = mode == GradientMode.Accumulate ? to[c] + from[c] : from[c];
            }
        }
    }

    /// <inheritdoc/>
    public void Reshape(in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode)
    {
        float* from = (float*)input.Address;
        int column = 0;
        for (int row = 0; row < outputShape.Rows; row++)
        {
            float* to = (float*)output.Address + (long)row * outputShape.Pitch;
            for (int c = 0; c < outputShape.Channels; c++)
            {
                to[c] = mode == GradientMode.Accumulate ? to[c] + from[column] : from[column];
                if (++column == inputShape.Channels)
                {
                    column = 0;
                    from += inputShape.Pitch;
                }
            }

            for (int c = outputShape.Channels; c < outputShape.Pitch; c++)
            {
                to[c] = 0;
            }
        }
    }

    /// <inheritdoc/>
    public void Permute(in Shape inputShape, ReadOnlySpan<int> order, DeviceBuffer input, DeviceBuffer output)
    {
        int rank = inputShape.Rank;
        Span<long> strides = stackalloc long[Shape.MaximumRank];
        Span<int> extents = stackalloc int[Shape.MaximumRank];
        Span<int> position = stackalloc int[Shape.MaximumRank];
        for (int i = 0; i < rank; i++)
        {
            long stride = 1;
            for (int d = rank - 1; d > order[i]; d--)
            {
                stride *= d == rank - 1 ? inputShape.Pitch : inputShape[d];
            }

            strides[i] = stride;
            extents[i] = inputShape[order[i]];
            position[i] = 0;
        }

        float* source = (float*)input.Address;
        float* target = (float*)output.Address;
        int channels = rank == 0 ? 1 : extents[rank - 1];
        int pitch = Shape.PitchOf(channels);
        int rows = (int)(inputShape.ElementCount / channels);
        for (int row = 0; row < rows; row++)
        {
            long from = 0;
            for (int i = 0; i < rank - 1; i++)
            {
                from += position[i] * strides[i];
            }

            for (int c = 0; c < pitch; c++)
            {
                target[c] = c < channels ? source[from + c * (rank == 0 ? 1 : strides[rank - 1])] : 0;
            }

            target += pitch;
            for (int i = rank - 2; i >= 0 && ++position[i] == extents[i]; i--)
            {
                position[i] = 0;
            }
        }
    }

    private struct UnaryJob : IParallelJob
    {
        public RowChunks Chunks;
        public int Channels;
        public int Pitch;
        public UnaryOperation Operation;
        public float A;
        public float B;
        public float* Input;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int first = Chunks.First(item);
            for (int row = first; row < first + Chunks.RowsOf(item); row++)
            {
                float* x = Input + (long)row * Pitch;
                float* y = Output + (long)row * Pitch;
                for (int c = 0; c < Channels; c++)
                {
                    y[c] = Value(x[c]);
                }

                for (int c = Channels; c < Pitch; c++)
                {
                    y[c] = 0;
                }
            }
        }

        private readonly float Value(float x) => Operation switch
        {
            UnaryOperation.Copy => x,
            UnaryOperation.Negate => -x,
            UnaryOperation.Absolute => Math.Abs(x),
            UnaryOperation.Sign => x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x,
            UnaryOperation.Square => x * x,
            UnaryOperation.SquareRoot => MathF.Sqrt(x),
            UnaryOperation.Reciprocal => 1 / x,
            UnaryOperation.Exponential => MathF.Exp(x),
            UnaryOperation.Logarithm => MathF.Log(x),
            UnaryOperation.Sine => MathF.Sin(x),
            UnaryOperation.Cosine => MathF.Cos(x),
            UnaryOperation.HyperbolicTangent => MathF.Tanh(x),
            UnaryOperation.Sigmoid => (float)(1 / (1 + Math.Exp(-(double)x))),
            UnaryOperation.Affine => MathF.FusedMultiplyAdd(A, x, B),
            UnaryOperation.Power => MathF.Pow(x, A),
            UnaryOperation.Clamp => x < A ? A : x > B ? B : x,
            UnaryOperation.InsideRange => x >= A && x <= B ? 1 : 0,
            _ => throw new ArgumentOutOfRangeException(nameof(Operation), $"Unknown unary operation {Operation}."),
        };
    }

    private struct BinaryJob : IParallelJob
    {
        public RowChunks Chunks;
        public BinaryOperation Operation;
        public Shape Left;
        public Shape Right;
        public Shape OutputShape;
        public float* LeftData;
        public float* RightData;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int first = Chunks.First(item);
            int channels = OutputShape.Channels;
            int pitch = OutputShape.Pitch;
            int leftStep = Left.Channels == 1 && channels > 1 ? 0 : 1;
            int rightStep = Right.Channels == 1 && channels > 1 ? 0 : 1;
            for (int row = first; row < first + Chunks.RowsOf(item); row++)
            {
                float* x = LeftData + Row(Left, row);
                float* y = RightData + Row(Right, row);
                float* z = Output + (long)row * pitch;
                if (leftStep == 1 && rightStep == 1 && Operation is (BinaryOperation.Add or BinaryOperation.Multiply))
                {
                    // Zero padding plus or times zero padding stays zero.
                    for (int c = 0; c < pitch; c += 8)
                    {
                        Vector256<float> a = Vector256.Load(x + c);
                        Vector256<float> b = Vector256.Load(y + c);
                        (Operation == BinaryOperation.Add ? a + b : a * b).Store(z + c);
                    }

                    continue;
                }

                for (int c = 0; c < channels; c++)
                {
                    z[c] = Value(x[c * leftStep], y[c * rightStep]);
                }

                for (int c = channels; c < pitch; c++)
                {
                    z[c] = 0;
                }
            }
        }

        /// <summary>Where an operand's row starts that belongs to a row of the output: broadcast dimensions do not count.</summary>
        private readonly long Row(in Shape shape, int row)
        {
            if (shape == OutputShape)
            {
                return (long)row * shape.Pitch;
            }

            long index = 0;
            long stride = 1;
            for (int d = 2; d <= OutputShape.Rank; d++)
            {
                int extent = OutputShape[-d];
                int position = row % extent;
                row /= extent;
                if (d <= shape.Rank)
                {
                    index += shape[-d] == 1 ? 0 : position * stride;
                    stride *= shape[-d];
                }
            }

            return index * shape.Pitch;
        }

        private readonly float Value(float x, float y) => Operation switch
        {
            BinaryOperation.Add => x + y,
            BinaryOperation.Subtract => x - y,
            BinaryOperation.Multiply => x * y,
            BinaryOperation.Divide => x / y,
            BinaryOperation.Maximum => Math.Max(x, y),
            BinaryOperation.Minimum => Math.Min(x, y),
            BinaryOperation.GreaterOrEqual => x >= y ? 1 : 0,
            BinaryOperation.Less => x < y ? 1 : 0,
            BinaryOperation.Equal => x == y ? 1 : 0,
            _ => throw new ArgumentOutOfRangeException(nameof(Operation), $"Unknown binary operation {Operation}."),
        };
    }

    private struct AccumulateJob : IParallelJob
    {
        public RowChunks Chunks;
        public int Pitch;
        public float Scale;
        public float* Input;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            long first = (long)Chunks.First(item) * Pitch;
            long last = first + (long)Chunks.RowsOf(item) * Pitch;
            Vector256<float> scale = Vector256.Create(Scale);
            for (long i = first; i < last; i += 8)
            {
                Vector256.FusedMultiplyAdd(Vector256.Load(Input + i), scale, Vector256.Load(Output + i)).Store(Output + i);
            }
        }
    }

    /// <summary>output[row, c] = base[row, c] + source[row, map[c]]; a null base counts as zero, a null map as the identity.</summary>
    private struct MappedJob : IParallelJob
    {
        public RowChunks Chunks;
        public int Channels;
        public int Pitch;
        public int SourcePitch;
        public int* Map;
        public float* Base;
        public float* Source;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int first = Chunks.First(item);
            for (int row = first; row < first + Chunks.RowsOf(item); row++)
            {
                float* source = Source + (long)row * SourcePitch;
                float* start = Base == null ? null : Base + (long)row * Pitch;
                float* target = Output + (long)row * Pitch;
                for (int c = 0; c < Pitch; c++)
                {
                    int from = c >= Channels ? -1 : Map == null ? c : Map[c];
                    target[c] = (start == null ? 0 : start[c]) + (from < 0 ? 0 : source[from]);
                }
            }
        }
    }
}
