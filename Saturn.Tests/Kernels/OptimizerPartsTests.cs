using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Kernels;

/// <summary>What the update takes on CUDA devices only: gradients in parts, bit for bit as their sum, and a bfloat16 copy of the weight.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.DriverNames))]
public sealed class OptimizerPartsTests(string device) : KernelTest(device)
{
    private static readonly OptimizerStep Rule = new(OptimizerRule.Adam, 3, 0.9f, false, 0.9f, 0.999f, 1e-8f, false, default, 5, 2);
    private static readonly Shape[] Shapes = [new(1), new(3, 9, 37), new(5, 1, 7), new(2, 9, 1500)];

    [TestCase(OptimizerRule.Sgd, 2)]
    [TestCase(OptimizerRule.Sgd, 7)]
    [TestCase(OptimizerRule.Adam, 3)]
    [TestCase(OptimizerRule.DualAveraging, 5)]
    public void Parts_of_a_gradient_give_the_bits_of_their_sum(OptimizerRule rule, int parts)
    {
        Assert.That(Updated(parts, true), Is.EqualTo(Updated(parts, false)));

        float[] Updated(int count, bool divided)
        {
            List<float> results = [];
            List<OptimizerTensor> tensors = [.. Shapes.Select((shape, i) => Tensor(shape, i, count, divided))];
            for (int step = 1; step <= 2; step++)
            {
                Device.Optimizer.Update(Rule with { Rule = rule, Step = step }, [.. tensors]);
            }

            for (int i = 0; i < Shapes.Length; i++)
            {
                results.AddRange(Download(Shapes[i], tensors[i].Weight));
                results.AddRange(Download(Shapes[i], tensors[i].FirstMoment));
                results.AddRange(Download(Shapes[i], tensors[i].SecondMoment));
            }

            return [.. results];
        }
    }

    [Test]
    public void Clipping_takes_the_norm_of_the_sum_of_the_parts()
    {
        OptimizerTensor[] divided = [.. Shapes.Select((shape, i) => Tensor(shape, i, 4, true))];
        OptimizerTensor[] whole = [.. Shapes.Select((shape, i) => Tensor(shape, i, 4, false))];
        DeviceBuffer[] results = [PoisonedBytes(8), PoisonedBytes(8)];
        Device.Optimizer.ClipScale(divided, 0.5f, 1, results[0]);
        Device.Optimizer.ClipScale(whole, 0.5f, 1, results[1]);
        Assert.That(DownloadPacked<float>(results[0], 2), Is.EqualTo(DownloadPacked<float>(results[1], 2)));
        Assert.That(DownloadPacked<float>(results[0], 2)[1], Is.GreaterThan(1));
    }

    [TestCase(OptimizerRule.Sgd)]
    [TestCase(OptimizerRule.Adam)]
    [TestCase(OptimizerRule.DualAveraging)]
    public void The_copy_is_the_updated_weight_to_nearest_even(OptimizerRule rule)
    {
        foreach (Shape shape in Shapes)
        {
            DeviceBuffer copy = PoisonedBytes(shape.StorageCount * 2);
            OptimizerTensor tensor = Tensor(shape, 3, 1, false);
            Device.Optimizer.Update(Rule with { Rule = rule }, [tensor with { ReducedCopy = copy }]);
            float[] weights = DownloadPacked<float>(tensor.Weight, (int)shape.StorageCount);
            ushort[] halves = DownloadPacked<ushort>(copy, (int)shape.StorageCount);
            Assert.That(halves, Is.EqualTo(weights.Select(NearestEven)), $"{shape}, padding included");
        }
    }

    [Test]
    public void A_tie_goes_to_the_even_neighbour_and_what_is_no_number_stays_none()
    {
        // 1 + 2⁻⁸ and 1 + 3·2⁻⁸ lie halfway between neighbours of seven fraction bits; the largest float32 rounds to infinity.
        Shape shape = new(1, 1, 8);
        DeviceBuffer copy = PoisonedBytes(16);
        float[] values = [1 + 1 / 256f, 1 + 3 / 256f, -1 - 1 / 256f, float.MaxValue, -float.MaxValue, float.NaN, 1e-40f, 0];
        OptimizerTensor tensor = Tensor(shape, 0, 1, false) with
        {
            Weight = Upload(shape, values),
            Gradient = Upload(shape, new float[8]),
            FirstMoment = default,
            SecondMoment = default,
            WeightDecay = 0,
            L1 = 0,
            L2 = 0,
            NoiseStandardDeviation = 0,
            ReducedCopy = copy,
        };
        Device.Optimizer.Update(Rule with { Rule = OptimizerRule.Sgd }, [tensor]);
        ushort[] halves = DownloadPacked<ushort>(copy, 8);
        Assert.That(halves[..5], Is.EqualTo(new ushort[] { 0x3F80, 0x3F82, 0xBF80, 0x7F80, 0xFF80 }));
        Assert.That(float.IsNaN(BitConverter.UInt32BitsToSingle((uint)halves[5] << 16)));
        Assert.That(halves[6..], Is.EqualTo(new ushort[] { NearestEven(1e-40f), 0 }));
    }

    [Test]
    public void Parts_that_overlap_are_refused()
    {
        OptimizerTensor tensor = Tensor(Shapes[1], 0, 3, true);
        Assert.That(
            () => Device.Optimizer.Update(Rule, [tensor with { GradientSplitStride = 8 }]), Throws.ArgumentException.With.Message.Contains("3 parts with a stride of 8"));
    }

    [Test]
    public void The_host_refuses_both()
    {
        using CpuDevice host = new(1);
        OptimizerTensor tensor = new(default, default, default, default, 1, 1, 8, 0, 0, 0, 0, 0, 0, default, default, default);
        Assert.That(
            () => host.Optimizer.Update(Rule, [tensor with { GradientSplits = 2, GradientSplitStride = 8 }]), Throws.TypeOf<NotSupportedException>().With.Message.Contains("in 2 parts"));
        Assert.That(
            () => host.Optimizer.ClipScale([tensor with { GradientSplits = 2, GradientSplitStride = 8 }], 1, 1, default), Throws.TypeOf<NotSupportedException>());
        Assert.That(
            () => host.Optimizer.Update(Rule, [tensor with { ReducedCopy = new DeviceBuffer(64, 16) }]), Throws.TypeOf<NotSupportedException>().With.Message.Contains("bfloat16"));
    }

    /// <summary>A tensor whose gradient is the same sum, in parts or added up on the host in ascending order.</summary>
    private OptimizerTensor Tensor(Shape shape, int seed, int parts, bool divided)
    {
        long storage = shape.StorageCount;
        long stride = storage + 8;
        float[] stored = new float[stride * parts];
        float[] sum = new float[storage];
        for (int part = 0; part < parts; part++)
        {
            float[] values = RandomValues(shape.ElementCount, seed * 100 + part);
            for (int i = 0; i < values.Length; i++)
            {
                long at = i / shape.Channels * shape.Pitch + i % shape.Channels;
                stored[part * stride + at] = values[i];
                sum[at] = part == 0 ? values[i] : sum[at] + values[i];
            }

            stored.AsSpan((int)(part * stride + storage), 8).Fill(float.NaN);
        }

        bool vector = shape.Rank == 1;
        int rows = vector ? 1 : shape[0];
        OptimizerTensor tensor = new(
            Upload(shape, RandomValues(shape.ElementCount, 7)), divided ? UploadPacked<float>(stored) : UploadPacked<float>(sum), Upload(shape, RandomValues(shape.ElementCount, 8)),
            Upload(shape, [.. RandomValues(shape.ElementCount, 9).Select(Math.Abs)]), rows, vector ? 1 : shape[1], shape.Channels, 0.1f, 0.01f, 0.002f, 0.03f, 0.05f, 3, default, default, default,
            NoiseGradientThreshold: seed == 1 ? 0.5f : 0, IsVector: vector, Threshold: 0.1f, LastThreshold: 0.05f);
        return divided ? tensor with { GradientSplits = parts, GradientSplitStride = stride } : tensor;
    }

    private static ushort NearestEven(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}
