using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>What lies between the layers: activation, elementwise arithmetic, reductions, pooling, loss, random numbers, census and compaction.</summary>
internal static class BandwidthWorks
{
    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        int side = scale.Image(32);
        Shape image = new(scale.Batch, side, side, scale.Width(64));
        long once = image.StorageCount;
        int rows = image.Rows, channels = image.Channels;
        KernelWork Work(string family, string name, Func<int, long> bytes, Func<Device, WorkArrays, Action> prepare, PeerWork? peer = null) =>
            new(family, name, WorkLimit.Memory, bytes, 0, prepare, peer);

        yield return Work("activation", "ReLU forward, flags", element => 2 * once * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(image), y = arrays.ActivationResult("output", image), flags = arrays.Scratch(ActivityReport.WordCount(channels) * sizeof(uint), ElementType.Int32);
            return () => device.Activation.Forward(Activation.Relu, image, x, y, new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        });
        yield return Work("activation", "GELU forward", element => 2 * once * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(image), y = arrays.ActivationResult("output", image);
            return () => device.Activation.Forward(Activation.Gelu, image, x, y, ActivityReport.None);
        });
        yield return Work("activation", "ReLU backward", element => 3 * once * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(image), dy = arrays.Activation(image), dx = arrays.ActivationResult("input gradient", image);
            return () => device.Activation.Backward(Activation.Relu, image, x, dy, dx, GradientMode.Overwrite);
        });
        yield return Work("elementwise", "add", _ => 3 * once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(image), y = arrays.Parameter(image), z = arrays.Result("sum", image);
            return () => device.Elementwise.Binary(BinaryOperation.Add, image, x, image, y, image, z);
        });
        yield return Work("elementwise", "residual sum through a map", element => 3 * once * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(image), y = arrays.Activation(image), z = arrays.ActivationResult("sum", image);
            DeviceBuffer map = arrays.ChannelMap(channels, inverse: false);
            return () => device.Elementwise.MappedAdd(image, x, channels, y, map, z);
        });
        yield return Work("elementwise", "accumulate", element => 3 * once * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(image), y = arrays.AlsoResult("sum", arrays.Activation(image), image);
            return () => device.Elementwise.Accumulate(image, x, y);
        });
        yield return Work("elementwise", "gradient of a residual sum through a map", element => 2 * once * element, (device, arrays) =>
        {
            DeviceBuffer dy = arrays.Activation(image), dx = arrays.ActivationResult("shortcut gradient", image), inverse = arrays.ChannelMap(channels, inverse: true);
            return () => device.Elementwise.MappedAddBackward(image, dy, channels, inverse, dx, GradientMode.Overwrite);
        });
        yield return Work("reduction", "sum over rows", _ => once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(image, offset: 1), y = arrays.Result("sum", new Shape(channels));
            return () => device.Reduction.Reduce(ReductionOperation.Sum, image, x, new Shape(channels), y);
        });
        yield return Work("reduction", "sum over channels", _ => once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(image, offset: 1), y = arrays.Result("sum", new Shape(rows, 1));
            return () => device.Reduction.Reduce(ReductionOperation.Sum, new Shape(rows, channels), x, new Shape(rows, 1), y);
        });
        Shape wide = new(Math.Max(1, rows / 8), scale.Width(512));
        yield return Work("reduction", $"sum over {wide.Channels} channels", _ => wide.StorageCount * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(wide, offset: 1), y = arrays.Result("sum", new Shape(wide.Rows, 1));
            return () => device.Reduction.Reduce(ReductionOperation.Sum, wide, x, new Shape(wide.Rows, 1), y);
        });
        yield return Work(
            "reduction", $"index of the largest of {wide.Channels}", _ => (wide.StorageCount + wide.Rows) * sizeof(float),
            (device, arrays) =>
            {
                DeviceBuffer x = arrays.Parameter(wide), y = arrays.Result("index", new Shape(wide.Rows), ElementType.Int32);
                return () => device.Reduction.ArgumentMaximum(wide, x, y);
            },
            PeerWork.ArgumentMaximum(wide.Rows, wide.Channels));
        yield return Work("random", "uniform numbers", _ => once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer y = arrays.Result("numbers", image);
            return () => device.Random.Uniform(image, new RandomKey(1, 0, 0), -1, 1, y);
        });
        yield return Work("random", "normal numbers", _ => once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer y = arrays.Result("numbers", image);
            return () => device.Random.Normal(image, new RandomKey(1, 0, 0), 0, 1, y);
        });
        yield return Work("random", "dropout", _ => 2 * once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(image), y = arrays.Result("output", image);
            return () => device.Random.Dropout(image, new RandomKey(1, 0, 0), 0.5f, x, y, GradientMode.Overwrite);
        });
        yield return Work("census", "flags", element => once * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(image), flags = arrays.Result("flags", new Shape(ActivityReport.WordCount(channels)), ElementType.Int32);
            return () => device.Census.Flag(rows, channels, x, new ActivityReport(flags, ActivityCriterion.AboveThreshold, 0, false));
        });
        yield return Work("census", "extrema and sums", element => once * element, (device, arrays) =>
        {
            Shape vector = new(channels);
            DeviceBuffer x = arrays.Activation(image), high = arrays.AlsoResult("maximum", arrays.Parameter(vector), vector), low = arrays.AlsoResult("minimum", arrays.Parameter(vector), vector);
            DeviceBuffer sum = arrays.Scratch(vector.Pitch * sizeof(double), ElementType.Float64);
            return () => device.Census.Accumulate(rows, channels, x, high, low, sum);
        });
        const int words = 4096;
        yield return Work("census", "union of flags", _ => 3 * words * sizeof(uint), (device, arrays) =>
        {
            DeviceBuffer first = arrays.Integers([.. Enumerable.Range(0, words).Select(i => i * 7919)]), second = arrays.Integers([.. Enumerable.Range(0, words).Select(i => i * 104729)]);
            DeviceBuffer union = arrays.Result("union", new Shape(words), ElementType.Int32);
            return () => device.Census.Union(words, first, second, union);
        });
        Shape filter = new(scale.Width(512), 9, scale.Width(512));
        int kept = filter[0] / 2 - 3, keptColumns = filter[2] / 2 - 3;
        Shape smaller = new(kept, 9, keptColumns);
        yield return Work("compaction", "gather of half a filter", _ => 2 * smaller.StorageCount * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer source = arrays.Parameter(filter), target = arrays.Result("filter", smaller);
            DeviceBuffer rowIndex = arrays.Integers([.. Enumerable.Range(0, kept).Select(i => 2 * i)]), columnIndex = arrays.Integers([.. Enumerable.Range(0, keptColumns).Select(i => 2 * i + 1)]);
            GatherJob[] jobs = [new(source, target, kept, 9, keptColumns, filter[0], filter[2], rowIndex, columnIndex)];
            return () => device.Compaction.Gather(jobs);
        });

        // As many arrays as ResNet-18 has weights and moments of Adam; more than a launch with small arguments takes.
        const int many = 186;
        Shape one = new(scale.Width(256) / 4, 9, scale.Width(256) / 4), half = new(one[0] / 2, 9, one[2] / 2);
        yield return Work("compaction", $"gather of half of {many} small filters", _ => 2 * many * half.StorageCount * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer rowIndex = arrays.Integers([.. Enumerable.Range(0, half[0]).Select(i => 2 * i)]), columnIndex = arrays.Integers([.. Enumerable.Range(0, half[2]).Select(i => 2 * i + 1)]);
            GatherJob[] jobs = [.. Enumerable.Range(0, many).Select(i => new GatherJob(arrays.Parameter(one), arrays.Result($"filter {i}", half), half[0], 9, half[2], one[0], one[2], rowIndex, columnIndex))];
            return () => device.Compaction.Gather(jobs);
        });
        foreach (KernelWork work in Pooling(scale).Concat(Loss(scale)))
        {
            yield return work;
        }
    }

    private static IEnumerable<KernelWork> Pooling(WorkScale scale)
    {
        int side = Math.Max(4, scale.Image(112));
        PoolingShape shape = new(Math.Max(1, scale.Batch / 4), side, side, scale.Width(64), 3, 3, 2, 2, 1, 1);
        long x = shape.Input.StorageCount, y = shape.Output.StorageCount;

        // Which of a window's pixels has won takes four bits, whatever an implementation keeps.
        long winnerBytes = (long)Math.Ceiling(Math.Log2(shape.KernelHeight * shape.KernelWidth)) * y / 8;
        foreach (bool backward in (bool[])[false, true])
        {
            yield return new KernelWork(
                "pooling", $"maximum pooling 3×3 s2 {side}² {(backward ? "backward" : "forward")}", WorkLimit.Memory, element => (x + y) * element + winnerBytes, 0,
                (device, arrays) =>
                {
                    DeviceBuffer input = arrays.Activation(shape.Input), winners = arrays.Scratch(y * sizeof(int), ElementType.Int32);
                    DeviceBuffer output = backward ? arrays.Activation(shape.Output) : arrays.ActivationResult("output", shape.Output);
                    void Forward() => device.Pooling.MaximumForward(shape, input, output, winners);
                    if (!backward)
                    {
                        return Forward;
                    }

                    DeviceBuffer gradient = arrays.Activation(shape.Output), inputGradient = arrays.ActivationResult("input gradient", shape.Input);
                    Forward();
                    return () => device.Pooling.MaximumBackward(shape, winners, gradient, inputGradient, GradientMode.Overwrite);
                },
                PeerWork.MaximumPool(backward, shape));
        }

        PoolingShape average = new(scale.Batch, scale.Image(32) & ~1, scale.Image(32) & ~1, scale.Width(64), 2, 2, 2, 2);
        foreach (bool backward in (bool[])[false, true])
        {
            yield return new KernelWork(
                "pooling", $"average pooling 2×2 s2 {average.InputHeight}² {(backward ? "backward" : "forward")}", WorkLimit.Memory,
                element => (average.Input.StorageCount + average.Output.StorageCount) * element, 0,
                (device, arrays) =>
                {
                    DeviceBuffer large = backward ? arrays.ActivationResult("input gradient", average.Input) : arrays.Activation(average.Input);
                    DeviceBuffer small = backward ? arrays.Activation(average.Output) : arrays.ActivationResult("output", average.Output);
                    return backward
                        ? () => device.Pooling.AverageBackward(average, true, small, large, GradientMode.Overwrite)
                        : () => device.Pooling.AverageForward(average, true, large, small);
                },
                PeerWork.AveragePool(backward, average));
        }

        int pixels = scale.Image(4) * scale.Image(4), channels = scale.Width(512);
        Shape image = new(scale.Batch, pixels, channels), mean = new(scale.Batch, channels);
        yield return new KernelWork(
            "pooling", $"global average {channels} of {pixels} pixels", WorkLimit.Memory, element => image.StorageCount * element + mean.StorageCount * sizeof(float), 0,
            (device, arrays) =>
            {
                DeviceBuffer input = arrays.Activation(image), output = arrays.Result("mean", mean);
                return () => device.Pooling.GlobalAverageForward(scale.Batch, pixels, channels, input, output);
            });
        yield return new KernelWork(
            "pooling", $"global average backward {channels} of {pixels} pixels", WorkLimit.Memory, element => image.StorageCount * element + mean.StorageCount * sizeof(float), 0,
            (device, arrays) =>
            {
                DeviceBuffer gradient = arrays.Parameter(mean), result = arrays.ActivationResult("input gradient", image);
                return () => device.Pooling.GlobalAverageBackward(scale.Batch, pixels, channels, gradient, result, GradientMode.Overwrite);
            });
    }

    private static IEnumerable<KernelWork> Loss(WorkScale scale)
    {
        Shape scores = new(8 * scale.Batch, scale.Width(1000));
        foreach (bool backward in (bool[])[false, true])
        {
            yield return new KernelWork(
                "loss", $"softmax {(backward ? "backward" : "forward")} {scores.Channels}", WorkLimit.Memory, _ => (backward ? 3 : 2) * scores.StorageCount * sizeof(float), 0,
                (device, arrays) =>
                {
                    DeviceBuffer x = arrays.Parameter(scores), y = backward ? arrays.Scratch(scores.StorageCount * sizeof(float)) : arrays.Result("softmax", scores);
                    void Forward() => device.Loss.SoftmaxForward(scores.Rows, scores.Channels, x, y);
                    if (!backward)
                    {
                        return Forward;
                    }

                    DeviceBuffer dy = arrays.Parameter(scores), dx = arrays.Result("input gradient", scores);
                    Forward();
                    return () => device.Loss.SoftmaxBackward(scores.Rows, scores.Channels, y, dy, dx, GradientMode.Overwrite);
                },
                PeerWork.Softmax(backward, scores.Rows, scores.Channels));
        }

        foreach (int classes in (int[])[10, 1000])
        {
            int count = scale.Width(classes);
            Shape logits = new(scale.Batch, count);
            int[] labels = [.. Enumerable.Range(0, scale.Batch).Select(i => i * 7 % count)];
            yield return new KernelWork(
                "loss", $"softmax cross entropy forward and backward {count}", WorkLimit.Memory, _ => 4 * logits.StorageCount * sizeof(float), 0,
                (device, arrays) =>
                {
                    DeviceBuffer x = arrays.Parameter(logits), target = arrays.Integers(labels), loss = arrays.Result("loss", new Shape(1)), probabilities = arrays.Result("probabilities", logits);
                    DeviceBuffer one = arrays.Parameter(new Shape(1), 0, 1), gradient = arrays.Result("logits gradient", logits);
                    return () =>
                    {
                        device.Loss.SoftmaxCrossEntropyForward(scale.Batch, count, 0, x, target, loss, probabilities, DeviceBuffer.None);
                        device.Loss.SoftmaxCrossEntropyBackward(scale.Batch, count, 0, probabilities, target, one, gradient, GradientMode.Overwrite);
                    };
                },
                PeerWork.CrossEntropy(scale.Batch, count), new RatioTarget(2, 3));
        }
    }
}
