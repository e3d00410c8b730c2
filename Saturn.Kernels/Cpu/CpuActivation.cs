using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Activation functions on the host.</summary>
internal sealed unsafe class CpuActivation(WorkerTeam team, CpuMemory memory) : IActivationKernels
{
    /// <inheritdoc/>
    public void Forward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer output, in ActivityReport activity)
    {
        RowChunks chunks = new(shape.Rows, shape.Pitch);
        bool reports = !activity.Flags.IsNone;
        DeviceBuffer extrema = reports ? memory.Allocate(chunks.Count * (long)shape.Pitch * sizeof(float)) : default;
        ForwardJob job = new()
        {
            Chunks = chunks,
            Pitch = shape.Pitch,
            Activation = activation,
            Input = (float*)input.Address,
            Output = (float*)output.Address,
            Extrema = (float*)extrema.Address,
            Magnitude = activity.Criterion == ActivityCriterion.MagnitudeAtLeastThreshold,
        };
        team.Run(ref job, chunks.Count);
        if (reports)
        {
            ActivityBits.Write(job.Extrema, chunks.Count, shape.Pitch, shape.Channels, activity);
            memory.Free(extrema);
        }
    }

    /// <inheritdoc/>
    public void Backward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        RowChunks chunks = new(shape.Rows, shape.Pitch);
        BackwardJob job = new()
        {
            Chunks = chunks,
            Pitch = shape.Pitch,
            Activation = activation,
            Input = (float*)input.Address,
            Gradient = (float*)outputGradient.Address,
            InputGradient = (float*)inputGradient.Address,
            Accumulate = mode == GradientMode.Accumulate,
        };
        team.Run(ref job, chunks.Count);
    }

    /// <summary>Φ(x) = (1 + erf(x/√2))/2 of the normal distribution.</summary>
    private static double NormalDistribution(double x) => 0.5 * (1 + ErrorFunction(x * 0.70710678118654752));

    /// <summary>
    /// erf by its Taylor series up to |x| = 2.5, and by the continued fraction of the complement beyond; both to about 1e−12.
    /// </summary>
    private static double ErrorFunction(double x)
    {
        double a = Math.Abs(x);
        double result;
        if (a < 2.5)
        {
            // erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ·x^(2n+1)/(1·3·…·(2n+1)), all terms positive
            double term = a;
            double sum = a;
            for (int n = 1; n < 80 && term > sum * 1e-17; n++)
            {
                term *= 2 * a * a / (2 * n + 1);
                sum += term;
            }

            result = 1.1283791670955126 * Math.Exp(-a * a) * sum;
        }
        else if (a < 6)
        {
            double fraction = 0;
            for (int n = 60; n >= 1; n--)
            {
                fraction = n * 0.5 / (a + fraction);
            }

            result = 1 - Math.Exp(-a * a) * 0.56418958354775629 / (a + fraction);
        }
        else
        {
            result = double.IsNaN(x) ? double.NaN : 1;
        }

        return x < 0 ? -result : result;
    }

    private struct ForwardJob : IParallelJob
    {
        public RowChunks Chunks;
        public int Pitch;
        public Activation Activation;
        public float* Input;
        public float* Output;
        public float* Extrema;
        public bool Magnitude;

        public readonly void Run(int item, int worker)
        {
            long first = (long)Chunks.First(item) * Pitch;
            long count = (long)Chunks.RowsOf(item) * Pitch;
            float* x = Input + first;
            float* y = Output + first;
            Vector256<float> zero = Vector256<float>.Zero;
            switch (Activation.Kind)
            {
                case ActivationKind.Identity:
                    Buffer.MemoryCopy(x, y, count * 4, count * 4);
                    break;
                case ActivationKind.Relu:
                    for (long i = 0; i < count; i += 8)
                    {
                        // The second operand wins where one is not a number, so NaN passes through.
                        Vector256.MaxNative(zero, Vector256.Load(x + i)).Store(y + i);
                    }

                    break;
                case ActivationKind.LeakyRelu:
                    for (long i = 0; i < count; i += 8)
                    {
                        Vector256<float> value = Vector256.Load(x + i);
                        Vector256.ConditionalSelect(Vector256.LessThan(value, zero), value * Activation.Parameter, value).Store(y + i);
                    }

                    break;
                case ActivationKind.Gelu:
                    for (long i = 0; i < count; i++)
                    {
                        y[i] = (float)(x[i] * NormalDistribution(x[i]));
                    }

                    break;
                default:
                    for (long i = 0; i < count; i++)
                    {
                        y[i] = (float)(x[i] / (1 + Math.Exp(-(double)Activation.Parameter * x[i])));
                    }

                    break;
            }

            if (Extrema != null)
            {
                ChannelExtrema.Maximum(y, Chunks.RowsOf(item), Pitch, Extrema + (long)item * Pitch, Magnitude);
            }
        }
    }

    private struct BackwardJob : IParallelJob
    {
        public RowChunks Chunks;
        public int Pitch;
        public Activation Activation;
        public float* Input;
        public float* Gradient;
        public float* InputGradient;
        public bool Accumulate;

        public readonly void Run(int item, int worker)
        {
            long first = (long)Chunks.First(item) * Pitch;
            long last = first + (long)Chunks.RowsOf(item) * Pitch;
            for (long i = first; i < last; i += 8)
            {
                Vector256<float> gradient = Vector256.Load(Gradient + i);
                Vector256<float> x = Vector256.Load(Input + i);
                Vector256<float> value;
                switch (Activation.Kind)
                {
                    case ActivationKind.Identity:
                        value = gradient;
                        break;
                    case ActivationKind.Relu:
                        value = gradient & Vector256.GreaterThan(x, Vector256<float>.Zero);
                        break;
                    case ActivationKind.LeakyRelu:
                        value = Vector256.ConditionalSelect(Vector256.GreaterThan(x, Vector256<float>.Zero), gradient, gradient * Activation.Parameter);
                        break;
                    default:
                        value = gradient;
                        for (int lane = 0; lane < 8; lane++)
                        {
                            value = value.WithElement(lane, (float)(gradient.GetElement(lane) * Derivative(x.GetElement(lane))));
                        }

                        break;
                }

                (Accumulate ? Vector256.Load(InputGradient + i) + value : value).Store(InputGradient + i);
            }
        }

        private readonly double Derivative(double x)
        {
            if (Activation.Kind == ActivationKind.Gelu)
            {
                // Φ(x) + x·φ(x)
                return NormalDistribution(x) + x * 0.3989422804014327 * Math.Exp(-0.5 * x * x);
            }

            double beta = Activation.Parameter;
            double sigmoid = 1 / (1 + Math.Exp(-beta * x));
            return sigmoid * (1 + beta * x * (1 - sigmoid));
        }
    }
}

/// <summary>Extrema of channels over rows.</summary>
internal static unsafe class ChannelExtrema
{
    /// <summary>The largest value, or magnitude, of each channel; what is not a number counts as +∞.</summary>
    public static void Maximum(float* rows, int count, int pitch, float* result, bool magnitude)
    {
        for (int c = 0; c < pitch; c += 8)
        {
            Vector256<float> largest = Vector256.Create(float.NegativeInfinity);
            float* x = rows + c;
            for (int row = 0; row < count; row++)
            {
                Vector256<float> value = Vector256.Load(x);
                value = Vector256.MinNative(magnitude ? Vector256.Abs(value) : value, Vector256.Create(float.PositiveInfinity));
                largest = Vector256.MaxNative(largest, value);
                x += pitch;
            }

            largest.Store(result + c);
        }
    }
}
