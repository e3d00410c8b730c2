using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Mean and Σ(x − mean)² of each channel in a chunk of rows, with the first row as the pivot.</summary>
internal unsafe struct MomentsJob : IParallelJob
{
    /// <summary>Sums of sums: rounding grows with this plus the number of blocks instead of with the number of rows.</summary>
    private const int BlockRows = 64;

    public RowChunks Chunks;
    public int Pitch;
    public float* Input;
    public double* Partials;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run(int item, int worker)
    {
        int rows = Chunks.RowsOf(item);
        float* first = Input + (long)Chunks.First(item) * Pitch;
        double* mean = Partials + item * 2L * Pitch;
        int c = 0;
        for (; c + 32 <= Pitch; c += 32)
        {
            Four(first + c, rows, mean + c);
        }

        for (; c < Pitch; c += 8)
        {
            One(first + c, rows, mean + c);
        }
    }

    /// <summary>Thirty-two channels: sums of four vectors do not wait for each other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Four(float* x, int rows, double* mean)
    {
        Vector256<float> pivot0 = Vector256.Load(x), pivot1 = Vector256.Load(x + 8), pivot2 = Vector256.Load(x + 16), pivot3 = Vector256.Load(x + 24);
        Vector256<float> sum0 = default, sum1 = default, sum2 = default, sum3 = default, square0 = default, square1 = default, square2 = default, square3 = default;
        for (int block = 0; block < rows; block += BlockRows)
        {
            Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default, q0 = default, q1 = default, q2 = default, q3 = default;
            int last = Math.Min(block + BlockRows, rows);
            for (int row = block; row < last; row++)
            {
                Vector256<float> d0 = Vector256.Load(x) - pivot0;
                s0 += d0;
                q0 = Vector256.FusedMultiplyAdd(d0, d0, q0);
                Vector256<float> d1 = Vector256.Load(x + 8) - pivot1;
                s1 += d1;
                q1 = Vector256.FusedMultiplyAdd(d1, d1, q1);
                Vector256<float> d2 = Vector256.Load(x + 16) - pivot2;
                s2 += d2;
                q2 = Vector256.FusedMultiplyAdd(d2, d2, q2);
                Vector256<float> d3 = Vector256.Load(x + 24) - pivot3;
                s3 += d3;
                q3 = Vector256.FusedMultiplyAdd(d3, d3, q3);
                x += Pitch;
            }

            sum0 += s0;
            sum1 += s1;
            sum2 += s2;
            sum3 += s3;
            square0 += q0;
            square1 += q1;
            square2 += q2;
            square3 += q3;
        }

        Write(pivot0, sum0, square0, rows, mean);
        Write(pivot1, sum1, square1, rows, mean + 8);
        Write(pivot2, sum2, square2, rows, mean + 16);
        Write(pivot3, sum3, square3, rows, mean + 24);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void One(float* x, int rows, double* mean)
    {
        Vector256<float> pivot = Vector256.Load(x);
        Vector256<float> sum = default, square = default;
        for (int block = 0; block < rows; block += BlockRows)
        {
            Vector256<float> s = default, q = default;
            int last = Math.Min(block + BlockRows, rows);
            for (int row = block; row < last; row++)
            {
                Vector256<float> d = Vector256.Load(x) - pivot;
                s += d;
                q = Vector256.FusedMultiplyAdd(d, d, q);
                x += Pitch;
            }

            sum += s;
            square += q;
        }

        Write(pivot, sum, square, rows, mean);
    }

    private readonly void Write(Vector256<float> pivot, Vector256<float> sum, Vector256<float> square, int rows, double* mean)
    {
        (Vector256<double> lowerPivot, Vector256<double> upperPivot) = Vector256.Widen(pivot);
        (Vector256<double> lowerSum, Vector256<double> upperSum) = Vector256.Widen(sum);
        (Vector256<double> lowerSquare, Vector256<double> upperSquare) = Vector256.Widen(square);
        Vector256<double> n = Vector256.Create((double)rows);
        (lowerPivot + lowerSum / n).Store(mean);
        (upperPivot + upperSum / n).Store(mean + 4);
        Vector256.Max(Vector256<double>.Zero, lowerSquare - lowerSum * lowerSum / n).Store(mean + Pitch);
        Vector256.Max(Vector256<double>.Zero, upperSquare - upperSum * upperSum / n).Store(mean + Pitch + 4);
    }
}

/// <summary>output = f(x·scale + shift + residual) over a chunk of rows, with the largest output of each channel.</summary>
internal unsafe struct NormalizeJob : IParallelJob
{
    public RowChunks Chunks;
    public int Pitch;
    public int Channels;
    public float* Input;
    public float* Scale;
    public float* Shift;
    public float* Residual;
    public int ResidualPitch;
    public int* Map;
    public ActivationKind Kind;
    public float Slope;
    public float* Output;
    public float* Extrema;
    public bool Magnitude;

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Run(int item, int worker)
    {
        int first = Chunks.First(item);
        int rows = Chunks.RowsOf(item);
        float* extrema = Extrema == null ? null : Extrema + (long)item * Pitch;
        if (extrema != null)
        {
            new Span<float>(extrema, Pitch).Fill(float.NegativeInfinity);
        }

        // A mapped shortcut is gathered row by row into a buffer of the output's layout.
        float* gathered = stackalloc float[Map == null ? 1 : Pitch];
        for (int row = first; row < first + rows; row++)
        {
            float* x = Input + (long)row * Pitch;
            float* y = Output + (long)row * Pitch;
            float* residual = Residual == null ? null : Residual + (long)row * ResidualPitch;
            if (Map != null)
            {
                for (int c = 0; c < Pitch; c++)
                {
                    int source = c < Channels ? Map[c] : -1;
                    gathered[c] = source < 0 ? 0 : residual[source];
                }

                residual = gathered;
            }

            switch (Kind)
            {
                case ActivationKind.Relu:
                    Row(x, y, residual, extrema, true, 0);
                    break;
                case ActivationKind.LeakyRelu:
                    Row(x, y, residual, extrema, true, Slope);
                    break;
                default:
                    Row(x, y, residual, extrema, false, 0);
                    break;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly void Row(float* x, float* y, float* residual, float* extrema, bool rectify, float slope)
    {
        int c = 0;
        for (; c + 16 <= Pitch; c += 16)
        {
            Vector512<float> u = Vector512.FusedMultiplyAdd(Vector512.Load(x + c), Vector512.Load(Scale + c), Vector512.Load(Shift + c));
            if (residual != null)
            {
                u += Vector512.Load(residual + c);
            }

            if (rectify)
            {
                // The second operand wins where one is not a number, so NaN passes through.
                u = slope == 0 ? Vector512.MaxNative(Vector512<float>.Zero, u) : Vector512.ConditionalSelect(Vector512.LessThan(u, Vector512<float>.Zero), u * slope, u);
            }

            u.Store(y + c);
            if (extrema != null)
            {
                // What is not a number counts as +∞: the second operand again.
                Vector512<float> value = Vector512.MinNative(Magnitude ? Vector512.Abs(u) : u, Vector512.Create(float.PositiveInfinity));
                Vector512.MaxNative(Vector512.Load(extrema + c), value).Store(extrema + c);
            }
        }

        if (c < Pitch)
        {
            Vector256<float> u = Vector256.FusedMultiplyAdd(Vector256.Load(x + c), Vector256.Load(Scale + c), Vector256.Load(Shift + c));
            if (residual != null)
            {
                u += Vector256.Load(residual + c);
            }

            if (rectify)
            {
                u = slope == 0 ? Vector256.MaxNative(Vector256<float>.Zero, u) : Vector256.ConditionalSelect(Vector256.LessThan(u, Vector256<float>.Zero), u * slope, u);
            }

            u.Store(y + c);
            if (extrema != null)
            {
                Vector256<float> value = Vector256.MinNative(Magnitude ? Vector256.Abs(u) : u, Vector256.Create(float.PositiveInfinity));
                Vector256.MaxNative(Vector256.Load(extrema + c), value).Store(extrema + c);
            }
        }
    }
}

/// <summary>
/// The two passes of the backward batch norm over a chunk of rows. First: Σ dz and Σ dz·(x − mean) by channel. Second: dx = a·dz + b·x + c, and the residual's
/// gradient. dz is the output gradient times the activation's derivative, which follows from the sign of the pre-activation.
/// </summary>
internal unsafe struct NormalizeBackwardJob : IParallelJob
{
    public RowChunks Chunks;
    public int Pitch;
    public int Channels;
    public float* Input;
    public float* Mean;
    public float* Scale;
    public float* Shift;
    public float* Output;
    public float* Gradient;
    public ActivationKind Kind;
    public float Slope;
    public float* Partials;
    public float* Factors;
    public bool Second;
    public float* InputGradient;
    public float* ResidualGradient;
    public int ResidualPitch;
    public int ResidualChannels;
    public int* InverseMap;
    public bool AccumulateResidual;

    public void Run(int item, int worker)
    {
        if (Second)
        {
            Distribute(item);
        }
        else
        {
            Sum(item);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Sum(int item)
    {
        int rows = Chunks.RowsOf(item);
        long first = (long)Chunks.First(item) * Pitch;
        float* sums = Partials + item * 2L * Pitch;
        int c = 0;
        for (; c + 16 <= Pitch; c += 16)
        {
            Vector512<float> scale = Vector512.Load(Scale + c);
            Vector512<float> shift = Vector512.Load(Shift + c);
            Vector512<float> mean = Vector512.Load(Mean + c);
            Vector512<float> sum = default, product = default;
            float* x = Input + first + c;
            float* g = Gradient + first + c;
            float* z = Output == null ? null : Output + first + c;
            for (int row = 0; row < rows; row++)
            {
                Vector512<float> value = Vector512.Load(x);
                Vector512<float> dz = Derivative(Vector512.Load(g), z == null ? Vector512.FusedMultiplyAdd(value, scale, shift) : Vector512.Load(z));
                sum += dz;
                product = Vector512.FusedMultiplyAdd(dz, value - mean, product);
                x += Pitch;
                g += Pitch;
                z += z == null ? 0 : Pitch;
            }

            sum.Store(sums + c);
            product.Store(sums + Pitch + c);
        }

        if (c < Pitch)
        {
            Vector256<float> scale = Vector256.Load(Scale + c);
            Vector256<float> shift = Vector256.Load(Shift + c);
            Vector256<float> mean = Vector256.Load(Mean + c);
            Vector256<float> sum = default, product = default;
            long at = first + c;
            for (int row = 0; row < rows; row++)
            {
                Vector256<float> x = Vector256.Load(Input + at);
                Vector256<float> dz = Derivative(
                    Vector256.Load(Gradient + at), Output == null ? Vector256.FusedMultiplyAdd(x, scale, shift) : Vector256.Load(Output + at));
                sum += dz;
                product = Vector256.FusedMultiplyAdd(dz, x - mean, product);
                at += Pitch;
            }

            sum.Store(sums + c);
            product.Store(sums + Pitch + c);
        }
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Distribute(int item)
    {
        int first = Chunks.First(item);
        int rows = Chunks.RowsOf(item);
        float* dzRow = stackalloc float[InverseMap == null ? 1 : Pitch];
        for (int row = first; row < first + rows; row++)
        {
            long start = (long)row * Pitch;
            float* direct = ResidualGradient != null && InverseMap == null ? ResidualGradient + start : InverseMap == null ? null : dzRow;
            bool adds = AccumulateResidual && InverseMap == null;
            int c = 0;
            for (; c + 16 <= Pitch; c += 16)
            {
                long at = start + c;
                Vector512<float> x = Vector512.Load(Input + at);
                Vector512<float> dz = Derivative(
                    Vector512.Load(Gradient + at),
                    Output == null ? Vector512.FusedMultiplyAdd(x, Vector512.Load(Scale + c), Vector512.Load(Shift + c)) : Vector512.Load(Output + at));
                if (direct != null)
                {
                    (adds ? Vector512.Load(direct + c) + dz : dz).Store(direct + c);
                }

                if (InputGradient != null)
                {
                    Vector512.FusedMultiplyAdd(
                        dz, Vector512.Load(Factors + c), Vector512.FusedMultiplyAdd(x, Vector512.Load(Factors + Pitch + c), Vector512.Load(Factors + 2 * Pitch + c)))
                        .Store(InputGradient + at);
                }
            }

            if (c < Pitch)
            {
                long at = start + c;
                Vector256<float> x = Vector256.Load(Input + at);
                Vector256<float> dz = Derivative(
                    Vector256.Load(Gradient + at),
                    Output == null ? Vector256.FusedMultiplyAdd(x, Vector256.Load(Scale + c), Vector256.Load(Shift + c)) : Vector256.Load(Output + at));
                if (direct != null)
                {
                    (adds ? Vector256.Load(direct + c) + dz : dz).Store(direct + c);
                }

                if (InputGradient != null)
                {
                    Vector256.FusedMultiplyAdd(
                        dz, Vector256.Load(Factors + c), Vector256.FusedMultiplyAdd(x, Vector256.Load(Factors + Pitch + c), Vector256.Load(Factors + 2 * Pitch + c)))
                        .Store(InputGradient + at);
                }
            }

            if (ResidualGradient != null && InverseMap != null)
            {
                float* target = ResidualGradient + (long)row * ResidualPitch;
                for (int s = 0; s < ResidualPitch; s++)
                {
                    int output = s < ResidualChannels ? InverseMap[s] : -1;
                    float value = output < 0 ? 0 : dzRow[output];
                    target[s] = AccumulateResidual ? target[s] + value : value;
                }
            }
        }
    }

    /// <summary>The output gradient times the activation's derivative, which is told by the sign of the pre-activation (or of the output).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly Vector512<float> Derivative(Vector512<float> gradient, Vector512<float> sign)
    {
        Vector512<float> positive = Vector512.GreaterThan(sign, Vector512<float>.Zero);
        return Kind == ActivationKind.Relu
            ? gradient & positive
            : Kind == ActivationKind.Identity ? gradient : Vector512.ConditionalSelect(positive, gradient, gradient * Slope);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly Vector256<float> Derivative(Vector256<float> gradient, Vector256<float> sign)
    {
        Vector256<float> positive = Vector256.GreaterThan(sign, Vector256<float>.Zero);
        return Kind == ActivationKind.Relu
            ? gradient & positive
            : Kind == ActivationKind.Identity ? gradient : Vector256.ConditionalSelect(positive, gradient, gradient * Slope);
    }
}
