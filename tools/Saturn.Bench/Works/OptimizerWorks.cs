using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>
/// Updates of as many weights as ResNet-18 has, with pressure and noise as Demon Pruning applies them, and without; of finished gradients, and of gradients in parts as convolutions leave them, which the
/// update adds itself or which are added before.
/// </summary>
internal static class OptimizerWorks
{
    private const int Parts = 4;

    private enum Gradient
    {
        Finished,
        InParts,
        CombinedBefore,
    }

    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        foreach (OptimizerRule rule in (OptimizerRule[])[OptimizerRule.Sgd, OptimizerRule.Adam])
        {
            yield return Work(scale, rule, demon: false, Gradient.Finished);
            yield return Work(scale, rule, demon: true, Gradient.Finished);
            yield return Work(scale, rule, demon: true, Gradient.InParts);
            yield return Work(scale, rule, demon: true, Gradient.CombinedBefore);
        }

        // As many as ResNet-18 has; more than a launch with small arguments takes.
        const int many = 62;
        Shape small = new(scale.Width(256) / 4, 9, scale.Width(256) / 4);
        yield return new KernelWork(
            "optimizer", $"SGD, momentum, L1 and noise, {many} small filters", WorkLimit.Memory, element => many * small.StorageCount * (5 * sizeof(float) + (element == 2 ? 2 : 0)), 0,
            (device, arrays) => Prepare(device, arrays, OptimizerRule.Sgd, small, many, demon: true, Gradient.Finished), PeerWork.Update(adam: false, demon: true, (int)small.ElementCount, many));
        (Shape filter, int tensors) = Sizes(scale);
        yield return new KernelWork(
            "optimizer", "norm of all gradients, for clipping", WorkLimit.Memory, _ => tensors * filter.StorageCount * sizeof(float), 0,
            (device, arrays) =>
            {
                OptimizerTensor[] all = [.. Enumerable.Range(0, tensors).Select(i => new OptimizerTensor(
                    DeviceBuffer.None, arrays.Parameter(filter, 0.01f), DeviceBuffer.None, DeviceBuffer.None, filter[0], filter[1], filter[2], LearningRate: 1e-3f, WeightDecay: 0, L1: 0, L2: 0,
                    NoiseStandardDeviation: 0, TensorId: (uint)i, DeviceBuffer.None, DeviceBuffer.None, DeviceBuffer.None))];
                DeviceBuffer result = arrays.Result("scale and norm", new Shape(2));
                return () => device.Optimizer.ClipScale(all, 1, 0.5f, result);
            },
            PeerWork.Clip((int)filter.ElementCount, tensors));
    }

    private static (Shape Filter, int Tensors) Sizes(WorkScale scale) =>
        (new Shape(scale.Width(256), 9, scale.Width(256)), scale.LargestWidth == int.MaxValue && scale.LargestImage == int.MaxValue ? 19 : 3);

    private static KernelWork Work(WorkScale scale, OptimizerRule rule, bool demon, Gradient gradient)
    {
        bool adam = rule == OptimizerRule.Adam;
        (Shape filter, int tensors) = Sizes(scale);
        long elements = tensors * filter.StorageCount;
        (string suffix, int floats) = gradient switch
        {
            Gradient.InParts => ($", gradient in {Parts} parts", Parts - 1),
            Gradient.CombinedBefore => ($", {Parts} parts added before", Parts + 1),
            _ => ("", 0),
        };

        // Read weight, gradient and moments, write weight and moments; under bfloat16 also the copy. Parts are read, and where they are added before, their sum is written and read.
        return new KernelWork(
            "optimizer", $"{(adam ? "Adam" : "SGD, momentum")}{(demon ? ", L1 and noise" : "")}{suffix}", WorkLimit.Memory,
            element => elements * (((adam ? 7 : 5) + floats) * sizeof(float) + (element == 2 ? 2 : 0)), 0,
            (device, arrays) => Prepare(device, arrays, rule, filter, tensors, demon, gradient),
            gradient == Gradient.Finished ? PeerWork.Update(adam, demon, (int)filter.ElementCount, tensors) : null,
            gradient == Gradient.Finished && demon ? new RatioTarget(1.0, 1.5) : null);
    }

    private static Action Prepare(Device device, WorkArrays arrays, OptimizerRule rule, Shape filter, int tensors, bool demon, Gradient gradient)
    {
        bool adam = rule == OptimizerRule.Adam;
        OptimizerTensor[] all = new OptimizerTensor[tensors];
        DeviceBuffer[] parts = new DeviceBuffer[tensors];
        for (int i = 0; i < tensors; i++)
        {
            DeviceBuffer weight = arrays.AlsoResult($"weight {i}", arrays.Parameter(filter, 0.05f), filter);
            DeviceBuffer first = arrays.AlsoResult($"first moment {i}", arrays.Parameter(filter, 0.01f), filter);
            DeviceBuffer second = adam ? arrays.AlsoResult($"second moment {i}", arrays.Parameter(filter, 0.01f, positive: true), filter) : DeviceBuffer.None;

            // The host processor, which checks the others, has no copies in bfloat16; they are the weight's rounding and are tested elsewhere.
            DeviceBuffer copy = arrays.Activations == ElementType.BFloat16 ? arrays.Scratch(filter.StorageCount * 2, ElementType.BFloat16) : DeviceBuffer.None;
            all[i] = new OptimizerTensor(
                weight, DeviceBuffer.None, first, second, filter[0], filter[1], filter[2], LearningRate: 1e-3f, WeightDecay: 5e-4f, L1: demon ? 1e-4f : 0, L2: 0,
                NoiseStandardDeviation: demon ? 1e-5f : 0, TensorId: (uint)i, DeviceBuffer.None, DeviceBuffer.None, DeviceBuffer.None, ReducedCopy: copy);
            if (gradient == Gradient.Finished)
            {
                all[i] = all[i] with { Gradient = arrays.Parameter(filter, 0.01f) };
                continue;
            }

            parts[i] = arrays.Parameter(new Shape(Parts * filter[0], filter[1], filter[2]), 0.01f);
            all[i] = gradient == Gradient.InParts && device.Kind != DeviceKind.Cpu
                ? all[i] with { Gradient = parts[i], GradientSplits = Parts, GradientSplitStride = filter.StorageCount }
                : all[i] with { Gradient = arrays.Scratch(filter.StorageCount * sizeof(float)) };
            if (device.Kind == DeviceKind.Cpu)
            {
                // The host has no gradients in parts: it adds them here, in the same order.
                long bytes = filter.StorageCount * sizeof(float);
                for (int part = 0; part < Parts; part++)
                {
                    device.Elementwise.Accumulate(filter, parts[i].Slice(part * bytes, bytes), all[i].Gradient);
                }
            }
        }

        bool combines = gradient == Gradient.CombinedBefore && device.Kind != DeviceKind.Cpu;
        return () =>
        {
            for (int i = 0; combines && i < all.Length; i++)
            {
                device.Convolution.CombineFilterGradient(filter, Parts, parts[i], all[i].Gradient);
            }

            device.Optimizer.Update(
                new OptimizerStep(rule, Step: 10, adam ? 0 : 0.9f, false, 0.9f, 0.999f, 1e-8f, false, DeviceBuffer.None, NoiseSeed: 1, NoiseStep: 1), all);
        };
    }
}
