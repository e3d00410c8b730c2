using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>Updates of as many weights as ResNet-18 has, with pressure and noise as Demon Pruning applies them, and without.</summary>
internal static class OptimizerWorks
{
    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        foreach (OptimizerRule rule in (OptimizerRule[])[OptimizerRule.Sgd, OptimizerRule.Adam])
        {
            foreach (bool demon in (bool[])[false, true])
            {
                bool adam = rule == OptimizerRule.Adam;
                Shape filter = new(scale.Width(256), 9, scale.Width(256));
                int tensors = scale.LargestWidth == int.MaxValue && scale.LargestImage == int.MaxValue ? 19 : 3;
                long elements = tensors * filter.StorageCount;

                // Read weight, gradient and moments, write weight and moments; under bfloat16 also the copy.
                yield return new KernelWork(
                    "optimizer", $"{(adam ? "Adam" : "SGD, momentum")}{(demon ? ", L1 and noise" : "")}", WorkLimit.Memory,
                    element => elements * ((adam ? 7 : 5) * sizeof(float) + (element == 2 ? 2 : 0)), 0, (device, arrays) => Prepare(device, arrays, rule, filter, tensors, demon),
                    PeerWork.Update(adam, demon, (int)filter.ElementCount, tensors), demon ? new RatioTarget(1.0, 1.5) : null);
            }
        }
    }

    private static Action Prepare(Device device, WorkArrays arrays, OptimizerRule rule, Shape filter, int tensors, bool demon)
    {
        bool adam = rule == OptimizerRule.Adam;
        OptimizerTensor[] all = new OptimizerTensor[tensors];
        for (int i = 0; i < tensors; i++)
        {
            DeviceBuffer weight = arrays.AlsoResult($"weight {i}", arrays.Parameter(filter, 0.05f), filter);
            DeviceBuffer first = arrays.AlsoResult($"first moment {i}", arrays.Parameter(filter, 0.01f), filter);
            DeviceBuffer second = adam ? arrays.AlsoResult($"second moment {i}", arrays.Parameter(filter, 0.01f, positive: true), filter) : DeviceBuffer.None;

            // The host processor, which checks the others, has no copies in bfloat16; they are the weight's rounding and are tested elsewhere.
            DeviceBuffer copy = arrays.Activations == ElementType.BFloat16 ? arrays.Scratch(filter.StorageCount * 2, ElementType.BFloat16) : DeviceBuffer.None;
            all[i] = new OptimizerTensor(
                weight, arrays.Parameter(filter, 0.01f), first, second, filter[0], filter[1], filter[2], LearningRate: 1e-3f, WeightDecay: 5e-4f, L1: demon ? 1e-4f : 0, L2: 0,
                NoiseStandardDeviation: demon ? 1e-5f : 0, TensorId: (uint)i, DeviceBuffer.None, DeviceBuffer.None, DeviceBuffer.None, ReducedCopy: copy);
        }

        return () => device.Optimizer.Update(
            new OptimizerStep(rule, Step: 10, adam ? 0 : 0.9f, false, 0.9f, 0.999f, 1e-8f, false, DeviceBuffer.None, NoiseSeed: 1, NoiseStep: 1), all);
    }
}
