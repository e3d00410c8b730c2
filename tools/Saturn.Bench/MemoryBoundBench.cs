using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench;

/// <summary>
/// Kernels whose time is that of moving memory: the passes of batch normalization and the optimizer's update, with the bytes that they cannot avoid to
/// move, by which their rate is counted.
/// </summary>
public static class MemoryBoundBench
{
    /// <summary>Untimed calls before the first round: the runtime compiles these loops with optimisation only after some dozens, in the background.</summary>
    private const int WarmUpCalls = 400;

    private sealed record Kernel(string Name, string Size, long Bytes, Action Work, PeerWork? PeerWork);

    /// <summary>Measures batch normalization at the shapes of ResNet-18 and the update of as many weights as it has.</summary>
    /// <param name="device">The device.</param>
    /// <param name="batch">Images at once.</param>
    /// <param name="options">Threads, repetitions, peer.</param>
    public static BenchTable Run(Device device, int batch, KernelBenchOptions options)
    {
        BenchTable table = new(
            $"Memory-bound kernels on {device.Name} ({device.Description})", options.Command,
            "kernel", "size", "MiB", "ms", "p10–p90", "fastest", "GB/s", "peer ms", "peer p10–p90", "peer/Saturn");
        foreach ((int size, int channels) in ((int, int)[])[(32, 64), (32, 37), (16, 128), (8, 256), (4, 512)])
        {
            using DeviceArrays arrays = new(device);
            foreach (Kernel kernel in BatchNorm(device, arrays, batch, size, channels, options.Threads).Where(kernel => options.Includes(kernel.Name)))
            {
                Measure(table, device, kernel, options);
            }
        }

        using (DeviceArrays arrays = new(device))
        {
            Kernel update = Update(device, arrays, tensors: 20, rows: 256, columns: 2304, options.Threads);
            if (options.Includes(update.Name))
            {
                Measure(table, device, update, options);
            }
        }

        table.Note(
            $"Peer: {options.Peer?.Name ?? "none"}; {options.Threads} threads; {options.Repetition}. ms: median. MiB and GB/s count each array as often as it "
            + "must be read or written, pitch included, wherever it comes from, in the fastest repetition (arrays below the last cache's size run faster than memory). Forward: moments of "
            + "the batch, statistics, normalise and ReLU; moments and apply are its parts. Peer/Saturn: above 1 where Saturn is faster; median of the rounds' "
            + "quotients.");
        return table;
    }

    private static IEnumerable<Kernel> BatchNorm(Device device, DeviceArrays arrays, int batch, int size, int channels, int threads)
    {
        Shape image = new(batch, size, size, channels);
        Shape vector = new(channels);
        Shape statistics = new(4, channels);
        BatchNormShape shape = new(image.Rows, channels, 1e-5f, 0.1f);
        NormalizationEpilogue relu = new(Activation.Relu);
        DeviceBuffer input = arrays.Uniform(image), output = arrays.Uniform(image);
        DeviceBuffer outputGradient = arrays.Uniform(image), inputGradient = arrays.Uniform(image);
        DeviceBuffer gamma = arrays.Uniform(vector), beta = arrays.Uniform(vector);
        DeviceBuffer gammaGradient = arrays.Uniform(vector), betaGradient = arrays.Uniform(vector);
        DeviceBuffer runningMean = arrays.Uniform(vector), runningVariance = arrays.Uniform(vector), saved = arrays.Uniform(statistics);
        DeviceBuffer moments = arrays.Bytes(2L * vector.Pitch * sizeof(double));
        INormalizationKernels kernels = device.Normalization;
        long once = image.StorageCount * sizeof(float);
        string name = image.ToString();

        void Moments() => kernels.BatchMoments(image.Rows, channels, input, moments);
        void Prepare() => kernels.PrepareTraining(shape, BatchStatistics.Moments, moments, gamma, beta, runningMean, runningVariance, saved, Activation.Relu, ActivityReport.None);
        void Apply() => kernels.Apply(shape, relu, input, saved, output, ActivityReport.None);
        void Forward()
        {
            Moments();
            Prepare();
            Apply();
        }

        void Backward() => kernels.BatchBackward(
            shape, relu, true, input, saved, output, outputGradient, gammaGradient, betaGradient, GradientMode.Overwrite, inputGradient, DeviceBuffer.None,
            GradientMode.Overwrite);

        yield return new Kernel("batch norm + ReLU forward", name, 3 * once, Forward, PeerWork.BatchNorm(false, batch, size, size, channels, threads));
        yield return new Kernel("batch norm moments", name, once, Moments, null);
        yield return new Kernel("batch norm + ReLU apply", name, 2 * once, Apply, null);
        yield return new Kernel("batch norm + ReLU backward", name, 5 * once, Backward, PeerWork.BatchNorm(true, batch, size, size, channels, threads));
    }

    private static Kernel Update(Device device, DeviceArrays arrays, int tensors, int rows, int columns, int threads)
    {
        Shape shape = new(rows, columns);
        OptimizerTensor[] all = new OptimizerTensor[tensors];
        for (int i = 0; i < tensors; i++)
        {
            all[i] = new OptimizerTensor(
                arrays.Uniform(shape), arrays.Uniform(shape), arrays.Uniform(shape), DeviceBuffer.None, rows, 1, columns, LearningRate: 0.01f, WeightDecay: 5e-4f,
                L1: 0, L2: 0, NoiseStandardDeviation: 0, TensorId: (uint)i, DeviceBuffer.None, DeviceBuffer.None, DeviceBuffer.None);
        }

        long steps = 0;
        void Work() => device.Optimizer.Update(
            new OptimizerStep(OptimizerRule.Sgd, ++steps, 0.9f, false, 0, 0, 0, false, DeviceBuffer.None, NoiseSeed: 1, NoiseStep: (ulong)steps), all);

        // Weight, gradient and momentum are read; weight and momentum are written.
        long bytes = 5 * tensors * shape.StorageCount * sizeof(float);
        return new Kernel("SGD update with momentum", $"{tensors} × {shape}", bytes, Work, PeerWork.Optimizer(rows * columns, tensors, threads));
    }

    private static void Measure(BenchTable table, Device device, Kernel kernel, KernelBenchOptions options)
    {
        List<Contender> contenders = [Measurement.Of("Saturn", () => { kernel.Work(); device.Synchronize(); }, options.Repetition)];
        if (options.Peer is { } peer && kernel.PeerWork is { } work)
        {
            contenders.Add(Measurement.Of(peer, work, options.Repetition));
        }

        Measurement.Time(kernel.Work, options.Repetition.Warmup * WarmUpCalls, 1);
        IReadOnlyList<Timings> timings = Measurement.Interleave(contenders, options.Repetition.Rounds);
        options.Peer?.Release();
        Summary own = timings[0].Milliseconds;
        Timings? theirs = timings.Count > 1 ? timings[1] : null;
        table.Add(
            kernel.Name, kernel.Size, BenchTable.Number(kernel.Bytes / 1048576.0), BenchTable.Number(own.Median), BenchTable.Spread(own),
            BenchTable.Number(own.Minimum), BenchTable.Number(kernel.Bytes / own.Minimum / 1e6), theirs is null ? "–" : BenchTable.Number(theirs.Milliseconds.Median),
            theirs is null ? "–" : BenchTable.Spread(theirs.Milliseconds), theirs is null ? "–" : BenchTable.Ratio(theirs.RatioTo(timings[0])));
    }
}
