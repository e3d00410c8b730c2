using System.Runtime.Intrinsics;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// Batch normalization on the host: each pass over memory is one job over chunks of rows, whose partial sums are merged in double precision in the order of the chunks.
/// Layer normalization is in the other part of this class.
/// </summary>
internal sealed unsafe partial class CpuNormalization(WorkerTeam team, CpuMemory memory) : INormalizationKernels
{
    /// <inheritdoc/>
    public void BatchMoments(int rows, int channels, DeviceBuffer input, DeviceBuffer moments)
    {
        int pitch = Shape.PitchOf(channels);
        RowChunks chunks = new(rows, pitch);
        DeviceBuffer partials = memory.Allocate(chunks.Count * 2L * pitch * sizeof(double));
        MomentsJob job = new() { Chunks = chunks, Pitch = pitch, Input = (float*)input.Address, Partials = (double*)partials.Address };
        team.Run(ref job, chunks.Count);
        ChannelMoments.Merge(job.Partials, chunks.Count, chunks.RowsOf(0), rows, channels, pitch, (double*)moments.Address);
        memory.Free(partials);
    }

    /// <inheritdoc/>
    public bool PrepareTraining(
        in BatchNormShape shape, BatchStatistics form, DeviceBuffer statistics, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance,
        DeviceBuffer saved, Activation activation, in ActivityReport activity)
    {
        int pitch = Shape.PitchOf(shape.Channels);
        if (form.AreMoments)
        {
            Prepare(shape, (double*)statistics.Address, gamma, beta, runningMean, runningVariance, saved);
            return false;
        }

        DeviceBuffer moments = memory.Allocate(2L * pitch * sizeof(double));
        DeviceBuffer extrema = memory.Allocate(2L * pitch * sizeof(float));
        float* largest = (float*)extrema.Address;
        ChannelMoments.MergeTiles((float*)statistics.Address, form, shape.Rows, shape.Channels, pitch, (double*)moments.Address, largest);
        Prepare(shape, (double*)moments.Address, gamma, beta, runningMean, runningVariance, saved);
        bool answers = form.Answers(activation, activity);
        if (answers)
        {
            float* scale = (float*)saved.Address + 2 * pitch;
            float* shift = scale + pitch;
            for (int c = 0; c < shape.Channels; c++)
            {
                float value = MathF.FusedMultiplyAdd(largest[scale[c] > 0 ? c : pitch + c], scale[c], shift[c]);
                largest[c] = value < 0 && activation.Kind != ActivationKind.Identity ? value * activation.Parameter : value;
            }

            ActivityBits.Write(largest, 1, pitch, shape.Channels, activity);
        }

        memory.Free(extrema);
        memory.Free(moments);
        return answers;
    }

    private static void Prepare(
        in BatchNormShape shape, double* m, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved)
    {
        int pitch = Shape.PitchOf(shape.Channels);
        for (int c = 0; c < pitch; c++)
        {
            bool real = c < shape.Channels;
            double variance = m[pitch + c] / shape.Rows;
            Store(saved, pitch, c, real, (float)m[c], variance, shape.Epsilon, gamma, beta);
            if (real && !runningMean.IsNone)
            {
                float* running = (float*)runningMean.Address;
                running[c] = (float)((1 - shape.Momentum) * running[c] + shape.Momentum * m[c]);
            }

            if (real && !runningVariance.IsNone)
            {
                float* running = (float*)runningVariance.Address;
                running[c] = (float)((1 - shape.Momentum) * running[c] + shape.Momentum * (m[pitch + c] / Math.Max(shape.Rows - 1, 1)));
            }
        }
    }

    /// <inheritdoc/>
    public void PrepareInference(
        in BatchNormShape shape, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer runningMean, DeviceBuffer runningVariance, DeviceBuffer saved)
    {
        int pitch = Shape.PitchOf(shape.Channels);
        for (int c = 0; c < pitch; c++)
        {
            bool real = c < shape.Channels;
            Store(saved, pitch, c, real, real ? ((float*)runningMean.Address)[c] : 0, real ? ((float*)runningVariance.Address)[c] : 0, shape.Epsilon, gamma, beta);
        }
    }

    /// <inheritdoc/>
    public void Apply(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output, in ActivityReport activity)
    {
        int pitch = Shape.PitchOf(shape.Channels);
        RowChunks chunks = new(shape.Rows, pitch);
        bool reports = !activity.Flags.IsNone;
        DeviceBuffer extrema = reports ? memory.Allocate(chunks.Count * (long)pitch * sizeof(float)) : default;
        NormalizeJob job = new()
        {
            Chunks = chunks,
            Pitch = pitch,
            Input = (float*)input.Address,
            Scale = (float*)saved.Address + 2 * pitch,
            Shift = (float*)saved.Address + 3 * pitch,
            Residual = (float*)epilogue.Residual.Address,
            ResidualPitch = Shape.PitchOf(Math.Max(epilogue.ResidualChannels, 1)),
            Map = (int*)epilogue.Map.Address,
            Channels = shape.Channels,
            Kind = epilogue.Activation.Kind,
            Slope = epilogue.Activation.Parameter,
            Output = (float*)output.Address,
            Extrema = (float*)extrema.Address,
            Magnitude = activity.Criterion == ActivityCriterion.MagnitudeAtLeastThreshold,
        };
        team.Run(ref job, chunks.Count);
        if (reports)
        {
            ActivityBits.Write(job.Extrema, chunks.Count, pitch, shape.Channels, activity);
            memory.Free(extrema);
        }
    }

    /// <inheritdoc/>
    public void BatchBackward(
        in BatchNormShape shape, in NormalizationEpilogue epilogue, bool batchStatistics, DeviceBuffer input, DeviceBuffer saved, DeviceBuffer output,
        DeviceBuffer outputGradient, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode, DeviceBuffer inputGradient,
        DeviceBuffer residualGradient, GradientMode residualMode)
    {
        int pitch = Shape.PitchOf(shape.Channels);
        RowChunks chunks = new(shape.Rows, pitch);
        float* statistics = (float*)saved.Address;
        NormalizeBackwardJob job = new()
        {
            Chunks = chunks,
            Pitch = pitch,
            Channels = shape.Channels,
            Input = (float*)input.Address,
            Mean = statistics,
            Scale = statistics + 2 * pitch,
            Shift = statistics + 3 * pitch,
            Output = epilogue.Residual.IsNone ? null : (float*)output.Address,
            Gradient = (float*)outputGradient.Address,
            Kind = epilogue.Activation.Kind,
            Slope = epilogue.Activation.Parameter,
            InputGradient = (float*)inputGradient.Address,
            ResidualGradient = (float*)residualGradient.Address,
            ResidualPitch = Shape.PitchOf(Math.Max(epilogue.ResidualChannels, 1)),
            ResidualChannels = epilogue.ResidualChannels,
            InverseMap = epilogue.Map.IsNone ? null : (int*)epilogue.InverseMap.Address,
            AccumulateResidual = residualMode == GradientMode.Accumulate,
        };
        DeviceBuffer partials = memory.Allocate(chunks.Count * 2L * pitch * sizeof(float));
        DeviceBuffer factors = memory.Allocate(3L * pitch * sizeof(float));
        DeviceBuffer merged = memory.Allocate(2L * pitch * sizeof(double));
        job.Partials = (float*)partials.Address;
        job.Factors = (float*)factors.Address;
        if (batchStatistics || !gammaGradient.IsNone || !betaGradient.IsNone)
        {
            team.Run(ref job, chunks.Count);
        }
        else
        {
            new Span<float>(job.Partials, chunks.Count * 2 * pitch).Clear();
        }

        // Σ dz and Σ dz·(x − mean) of all chunks, in double precision and in order.
        double* totals = (double*)merged.Address;
        new Span<double>(totals, 2 * pitch).Clear();
        for (int chunk = 0; chunk < chunks.Count; chunk++)
        {
            float* partial = job.Partials + chunk * 2L * pitch;
            for (int c = 0; c < 2 * pitch; c += 8)
            {
                (Vector256<double> lower, Vector256<double> upper) = Vector256.Widen(Vector256.Load(partial + c));
                (Vector256.Load(totals + c) + lower).Store(totals + c);
                (Vector256.Load(totals + c + 4) + upper).Store(totals + c + 4);
            }
        }

        for (int c = 0; c < pitch; c++)
        {
            double sum = c < shape.Channels ? totals[c] : 0;
            double product = c < shape.Channels ? totals[pitch + c] : 0;
            double inverseStd = statistics[pitch + c];
            double scale = statistics[2 * pitch + c];
            product *= inverseStd;
            Put(gammaGradient, c, (float)product, parameterMode);
            Put(betaGradient, c, (float)sum, parameterMode);

            // dx = scale·(dz − dβ/n − x̂·dγ/n) as a·dz + b·x + c
            double slope = batchStatistics ? -scale * inverseStd * product / shape.Rows : 0;
            job.Factors[c] = (float)scale;
            job.Factors[pitch + c] = (float)slope;
            job.Factors[2 * pitch + c] = (float)(batchStatistics ? -scale * sum / shape.Rows - slope * statistics[c] : 0);
        }

        if (!inputGradient.IsNone || !residualGradient.IsNone)
        {
            job.Second = true;
            team.Run(ref job, chunks.Count);
        }

        memory.Free(merged);
        memory.Free(factors);
        memory.Free(partials);
    }

    private static void Put(DeviceBuffer gradient, int channel, float value, GradientMode mode)
    {
        if (!gradient.IsNone)
        {
            float* target = (float*)gradient.Address + channel;
            *target = mode == GradientMode.Accumulate ? *target + value : value;
        }
    }

    private static void Store(
        DeviceBuffer saved, int pitch, int channel, bool real, float mean, double variance, float epsilon, DeviceBuffer gamma, DeviceBuffer beta)
    {
        float* target = (float*)saved.Address + channel;
        double inverseStd = real ? 1 / Math.Sqrt(variance + epsilon) : 0;
        double scale = gamma.IsNone || !real ? inverseStd : ((float*)gamma.Address)[channel] * inverseStd;
        double offset = beta.IsNone || !real ? 0 : ((float*)beta.Address)[channel];
        target[0] = real ? mean : 0;
        target[pitch] = (float)inverseStd;
        target[2 * pitch] = (float)scale;
        target[3 * pitch] = real ? (float)(offset - mean * scale) : 0;
    }
}

/// <summary>Rows in chunks of about 64 KB, a division that depends on the shape alone.</summary>
internal readonly struct RowChunks
{
    private readonly int rows;
    private readonly int rowsPerChunk;

    public RowChunks(int rows, int pitch)
    {
        this.rows = rows;
        rowsPerChunk = Math.Clamp(16 * 1024 / pitch, 1, rows);
        Count = (rows + rowsPerChunk - 1) / rowsPerChunk;
    }

    public int Count { get; }

    public int First(int chunk) => chunk * rowsPerChunk;

    public int RowsOf(int chunk) => Math.Min(rowsPerChunk, rows - chunk * rowsPerChunk);
}

/// <summary>From chunkwise extrema of channels to activity bits.</summary>
internal static unsafe class ActivityBits
{
    /// <summary>Writes or combines bits.</summary>
    /// <param name="extrema">[chunks, pitch]: the largest value (or magnitude) of each channel in each chunk; the first chunk's are overwritten.</param>
    /// <param name="chunks">Chunks.</param>
    /// <param name="pitch">Floats a chunk.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="activity">Criterion and destination.</param>
    public static void Write(float* extrema, int chunks, int pitch, int channels, in ActivityReport activity)
    {
        for (int chunk = 1; chunk < chunks; chunk++)
        {
            for (int c = 0; c < pitch; c += 8)
            {
                Vector256.Max(Vector256.Load(extrema + c), Vector256.Load(extrema + (long)chunk * pitch + c)).Store(extrema + c);
            }
        }

        uint* words = (uint*)activity.Flags.Address;
        bool magnitude = activity.Criterion == ActivityCriterion.MagnitudeAtLeastThreshold;
        for (int word = 0; word < ActivityReport.WordCount(channels); word++)
        {
            uint bits = 0;
            for (int bit = 0; bit < 32 && word * 32 + bit < channels; bit++)
            {
                float largest = extrema[word * 32 + bit];

                // A channel that is not a number is not dead: the run has diverged and must be seen to.
                bool active = magnitude ? !(largest < activity.Threshold) : !(largest <= activity.Threshold);
                bits |= active ? 1u << bit : 0;
            }

            words[word] = activity.Combine ? words[word] | bits : bits;
        }
    }
}
